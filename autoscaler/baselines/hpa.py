"""Kubernetes' Horizontal Pod Autoscaler, v2.

Source: kubernetes/kubernetes, pkg/controller/podautoscaler/replica_calculator.go and horizontal.go.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Literal

from autoscaler.baselines.behaviour import Behaviour
from autoscaler.baselines.seen import Seen


def by_average_value(total: float, each: float, size: int, tolerance: float) -> int:
    """The size at which every replica has `each` of a total; the present one while that is within tolerance."""
    if size > 0 and abs(total / (each * size) - 1.0) <= tolerance:
        return size
    return math.ceil(total / each)


def by_utilisation(ratio: float, ready: int, pending: int, tolerance: float) -> int:
    """The size for a mean over the ready replicas of `ratio` times the target.

    Pending replicas count as idle when the mean asks for more; what they turn into another direction is no result.
    """
    size = ready + pending
    if abs(ratio - 1.0) <= tolerance:
        return size
    if ratio < 1.0 or not pending:
        return math.ceil(ratio * ready)
    diluted = ratio * ready / size
    if diluted - 1.0 <= tolerance:
        return size
    return max(size, math.ceil(diluted * size))


@dataclass(slots=True)
class Hpa:
    """`on` utilisation: the mean busy ratio of ready replicas, which clips at 1; demand: a total that does not.

    Without data the size stays. A pool at 0 is switched off.
    """

    target: float = 0.7
    on: Literal["utilisation", "demand"] = "utilisation"
    tolerance: float = 0.1
    in_window_s: float = 300.0
    period_s: float = 15.0
    window_s: float = 60.0
    _behaviour: Behaviour = field(init=False)

    def __post_init__(self) -> None:
        self._behaviour = Behaviour(self.in_window_s)

    def want(self, seen: Seen) -> int:
        raw = self.raw(seen)
        return seen.size if raw is None else self.limit(seen, raw)

    def raw(self, seen: Seen) -> int | None:
        """The result before windows and rates; None = keep the size."""
        if seen.size == 0:
            return None
        if self.on == "demand":
            if math.isnan(seen.demand):
                return None
            return by_average_value(seen.demand, self.target * seen.capacity, seen.size, self.tolerance)
        if math.isnan(seen.busy_ratio) or not seen.ready:
            return None
        return by_utilisation(seen.busy_ratio / self.target, seen.ready, seen.pending, self.tolerance)

    def limit(self, seen: Seen, raw: int) -> int:
        """A raw result after windows and rates."""
        return self._behaviour.limit(seen.now, seen.size, raw)
