"""What people do to single instances and to whole pools: cordons, replacements, rolls and rollbacks."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

MarkKind = Literal["cordon", "replace"]
RollState = Literal["running", "paused", "done", "failed", "aborted"]


@dataclass(frozen=True, slots=True)
class Mark:
    """A person's word over one instance until `until`.

    cordon: out of routing and of all counts, kept for whoever looks at it. replace: a successor is ordered first, and
    when that serves this one drains and goes.
    """

    instance: str
    pool: str
    kind: MarkKind
    until: float
    author: str
    reason: str
    created_at: float = 0.0


@dataclass(frozen=True, slots=True)
class Roll:
    """A person's wish that every instance of a pool is of the settings that the rule file has now.

    since: instances that were ordered before and do not say what they were made of are old. everything: all that were
    ordered before are. to: settings that the rule file had when the wish was made. windows: as written, each must
    be open besides those of the rule file. canary_s: how long the first new one must serve before anything leaves.
    """

    id: str
    pool: str
    since: float
    until: float
    author: str
    reason: str
    max_unavailable: int = 0
    max_surge: int = 1
    canary_s: float = 300.0
    per_hour: int = 30
    windows: tuple[str, ...] = ()
    pause_on_failure: bool = False
    everything: bool = False
    to: tuple[tuple[str, str], ...] = ()
    created_at: float = 0.0


@dataclass(frozen=True, slots=True)
class Rolling:
    """How far a roll is; part of the pool's memory, so that a restart goes on where it was.

    leaving: instances whose successors are ordered or serve. begun: when replacements of the last hour began. old: the
    old instances that are there; gone: how many went since it began. proven_at: when the first new one had served for
    long enough. young: new ones that serve and have not served that long. text: what it waits for, or how it ended.
    """

    roll: str
    state: RollState = "running"
    text: str = ""
    leaving: tuple[str, ...] = ()
    begun: tuple[float, ...] = ()
    gone: int = 0
    old: tuple[str, ...] = ()
    young: tuple[str, ...] = ()
    proven_at: float | None = None
    ended_at: float | None = None


@dataclass(frozen=True, slots=True)
class Kinds:
    """Which settings of offers have served. rules: hash of the rules that this was compared with.

    made_of: offer -> fingerprint of its settings. unproven: offer -> since when it has settings of which nothing has
    served yet.
    """

    rules: str = ""
    made_of: Mapping[str, str] = field(default_factory=dict)
    unproven: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Undone:
    """A rollback: which decision it undoes, the size it goes back to, and the override that does it."""

    pool: str
    at: float
    decision: int
    back_to: int
    override: str
    kind: Literal["floor", "ceiling"]
    replicas: int
    until: float
    author: str
    reason: str
    rules_then: str = ""
    rules_now: str = ""
