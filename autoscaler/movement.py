"""How a pool may move: its bounds, its paces, what an order may take, and what is kept warm. Part of a rule set."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from autoscaler.conditions import Condition
from autoscaler.types import Labels
from autoscaler.windows import Window


@dataclass(frozen=True, slots=True)
class Bounds:
    """Size and money limits of a pool. `max` is always given: refusing to run unbounded is part of the language.

    usd_per_day: of a day in UTC. on_exceeded: whether a pool that costs more only stops growing, or shrinks.
    """

    min: int
    max: int
    usd_per_hour: float | None = None
    usd_per_day: float | None = None
    on_exceeded: Literal["hold", "shrink"] = "hold"


@dataclass(frozen=True, slots=True)
class BurstGuard:
    """Demand over the last `window_s` that asks for more than `ratio` times ready and pending replicas is a burst.

    While it lasts and until what it ordered has arrived, the size may only rise. Concept: Knative's panic mode, with
    pending replicas counted.
    """

    window_s: float = 30.0
    ratio: float = 2.0
    hold_s: float = 60.0


@dataclass(frozen=True, slots=True)
class ScaleOut:
    """Limits on growth. The rate allows max(replicas, percent of the size) more per `per_s`, and `max_move` at once."""

    window_s: float = 0.0
    tolerance: float = 0.10
    rate_replicas: int = 4
    rate_ratio: float = 1.0
    rate_per_s: float = 15.0
    max_move: int = 8
    burst: BurstGuard | None = BurstGuard()


@dataclass(frozen=True, slots=True)
class DrainHook:
    """What is called when an instance leaves routing: a URL or words of a command, whose fields are in braces.

    every_s: between two calls while its answers count requests in flight, and after a failure, doubling. header_files,
    header_variables: (header, where its value is).
    """

    url: str = ""
    words: tuple[str, ...] = ()
    timeout_s: float = 10.0
    every_s: float = 2.0
    header_files: Labels = ()
    header_variables: Labels = ()
    method: Literal["POST"] = "POST"


@dataclass(frozen=True, slots=True)
class ScaleIn:
    """Limits on shrinking, and how an instance leaves. `when` with `by` is the only way in without a target.

    `drain_s` is the longest a draining instance is waited for. `settle_s`: nothing in flight counts only when seen this
    long after the instance left the list of endpoints, since routers read that list with a delay.
    `to_zero_after_s`: how long the demand must be a true zero before the last replica goes (pools with min 0).
    """

    stabilization_s: float = 300.0
    tolerance: float = 0.10
    rate_replicas: int = 1
    rate_ratio: float = 0.10
    rate_per_s: float = 60.0
    cool_off_s: float = 600.0
    drain_s: float = 300.0
    settle_s: float = 5.0
    victim: Literal["least_in_flight", "newest", "oldest"] = "least_in_flight"
    when: Condition | None = None
    by: int = 1
    to_zero_after_s: float = 300.0
    hook: DrainHook | None = None


@dataclass(frozen=True, slots=True)
class Flap:
    """At most `moves` changes of size per period, both directions together; past that a pool keeps its larger size."""

    moves: int = 60
    per_s: float = 3600.0


@dataclass(frozen=True, slots=True)
class Disruption:
    """How a roll may go through the pool: so many instances missing or extra at once, so many begun an hour, only while
    a window is open (none = always). The first new one has to serve for `canary_s` before the next. rebalance: whether
    a machine that its cloud advises to move away from is replaced too."""

    max_unavailable: int = 0
    max_surge: int = 1
    per_hour: int = 30
    canary_s: float = 300.0
    windows: tuple[Window, ...] = ()
    rebalance: Literal["tell", "replace"] = "tell"


@dataclass(frozen=True, slots=True)
class Consolidation:
    """When machines that serve are replaced by cheaper ones: what is saved while they stay, `kept_s`, must be
    `min_ratio` times what the move costs; so many machines an hour at most."""

    min_ratio: float = 2.0
    per_hour: int = 8
    kept_s: float = 4 * 3600.0


@dataclass(frozen=True, slots=True)
class LaunchLimits:
    """How long an order may take, how long an offer that could not be had rests, and how many orders an hour.

    shortage_most: a shortage is over after so many were had in a row, or fewer if the pool never asked for as many at
    once. quota_s: a family of offers at its quota is tried again this often. Nothing of the pool is removed or replaced
    while more than `sick_count` and more than `sick_ratio` of its machines are sick; above `repair_ratio` one at a time
    is replaced.
    """

    limit_s: float = 300.0
    register_s: float = 900.0
    shortage_s: float = 180.0
    shortage_max_s: float = 1800.0
    shortage_reset_s: float = 10800.0
    per_hour: int = 120
    shortage_most: int = 16
    quota_s: float = 3600.0
    sick_ratio: float = 0.45
    sick_count: int = 3
    repair_ratio: float = 0.20


@dataclass(frozen=True, slots=True)
class Refill:
    """New machines for the warm pool: at most so many launches per `per_s`, which is at most an hour.

    between: only then; empty = whenever demand is not expected to rise.
    """

    machines: int = 1
    per_s: float = 600.0
    between: tuple[Window, ...] = ()


@dataclass(frozen=True, slots=True)
class WarmPool:
    """Machines kept ready but not serving; counts are replicas.

    keep_s: how long fewer must have been wanted before one leaves. max_age_s: an older machine is renewed.
    """

    min: int = 0
    size: Literal["fixed", "forecast"] = "fixed"
    state: Literal["stopped", "hibernated", "running"] = "stopped"
    max: int | None = None
    keep_s: float = 3600.0
    max_age_s: float | None = None
    refill: Refill = Refill()

    @property
    def given(self) -> bool:
        """Whether anybody asked for a warm pool; if not, machines that rest are left to whoever laid them to rest."""
        return self.size == "forecast" or self.min > 0 or self.max is not None


@dataclass(frozen=True, slots=True)
class Ownership:
    """What is made of changes that nobody here ordered.

    adopt_for_s: how long a person's change of the fleet stands as an override; None = it is only told. orphan_after_s:
    how long an instance whose launch the journal does not know is kept; None = for good.
    """

    adopt_for_s: float | None = 3600.0
    orphan_after_s: float | None = 900.0
