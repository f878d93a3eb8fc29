"""What a pool wanted and had, as steps: a point when a number changes, and one now and then while it does not."""

from __future__ import annotations

import math
from collections.abc import Mapping

from autoscaler.store.aggregate import Float64s
from autoscaler.store.poolhistory import Name, PoolHistory, Trail

PREFIX = "pool:"
"""Begins the names of steps where signals have theirs. No signal of a rule file has a colon in its name."""

REPEATED_S = 600.0
"""While nothing changes a point is repeated so often, so that a number that stayed can be told from one that nobody
knew. Each costs 16 bytes of memory, and there are 3 for each of up to 500 pools."""

MAX_POINTS = 40_000
"""Of one number: a change at every tick of 15 s for a week."""


class Steps:
    """The steps of all pools. Points for the disk wait where those of signals do."""

    def __init__(self, history: PoolHistory) -> None:
        self._history = history
        self.trails: dict[Name, Trail] = {}

    @property
    def nbytes(self) -> int:
        """Bytes of all buffers."""
        return sum(trail.at.nbytes + trail.values.nbytes for trail in self.trails.values())

    def load(self, name: Name, at: Float64s, values: Float64s) -> None:
        """Start from points that were stored before."""
        trail = self.trails[name] = Trail()
        trail.load(at, values)

    def note(self, pool: str, at: float, numbers: Mapping[str, float]) -> None:
        """Numbers of a pool as of `at`, by name without the prefix; NaN = not known."""
        for short, value in numbers.items():
            name = pool, PREFIX + short
            trail = self.trails.setdefault(name, Trail())
            if trail.last_at >= at:
                # The clock was set back, and what lies in the future now has not happened.
                trail.cut(at - 1e-6)
            same = value == trail.last or (math.isnan(value) and math.isnan(trail.last))
            if same and at - trail.last_at < REPEATED_S:
                continue
            trail.append(at, value, self._history.history_s, MAX_POINTS)
            self._history.put_off((*name, "", at), value, "fresh")

    def forget_pool(self, pool: str) -> None:
        """Drop the trails of a pool."""
        for name in [name for name in self.trails if name[0] == pool]:
            del self.trails[name]
