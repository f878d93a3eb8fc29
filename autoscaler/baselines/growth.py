"""Last value times its own growth quantile: the simplest forecast that scaling can use, and the bar for our own law."""

from __future__ import annotations

import math
from dataclasses import dataclass, field

import numpy as np

from autoscaler.baselines.behaviour import Extreme
from autoscaler.baselines.seen import ROUNDING, Seen

SAMPLE_S = 60.0
LEVEL_SAMPLES = 2
UNKNOWN_GROWTH = 1.3
LEAST_SAMPLES = 720


@dataclass(slots=True)
class Growth:
    """Level of two minutes x the `quantile` of max(demand over one boot) / level in the last week, over a capacity.

    1.3 stands in until half a day was seen. Learned anew each hour. Scale-in is held for one boot. Without data the
    size stays.
    """

    quantile: float = 0.95
    target: float = 1.0
    history_s: float = 7 * 86_400.0
    refresh_s: float = 3600.0
    period_s: float = 15.0
    window_s: float = 120.0
    _factor: float = field(init=False, default=UNKNOWN_GROWTH)
    _made_at: float = field(init=False, default=-math.inf)
    _hold: Extreme | None = field(init=False, default=None)

    def want(self, seen: Seen) -> int:
        if math.isnan(seen.demand):
            return seen.size
        if seen.now - self._made_at >= self.refresh_s:
            self._made_at = seen.now
            self._factor = self._learned(seen)
        if self._hold is None:
            self._hold = Extreme(max(seen.boot_s, self.period_s))
            self._hold.add(seen.now, seen.size)
        wanted = math.ceil(seen.load * self._factor / self.target - ROUNDING)
        return self._hold.add(seen.now, wanted)

    def _learned(self, seen: Seen) -> float:
        ahead = math.ceil((seen.boot_s + seen.past.tick_s) / SAMPLE_S)
        _, rates = seen.past.steps(SAMPLE_S, round(self.history_s / SAMPLE_S))
        if len(rates) < max(LEAST_SAMPLES, ahead + LEVEL_SAMPLES):
            return UNKNOWN_GROWTH
        level = (rates[:-ahead] + np.append(rates[:1], rates[: -ahead - 1])) / LEVEL_SAMPLES
        peak = np.lib.stride_tricks.sliding_window_view(rates[1:], ahead).max(axis=1)
        known = level > 0
        return float(np.quantile(peak[known] / level[known], self.quantile)) if known.any() else UNKNOWN_GROWTH
