"""Decisions of a pool, and why they were taken."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Path, Query, Request, Response

from autoscaler.api.deps import ApiDeps, Deps, View
from autoscaler.api.models import Decisions, Explanation, Instant
from autoscaler.api.paging import link_next
from autoscaler.api.problems import Problem, documented
from autoscaler.board import PoolView
from autoscaler.explain import explain
from autoscaler.types import Decision, Plan

MAX_NUMBER = 2**53
PAGE = 100
MAX_PAGE = 500

router = APIRouter(tags=["decisions"], responses=documented(401, 403, 404, 422, 503))


@router.get("/pools/{pool}/decisions")
def list_decisions(
    view: View,
    deps: Deps,
    request: Request,
    response: Response,
    limit: Annotated[int, Query(ge=1, le=MAX_PAGE)] = PAGE,
    before: Annotated[int | None, Query(ge=1, le=MAX_NUMBER, description="a decision number")] = None,
    since: Instant | None = None,
    until: Instant | None = None,
) -> Decisions:
    """Journalled decisions, newest first: those that changed something, and one at least every five minutes."""
    pool = view.rules.pool
    found = deps.journal.decisions(pool, since=since, until=until, before=before, limit=limit)
    next_before = found[-1].number if len(found) == limit else None
    link_next(request, response, before=next_before)
    return Decisions(pool=pool, decisions=found, next_before=next_before)


@router.get("/pools/{pool}/decisions/{number}")
def show_decision(view: View, deps: Deps, number: Annotated[int, Path(ge=0, le=MAX_NUMBER)]) -> Decision:
    """One decision with its readings, proposals and reasons."""
    return _find(view, deps, number)[0]


@router.get("/pools/{pool}/explain")
def explain_decision(
    view: View,
    deps: Deps,
    decision: Annotated[int | None, Query(ge=0, le=MAX_NUMBER, description="a number; default is the last one")] = None,
) -> Explanation:
    """A decision in plain words: what was decided, who asked for what, each limit that applied, on which data."""
    if decision is None and view.decision is None:
        why = view.error or "its first tick has not ended"
        raise Problem(404, f"pool {view.rules.pool!r} has decided nothing yet ({why}); ask again after its next tick")
    found, plan = (view.decision, view.plan) if decision is None else _find(view, deps, decision)
    assert found is not None
    return Explanation(pool=found.pool, number=found.number, text=explain(found, plan), decision=found, plan=plan)


def _find(view: PoolView, deps: ApiDeps, number: int) -> tuple[Decision, Plan | None]:
    """A decision from the board or the journal; most ticks repeat the one before and are in neither."""
    pool = view.rules.pool
    if view.decision is not None and view.decision.number == number:
        return view.decision, view.plan
    found = deps.journal.decision(pool, number)
    if found is None:
        older = deps.journal.decisions(pool, before=number, limit=1)
        hint = f"the last one journalled before it is {older[0].number}" if older else "list them without a number"
        raise Problem(404, f"decision {number} of pool {pool!r} has no row of its own in the journal; {hint}")
    return found, deps.journal.plan(pool, number)
