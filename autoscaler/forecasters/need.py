"""The rate of serving that is needed until a horizon, so that nothing waits too long: how much, and how surely."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from autoscaler.errors import InputError
from autoscaler.forecasters.boosting import Size
from autoscaler.forecasters.fitted import LEAST_S, tried_since
from autoscaler.forecasters.grid import Grid, floor_of, grid_of, joined
from autoscaler.forecasters.needed import Needed, Watched
from autoscaler.forecasters.pair import pair
from autoscaler.forecasters.target import Target
from autoscaler.forecasters.told import Told, nothing
from autoscaler.ports import Model
from autoscaler.types import Frame, Of

HORIZONS_S = (540.0,)
TRIED_FROM_S = 2 * 86400.0
"""A first model of so much history is tried on the newest part of it; later ones go on from what was told live."""


@dataclass(frozen=True, slots=True)
class Need:
    """Need until a horizon by gradient-boosted trees and a ridge regression, its tail by how far forecasts were off.

    It answers questions about `need` and no others. horizons_s: horizons that are learned; another is read off the
    nearest. rows: most origins that trees learn from. trees: in each regressor. seed: equal ones give equal models.
    With less than `least_s` of history there is no forecast.
    """

    least_s: ClassVar[float] = LEAST_S
    kinds: ClassVar[tuple[Of, ...]] = ("need",)

    horizons_s: tuple[float, ...] = HORIZONS_S
    rows: int = 4000
    trees: int = 45
    seed: int = 1

    def __post_init__(self) -> None:
        faults = []
        if not self.horizons_s or not all(0.0 < h < math.inf for h in self.horizons_s):
            faults.append(f"need: horizons {self.horizons_s} are not all ahead; write seconds above 0, such as 540")
        if self.rows < 500:
            faults.append(f"need: {self.rows} rows teach trees nothing; write 500 or more")
        if not 1 <= self.trees <= 10_000:
            faults.append(f"need: {self.trees} trees are not from 1 to 10000; write a number such as 45")
        if self.seed < 0:
            faults.append(f"need: seed {self.seed} is below 0; write a whole number")
        if faults:
            raise InputError(*faults)

    def fit(self, history: Frame) -> Needed:
        grid = grid_of(history)
        known_s = grid.step_s * float(np.count_nonzero(np.isfinite(grid.values)))
        tried: Needed | None = None
        since = tried_since(grid) if known_s >= TRIED_FROM_S else None
        if since is not None:
            tried = self._made(grid.until(since), None)
        return self._made(grid, tried)

    def refit(self, history: Frame, before: Model) -> Needed:
        """As `fit`; how far the live forecasts of the models before were off is carried on."""
        grid = grid_of(history)
        if not isinstance(before, Needed) or not before.watched or before.history.step_s != grid.step_s:
            return self.fit(history)
        return self._made(grid, before)

    def _made(self, grid: Grid, before: Needed | None) -> Needed:
        name = f"need@{grid.end_at:.0f}" if len(grid) else "need@empty"
        floor = floor_of(grid)
        if grid.step_s * float(np.count_nonzero(np.isfinite(grid.values))) < self.least_s:
            return Needed(name, grid, floor, ())
        found = []
        for horizon_s in sorted(set(self.horizons_s)):
            learned = pair(grid, Target("need", horizon_s), floor, Size(self.rows, self.trees, self.seed))
            if learned is not None:
                found.append(Watched(learned, _told(before, horizon_s, grid)))
        return Needed(name, grid, floor, tuple(found))


def _told(before: Needed | None, horizon_s: float, grid: Grid) -> Told:
    """What was told of a horizon until the end of a history, which the new model goes on from."""
    # The forecast as of the end itself is the new model's own first one.
    until = grid.end_at - grid.step_s
    if before is None or not before.watched:
        return nothing(until, grid.step_s)
    return before.nearest(horizon_s).told_until(joined(before.history, grid), until)
