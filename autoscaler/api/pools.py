"""Pools: what they have, what they should have, and where requests may go."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Literal

from fastapi import APIRouter, Query, Request, Response

from autoscaler.api import operations
from autoscaler.api.deps import ApiDeps, Deps, View
from autoscaler.api.models import EndpointGroup, PoolDetail, Pools, PoolState, PoolSummary, RulesInForce
from autoscaler.api.paging import After, Key, link_next, page
from autoscaler.api.problems import Problem, documented
from autoscaler.board import PoolView
from autoscaler.explain import headline
from autoscaler.operations.undoing import WAITING
from autoscaler.shadow.account import demand_of
from autoscaler.types import Decision, InstanceState, Mark, Override

PAGE = 5000
MAX_PAGE = 5000

Order = Literal["name", "demand", "want", "queue", "cost", "alerts"]

router = APIRouter(tags=["pools"], responses=documented(401, 403))


@dataclass(frozen=True, slots=True)
class Standing:
    """What people have said of pools, by pool: looked up once for all of them."""

    overrides: Mapping[str, Sequence[Override]]
    marks: Mapping[str, Sequence[Mark]]


@router.get("/pools", responses=documented(422))
def list_pools(
    deps: Deps,
    request: Request,
    response: Response,
    prefix: Annotated[str, Query(max_length=200, description="how the name begins")] = "",
    state: PoolState | None = None,
    firing: Annotated[bool | None, Query(description="only pools with alerts that fire, or without")] = None,
    sort: Annotated[Order, Query(description="name, or the largest first")] = "name",
    limit: Annotated[int, Query(ge=1, le=MAX_PAGE)] = PAGE,
    after: After = "",
) -> Pools:
    """Every pool as its last tick left it."""
    standing = standing_of(deps)
    found = [summary(view, deps, standing) for name, view in deps.board.pools().items() if name.startswith(prefix)]
    found = [p for p in found if state in (None, p.state) and firing in (None, p.alerts_firing > 0)]
    shown, next_after = page(found, lambda p: _key(p, sort), after, limit, sort)
    link_next(request, response, after=next_after)
    return Pools(pools=shown, next_after=next_after)


@router.get("/pools/{pool}", responses=documented(404, 422))
def show_pool(view: View, deps: Deps) -> PoolDetail:
    """One pool with its instances, its plan and its overrides."""
    return PoolDetail(
        **summary(view, deps).model_dump(),
        instances=list(view.fleet.instances) if view.fleet is not None else [],
        plan=view.plan,
        overrides_in_force=[o for o in deps.journal.overrides(deps.clock.now()) if o.pool == view.rules.pool],
        marks=[operations.shown(m, view) for m in operations.in_force(deps, view.rules.pool)],
    )


@router.get("/pools/{pool}/endpoints", responses=documented(404, 422, 503))
def endpoints(view: View) -> list[EndpointGroup]:
    """The routable replicas, in the format of Prometheus's HTTP service discovery; draining ones are left out.

    While the fleet is not known the answer is 503: an empty list would tell a router that nothing serves.
    """
    if view.rules.shadow_of:
        raise Problem(404, f"pool {view.rules.pool!r} is imagined; ask for the endpoints of {view.rules.shadow_of!r}")
    if view.fleet is None:
        raise Problem(503, f"the provider of pool {view.rules.pool!r} has not reported its fleet yet; ask again soon")
    return [
        EndpointGroup(targets=[i.address or ""], labels={"pool": i.pool, "instance_id": i.id, "offer": i.offer})
        for i in sorted(view.routable, key=lambda i: i.id)
    ]


def standing_of(deps: ApiDeps, pool: str = "") -> Standing:
    """Overrides and marks in force, of one pool or of all."""
    overrides: dict[str, list[Override]] = {}
    marks: dict[str, list[Mark]] = {}
    for override in deps.journal.overrides(deps.clock.now()):
        overrides.setdefault(override.pool, []).append(override)
    for mark in operations.in_force(deps, pool):
        marks.setdefault(mark.pool, []).append(mark)
    return Standing(overrides, marks)


def summary(view: PoolView, deps: ApiDeps, standing: Standing | None = None) -> PoolSummary:
    """A pool in one row. standing: what people said, when somebody has looked it up already."""
    decision, fleet, rules = view.decision, view.fleet, view.rules
    said = standing if standing is not None else standing_of(deps, rules.pool)
    marks, rolling = said.marks.get(rules.pool, ()), view.rolling

    def count(state: InstanceState) -> int | None:
        return None if fleet is None else fleet.count(state)

    return PoolSummary(
        pool=rules.pool,
        at=view.at,
        state=state_of(view),
        demand=demand_of(rules, decision)[0] if decision is not None else None,
        queue=_queue(view, decision) if decision is not None else None,
        want=decision.want if decision is not None else None,
        current=decision.current if decision is not None else None,
        ready=count("ready"),
        pending=count("pending"),
        draining=count("draining"),
        warm=count("warm"),
        warm_wanted=view.plan.warm if view.plan is not None else None,
        failed=count("failed"),
        min=rules.bounds.min,
        max=rules.bounds.max,
        usd_per_hour=fleet.usd_per_hour if fleet is not None else None,
        fleet_observed_at=fleet.observed_at if fleet is not None else None,
        alerts_firing=sum(alert.state == "firing" for alert in view.alerts),
        overrides=len(said.overrides.get(rules.pool, ())),
        cordoned=sum(m.kind == "cordon" for m in marks),
        replacing=sum(m.kind == "replace" for m in marks) + (len(rolling.leaving) if rolling is not None else 0),
        roll=f"{rolling.state}: {rolling.text}" if rolling is not None else "",
        next_change_at=decision.next_change_at if decision is not None else None,
        headline=headline(decision) if decision is not None else "",
        error=view.error,
        rules=RulesInForce(file=rules.file, hash=rules.hash),
        shadow_of=rules.shadow_of,
    )


def state_of(view: PoolView) -> PoolState:
    """What a pool is doing, in one word. What is not known comes before what moves."""
    decision, fleet = view.decision, view.fleet
    if view.error:
        return "failing"
    if decision is None or fleet is None:
        return "unjudged"
    if decision.blind:
        return "blind"
    if decision.want > fleet.count("ready"):
        return "scaling_out"
    return "scaling_in" if decision.want < decision.current or fleet.count("draining") else "steady"


def _queue(view: PoolView, decision: Decision) -> float | None:
    """Requests that wait, of the first signal that tells; None = no rule reads it, or it is not known."""
    names = [s.name for s in view.rules.signals if s.metric == WAITING]
    values = [decision.readings[n].value for n in names if n in decision.readings]
    return next((v for v in values if v is not None), None)


def _key(p: PoolSummary, order: Order) -> Key:
    """What a list is sorted by: the largest first, what is not known last, names among equals."""
    if order == "name":
        return (p.pool,)
    value = {
        "demand": p.demand,
        "want": p.want,
        "queue": p.queue,
        "cost": p.usd_per_hour,
        "alerts": p.alerts_firing,
    }[order]
    return (1, 0.0, p.pool) if value is None else (0, -value, p.pool)
