"""How often a source has news, whatever the pace at which it is asked.

dcgm-exporter collects every 30 s unless told otherwise and is scraped every 5 to 15 s, so most of its pages say again
what the one before said. A repetition is no new point: it would shrink the spread that a band is made of, and bend a
rate. And an old exporter that has lost its driver shows its last page for ever
(NVIDIA/gpu-monitoring-tools issue 188), which must grow old like any other silence.
"""

from __future__ import annotations

import math
from collections import deque
from dataclasses import dataclass, field
from statistics import median

PULSE = "gpu_energy_joules_total"
"""What never stands still on a living GPU, not even an idle one: it counts millijoules."""
TOGETHER = 3
"""So many series that change at once, and none between, come from one collection; fewer may be anything."""
LEARNED_AFTER = 4
DEFAULT_COLLECT_S = 30.0
"""How often dcgm-exporter collects unless told otherwise; what we take for granted of a GPU's page at first."""
_KEPT = 6
_OVERDUE = 1.5


@dataclass(slots=True)
class Pace:
    """Learns one source's collect interval from when its values change; timestamps make the same gaps.

    collect_s: what was learned, 0 = nothing (yet). news_at: when it last had news, -inf = never.
    """

    interval_s: float
    collect_s: float = 0.0
    news_at: float = -math.inf
    pulse: bool = False
    _gaps: deque[float] = field(default_factory=lambda: deque(maxlen=_KEPT))

    @property
    def news_s(self) -> float:
        """The longest usual time between two news: of asking and of collecting, whichever is longer."""
        assumed = DEFAULT_COLLECT_S if self.pulse and not self.collect_s else 0.0
        return max(self.interval_s, self.collect_s, assumed)

    def repeats(self, at: float, changed: int, beats: bool | None) -> bool:
        """Whether an answer at `at` says nothing new; learns from it if it does.

        changed: how many of its values differ from the last. beats: whether the pulse moved, None = it has none.
        """
        self.pulse = beats is not None
        if math.isinf(self.news_at):
            self.news_at = at
            return False
        if not changed:
            # What may stand still by itself is only taken for a repetition while its next collection is not due.
            waits = self.collect_s > _OVERDUE * self.interval_s and at - self.news_at < _OVERDUE * self.collect_s
            return self.pulse or waits
        if self.pulse and not beats:
            return False
        if not self.pulse and changed < TOGETHER:
            self._gaps.clear()
            self.collect_s = 0.0
        else:
            self._learn(at - self.news_at)
        self.news_at = at
        return False

    def _learn(self, gap_s: float) -> None:
        self._gaps.append(gap_s)
        if len(self._gaps) < LEARNED_AFTER:
            return
        usual = median(self._gaps)
        # Asked at a pace of its own, a source is heard up to one such interval late.
        regular = all(abs(gap - usual) <= max(1.01 * self.interval_s, usual / 4) for gap in self._gaps)
        self.collect_s = max(self.interval_s, usual) if regular else 0.0
