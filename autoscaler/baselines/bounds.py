"""Sizes that are known beforehand: the clairvoyant's, and a peak that never moves."""

from __future__ import annotations

import bisect
from dataclasses import dataclass

from autoscaler.baselines.seen import Seen


@dataclass(slots=True)
class Planned:
    """A size for each time, in force from there on. at_s: (time,) ascending. sizes: (time,)."""

    at_s: tuple[float, ...]
    sizes: tuple[int, ...]
    period_s: float = 15.0
    window_s: float = 60.0

    def want(self, seen: Seen) -> int:
        place = bisect.bisect_right(self.at_s, seen.now) - 1
        return self.sizes[place] if place >= 0 else seen.size
