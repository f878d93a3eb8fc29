"""Rolls: the settings that a rule file has now go through a whole pool, a few instances at a time."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Annotated, TypeVar

import structlog
from fastapi import APIRouter, Query

from autoscaler import units
from autoscaler.api.auth import Operator
from autoscaler.api.deps import ApiDeps, Deps, View
from autoscaler.api.ends import Faults, end_of
from autoscaler.api.operations_models import RollIn, RollView, Said
from autoscaler.api.problems import Problem, documented
from autoscaler.board import PoolView
from autoscaler.operations.wishes import begun, refused
from autoscaler.types import Fleet, Roll, Rolling
from autoscaler.windows import window
from autoscaler.words import instant

ROLL_S = 86400.0
T = TypeVar("T")

log = structlog.get_logger(__name__)
router = APIRouter(tags=["operations"], responses=documented(401, 403, 404, 422, 503))

Author = Annotated[str, Query(min_length=1, max_length=100, pattern=r"\S")]
Reason = Annotated[str, Query(min_length=1, max_length=500, pattern=r"\S")]


@router.get("/pools/{pool}/roll")
def show_roll(view: View, deps: Deps) -> RollView:
    """The pool's roll and how far it is."""
    return shown(view, deps)


@router.post("/pools/{pool}/roll", status_code=201, responses=documented(400, 409, 413))
def start_roll(view: View, deps: Deps, caller: Operator, body: RollIn) -> RollView:
    """Replace every instance that is not of the rule file's present settings, within windows and budgets."""
    fleet = _known(view)
    before = shown(view, deps)
    if before.progress is None and before.roll is not None:
        raise Problem(409, f"a roll was begun at {instant(before.roll.created_at)}; wait for the next tick")
    if before.progress is not None and before.progress.state in ("running", "paused"):
        rule = "abort it with `sigmascale roll POOL --abort` before another is begun"
        raise Problem(409, f"a roll is {before.progress.state}: {before.progress.text}; {rule}")
    now = deps.clock.now()
    rules, roll = deps.rulebook.current().get(view.rules.pool, view.rules), _roll(view, body, now)
    why = refused(rules, roll, fleet, now)
    if why:
        raise Problem(409, why)
    _put(deps, roll, caller.name)
    return RollView(pool=roll.pool, roll=roll, progress=None, text=begun(rules, roll, fleet, now))


@router.post("/pools/{pool}/roll/resume", responses=documented(400, 409, 413))
def resume_roll(view: View, deps: Deps, caller: Operator, body: Said) -> RollView:
    """Go on with a roll that paused or failed: what was replaced stays, the first new one proves itself again."""
    _known(view)
    now, last = deps.clock.now(), shown(view, deps)
    if last.roll is None or last.progress is None or last.progress.state not in ("paused", "failed"):
        raise Problem(409, f"there is no roll to go on with: {last.text}")
    roll = replace(
        last.roll,
        id=f"roll-{now:.6f}",
        created_at=now,
        until=now + (last.roll.until - last.roll.created_at),
        author=body.author.strip(),
        reason=body.reason.strip(),
    )
    _put(deps, roll, caller.name)
    return RollView(pool=roll.pool, roll=roll, progress=None, text="it goes on at the next tick")


@router.delete("/pools/{pool}/roll", status_code=204, responses=documented(409))
def abort_roll(view: View, deps: Deps, caller: Operator, author: Author, reason: Reason) -> None:
    """Take a roll back: what was replaced stays new, what is old stays."""
    last, pool = shown(view, deps), view.rules.pool
    over = last.progress is not None and last.progress.state in ("done", "failed", "aborted")
    if over or not deps.journal.operations.end_roll(pool, author.strip(), reason.strip(), deps.clock.now()):
        raise Problem(409, f"no roll of pool {pool!r} is under way: {last.text}")
    log.info("roll aborted", pool=pool, author=author, reason=reason, token=caller.name)
    deps.board.wake.set()


def shown(view: PoolView, deps: ApiDeps) -> RollView:
    """The pool's roll and how far it is."""
    roll, last = deps.journal.operations.roll(view.rules.pool), view.rolling
    if roll is None:
        text = "no roll is under way" if last is None else f"no roll is under way; the last one: {_state(last)}"
        return RollView(pool=view.rules.pool, roll=None, progress=last, text=text)
    mine = last if last is not None and last.roll == roll.id else None
    text = _state(mine) if mine is not None else "it begins at the next tick"
    return RollView(pool=view.rules.pool, roll=roll, progress=mine, text=text)


def _state(last: Rolling) -> str:
    return f"{last.state}: {last.text}"


def _known(view: PoolView) -> Fleet:
    pool = view.rules.pool
    if view.rules.shadow_of:
        raise Problem(409, f"pool {pool!r} is imagined; roll {view.rules.shadow_of!r}")
    if view.fleet is None:
        raise Problem(503, f"the provider of pool {pool!r} has not reported its fleet yet; ask again soon")
    return view.fleet


def _roll(view: PoolView, body: RollIn, now: float) -> Roll:
    ruled = view.rules.disruption
    faults: Faults = []
    until = end_of(body.until, body.for_, now, faults, ROLL_S)
    canary_s = ruled.canary_s
    if body.canary is not None:
        canary_s = _read("canary", body.canary, units.duration_s, faults, canary_s)
    for n, text in enumerate(body.windows):
        _read(f"windows.{n}", text, window, faults, None)
    if faults:
        raise Problem(422, "; ".join(f"{where}: {text}" for where, text in faults), faults)
    return Roll(
        id=f"roll-{now:.6f}",
        pool=view.rules.pool,
        since=now,
        until=until,
        author=body.author.strip(),
        reason=body.reason.strip(),
        max_unavailable=ruled.max_unavailable if body.max_unavailable is None else body.max_unavailable,
        max_surge=ruled.max_surge if body.max_surge is None else body.max_surge,
        canary_s=canary_s,
        per_hour=ruled.per_hour if body.per_hour is None else body.per_hour,
        windows=tuple(body.windows),
        pause_on_failure=body.pause_on_failure,
        everything=body.everything,
        to=tuple(sorted(body.to.items())),
        created_at=now,
    )


def _read(where: str, text: str, reader: Callable[[str], object], faults: Faults, otherwise: T) -> T:
    try:
        return reader(text)  # type: ignore[return-value]
    except ValueError as error:
        faults.append((where, str(error)))
        return otherwise


def _put(deps: ApiDeps, roll: Roll, token: str) -> None:
    deps.journal.operations.put_roll(roll)
    log.info("roll", pool=roll.pool, id=roll.id, author=roll.author, reason=roll.reason, token=token)
    deps.board.wake.set()
