"""Exponential moving average, its half-life chosen by back-test: how much of the past is still the present."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from autoscaler.forecasters.fitted import Fitted, fitted
from autoscaler.forecasters.grid import Grid, Indices, Values, window_level
from autoscaler.forecasters.law import Law
from autoscaler.forecasters.spread import spread_of
from autoscaler.forecasters.target import Target
from autoscaler.forecasters.trial import Trial
from autoscaler.types import Frame

HALF_LIVES_S = (120.0, 300.0, 600.0, 1200.0, 2400.0)
REACH = 6
"""Half-lives that are looked back; what is older would weigh less than 2 %."""


@dataclass(frozen=True, slots=True)
class Ema:
    """The exponential moving average goes on; of five half-lives from 2 to 40 minutes the one that was best of late."""

    def fit(self, history: Frame) -> Fitted:
        return fitted("ema", self, history)

    def learn(self, grid: Grid) -> Law:
        return spread_of(Trial(tuple(_Average(half) for half in HALF_LIVES_S), grid), grid)


@dataclass(frozen=True, slots=True)
class _Average:
    half_life_s: float

    def __call__(self, grid: Grid, origins: Indices, target: Target) -> Values:
        steps = grid.steps(REACH * self.half_life_s)
        weights = 0.5 ** (np.arange(steps) * grid.step_s / self.half_life_s)
        total, weight = np.zeros(len(origins)), np.zeros(len(origins))
        # A gap takes no part; a loop over the weights needs no (origin, weight) table.
        for back, share in enumerate(weights):
            places = origins - back
            value = np.where(places >= 0, grid.values[np.maximum(places, 0)], np.nan)
            known = np.isfinite(value)
            total += np.where(known, share * value, 0.0)
            weight += share * known
        average = np.where(weight > 0, total / np.maximum(weight, 1e-12), np.nan)
        gaps = np.isnan(average)
        average[gaps] = window_level(grid, origins[gaps], self.half_life_s)
        return average
