"""The seed rule: the two thresholds that this project started from, as naive as most rules in the wild."""

from __future__ import annotations

import math
from dataclasses import dataclass, field

from autoscaler.baselines.hpa import Hpa
from autoscaler.baselines.seen import Seen


@dataclass(slots=True)
class Seed:
    """GPU utilisation above 85 %: two more, then 300 s of rest; queue above 50: one more, then 600 s of rest.

    It states no scale-in, so that a pool only ever grows. with_hpa_in: it shrinks as HPA on utilisation does. A value
    that is not known is above nothing.
    """

    target: float = 0.85
    queue: float = 50.0
    with_hpa_in: bool = False
    period_s: float = 15.0
    window_s: float = 60.0
    _busy_until: float = field(init=False, default=-math.inf)
    _queue_until: float = field(init=False, default=-math.inf)
    _hpa: Hpa = field(init=False, default_factory=Hpa)

    def want(self, seen: Seen) -> int:
        wanted = seen.size
        if seen.busy_ratio > self.target and seen.now >= self._busy_until:
            wanted, self._busy_until = wanted + 2, seen.now + 300.0
        if seen.waiting > self.queue and seen.now >= self._queue_until:
            wanted, self._queue_until = wanted + 1, seen.now + 600.0
        if self.with_hpa_in:
            shrunk = self._hpa.want(seen)
            return min(shrunk, seen.size) if wanted == seen.size else wanted
        return wanted
