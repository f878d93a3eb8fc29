"""A tick's work on ownership: what changed, what it means, and what is remembered of it.

What a person adds or starts becomes a floor, for a while. What a person removes or stops becomes a ceiling, for a
while, if what is left is enough for all that was asked for; otherwise it is replaced. A ceiling of that kind ends as
soon as anything asks for more: no guess of ours about a person's wish may keep a loaded pool small.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal

from autoscaler.ownership import notes
from autoscaler.ownership.changes import (
    AUTHOR,
    IN_SIZE,
    OVERRIDE,
    Change,
    Sight,
    changed,
    done_by_us,
    ordered,
    renewed,
    seen,
)
from autoscaler.ownership.notes import Note, named
from autoscaler.planner.orphans import judged
from autoscaler.ruleset import RuleSet
from autoscaler.types import Fleet, HandKind, Memory, Notice, Override, Owned

TOLD_S = 3600.0
"""How long a change is told that is not adopted."""
TOLD: tuple[HandKind, ...] = ("removed", "stopped", "added", "orphans")


@dataclass(frozen=True, slots=True)
class Followed:
    """What a tick goes on with. put: the override to write. ended: why the one of before is over, empty = it is not."""

    owned: Owned
    overrides: tuple[Override, ...] = ()
    notes: tuple[Note, ...] = ()
    put: Override | None = None
    ended: str = ""


def follow(rules: RuleSet, memory: Memory, reported: Fleet, sight: Sight) -> Followed:
    """The pool's instances sorted by whose they are, and what a person did to them. reported: without open intents."""
    owned = done_by_us(memory.owned, sight)
    if owned.at is None:
        return _first(owned, reported, sight)
    change = changed(rules, owned, reported, sight)
    owned = renewed(owned, reported, change, sight)
    found = notes.notes_on(rules, change)
    owned = _sorted_out(rules, replace(memory, owned=owned), reported, sight, found)
    put, ended = _meant(rules, memory, reported, change, sight)
    overrides = sight.overrides
    if put is not None or ended:
        found.append(notes.adopted(put) if put is not None else Note("override", ended))
        overrides = (*(o for o in overrides if o.id != OVERRIDE), *((put,) if put is not None else ()))
    if change.stopped and rules.ownership.adopt_for_s is not None:
        until = sight.now + rules.ownership.adopt_for_s
        owned = replace(owned, aside={**owned.aside, **{i.id: until for i in change.stopped}})
    return Followed(_noticed(owned, rules, found, sight.now), overrides, tuple(found), put, ended)


def _first(owned: Owned, reported: Fleet, sight: Sight) -> Followed:
    """Nothing is remembered: all that is there belongs to the pool."""
    if sight.launches is None:
        return Followed(owned, sight.overrides)
    owned = replace(owned, at=sight.now, seen=seen(reported))
    found = [i for i in reported.instances if i.action not in sight.launches]
    text = f"adopted {named(found)}: they carry our tags, and the journal knows nothing of them"
    return Followed(owned, sight.overrides, (Note("adopted", text, len(found)),) if found else ())


def _sorted_out(rules: RuleSet, memory: Memory, reported: Fleet, sight: Sight, found: list[Note]) -> Owned:
    """What becomes of strange instances whose grace is over; adds what there is to tell of them."""
    owned = memory.owned
    if not owned.strange and not owned.swept:
        return owned
    kept, orphans = judged(rules, memory, reported, ordered(reported, sight), sight.started_at, sight.now)
    found += notes.verdicts(owned, kept, orphans)
    over = {i.id for i in (*kept, *orphans)}
    strange = {k: since for k, since in owned.strange.items() if k not in over}
    return replace(owned, strange=strange, swept=tuple(i.id for i in orphans))


def _meant(
    rules: RuleSet, memory: Memory, reported: Fleet, change: Change, sight: Sight
) -> tuple[Override | None, str]:
    """The override that a change becomes, and why the one of before ends."""
    size = sum(i.replicas for i in reported.instances if i.state in IN_SIZE) + ordered(reported, sight)
    others = [o for o in sight.overrides if o.id != OVERRIDE]
    # Whoever pinned or froze the pool has said what it should be.
    if memory.want is not None and not any(o.kind in ("pin", "freeze") for o in others):
        grown = [i for i in (*change.added, *change.started) if i.state in IN_SIZE]
        floor = min(size, rules.bounds.max)
        if grown and floor > memory.want:
            return _override(rules, "floor", floor, sight.now, f"{named(grown)} came by a person's hand"), ""
        enough = sight.asked is not None and sight.asked <= size
        # Across a gap in observation nobody knows whose hand it was.
        unbroken = memory.watched_since is not None and (memory.owned.at or 0.0) >= memory.watched_since
        if change.lost and enough and unbroken and rules.bounds.min <= size < memory.want:
            why = f"{change.lost} left by a person's hand, and no more than {sight.asked} were asked for"
            return _override(rules, "ceiling", size, sight.now, why), ""
    mine = next((o for o in sight.overrides if o.id == OVERRIDE and o.author == AUTHOR), None)
    if mine is None or mine.replicas is None:
        return None, ""
    if mine.kind == "ceiling" and sight.asked is not None and sight.asked > mine.replicas:
        return None, f"{sight.asked} replicas are asked for: the ceiling of {mine.replicas} that a person left is over"
    if mine.kind == "floor" and change.lost and size < mine.replicas:
        return None, f"a person took back what the floor of {mine.replicas} was for: it is over"
    return None, ""


def _override(
    rules: RuleSet, kind: Literal["floor", "ceiling"], replicas: int, now: float, why: str
) -> Override | None:
    lasts_s = rules.ownership.adopt_for_s
    if lasts_s is None:
        return None
    return Override(OVERRIDE, rules.pool, kind, now + lasts_s, AUTHOR, why, replicas, created_at=now)


def _noticed(owned: Owned, rules: RuleSet, found: Sequence[Note], now: float) -> Owned:
    """What people hear of until its time is over. A second change of a kind takes the place of the first."""
    until = now + (rules.ownership.adopt_for_s or TOLD_S)
    told = {kind: Notice(n.text, until) for kind in TOLD for n in found if n.kind == kind}
    return replace(owned, notices={**owned.notices, **told}) if told else owned
