"""Back to the size before a bad decision: which decision was bad, and which bound brings the pool back."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from autoscaler.ruleset import RuleSet
from autoscaler.types import Decision
from autoscaler.words import counted, instant

WAITING = "requests_waiting"


@dataclass(frozen=True, slots=True)
class Move:
    """A decision that changed the size, with the reason that set it."""

    number: int
    at: float
    before: int
    after: int
    why: str
    rules_hash: str


@dataclass(frozen=True, slots=True)
class Way:
    """How to undo: the decision that was bad, and the bound that undoes it.

    floor: after a scale-in, the pool is as large as before and may grow on. ceiling: after a scale-out, it is as small
    as before and may shrink on.
    """

    undoes: int
    kind: Literal["floor", "ceiling"]
    replicas: int


def moves(decisions: Sequence[Decision]) -> tuple[Move, ...]:
    """The decisions that changed the size, in the order given."""
    return tuple(
        Move(d.number, d.at, d.current, d.want, d.reasons[-1].text, d.rules_hash)
        for d in decisions
        if d.want != d.current
    )


def way_back(rules: RuleSet, past: Decision, since: Sequence[Decision], last: Decision) -> Way | str:
    """The way from the size of `last` to that of `past`, or why there is none.

    since: journalled decisions after `past`, oldest first.
    """
    if past.want == last.want:
        return (
            f"decision {past.number} wanted {past.want} and so does the last one, {last.number}: there is nothing to "
            "undo; name another with --to or --before"
        )
    bounds = rules.bounds
    if not bounds.min <= past.want <= bounds.max:
        return (
            f"decision {past.number} wanted {past.want}, outside of the bounds of {bounds.min} to {bounds.max} that "
            f"{rules.file or 'the rule file'} has now and that always hold; change them first"
        )
    bad = next((d.number for d in since if d.want != past.want), last.number)
    return Way(bad, "floor" if past.want > last.want else "ceiling", past.want)


def waiting(rules: RuleSet, last: Decision) -> str:
    """Who waits now, in words; empty when nobody is known to."""
    names = [s.name for s in rules.signals if s.metric == WAITING]
    found = [(n, last.readings[n].value) for n in names if n in last.readings]
    said = [f"{name} is {value:.4g}" for name, value in found if value]
    return ", ".join(said)


def told(way: Way, last: Decision, until: float) -> str:
    """What a rollback does and leaves as it is, in sentences."""
    undone = f"decision {way.undoes} is undone: at {'least' if way.kind == 'floor' else 'most'} {way.replicas} replicas"
    text = f"{undone} instead of {last.want}, until {instant(until)}"
    if way.kind == "ceiling" and last.recommended > way.replicas:
        text += f"; the rules ask for {counted(last.recommended, 'replica')} and are held back"
    return text


def rules_changed(rules: RuleSet, past: Decision) -> str:
    """What to know of the rules of then, empty when they are those of now."""
    if past.rules_hash in ("", rules.hash):
        return ""
    file = rules.file or "the rule file"
    return (
        f"the rules have changed since: {past.rules_hash} then, {rules.hash} now. The size goes back, the rules do "
        f"not, and the service keeps no old files: get the old one from version control (git log -p -- {file}); "
        "`sigmascale check FILE` prints the hash by which it is known"
    )
