"""Deciding: proposals, judgements, a person's overrides, alerts, and the decision with its reasons."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Literal

from autoscaler.types.seen import Labels, Reading


@dataclass(frozen=True, slots=True)
class Reason:
    """One step on the way to a decision or plan: who set which number of replicas, and why."""

    source: str
    replicas: int
    text: str


Sense = Literal["raise", "size", "lower", "hold", "floor", "ceiling"]


@dataclass(frozen=True, slots=True)
class Proposal:
    """What one rule asks for before anything is weighed against anything else.

    raise: at least this many. size: exactly what the demand needs, may lower. lower: this few. hold: the rule cannot
    judge, nothing may shrink. floor, ceiling: the bounds of the pool while a schedule lasts. until: when the rule will
    ask for something else whatever is measured; None = it depends on what is measured.
    """

    source: str
    sense: Sense
    replicas: int
    text: str
    until: float | None = None


@dataclass(frozen=True, slots=True)
class Judged:
    """One leaf condition after judgement. `met` is None when it could not be judged."""

    key: str
    signal: str
    met: bool | None
    value: float | None
    lower: float | None
    upper: float | None
    text: str


@dataclass(frozen=True, slots=True)
class Verdict:
    """A rule's whole condition after judgement.

    met: now, None = cannot be judged. since, at: time of the oldest and of the newest sample that proves it.
    held: met for as long as the rule wants.
    """

    rule: str
    met: bool | None
    held: bool
    since: float | None
    at: float | None
    text: str


@dataclass(frozen=True, slots=True)
class Burst:
    """A burst under way: since when, the most replicas it asked for, and when demand was last over the mark."""

    since: float
    high_water: int
    last_over_at: float


Direction = Literal["out", "in", "both"]


@dataclass(frozen=True, slots=True)
class Override:
    """A person's word over a pool until `until`: pin, floor or ceiling to `replicas`; freeze; pause one direction."""

    id: str
    pool: str
    kind: Literal["pin", "floor", "ceiling", "freeze", "pause"]
    until: float
    author: str
    reason: str
    replicas: int | None = None
    direction: Direction = "both"
    created_at: float = 0.0


AlertState = Literal["inactive", "pending", "firing", "resolved"]
Severity = Literal["info", "warning", "critical"]


@dataclass(frozen=True, slots=True)
class Alert:
    """One alert of a pool. `since` is when it entered its state; `notified_at` when receivers last heard of it.

    started_at: when it began to fire. calm_since: since when a firing one is calm again and only kept firing.
    """

    key: str
    pool: str
    name: str
    severity: Severity
    state: AlertState
    since: float
    text: str
    labels: Labels = ()
    value: float | None = None
    started_at: float | None = None
    notified_at: float | None = None
    calm_since: float | None = None


@dataclass(frozen=True, slots=True)
class Decision:
    """How many replicas a pool should have, and every step that led there; the last reason's count is `want`.

    `current` is the size in force before; `recommended` what the rules and the burst guard ask for before a person or
    a limit on movement has a say; `next_change_at` is when the last limit that held the number back lets go, None when
    nothing holds it back or what does has no known end. `commanded`: a person's override set the number. `blind`: the
    fleet is not known, so nothing was decided.
    """

    pool: str
    number: int
    at: float
    current: int
    want: int
    ready: int
    pending: int
    reasons: tuple[Reason, ...]
    proposals: tuple[Proposal, ...] = ()
    readings: Mapping[str, Reading] = field(default_factory=dict)
    judged: tuple[Judged, ...] = ()
    verdicts: tuple[Verdict, ...] = ()
    recommended: int = 0
    burst: Burst | None = None
    idle_since: float | None = None
    commanded: bool = False
    blind: bool = False
    rules_hash: str = ""
    versions: Mapping[str, str] = field(default_factory=dict)
    next_change_at: float | None = None

    def then(self, source: str, replicas: int, text: str, until: float | None = None) -> Decision:
        """This decision after one more step, which holds until then; what held an earlier number is history."""
        held_until = until if replicas != self.want or until is not None else self.next_change_at
        reasons = (*self.reasons, Reason(source, replicas, text))
        return replace(self, want=replicas, reasons=reasons, next_change_at=held_until)

    @property
    def signature(self) -> tuple[object, ...]:
        """What makes a decision worth a journal row of its own: its result and who led to it."""
        return (self.want, self.rules_hash, tuple((r.source, r.replicas) for r in self.reasons))
