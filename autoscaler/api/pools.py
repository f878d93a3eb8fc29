"""Pools: what they have, what they should have, and where requests may go."""

from __future__ import annotations

from fastapi import APIRouter

from autoscaler.api import operations
from autoscaler.api.deps import ApiDeps, Deps, View
from autoscaler.api.models import EndpointGroup, PoolDetail, Pools, PoolSummary, RulesInForce
from autoscaler.api.problems import Problem, documented
from autoscaler.board import PoolView
from autoscaler.explain import headline
from autoscaler.types import InstanceState

router = APIRouter(tags=["pools"], responses=documented(401, 403))


@router.get("/pools")
def list_pools(deps: Deps) -> Pools:
    """Every pool as its last tick left it."""
    return Pools(pools=[summary(view, deps) for _, view in sorted(deps.board.pools().items())])


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


def summary(view: PoolView, deps: ApiDeps) -> PoolSummary:
    """A pool in one row."""
    decision, fleet, rules = view.decision, view.fleet, view.rules
    in_force = [o for o in deps.journal.overrides(deps.clock.now()) if o.pool == rules.pool]
    marks, rolling = operations.in_force(deps, rules.pool), view.rolling

    def count(state: InstanceState) -> int | None:
        return None if fleet is None else fleet.count(state)

    return PoolSummary(
        pool=rules.pool,
        at=view.at,
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
        overrides=len(in_force),
        cordoned=sum(m.kind == "cordon" for m in marks),
        replacing=sum(m.kind == "replace" for m in marks) + (len(rolling.leaving) if rolling is not None else 0),
        roll=f"{rolling.state}: {rolling.text}" if rolling is not None else "",
        next_change_at=decision.next_change_at if decision is not None else None,
        headline=headline(decision) if decision is not None else "",
        error=view.error,
        rules=RulesInForce(file=rules.file, hash=rules.hash),
        shadow_of=rules.shadow_of,
    )
