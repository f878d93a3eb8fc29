"""What a peer's policy sees when its turn comes, and what a policy is."""

from __future__ import annotations

import math
from array import array
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

Values = NDArray[np.float64]

SERVICE_S = 2.0
"""How long work is in service in a back-test. It sets what a fully used replica has in flight (capacity x this), which
is all that policies on concurrency need to know."""


ROUNDING = 1e-4
"""Replicas that are nothing: a store keeps values to seven digits, and a full pool would ask for one more by chance."""


class Past:
    """The demand of all ticks so far, as one running sum, so that a mean over any window costs two look-ups."""

    __slots__ = ("tick_s", "totals")

    def __init__(self, tick_s: float) -> None:
        self.tick_s = tick_s
        self.totals = array("d", [0.0])

    def add(self, rate: float) -> None:
        """One more tick of this much work per second; when it is not known (NaN) the tick before counts again."""
        if math.isnan(rate):
            rate = self.mean(self.tick_s) if len(self.totals) > 1 else 0.0
        self.totals.append(self.totals[-1] + rate * self.tick_s)

    def mean(self, window_s: float) -> float:
        """Work per second over the last `window_s`, in whole ticks, at least one; NaN before the first one ended."""
        last = len(self.totals) - 1
        if last == 0:
            return math.nan
        ticks = min(max(1, round(window_s / self.tick_s)), last)
        return (self.totals[last] - self.totals[last - ticks]) / (ticks * self.tick_s)

    def steps(self, step_s: float, count: int) -> tuple[int, Values]:
        """The newest whole steps, at most `count`: the number of the first one, and (step,) work per second."""
        ticks = max(1, round(step_s / self.tick_s))
        whole = (len(self.totals) - 1) // ticks
        first = max(0, whole - count)
        return first, np.diff(np.array(self.totals[first * ticks : whole * ticks + 1 : ticks])) / (ticks * self.tick_s)


@dataclass(frozen=True, slots=True)
class Seen:
    """A pool at one time.

    demand: work per second over the policy's own window. busy_ratio: share of ready capacity in use, which clips at 1.
    waiting: work in the queue. in_flight: work in service or waiting. Any of them is NaN when it is not known. size:
    ready and pending. capacity: work per second of one replica. boot_s: from order to serving. past: valid until the
    next tick.
    """

    now: float
    demand: float
    busy_ratio: float
    waiting: float
    in_flight: float
    ready: int
    pending: int
    size: int
    capacity: float
    boot_s: float
    past: Past

    @property
    def load(self) -> float:
        """Demand in replicas' worth of work."""
        return self.demand / self.capacity


class Policy(Protocol):
    """A peer's law as a small state machine: asked every `period_s`, or at each tick when that is longer.

    It is a dataclass: its settings are fields with the peer's defaults, what it remembers are fields that the
    constructor does not take, so that `dataclasses.replace` gives a fresh one.
    """

    @property
    def period_s(self) -> float: ...

    @property
    def window_s(self) -> float:
        """What `Seen.demand` is a mean over."""
        ...

    def want(self, seen: Seen) -> int:
        """The size that it asks for, ready and pending; the pool's bounds are applied to it by whoever asks."""
        ...
