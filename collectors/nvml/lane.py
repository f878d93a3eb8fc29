"""A lane: some calls of one GPU that are made together, at a period of their own."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from collectors.nvml.call import Call
from collectors.nvml.device import Device
from collectors.nvml.probe import Probe
from collectors.nvml.slowest import Slowest
from collectors.nvml.turns import is_turn, next_turn

Calls = Callable[[Any, Device], tuple[Call, ...]]
"""(pynvml, device) -> the calls of a lane, built anew for each new handle."""

BURST_LIMIT_S = 600.0
AHEAD_S = 5.0


@dataclass(eq=False, slots=True)
class Lane:
    """source: its name in labels. rank: of its values; a lower one wins. history: its samples come faster than batches.

    until: it runs while the clock is before. due: when it runs next. told_at: of its newest value, Unix seconds; a lane
    that reads what the driver kept sets `stamped` and dates its values itself. took_s: how long the last pass took.
    """

    source: str
    period_s: float
    calls: Calls
    rank: int = 0
    history: bool = False
    stamped: bool = False
    until: float = math.inf
    phase_s: float = 0.0
    due: float = -math.inf
    told_at: float = -math.inf
    took_s: float = math.nan
    slowest: Slowest = field(default_factory=Slowest)
    probes: tuple[Probe, ...] = field(default=())

    def build(self, nvml: Any, device: Device) -> None:
        """Make its calls for the present handle."""
        self.probes = tuple(Probe(call) for call in self.calls(nvml, device))

    def stamp(self, at: float) -> None:
        """Its newest value is of this time."""
        # What is dated far ahead was told before the clock went back.
        self.told_at = at if self.told_at > at + AHEAD_S else max(self.told_at, at)

    def on(self, now: float) -> bool:
        """Whether it runs at present; a clock that went back ends a burst."""
        return now < self.until and (math.isinf(self.until) or self.until - now <= BURST_LIMIT_S)

    def has_work(self, now: float) -> bool:
        """Whether it has calls that this GPU knows, or had no chance to try them yet."""
        refused = bool(self.probes) and all(probe.refused is not None for probe in self.probes)
        return not refused and (self.on(now) or math.isfinite(self.took_s))

    def runs(self, now: float) -> bool:
        """Whether it is time."""
        return self.on(now) and is_turn(now, self.due, self.period_s)

    def next(self, now: float) -> None:
        """Set when it runs again."""
        self.due = next_turn(now, self.period_s, self.phase_s)
