"""Dry runs: what a changed rule file would have done with the demand that was recorded."""

from __future__ import annotations

from fastapi import APIRouter, Request, Response
from fastapi.responses import JSONResponse
from starlette.concurrency import run_in_threadpool

from autoscaler import units
from autoscaler.api.crosssite import refuse_cross_site
from autoscaler.api.deps import ApiDeps, Deps, PoolName
from autoscaler.api.problems import Problem
from autoscaler.api.room.pages import HEADERS, Looking, back, render
from autoscaler.api.room.rules import LONGEST_TEXT, Box, checked_box, rules_of, shown
from autoscaler.api.room.signin import fields
from autoscaler.dryrun import DryRun, Question
from autoscaler.ruleset import RuleSet
from autoscaler.shadow.account import demand_signal
from autoscaler.types import Learned

LEAST_S, MOST_S = 3600.0, 7 * 86400.0
WARM_UP_S = 86400.0
"""What is played before the span and does not count, as far as it was recorded."""

NO_DEMAND = (
    "nothing in these rules tells how much comes: a target over a rate or a query, or a rate of "
    "requests_arrived_total; without it there is no demand to play"
)

router = APIRouter(include_in_schema=False)


@router.post("/rules/{pool}/dry-runs")
async def start(request: Request, deps: Deps, who: Looking, pool: PoolName) -> Response:
    """Begins a dry run of the text in the box and leads to its page; what is wrong with the text is told instead."""
    refuse_cross_site(request)
    given = await fields(request)
    box = Box(given.get("text", "")[:LONGEST_TEXT], given.get("since", "1d")[:20])
    found = await run_in_threadpool(_begun, deps, rules_of(deps, pool), box)
    if isinstance(found, DryRun):
        return back(f"/rules/{request.path_params['pool']}/dry-runs/{found.id}")
    return shown(request, deps, who, rules_of(deps, pool), found)


@router.get("/rules/{pool}/dry-runs/{run}")
def page(request: Request, deps: Deps, who: Looking, pool: PoolName, run: str) -> Response:
    """One dry run: under way, failed with the reason, or what came of it."""
    return render(request, deps, who, "dryrun.html", rules=rules_of(deps, pool), run=_found(deps, pool, run))


@router.get("/ui/rules/{pool}/dry-runs/{run}")
def part(request: Request, deps: Deps, who: Looking, pool: PoolName, run: str) -> Response:
    """The part that follows a dry run that is under way."""
    return render(request, deps, who, "dryrun_result.html", rules=rules_of(deps, pool), run=_found(deps, pool, run))


@router.get("/ui/rules/{pool}/dry-runs/{run}/plot")
def plot(deps: Deps, _: Looking, pool: PoolName, run: str) -> Response:
    """The columns of the chart; empty while there are none."""
    return JSONResponse(_found(deps, pool, run).answer.get("plot", {}), headers=HEADERS)


def _found(deps: ApiDeps, pool: str, run_id: str) -> DryRun:
    run = deps.dry_runs.get(run_id)
    if run is None or run.pool != pool:
        raise Problem(404, "this dry run is not remembered any more; begin it anew on the page of the rules")
    return run


def _begun(deps: ApiDeps, rules: RuleSet, box: Box) -> DryRun | Box:
    """The dry run, or the box with what stands in its way."""
    checked, read = checked_box(deps, rules, box)
    if not checked.valid or read.rules is None:
        return checked
    now = deps.clock.now()
    try:
        span_s = units.duration_s(box.since)
    except ValueError as error:
        return _refused(checked, f"the span: {error}")
    if not LEAST_S <= span_s <= MOST_S:
        return _refused(checked, f"the span: {box.since} is not between 1h and 7d")
    signal = demand_signal(rules)
    if signal is None:
        return _refused(checked, NO_DEMAND)
    at, rate = deps.store.history(rules.pool, signal.name, now - span_s - WARM_UP_S, now)
    known = deps.foresight.learned(rules.pool) if deps.foresight is not None else Learned()
    lead = known.lead_times.get(rules.offers[0].key) if rules.offers else None
    question = Question(
        now=rules,
        changed=read.rules,
        at=tuple(at.tolist()),
        rate=tuple(rate.tolist()),
        signal=signal,
        called=f"{rules.pool}, {signal.name}",
        since=now - span_s,
        until=now,
        capacity=known.capacity.median if known.capacity is not None else None,
        boot_s=lead.p50_s if lead is not None else None,
    )
    run = deps.dry_runs.start(question, box.text)
    return run if run is not None else _refused(checked, "another dry run is under way; it takes seconds, try again")


def _refused(box: Box, problem: str) -> Box:
    return Box(box.text, box.since, box.faults, False, problem)
