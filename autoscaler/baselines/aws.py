"""AWS EC2 Auto Scaling: target tracking, and predictive scaling on top of it.

Source: Amazon EC2 Auto Scaling user guide (target tracking, predictive scaling); the alarms' counts are as observed.
AWS does not publish its forecast: the mean of the same hour one and two weeks ago stands in for it.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Literal

import numpy as np

from autoscaler.baselines.seen import Seen, Values

HOUR_S = 3600.0
DAY_HOURS, WEEK_HOURS = 24, 168


@dataclass(slots=True)
class AwsTracking:
    """Three minutes above the target grow the group, fifteen below nine tenths of it shrink it.

    Machines that still warm up are no part of the mean, and while there are some nothing shrinks. A minute without data
    breaks the row, as an alarm in INSUFFICIENT_DATA.
    """

    target: float = 0.7
    on: Literal["utilisation", "demand"] = "utilisation"
    high_points: int = 3
    low_points: int = 15
    low_share: float = 0.9
    period_s: float = 60.0
    window_s: float = 60.0
    _above: int = field(init=False, default=0)
    _below: int = field(init=False, default=0)

    def want(self, seen: Seen) -> int:
        ready = max(1, seen.ready)
        mean = seen.busy_ratio if self.on == "utilisation" else seen.load / ready
        # A comparison with NaN is false, which resets both.
        self._above = self._above + 1 if mean > self.target else 0
        self._below = self._below + 1 if mean < self.low_share * self.target else 0
        fit = math.ceil(ready * mean / self.target) if not math.isnan(mean) else seen.size
        if self._above >= self.high_points:
            return max(seen.size, fit)
        if self._below >= self.low_points and not seen.pending:
            return min(seen.size, fit)
        return seen.size


@dataclass(slots=True)
class AwsPredictive:
    """Tracking with a floor for each hour: what the forecast of its load needs, from `buffer_s` before it to its end.

    The forecast is made every 6 hours for 48, from at least 24 and at most 336 hours. Without a week of history the
    same hour of the day before stands in for that of the week before. buffer_s None = one boot.
    """

    target: float = 0.7
    on: Literal["utilisation", "demand"] = "utilisation"
    buffer_s: float | None = 300.0
    refresh_s: float = 6 * HOUR_S
    ahead_hours: int = 48
    history_hours: int = 14 * DAY_HOURS
    period_s: float = 60.0
    window_s: float = 60.0
    _tracking: AwsTracking = field(init=False)
    _forecast: dict[int, float] = field(init=False, default_factory=dict)
    _started_at: float | None = field(init=False, default=None)
    _made_at: float = field(init=False, default=-math.inf)

    def __post_init__(self) -> None:
        self._tracking = AwsTracking(self.target, self.on)

    def want(self, seen: Seen) -> int:
        if self._started_at is None:
            # Hours are counted as the history counts them: from its first tick.
            self._started_at = seen.now - (len(seen.past.totals) - 1) * seen.past.tick_s
        wanted = self._tracking.want(seen)
        if seen.now - self._made_at >= self.refresh_s:
            first, loads = seen.past.steps(HOUR_S, self.history_hours)
            if len(loads) >= DAY_HOURS:
                self._forecast = same_hours(first, loads, self.ahead_hours)
                self._made_at = seen.now
        since_s = seen.now - self._started_at
        buffer_s = seen.boot_s if self.buffer_s is None else self.buffer_s
        hours = range(int(since_s // HOUR_S), int((since_s + buffer_s) // HOUR_S) + 1)
        expected = max((self._forecast.get(hour, 0.0) for hour in hours), default=0.0)
        return max(wanted, math.ceil(expected / (self.target * seen.capacity)))


def same_hours(first: int, loads: Values, ahead: int) -> dict[int, float]:
    """The load expected in each of the next hours, by number, from the same hours one and two weeks before.

    first: number of the first hour of `loads` (hour,).
    """
    end = first + len(loads)
    expected: dict[int, float] = {}
    for hour in range(end, end + ahead):
        weeks = [hour - k * WEEK_HOURS for k in (1, 2) if first <= hour - k * WEEK_HOURS < end]
        days = [hour - k * DAY_HOURS for k in range(1, 1 + ahead // DAY_HOURS) if first <= hour - k * DAY_HOURS < end]
        if sources := weeks or days[:1]:
            expected[hour] = float(np.mean([loads[source - first] for source in sources]))
    return expected
