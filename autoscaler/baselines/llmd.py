"""llm-d's variant autoscaler with its queueing model, reduced to what one pool of equal replicas leaves of it.

Source: llm-d/llm-d-workload-variant-autoscaler. With one capacity for a replica at
its objective the two bisections end at that number, so that what is left is the rate of completions over it.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field

from autoscaler.baselines.behaviour import Behaviour
from autoscaler.baselines.seen import ROUNDING, Seen


@dataclass(slots=True)
class WvaQueueing:
    """Finished requests of a minute over a replica's rate at its objective, less a margin; an HPA carries it out.

    Completions flatten at capacity: what waits is not seen. Without data the size stays.
    """

    target: float = 0.9
    in_window_s: float = 300.0
    period_s: float = 60.0
    window_s: float = 60.0
    _behaviour: Behaviour = field(init=False)
    _waiting: float = field(init=False, default=0.0)
    _at: float | None = field(init=False, default=None)

    def __post_init__(self) -> None:
        self._behaviour = Behaviour(self.in_window_s)

    def want(self, seen: Seen) -> int:
        if math.isnan(seen.demand) or math.isnan(seen.waiting):
            return seen.size
        took_s = seen.now - self._at if self._at is not None else self.window_s
        finished = seen.past.mean(took_s) - (seen.waiting - self._waiting) / took_s
        self._waiting, self._at = seen.waiting, seen.now
        raw = max(1, math.ceil(finished / (self.target * seen.capacity) - ROUNDING))
        return self._behaviour.limit(seen.now, seen.size, raw)
