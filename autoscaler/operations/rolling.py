"""A roll: every old instance of a pool is replaced, a few at a time, and it stops when a new one does not serve.

Called once a tick, before the plan. What it remembers is in the pool's memory, which is journalled with the tick: a
crash in the middle goes on where it was. The planner orders the successors and drains who leaves (`replacing.py`).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from autoscaler.planner.patience import overdue
from autoscaler.planner.replacing import is_old, made_now, windows_of
from autoscaler.ruleset import RuleSet
from autoscaler.types import Instance, Memory, Roll, Rolling, RollState, World
from autoscaler.windows import next_open, open_until
from autoscaler.words import counted, instant, seconds

HOUR_S = 3600.0
ENDED: tuple[RollState, ...] = ("done", "failed", "aborted")
THERE = ("ready", "pending", "warm", "draining")


@dataclass(frozen=True, slots=True)
class _Seen:
    """The pool as a roll sees it. old: what it replaces, without what is cordoned. new: everything else that came since
    or is of the settings of now. cordoned: old ones that it leaves alone."""

    old: tuple[Instance, ...]
    new: tuple[Instance, ...]
    cordoned: frozenset[str]


def follow(rules: RuleSet, memory: Memory, world: World) -> Memory:
    """The memory with what the roll learned from the fleet, and who is to leave now.

    A fleet that is not known, or not of now, moves nothing.
    """
    roll, before = world.roll, memory.rolling
    if roll is None:
        if before is None or before.state in ENDED:
            return memory
        return replace(memory, rolling=_ended(before, "aborted", "taken back", world.now))
    if before is None or before.roll != roll.id:
        before = Rolling(roll.id)
    fleet = world.fleet
    blind = fleet is None or fleet.observed_at < world.now - rules.patience_s
    if before.state != "running" or fleet is None or blind:
        return replace(memory, rolling=before)
    held = {m.instance for m in world.marks.values() if m.kind == "cordon" and m.until > world.now}
    made = made_now(rules)
    old = [i for i in fleet.instances if i.state in THERE and is_old(made, roll, i)]
    names = {i.id for i in old}
    seen = _Seen(
        old=tuple(i for i in old if i.id not in held),
        new=tuple(i for i in fleet.instances if i.id not in names and i.state != "stopping"),
        cordoned=frozenset(i.id for i in old if i.id in held),
    )
    return replace(memory, rolling=_next(rules, roll, before, seen, memory, world.now))


def _next(rules: RuleSet, roll: Roll, before: Rolling, seen: _Seen, memory: Memory, now: float) -> Rolling:
    here = {i.id for i in seen.old}
    r = replace(
        before,
        old=tuple(sorted(here)),
        gone=before.gone + len(set(before.old) - here - seen.cordoned),
        leaving=tuple(name for name in before.leaving if name in here),
        begun=tuple(at for at in before.begun if at > now - HOUR_S),
    )
    fault = _fault(rules, roll, before, seen, memory, now)
    if fault:
        return _ended(r, "paused" if roll.pause_on_failure else "failed", fault, now)
    r = _proven(r, roll, seen, now)
    if not here:
        left = f"; {len(seen.cordoned)} cordoned and left alone" if seen.cordoned else ""
        return _ended(r, "done", f"{counted(r.gone, 'instance')} replaced{left}", now)
    if now >= roll.until:
        return _ended(r, "failed", f"its end at {instant(roll.until)} came with {len(here)} left", now)
    return _begin(rules, roll, r, seen, memory, now)


def _fault(rules: RuleSet, roll: Roll, before: Rolling, seen: _Seen, memory: Memory, now: float) -> str:
    """Why new ones are no good, empty while nothing says so."""
    for i in seen.new:
        # What was bad before the roll began is no fault of it.
        if i.requested_at < roll.created_at:
            continue
        if i.state == "failed":
            return f"the new instance {i.id} failed: {i.detail or 'its provider does not say why'}"
        if overdue(rules, memory, i, now):
            return f"the new instance {i.id} does not serve {now - i.requested_at:.0f} s after it was ordered"
    vanished = sorted(set(before.young) - {i.id for i in (*seen.new, *seen.old)})
    if vanished:
        return f"the new instance {vanished[0]} was gone before it had served for {seconds(roll.canary_s)}"
    return ""


def _proven(r: Rolling, roll: Roll, seen: _Seen, now: float) -> Rolling:
    serving = [i for i in seen.new if i.state == "ready"]
    proven = any(now - i.since >= roll.canary_s for i in serving)
    young = tuple(sorted(i.id for i in serving if now - i.since < roll.canary_s and i.requested_at >= roll.created_at))
    return replace(r, young=young, proven_at=now if proven and r.proven_at is None else r.proven_at)


def _begin(rules: RuleSet, roll: Roll, r: Rolling, seen: _Seen, memory: Memory, now: float) -> Rolling:
    """More replacements, as far as windows and budgets allow, and what the rest waits for."""
    most = roll.max_surge + roll.max_unavailable if r.proven_at is not None else 1
    # A pending one may yet be needed and takes nobody's place; machines at rest come last, they serve nobody.
    serving = [i for i in seen.old if i.state == "ready" and i.id not in r.leaving]
    resting = [i for i in seen.old if i.state == "warm" and i.id not in r.leaving]
    busy = any(i.state in ("ready", "pending", "draining") for i in seen.old)
    waiting = sorted(serving, key=lambda i: (i.requested_at, i.id)) or ([] if busy else resting)
    groups = windows_of(rules, roll)
    if open_until(groups, now) is None:
        at = next_open(groups, now)
        when = f"until {instant(at)}" if at is not None else "and no window opens within eight days"
        return replace(r, text=f"{_count(r)}; waits {when}")
    left = min(most - len(r.leaving), roll.per_hour - len(r.begun))
    chosen = tuple(i.id for i in waiting[: max(0, left)])
    r = replace(r, leaving=(*r.leaving, *chosen), begun=(*r.begun, *(now for _ in chosen)))
    return replace(r, text=f"{_count(r)}; {_waits(roll, r, seen.new, now)}")


def _waits(roll: Roll, r: Rolling, new: Sequence[Instance], now: float) -> str:
    serving = [now - i.since for i in new if i.state == "ready"]
    if r.proven_at is None and serving:
        return f"the first new one has served for {seconds(max(serving))} of {seconds(roll.canary_s)}"
    if r.proven_at is None:
        return "waits for the first new one to serve"
    if not r.leaving and len(r.begun) >= roll.per_hour:
        return f"{roll.per_hour} an hour are the limit, next in {seconds(min(r.begun) + HOUR_S - now)}"
    return f"{', '.join(r.leaving)} {'leaves' if len(r.leaving) == 1 else 'leave'} when the others are enough"


def _count(r: Rolling) -> str:
    return f"{r.gone} of {r.gone + len(r.old)} replaced"


def _ended(r: Rolling, state: RollState, text: str, now: float) -> Rolling:
    whole = f"{text}; {len(r.old)} old ones stay as they are" if state in ("failed", "paused", "aborted") else text
    return replace(r, state=state, text=whole, leaving=(), young=(), ended_at=now)
