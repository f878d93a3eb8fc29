"""SageServe's reactive rule, and Chiron as SageServe's simulator has it: one replica at a time on a use ratio.

Source: shashwatj07/SageServe. Both act on use of memory; here on the busy ratio, which clips likewise.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from autoscaler.baselines.seen import Seen


@dataclass(slots=True)
class Reactive:
    """Above `target` one more, below half of it one fewer; nothing while one is on its way (starts are one at a time).

    Without data nothing happens. It is asked every minute, the grain of the simulator's control.
    """

    target: float = 0.5
    low_share: float = 0.5
    period_s: float = 60.0
    window_s: float = 60.0

    def want(self, seen: Seen) -> int:
        if seen.busy_ratio > self.target and not seen.pending:
            return seen.size + 1
        if seen.busy_ratio < self.low_share * self.target and not seen.pending:
            return seen.size - 1
        return seen.size


@dataclass(slots=True)
class Chiron:
    """Busy replicas over all above `target`: one more, else one fewer. Replicas on their way count among all.

    Without data nothing happens.
    """

    target: float = 0.6
    period_s: float = 60.0
    window_s: float = 60.0

    def want(self, seen: Seen) -> int:
        if math.isnan(seen.busy_ratio):
            return seen.size
        busy = seen.busy_ratio * seen.ready
        return seen.size + 1 if busy > self.target * seen.size else seen.size - 1
