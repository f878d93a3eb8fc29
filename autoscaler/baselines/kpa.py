"""Knative's pod autoscaler: a stable and a panic window.

Source: knative/serving, pkg/autoscaler/scaling/autoscaler.go, pkg/autoscaler/config/autoscaler_config.go and, for zero,
pkg/reconciler/autoscaling/kpa/scaler.go.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Literal

from autoscaler.baselines.behaviour import Extreme
from autoscaler.baselines.seen import SERVICE_S, Seen


@dataclass(slots=True)
class Kpa:
    """`on` demand: requests per second; concurrency: work in flight, of which a full replica has capacity x service.

    Without data it holds. Pending replicas are no part of its sums: what it asks for is the total.
    """

    target: float = 0.7
    on: Literal["demand", "concurrency"] = "demand"
    stable_s: float = 60.0
    panic_s: float = 6.0
    panic_ratio: float = 2.0
    out_times: float = 1000.0
    in_times: float = 2.0
    activation_scale: int = 1
    delay_s: float = 0.0
    grace_s: float = 30.0
    period_s: float = 2.0
    _panic_at: float | None = field(init=False, default=None)
    _most: int = field(init=False, default=0)
    _started: bool = field(init=False, default=False)
    _busy_at: float | None = field(init=False, default=None)
    _loads: list[float] = field(init=False, default_factory=list)
    _delay: Extreme = field(init=False)

    def __post_init__(self) -> None:
        self._delay = Extreme(self.delay_s)

    @property
    def window_s(self) -> float:
        return self.stable_s

    def want(self, seen: Seen) -> int:
        stable, panic = self._measured(seen)
        if math.isnan(stable) or math.isnan(panic):
            return seen.size
        now, ready = seen.now, max(1, seen.ready)
        if not self._started:
            self._started = True
            if seen.ready > 1:
                self._panic_at, self._most = now, seen.ready
        most, least = math.ceil(self.out_times * ready), math.floor(ready / self.in_times)
        for_stable, for_panic = math.ceil(stable / self.target), math.ceil(panic / self.target)
        over = for_panic / ready >= self.panic_ratio
        wanted, in_panic = (min(max(n, least), most) for n in (for_stable, for_panic))
        if self.activation_scale > 1:
            wanted = max(wanted, self.activation_scale) if wanted else 0
            in_panic = max(in_panic, self.activation_scale) if in_panic else 0
        if over:
            self._most = self._most if self._panic_at is not None else 0
            self._panic_at = now
        elif self._panic_at is not None and now - self._panic_at > self.stable_s:
            self._panic_at = None
        if self._panic_at is not None:
            self._most = wanted = max(self._most, wanted, in_panic)
        # A stable window without anything is idleness already; the last replica goes a grace period later.
        if stable > 0 or self._busy_at is None:
            self._busy_at = now
        if now - self._busy_at < self.grace_s:
            wanted = max(1, wanted)
        return self._delay.add(now, wanted)

    def _measured(self, seen: Seen) -> tuple[float, float]:
        """Load over the stable and the panic window, in replicas' worth of work."""
        if self.on == "demand":
            if math.isnan(seen.demand):
                return math.nan, math.nan
            return seen.load, seen.past.mean(self.panic_s) / seen.capacity
        if math.isnan(seen.in_flight):
            return math.nan, math.nan
        loads = self._loads
        loads.append(seen.in_flight / (seen.capacity * SERVICE_S))
        tick_s = max(self.period_s, seen.past.tick_s)
        del loads[: -max(1, round(self.stable_s / tick_s))]
        recent = loads[-max(1, round(self.panic_s / tick_s)) :]
        return sum(loads) / len(loads), sum(recent) / len(recent)
