"""Ray Serve's autoscaling of a deployment's replicas.

Source: ray-project/ray, python/ray/serve/autoscaling_policy.py.
"""

from __future__ import annotations

import math
from collections import deque
from dataclasses import dataclass, field

from autoscaler.baselines.seen import ROUNDING, SERVICE_S, Seen


@dataclass(slots=True)
class RayServe:
    """Ongoing and queued requests over 30 s, over a target for each replica; 30 s in a row grow, 600 s shrink.

    `target` is the share of what a full replica has in flight. One look the other way, or at the size in force, starts
    the row anew; so does acting. Without data nothing happens. The loop of 0.1 s is asked at each tick here.
    """

    target: float = 0.7
    factor: float = 1.0
    out_delay_s: float = 30.0
    in_delay_s: float = 600.0
    look_back_s: float = 30.0
    period_s: float = 0.1
    window_s: float = 30.0
    _flights: deque[float] = field(init=False, default_factory=deque)
    _direction: int = field(init=False, default=0)
    _since: float = field(init=False, default=0.0)

    def want(self, seen: Seen) -> int:
        if math.isnan(seen.in_flight):
            return seen.size
        self._flights.append(seen.in_flight / (seen.capacity * SERVICE_S))
        while len(self._flights) > max(1, round(self.look_back_s / seen.past.tick_s)):
            self._flights.popleft()
        desired = self._desired(sum(self._flights) / len(self._flights), seen.ready)
        if seen.size == 0:
            return max(0, desired)
        direction = (desired > seen.size) - (desired < seen.size)
        if direction != self._direction:
            self._direction, self._since = direction, seen.now
        # The look that starts a row is its first tick.
        held_s = seen.now - self._since + seen.past.tick_s
        if direction == 0 or held_s < (self.out_delay_s if direction > 0 else self.in_delay_s):
            return seen.size
        self._direction = 0
        return desired if seen.size == 1 or desired >= 1 else 1

    def _desired(self, load: float, ready: int) -> int:
        if ready == 0:
            return math.ceil(load / self.target * self.factor)
        gap = load / self.target - ready
        desired = math.ceil(ready + self.factor * gap - ROUNDING)
        # A factor below 1 could leave a wish to shrink without an effect for ever.
        return desired - 1 if gap < 0 and self.factor < 1.0 and desired == ready else desired
