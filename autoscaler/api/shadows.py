"""A pool and the candidate that its rule file names, side by side."""

from __future__ import annotations

from fastapi import APIRouter
from pydantic import BaseModel, Field

from autoscaler.api.deps import Deps, View
from autoscaler.api.models import RulesInForce
from autoscaler.api.problems import Problem, documented
from autoscaler.board import PoolView
from autoscaler.explain import headline
from autoscaler.shadow import Account, ShadowView, Side

router = APIRouter(tags=["pools"], responses=documented(401, 403, 404, 422))


class SideView(BaseModel):
    """One set of rules: what it wants now and why, and its sums since the comparison began; null = not known yet."""

    pool: str = Field(description="under which decisions, signals and explanations are found")
    rules: RulesInForce | None
    want: int | None
    ready: int | None
    pending: int | None
    headline: str = Field(description="the last decision in one sentence")
    error: str = Field(description="why the last tick could not decide, empty when it did")
    replica_hours: float | None = Field(description="serving, booting and draining ones")
    usd: float | None
    launches: int | None
    changes: int | None = Field(description="of the wanted size")
    unserved_work: float | None = Field(description="estimate: demand beyond ready replicas x capacity")
    unserved_ratio: float | None = Field(description="of all demand that was known")
    queued_work: float | None = Field(description="estimate: what waits now, if the excess queues and nobody gives up")
    most_queued_work: float | None


class Compared(BaseModel):
    """What the comparison covers."""

    since: float = Field(description="it begins anew when either rule file changes")
    watched_s: float
    unknown_s: float = Field(description="of that, without demand or capacity, so that nothing was counted as unserved")
    unwatched_s: float = Field(description="left out, as while the service was down")
    demand_work: float


class Shadow(BaseModel):
    """A pool and its candidate side by side. The candidate's fleet is imagined; nothing is ever done for it."""

    pool: str
    file: str = Field(description="the candidate's rule file")
    problem: str = Field(description="why the candidate, or its newest version, does not run; empty when it does")
    demand: str = Field(description="the signal that tells how much comes; empty = the active rules read none")
    borrowed: list[str] = Field(description="the candidate's signals that are measured on the active pool's fleet")
    compared: Compared | None
    active: SideView
    candidate: SideView


@router.get("/pools/{pool}/shadow")
def show_shadow(view: View, deps: Deps) -> Shadow:
    """The pool under its rules and under those of its candidate, since both have run."""
    pool = view.rules.shadow_of or view.rules.pool
    found = deps.shadows().get(pool)
    if found is None:
        raise Problem(404, f"pool {pool!r} has no candidate; name one in its rule file, shadow: {{file: NAME}}")
    return shadow(found)


def shadow(found: ShadowView) -> Shadow:
    """The answer."""
    a = found.account
    return Shadow(
        pool=found.pool,
        file=found.file,
        problem=found.problem,
        demand=found.demand,
        borrowed=list(found.borrowed),
        compared=None
        if a is None
        else Compared(
            since=a.since,
            watched_s=a.watched_s,
            unknown_s=a.unknown_s,
            unwatched_s=a.unwatched_s,
            demand_work=a.demand_work,
        ),
        active=_side(found.pool, found.active, a, a.active if a is not None else None),
        candidate=_side(f"{found.pool}~shadow", found.candidate, a, a.candidate if a is not None else None),
    )


def _side(pool: str, view: PoolView | None, account: Account | None, sums: Side | None) -> SideView:
    decision = view.decision if view is not None else None
    fleet = view.fleet if view is not None else None
    known = sums is not None and account is not None and account.watched_s > account.unknown_s
    return SideView(
        pool=pool,
        rules=RulesInForce(file=view.rules.file, hash=view.rules.hash) if view is not None else None,
        want=decision.want if decision is not None else None,
        ready=fleet.ready if fleet is not None else None,
        pending=fleet.pending if fleet is not None else None,
        headline=headline(decision) if decision is not None else "",
        error=view.error if view is not None else "",
        replica_hours=sums.replica_s / 3600.0 if sums is not None else None,
        usd=sums.usd if sums is not None else None,
        launches=sums.launches if sums is not None else None,
        changes=sums.changes if sums is not None else None,
        unserved_work=sums.above_work if sums is not None and known else None,
        unserved_ratio=sums.above_work / account.demand_work
        if sums is not None and account is not None and known and account.demand_work > 0
        else None,
        queued_work=sums.queue_work if sums is not None and known else None,
        most_queued_work=sums.most_queue_work if sums is not None and known else None,
    )
