"""AIBrix: its KPA and APA, as they are coded and with what seems meant.

Source: vllm-project/aibrix, pkg/controller/podautoscaler/algorithm/kpa.go and apa.go. As coded both take the mean of
each replica where their formulas need the sum over replicas, and the scale-in window takes the smallest result instead
of the largest. `fixed` repairs both, and lets a panic hold what it reached.
"""

from __future__ import annotations

import math
from array import array
from dataclasses import dataclass, field
from typing import Literal

from autoscaler.baselines.behaviour import Extreme
from autoscaler.baselines.seen import Seen


@dataclass(slots=True)
class Averages:
    """Means of a measured value over the newest samples that the policy saw, from their running sum."""

    _totals: array[float] = field(init=False, default_factory=lambda: array("d", [0.0]))

    def add(self, value: float) -> None:
        """Keep one more sample."""
        self._totals.append(self._totals[-1] + value)

    def mean(self, count: int) -> float:
        """The mean of the newest `count` samples, of fewer while there are fewer; at least one is there."""
        totals = self._totals
        count = min(count, len(totals) - 1)
        return (totals[-1] - totals[-1 - count]) / count


def _measured(seen: Seen, on: Literal["demand", "utilisation"]) -> float:
    """What each ready replica has to do, in its own worth of work; on utilisation never more than 1."""
    if on == "utilisation":
        return seen.busy_ratio
    return seen.load / max(1, seen.ready)


@dataclass(slots=True)
class AibrixKpa:
    """Windows of 180 s and, for a panic, 60 s; half to twice the size at a time. Without data the size stays."""

    target: float = 0.7
    fixed: bool = False
    on: Literal["demand", "utilisation"] = "demand"
    stable_s: float = 180.0
    panic_s: float = 60.0
    panic_ratio: float = 2.0
    tolerance: float = 0.1
    in_window_s: float = 300.0
    period_s: float = 10.0
    window_s: float = 15.0
    _averages: Averages = field(init=False, default_factory=Averages)
    _window: Extreme = field(init=False)
    _panic_at: float | None = field(init=False, default=None)
    _most: int = field(init=False, default=0)

    def __post_init__(self) -> None:
        self._window = Extreme(self.in_window_s, 1 if self.fixed else -1)

    def want(self, seen: Seen) -> int:
        each = _measured(seen, self.on)
        if math.isnan(each):
            return seen.size
        step_s = max(self.period_s, seen.past.tick_s)
        self._averages.add(each * seen.ready if self.fixed else each)
        stable = self._averages.mean(max(1, round(self.stable_s / step_s)))
        panic = self._averages.mean(max(1, round(self.panic_s / step_s)))
        size = seen.size
        if stable <= 0 or panic / stable > self.panic_ratio:
            if self._panic_at is None:
                self._most = 0
            self._panic_at = seen.now
        elif self._panic_at is not None and not (self.fixed and seen.now - self._panic_at <= self.stable_s):
            self._panic_at = None
        wanted = self._for(stable, size)
        if self._panic_at is not None:
            wanted = max(wanted, self._for(panic, size))
            if self.fixed:
                self._most = wanted = max(self._most, wanted)
        # Half to twice the size: from one replica to two, and from none to one.
        wanted = min(max(wanted, size // 2), max(1, 2 * size))
        windowed = self._window.add(seen.now, wanted)
        return wanted if wanted >= size else min(size, windowed)

    def _for(self, value: float, size: int) -> int:
        reference = self.target * size if self.fixed else self.target
        if reference > 0 and abs(value / reference - 1.0) <= self.tolerance:
            return size
        return math.ceil(value / self.target)


@dataclass(slots=True)
class AibrixApa:
    """The mean of 180 s over the target, times the size, when it is more than a tenth off. Without data the size stays.

    Its default signal is use of the KV cache at 0.5. On utilisation it clips as that does; on demand it does not.
    """

    target: float = 0.5
    fixed: bool = False
    on: Literal["demand", "utilisation"] = "utilisation"
    stable_s: float = 180.0
    tolerance: float = 0.1
    in_window_s: float = 300.0
    period_s: float = 10.0
    window_s: float = 15.0
    _averages: Averages = field(init=False, default_factory=Averages)
    _window: Extreme = field(init=False)

    def __post_init__(self) -> None:
        self._window = Extreme(self.in_window_s, 1 if self.fixed else -1)

    def want(self, seen: Seen) -> int:
        each = _measured(seen, self.on)
        if math.isnan(each):
            return seen.size
        count = max(1, round(self.stable_s / max(self.period_s, seen.past.tick_s)))
        self._averages.add(each)
        ratio = self._averages.mean(count) / self.target
        size = seen.size
        # As coded the ratio of the ready replicas multiplies the size with the pending ones in it.
        need = math.ceil((seen.ready if self.fixed else size) * ratio)
        wanted = size
        if need > (1.0 + self.tolerance) * size if self.fixed else ratio > 1.0 + self.tolerance:
            wanted = min(need, max(1, 2 * size))
        elif need < (1.0 - self.tolerance) * size if self.fixed else ratio < 1.0 - self.tolerance:
            wanted = max(need, size // 2)
        windowed = self._window.add(seen.now, wanted)
        return wanted if wanted >= size else min(size, windowed)
