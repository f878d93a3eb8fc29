"""KEDA: activity decides between nothing and something, HPA with AverageValue between one and many.

Source: kedacore/keda, pkg/scaling/executor/scale_scaledobjects.go and pkg/fallback/fallback.go. The trigger on waiting
requests is that of vllm-project/production-stack, helm/templates/scaledobject-vllm.yaml (target 5, cooldown 360 s).
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Literal

from autoscaler.baselines.behaviour import Behaviour
from autoscaler.baselines.hpa import by_average_value
from autoscaler.baselines.seen import Seen


@dataclass(slots=True)
class Keda:
    """One trigger. `target`: share of a replica's capacity, or waiting work for each replica.

    Inactive (nothing above `activation`) for the cooldown: none. fallback: after this many failed looks in a row the
    value is taken for what that many replicas would serve; None = HPA finds no valid metric and keeps the size. KEDA
    looks for activity every 30 s, HPA asks it for the value every 15 s.
    """

    target: float = 0.7
    on: Literal["demand", "waiting"] = "demand"
    activation: float = 0.0
    cooldown_s: float = 300.0
    fallback: int | None = None
    fallback_after: int = 3
    tolerance: float = 0.1
    in_window_s: float = 300.0
    period_s: float = 15.0
    window_s: float = 60.0
    _behaviour: Behaviour = field(init=False)
    _active_at: float | None = field(init=False, default=None)
    _failures: int = field(init=False, default=0)

    def __post_init__(self) -> None:
        self._behaviour = Behaviour(self.in_window_s)

    def want(self, seen: Seen) -> int:
        each = self.target * seen.capacity if self.on == "demand" else self.target
        value = seen.demand if self.on == "demand" else seen.waiting
        if math.isnan(value):
            self._failures += 1
            if self.fallback is None or self._failures <= self.fallback_after:
                return seen.size
            value = each * self.fallback
        else:
            self._failures = 0
        if self._active_at is None or value > self.activation:
            self._active_at = seen.now
        # The queue trigger runs dry whenever the pool keeps up; KEDA sees work in hand only through its trigger.
        if value <= self.activation and seen.now - self._active_at >= self.cooldown_s:
            return 0
        if seen.size == 0:
            return 1 if value > self.activation else 0
        raw = max(1, by_average_value(value, each, seen.size, self.tolerance))
        return self._behaviour.limit(seen.now, seen.size, raw)
