"""Counters of the driver: what they rose by, though they wrap and are reset."""

from __future__ import annotations

import math
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class Step:
    """total: the counter without its wraps; falls only at a reset. per_second: NaN at the first look, after a reset,
    and without time in between."""

    total: float
    per_second: float


@dataclass(eq=False)
class Counter:
    """One counter, looked at again and again. most_per_second: no source is faster, in the counter's unit.

    A fall is a wrap when the way over the counter's end is one that the source can have made; else the driver was
    reloaded or the GPU reset, and the counter starts anew. A counter so narrow that it may have gone all the way round
    since the last look tells nothing.
    """

    most_per_second: float
    _raw: int = field(default=0, init=False)
    _at: float = field(default=-math.inf, init=False)
    _wrapped: int = field(default=0, init=False)

    def step(self, raw: int, at: float, bits: int) -> Step:
        """The counter at time `at` (seconds of any clock that only rises); bits: how wide it is."""
        last, elapsed_s = self._raw, at - self._at
        first = math.isinf(self._at)
        self._raw, self._at = raw, at
        if first:
            return Step(float(raw), math.nan)
        span = 1 << bits
        possible = self.most_per_second * max(elapsed_s, 0.0)
        if possible >= span:
            return Step(math.nan, math.nan)
        rise = raw - last
        if rise < 0:
            if rise + span > possible:
                self._wrapped = 0
                return Step(float(raw), math.nan)
            rise += span
            self._wrapped += span
        return Step(float(raw + self._wrapped), rise / elapsed_s if elapsed_s > 0 else math.nan)
