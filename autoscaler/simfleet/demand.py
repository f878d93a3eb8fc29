"""What the pools of a simulated fleet are asked for: days that are so short that something happens each minute."""

from __future__ import annotations

import math
import zlib
from dataclasses import dataclass, field

import numpy as np

DAY_S = 600.0
"""A day of demand takes ten minutes."""
STEP_S = 20.0
"""How long the same noise lasts."""
NIGHTLY = ("batch", "night", "train")
"""Pools of these names work at night only."""


@dataclass(slots=True)
class Day:
    """Requests per second of one pool by the fleet's own time: a day with its peak in the afternoon and a smaller one
    in the morning, noise around it, and what surges add.

    low, high: requests per second at night and at the peak. nightly: nothing at all by day instead.
    """

    pool: str
    seed: int
    low: float
    high: float
    nightly: bool = False
    surge_until_s: float = -math.inf
    _phase_s: float = field(init=False)
    _drawn: tuple[int, float, float] = (-1, 0.0, 0.0)

    def __post_init__(self) -> None:
        rng = np.random.default_rng([self.seed, zlib.crc32(self.pool.encode())])
        # Every pool begins somewhere in its morning, so that each grows soon and none at the same moment.
        self._phase_s = DAY_S * (0.22 + 0.16 * float(rng.random()))
        if self.nightly:
            self._phase_s += 0.45 * DAY_S

    def __call__(self, at_s: float) -> float:
        """Requests per second, never negative."""
        share = ((at_s + self._phase_s) % DAY_S) / DAY_S
        if self.nightly:
            rate = self.high * max(0.0, math.sin(math.pi * (share / 0.45))) if share < 0.45 else 0.0
        else:
            afternoon = math.exp(-(((share - 0.60) / 0.13) ** 2))
            morning = 0.55 * math.exp(-(((share - 0.38) / 0.07) ** 2))
            rate = self.low + (self.high - self.low) * min(1.0, afternoon + morning)
        surge = 1.7 if at_s < self.surge_until_s else 1.0
        return rate * surge * self._noise(at_s)

    def _noise(self, at_s: float) -> float:
        """Two neighbouring draws, blended: demand does not jump when one ends."""
        step, share = divmod(at_s / STEP_S, 1.0)
        if self._drawn[0] != int(step):
            self._drawn = (int(step), self._draw(int(step)), self._draw(int(step) + 1))
        _, here, there = self._drawn
        return max(0.2, 1.0 + 0.06 * ((1 - share) * here + share * there))

    def _draw(self, step: int) -> float:
        return float(np.random.default_rng([self.seed, zlib.crc32(self.pool.encode()), step % 2**32]).standard_normal())
