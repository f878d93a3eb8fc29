"""Last value: it stays as it is. The bar that every other forecaster has to pass."""

from __future__ import annotations

from dataclasses import dataclass

from autoscaler.forecasters.fitted import Fitted, fitted
from autoscaler.forecasters.grid import ANCHOR_S, Grid, Indices, Values, window_level
from autoscaler.forecasters.law import Law
from autoscaler.forecasters.spread import spread_of
from autoscaler.forecasters.target import Target
from autoscaler.types import Frame


@dataclass(frozen=True, slots=True)
class Last:
    """The mean of the last five minutes goes on; quantiles from how far it was off over the last week."""

    def fit(self, history: Frame) -> Fitted:
        return fitted("last", self, history)

    def learn(self, grid: Grid) -> Law:
        return spread_of(Anchor(ANCHOR_S), grid)


@dataclass(frozen=True, slots=True)
class Anchor:
    """A point forecast: the mean over the last `window_s`."""

    window_s: float

    def __call__(self, grid: Grid, origins: Indices, target: Target) -> Values:
        return window_level(grid, origins, self.window_s)
