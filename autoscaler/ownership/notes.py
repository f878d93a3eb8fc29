"""Changes in words: what happened, what follows, and what a person can do about it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from autoscaler.ownership.changes import OVERRIDE, Change
from autoscaler.ruleset import RuleSet
from autoscaler.types import HandKind, Instance, Override, Owned

NAMED = 5


@dataclass(frozen=True, slots=True)
class Note:
    """One fact, told once. about: how many instances."""

    kind: HandKind | Literal["adopted", "override"]
    text: str
    about: int = 0


def notes_on(rules: RuleSet, change: Change) -> list[Note]:
    """Each kind of change in one sentence, with what to do about it."""
    adopts, after_s = rules.ownership.adopt_for_s is not None, rules.ownership.orphan_after_s
    found = []
    if change.gone:
        text = (
            "gone, and nobody here ended it: ended by hand, or its tags were removed. What the pool needs is replaced. "
            "A machine without its tags still runs and costs: look for its id at its provider, tag it again or end it"
        )
        found.append(Note("removed", f"{_few([*change.gone])}: {text}", len(change.gone)))
    if change.leaving:
        text = f"{named(change.leaving)}: being stopped or ended, and not by us. What the pool needs is replaced"
        found.append(Note("removed", text, len(change.leaving)))
    if change.stopped:
        then = "left alone for a while" if adopts else "started again when it is needed"
        found.append(Note("stopped", f"{named(change.stopped)}: stopped by hand, {then}", len(change.stopped)))
    if change.started:
        found.append(Note("added", f"{named(change.started)}: started by hand", len(change.started)))
    if change.added:
        found.append(Note("added", f"adopted {named(change.added)}, tagged by hand", len(change.added)))
    if change.strange:
        then = "it stays" if after_s is None else f"ended after {after_s:.0f} s unless the pool needs it by then"
        text = f"{named(change.strange)}: carries our tags, and the journal does not know its launch; {then}"
        found.append(Note("orphans", text, len(change.strange)))
    return found


def verdicts(owned: Owned, kept: Sequence[Instance], orphans: Sequence[Instance]) -> list[Note]:
    """What became of instances whose grace is over."""
    found = []
    if kept:
        text = f"adopted {named(kept)}: the journal does not know its launch, and its pool keeps it"
        found.append(Note("adopted", text, len(kept)))
    new = [i for i in orphans if i.id not in owned.swept]
    if new:
        text = f"{named(new)}: an orphan. The journal does not know its launch, nobody needs it, its grace is over"
        found.append(Note("orphans", text, len(new)))
    return found


def adopted(o: Override) -> Note:
    """A change that became an override."""
    how = f"sigmascale override end {o.pool} --id {OVERRIDE} ends it sooner"
    return Note("override", f"taken for a person's word: a {o.kind} of {o.replicas}; {how}")


def named(some: Sequence[Instance]) -> str:
    """Ids in words, the first few of many."""
    return _few([i.id for i in some])


def _few(ids: Sequence[str]) -> str:
    rest = f" and {len(ids) - NAMED} more" if len(ids) > NAMED else ""
    return ", ".join(ids[:NAMED]) + rest
