"""Seasonal ratio: the present level times the growth that yesterday or last week showed at this time."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from autoscaler.forecasters.drift import DAY_S
from autoscaler.forecasters.fitted import Fitted, fitted
from autoscaler.forecasters.grid import ANCHOR_S, Grid, Indices, Values, floor_of, window_level, window_mean
from autoscaler.forecasters.law import Law
from autoscaler.forecasters.spread import spread_of
from autoscaler.forecasters.target import Target, season_before
from autoscaler.forecasters.trial import Trial
from autoscaler.types import Frame

WEEK_S = 7 * DAY_S
POWERS = (0.25, 0.5, 0.75, 1.0)
SEASONS_BACK = 3
"""Where yesterday is a gap the day before it stands in, and one more."""

WIDEST = 4.0
"""Growth of a season beyond this factor either way is taken for an accident of its day."""


@dataclass(frozen=True, slots=True)
class Seasonal:
    """Level * (season's outcome / season's level) ** p; day or week and p of 0 to 1 as they were best of late."""

    def fit(self, history: Frame) -> Fitted:
        return fitted("seasonal", self, history)

    def learn(self, grid: Grid) -> Law:
        floor = floor_of(grid)
        shapes = tuple(_Shape(period, power, floor) for period in (DAY_S, WEEK_S) for power in POWERS)
        return spread_of(Trial((_Shape(DAY_S, 0.0, floor), *shapes), grid), grid)


@dataclass(frozen=True, slots=True)
class _Shape:
    period_s: float
    power: float
    floor: float

    def __call__(self, grid: Grid, origins: Indices, target: Target) -> Values:
        level = window_level(grid, origins, ANCHOR_S)
        if not self.power:
            return level
        ratio = np.full(len(origins), np.nan)
        for season in range(SEASONS_BACK):
            open_ = np.flatnonzero(~np.isfinite(ratio))
            if not open_.size:
                break
            earlier, came = season_before(
                grid, target, origins[open_] - season * grid.steps(self.period_s), self.period_s
            )
            ratio[open_] = (came + self.floor) / (window_mean(grid, earlier, ANCHOR_S) + self.floor)
        return level * np.clip(np.where(np.isfinite(ratio), ratio, 1.0), 1.0 / WIDEST, WIDEST) ** self.power
