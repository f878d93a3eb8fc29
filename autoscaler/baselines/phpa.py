"""Predictive HPA: a line or Holt-Winters through HPA's own results.

Source: jthomperoo/predictive-horizontal-pod-autoscaler, algorithms/linear_regression/linear_regression.py and
algorithms/holt_winters/holt_winters.py.
"""

from __future__ import annotations

import math
from collections import deque
from dataclasses import dataclass, field

from autoscaler.baselines.hpa import Hpa
from autoscaler.baselines.seen import ROUNDING, Seen


@dataclass(slots=True)
class PhpaLinear:
    """At least HPA's result, and what a straight line through the last `results` of them reaches `ahead_s` from now.

    ahead_s None = one boot. HPA here is that on demand; its windows and rates come after.
    """

    target: float = 0.7
    results: int = 40
    ahead_s: float | None = None
    tolerance: float = 0.1
    period_s: float = 15.0
    window_s: float = 60.0
    _hpa: Hpa = field(init=False)
    _results: deque[int] = field(init=False)
    _sum: int = field(init=False, default=0)
    _weighted: int = field(init=False, default=0)

    def __post_init__(self) -> None:
        self._hpa = Hpa(self.target, "demand", self.tolerance)
        self._results = deque(maxlen=self.results)

    def want(self, seen: Seen) -> int:
        raw = self._hpa.raw(seen)
        if raw is None:
            return seen.size
        step_s = max(self.period_s, seen.past.tick_s)
        ahead_s = seen.boot_s if self.ahead_s is None else self.ahead_s
        return self._hpa.limit(seen, max(raw, math.ceil(self._line(raw, ahead_s / step_s) - ROUNDING)))

    def _line(self, raw: int, ahead: float) -> float:
        """The least-squares line through the newest results with this one, `ahead` steps after it."""
        kept = self._results
        if len(kept) == kept.maxlen:
            # All that stay move one place down.
            self._sum -= kept[0]
            self._weighted -= self._sum
        self._weighted += raw * min(len(kept), self.results - 1)
        self._sum += raw
        kept.append(raw)
        count = len(kept)
        if count < 2:
            return float(raw)
        middle = (count - 1) / 2.0
        spread = count * (count * count - 1) / 12.0
        slope = (self._weighted - middle * self._sum) / spread
        return self._sum / count + slope * (count - 1 + ahead - middle)


@dataclass(slots=True)
class PhpaHoltWinters:
    """At least HPA's result and a Holt-Winters forecast of it one step ahead, additive in trend and season.

    One result is kept every `sample_s`; `season` of them make a season (a day by default, since the peer's season of
    six results is nothing that load has). It forecasts from max(2 s, 10 + 2 floor(s / 2)) results on. The
    recursion goes on from sample to sample, where the peer repeats it over the seasons that it stores.
    """

    target: float = 0.7
    alpha: float = 0.9
    beta: float = 0.9
    gamma: float = 0.9
    season: int = 144
    sample_s: float = 600.0
    tolerance: float = 0.1
    period_s: float = 15.0
    window_s: float = 60.0
    _hpa: Hpa = field(init=False)
    _first: list[int] = field(init=False, default_factory=list)
    _seasonal: deque[float] = field(init=False, default_factory=deque)
    _level: float = field(init=False, default=0.0)
    _trend: float = field(init=False, default=0.0)
    _kept_at: float = field(init=False, default=-math.inf)
    _ahead: int = field(init=False, default=0)

    def __post_init__(self) -> None:
        self._hpa = Hpa(self.target, "demand", self.tolerance)

    def want(self, seen: Seen) -> int:
        raw = self._hpa.raw(seen)
        if raw is None:
            return seen.size
        if seen.now - self._kept_at >= self.sample_s:
            self._kept_at = seen.now
            self._keep(raw)
            if self._seasonal:
                self._ahead = math.ceil(self._level + self._trend + self._seasonal[0] - ROUNDING)
        return self._hpa.limit(seen, max(raw, self._ahead))

    def _keep(self, result: int) -> None:
        if self._seasonal:
            self._smooth(result)
            return
        self._first.append(result)
        season = self.season
        if len(self._first) < max(2 * season, 10 + 2 * (season // 2)):
            return
        first, second = self._first[:season], self._first[season : 2 * season]
        self._level = sum(first) / season
        self._trend = (sum(second) - sum(first)) / season**2
        self._seasonal.extend(value - self._level for value in first)
        for value in self._first[season:]:
            self._smooth(value)
        self._first.clear()

    def _smooth(self, result: int) -> None:
        expected = self._level + self._trend
        level = self.alpha * (result - self._seasonal[0]) + (1.0 - self.alpha) * expected
        self._trend = self.beta * (level - self._level) + (1.0 - self.beta) * self._trend
        self._seasonal.append(self.gamma * (result - expected) + (1.0 - self.gamma) * self._seasonal[0])
        self._seasonal.popleft()
        self._level = level
