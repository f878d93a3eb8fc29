"""Rollbacks: a pool goes back to the size before a bad decision, for a while, and the journal says which one."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import structlog
from fastapi import APIRouter

from autoscaler import units
from autoscaler.api.auth import Operator
from autoscaler.api.deps import ApiDeps, Deps, View
from autoscaler.api.ends import Faults, end_of
from autoscaler.api.operations_models import History, MoveView, RollbackIn, RollbackView
from autoscaler.api.preconditions import WRITING
from autoscaler.api.problems import Problem, documented
from autoscaler.operations.undoing import Way, moves, rules_changed, told, waiting, way_back
from autoscaler.ruleset import RuleSet
from autoscaler.types import Decision, Override, Undone
from autoscaler.words import instant, seconds

LOOKED_AT = 500
"""Journalled decisions that are searched: at rest there is one every five minutes."""
SHOWN = 10
NAME = "rollback"

log = structlog.get_logger(__name__)
router = APIRouter(tags=["operations"], responses=documented(401, 403, 404, 422, 503))


@router.get("/pools/{pool}/rollback")
def show_rollbacks(view: View, deps: Deps) -> History:
    """The last changes of size, and what was rolled back."""
    pool = view.rules.pool
    found = deps.journal.decisions(pool, limit=LOOKED_AT)
    return History(
        pool=pool,
        want=view.decision.want if view.decision is not None else None,
        moves=_moves(found),
        rollbacks=list(deps.journal.operations.undone(pool, SHOWN)),
    )


@router.post("/pools/{pool}/rollback", responses=documented(400, 409, 413))
def roll_back(view: View, deps: Deps, caller: Operator, body: RollbackIn) -> RollbackView:
    """Bound the pool by its size before a bad decision: from below after a scale-in, from above after a scale-out."""
    now, rules = deps.clock.now(), deps.rulebook.current().get(view.rules.pool, view.rules)
    faults: Faults = []
    until = end_of(body.until, body.for_, now, faults)
    before_s = _ago(body, faults)
    if faults:
        raise Problem(422, "; ".join(f"{where}: {text}" for where, text in faults), faults)
    found = deps.journal.decisions(rules.pool, limit=LOOKED_AT)
    if view.decision is not None and (not found or view.decision.number > found[0].number):
        found = [view.decision, *found]
    if not found:
        raise Problem(409, f"pool {rules.pool!r} has decided nothing yet, so there is nothing to undo")
    past, last = _past(deps, rules, body.to, before_s, found), found[0]
    way = way_back(rules, past, [d for d in reversed(found) if d.number > past.number], last)
    if isinstance(way, str):
        raise Problem(409, way)
    queue = waiting(rules, last)
    if way.kind == "ceiling" and queue and not (body.force or body.dry_run):
        rule = "users wait, and at most " + f"{way.replicas} replicas would make them wait longer ({queue})"
        raise Problem(409, f"{rule}; repeat with force if the measurement is what is wrong")
    undone = Undone(
        pool=rules.pool,
        at=now,
        decision=way.undoes,
        back_to=past.number,
        override=NAME,
        kind=way.kind,
        replicas=way.replicas,
        until=until,
        author=body.author.strip(),
        reason=body.reason.strip(),
        rules_then=past.rules_hash,
        rules_now=rules.hash,
    )
    override = None if body.dry_run else _carry_out(deps, undone, caller.name)
    return RollbackView(
        undone=undone,
        override=override,
        text=_text(way, last, until, queue),
        rules_changed=rules_changed(rules, past),
        moves=_moves(found),
    )


def _carry_out(deps: ApiDeps, undone: Undone, token: str) -> Override:
    override = Override(
        id=NAME,
        pool=undone.pool,
        kind=undone.kind,
        until=undone.until,
        author=undone.author,
        reason=f"decision {undone.decision} undone: {undone.reason}"[:500],
        replicas=undone.replicas,
        created_at=undone.at,
    )
    # What was meant is written before it acts, as with every action.
    deps.journal.operations.put_undone(undone)
    with WRITING:
        deps.journal.put_override(override)
    about = {"pool": undone.pool, "decision": undone.decision, "kind": undone.kind, "replicas": undone.replicas}
    log.info("rolled back", **about, author=undone.author, reason=undone.reason, token=token)
    deps.board.wake.set()
    return override


def _ago(body: RollbackIn, faults: Faults) -> float | None:
    if body.to is not None and body.before is not None:
        faults.append(("to", "to and before are both given; give one of the two"))
    if body.before is None:
        return None
    try:
        found = units.duration_s(body.before)
    except ValueError as error:
        faults.append(("before", str(error)))
        return None
    if found <= 0:
        faults.append(("before", f"{body.before} is now; give a longer time, such as 10m"))
    return found


def _past(deps: ApiDeps, rules: RuleSet, to: int | None, before_s: float | None, found: Sequence[Decision]) -> Decision:
    """The decision whose size was right. Raises Problem when the journal does not know it."""
    journal, pool, now = deps.journal, rules.pool, deps.clock.now()
    if to is not None:
        past = next((d for d in found if d.number == to), None) or journal.decision(pool, to)
        if past is None:
            older = journal.decisions(pool, before=to, limit=1)
            hint = f"the last one before it is {older[0].number}" if older else _begins(deps, pool)
            raise Problem(404, f"decision {to} of pool {pool!r} has no row of its own in the journal; {hint}")
        return past
    if before_s is not None:
        at = now - before_s
        ago = journal.decisions(pool, until=at + 1e-6, limit=1)
        if not ago:
            raise Problem(404, f"{seconds(before_s)} ago is before the journal of pool {pool!r}; {_begins(deps, pool)}")
        return ago[0]
    for later, earlier in pairwise(found):
        if later.want != earlier.want:
            return earlier
    changed = next((d for d in found if d.want != d.current), None)
    if changed is None:
        raise Problem(409, f"the size of pool {pool!r} has not changed since its journal began; {_begins(deps, pool)}")
    raise Problem(409, f"decision {changed.number} changed the size, and none is known from before; use an override")


def _begins(deps: ApiDeps, pool: str) -> str:
    first = deps.journal.operations.first_decision(pool)
    return "it has none" if first is None else f"its first one is decision {first[0]} of {instant(first[1])}"


def _moves(found: Sequence[Decision]) -> list[MoveView]:
    shown = moves(found)[:SHOWN]
    return [MoveView(number=m.number, at=m.at, before=m.before, after=m.after, why=m.why) for m in shown]


def _text(way: Way, last: Decision, until: float, queue: str) -> str:
    text = told(way, last, until)
    return f"{text}; {queue}" if queue and way.kind == "ceiling" else text
