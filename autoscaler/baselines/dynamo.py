"""Dynamo's planner: its throughput loop, where one pool of equal replicas reduces it to a rate over a capacity.

Source: ai-dynamo/dynamo, components/planner/src/dynamo/planner/utils/planner_core.py and
load_predictor.py.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Literal

import numpy as np

from autoscaler.baselines.seen import ROUNDING, Seen

LEARNED = 50


@dataclass(slots=True)
class Dynamo:
    """Every 180 s: the rate expected in the next interval over a replica's rate, rounded up; it may shrink at once.

    predictor: `constant`, the interval that ended, or `arima`, for which an autoregression of the changes of the last
    50 intervals stands in. max_out: at most so many more at a time; None = as many as asked. Without data it skips.
    """

    target: float = 1.0
    predictor: Literal["constant", "arima"] = "constant"
    max_out: int | None = 8
    period_s: float = 180.0
    window_s: float = 180.0
    _rates: list[float] = field(init=False, default_factory=list)

    def want(self, seen: Seen) -> int:
        if math.isnan(seen.demand):
            return seen.size
        rate = seen.demand
        if self.predictor == "arima":
            self._rates = [*self._rates[1 - LEARNED :], rate]
            rate = next_of(self._rates)
        wanted = max(1, math.ceil(rate / (self.target * seen.capacity) - ROUNDING))
        return wanted if self.max_out is None else min(wanted, seen.size + self.max_out)


def next_of(rates: list[float]) -> float:
    """The next of some rates: the last one, and its expected change from an autoregression of order one."""
    if len(rates) < 5:
        return rates[-1]
    changes = np.diff(np.array(rates))
    before, after = changes[:-1], changes[1:]
    spread = float(np.dot(before - before.mean(), before - before.mean()))
    slope = float(np.dot(before - before.mean(), after - after.mean())) / spread if spread > 0 else 0.0
    slope = min(max(slope, -0.99), 0.99)
    return max(0.0, rates[-1] + float(after.mean()) + slope * float(changes[-1] - before.mean()))
