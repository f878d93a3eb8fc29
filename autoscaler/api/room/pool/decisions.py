"""A pool's decisions: the list, and one of them with everything that led to it and what became of it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from fastapi import APIRouter, Request, Response

from autoscaler.api.decisions import MAX_NUMBER
from autoscaler.api.deps import ApiDeps, Deps
from autoscaler.api.problems import Problem
from autoscaler.api.room.pages import Looking, render
from autoscaler.api.room.pool.missing import Found, Pool
from autoscaler.api.room.pools.glance import step
from autoscaler.board import PoolView
from autoscaler.errors import StorageError
from autoscaler.explain import explain, headline
from autoscaler.journal_past import Direction
from autoscaler.types import Action, Decision, Outcome, Plan

PAGE = 25
WAYS: Mapping[str, Direction] = {"any": "both", "out": "out", "in": "in"}
ENDS = {
    "accepted": "under way",
    "done": "done",
    "failed": "failed",
    "unknown": "no answer yet, asked again",
    "withheld": "withheld: a shadow does nothing",
}
"""What became of an action, in words."""

router = APIRouter(include_in_schema=False)


@dataclass(frozen=True, slots=True)
class Wanted:
    """Which decisions a list shows: everything or only changes, of which way, older than which number."""

    everything: bool
    way: str
    before: int | None

    @property
    def query(self) -> str:
        """The same list from its beginning, as a query."""
        return f"show={'all' if self.everything else 'changes'}&way={self.way}"


@dataclass(frozen=True, slots=True)
class Row:
    """One line of the list. text: the step that set the number; empty = its body could not be read."""

    number: int
    at: float
    before: int | None
    after: int
    text: str

    @property
    def way(self) -> str:
        """out, in, or stays."""
        if self.before is None or self.before == self.after:
            return "stays"
        return "out" if self.after > self.before else "in"


@dataclass(frozen=True, slots=True)
class Listed:
    """A page of the list. older: what `before` of the next page is, None = there is none."""

    wanted: Wanted
    rows: tuple[Row, ...]
    older: int | None


@dataclass(frozen=True, slots=True)
class Done:
    """An action of the plan and what became of it, newest last."""

    action: Action
    what: str
    outcomes: tuple[tuple[str, Outcome], ...]


@dataclass(frozen=True, slots=True)
class Step:
    """One step on the way to the number. change: `4 → 6`, or `4` where it set nothing new."""

    source: str
    change: str
    text: str


@dataclass(frozen=True, slots=True)
class Explained:
    """One decision as the page shows it; text: all of it as `sigmascale explain` prints it. note: which one was asked
    for, where that repeated this one and has no record."""

    decision: Decision
    headline: str
    steps: tuple[Step, ...]
    plan: Plan | None
    done: tuple[Done, ...]
    text: str
    earlier: int | None
    later: int | None
    note: str = ""


def wanted(query: Mapping[str, str]) -> Wanted:
    """What an address asks for; what it gets wrong is as if it were not there."""
    before = query.get("before", "")
    way = query.get("way", "any")
    return Wanted(query.get("show") == "all", way if way in WAYS else "any", _number(before))


def _number(text: str) -> int | None:
    return int(text) if text.isascii() and text.isdigit() and len(text) < 17 and int(text) <= MAX_NUMBER else None


def listed(view: PoolView, deps: ApiDeps, asked: Wanted) -> Listed:
    """A page of decisions, newest first. Raises StorageError when the journal cannot be read."""
    pool, past = view.rules.pool, deps.journal.past
    only = None if asked.everything and asked.way == "any" else WAYS[asked.way]
    found = past.short(pool, before=asked.before, only=only, limit=PAGE + 1)
    bodies = past.full(pool, [s.number for s in found[:PAGE]])
    rows = tuple(
        Row(s.number, s.at, s.before, s.want, step(bodies[s.number]) if s.number in bodies else "")
        for s in found[:PAGE]
    )
    return Listed(asked, rows, rows[-1].number if len(found) > PAGE else None)


def explained(view: PoolView, deps: ApiDeps, number: int) -> Explained:
    """One decision, or the one that it repeats. Raises Problem, 404, when there was none that early or that late."""
    pool, journal, note = view.rules.pool, deps.journal, ""
    decision, plan = view.decision, view.plan
    newest = decision.number if decision is not None else 0
    if decision is None or decision.number != number:
        decision, plan = journal.decision(pool, number), journal.plan(pool, number)
    if decision is None and number <= newest:
        # Most ticks repeat the one before, and only one of them is written at least every five minutes.
        near = journal.past.short(pool, before=number, limit=1)
        if near:
            note = f"Decision {number} repeated this one and has no record of its own."
            number = near[0].number
            decision, plan = journal.decision(pool, number), journal.plan(pool, number)
    if decision is None:
        why = f"the last one is {newest}" if number > newest else "it is older than the journal"
        raise Problem(404, f"Decision {number} of pool {pool} is not there: {why}.")
    actions = plan.actions if plan is not None else ()
    became = journal.past.outcomes_of([a.id for a in actions])
    earlier = journal.past.short(pool, before=number, only="both", limit=1)
    later = journal.past.next_change(pool, number)
    return Explained(
        decision=decision,
        headline=headline(decision),
        steps=tuple(_steps(decision)),
        plan=plan,
        done=tuple(_done(a, became.get(a.id, [])) for a in actions),
        text=explain(decision, plan),
        earlier=earlier[0].number if earlier else None,
        later=later.number if later is not None else None,
        note=note,
    )


def _steps(decision: Decision) -> Iterator[Step]:
    before: int | None = None
    for reason in decision.reasons:
        same = before is None or reason.replicas == before
        yield Step(reason.source, f"{reason.replicas}" if same else f"{before} → {reason.replicas}", reason.text)
        before = reason.replicas


def _done(action: Action, outcomes: list[Outcome]) -> Done:
    if action.kind == "launch":
        into = " into the warm pool" if action.into == "warm" else ""
        again = f", attempt {action.attempt}" if action.attempt > 1 else ""
        what = f"launch {action.offer.key}{into}{again}"
    else:
        what = f"{action.kind} {action.instance}"
    return Done(action, what, tuple((ENDS[o.status], o) for o in outcomes))


@router.get("/ui/pools/{pool}/decisions")
def list_part(request: Request, deps: Deps, who: Looking, pool: Pool) -> Response:
    """The list."""
    found = listed(pool.view, deps, wanted(request.query_params))
    return render(request, deps, who, "pool_decisions.html", pool=pool.name, decisions=found, chosen=None)


@router.get("/ui/pools/{pool}/decisions/{number}")
def explanation_part(request: Request, deps: Deps, who: Looking, pool: Pool, number: str) -> Response:
    """One decision in full."""
    return render(request, deps, who, "pool_decision.html", pool=pool.name, **chosen(pool, deps, number))


def chosen(pool: Found, deps: ApiDeps, number: str) -> dict[str, Any]:
    """The parts of a page that shows a decision: `explained` and why there is none."""
    asked = _number(number)
    if asked is None:
        return {"explained": None, "unexplained": f"{number[:40]!r} is no number of a decision." if number else ""}
    try:
        return {"explained": explained(pool.view, deps, asked), "unexplained": ""}
    except Problem as problem:
        return {"explained": None, "unexplained": str(problem.detail)}
    except StorageError as error:
        return {"explained": None, "unexplained": str(error)}
