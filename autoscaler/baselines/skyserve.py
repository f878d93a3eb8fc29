"""SkyServe's request-rate autoscaler.

Source: skypilot-org/skypilot, sky/serve/autoscalers.py.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field

from autoscaler.baselines.seen import Seen


@dataclass(slots=True)
class SkyServe:
    """Requests of 60 s over a target for each replica; 300 s of looks in a row grow, 1,200 s shrink.

    Pending replicas count. It looks every 20 s, every 5 s while there are none. Without data it does not count a look.
    """

    target: float = 0.7
    out_delay_s: float = 300.0
    in_delay_s: float = 1200.0
    period_s: float = 20.0
    window_s: float = 60.0
    _outs: int = field(init=False, default=0)
    _ins: int = field(init=False, default=0)

    def want(self, seen: Seen) -> int:
        if math.isnan(seen.demand):
            return seen.size
        desired = math.ceil(seen.load / self.target)
        self._outs = self._outs + 1 if desired > seen.size else 0
        self._ins = self._ins + 1 if desired < seen.size else 0
        if self._outs >= round(self.out_delay_s / self.period_s) or self._ins >= round(self.in_delay_s / self.period_s):
            self._outs = self._ins = 0
            return desired
        return seen.size
