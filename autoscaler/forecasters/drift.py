"""Drift: the present level plus a share of the change that the same clock times brought yesterday."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from autoscaler.forecasters.fitted import Fitted, fitted
from autoscaler.forecasters.grid import ANCHOR_S, Grid, Indices, Values, window_level, window_mean
from autoscaler.forecasters.law import Law
from autoscaler.forecasters.spread import spread_of
from autoscaler.forecasters.target import Target, season_before
from autoscaler.forecasters.trial import Trial
from autoscaler.types import Frame

DAY_S = 86400.0
WEIGHTS = (0.0, 0.25, 0.5, 0.75, 1.0)


@dataclass(frozen=True, slots=True)
class Drift:
    """Level + w * (yesterday's outcome - yesterday's level), w of 0 to 1 as it was best of late; 0 is the last value.

    At full weight a season hurts noisy or changing load; the share is found for each series and horizon.
    """

    def fit(self, history: Frame) -> Fitted:
        return fitted("drift", self, history)

    def learn(self, grid: Grid) -> Law:
        return spread_of(Trial(tuple(Change(w) for w in WEIGHTS), grid), grid)


@dataclass(frozen=True, slots=True)
class Change:
    """A point forecast: the level plus `weight` times yesterday's change; the level where yesterday is not known."""

    weight: float

    def __call__(self, grid: Grid, origins: Indices, target: Target) -> Values:
        level = window_level(grid, origins, ANCHOR_S)
        if not self.weight:
            return level
        earlier, came = season_before(grid, target, origins, DAY_S)
        change = came - window_mean(grid, earlier, ANCHOR_S)
        return np.maximum(level + self.weight * np.where(np.isfinite(change), change, 0.0), 0.0)
