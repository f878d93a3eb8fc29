"""How a pool may move: its bounds, its paces, what an order may take, and what is kept warm. Part of a rule set."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from autoscaler.conditions import Condition


@dataclass(frozen=True, slots=True)
class Bounds:
    """Size and money limits of a pool. `max` is always given: refusing to run unbounded is part of the language."""

    min: int
    max: int
    usd_per_hour: float | None = None


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


@dataclass(frozen=True, slots=True)
class Flap:
    """At most `moves` changes of size per period, both directions together; past that a pool keeps its larger size."""

    moves: int = 60
    per_s: float = 3600.0


@dataclass(frozen=True, slots=True)
class LaunchLimits:
    """How long an order may take, how long an offer that could not be had rests, and how many orders an hour."""

    limit_s: float = 300.0
    register_s: float = 900.0
    shortage_s: float = 180.0
    shortage_max_s: float = 1800.0
    shortage_reset_s: float = 10800.0
    per_hour: int = 120


@dataclass(frozen=True, slots=True)
class WarmPool:
    """Machines kept ready but not serving."""

    min: int = 0
    size: Literal["fixed", "forecast"] = "fixed"
    state: Literal["stopped", "hibernated", "running"] = "stopped"
