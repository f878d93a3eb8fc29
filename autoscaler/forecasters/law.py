"""A learned law of one series: amounts ahead at many origins in one call, from what was known at each."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import numpy as np

from autoscaler.forecasters.grid import Grid, Indices, Values
from autoscaler.forecasters.target import Target


class Law(Protocol):
    """What a forecaster learned. It may look at `grid.values[: origin + 1]` for an origin, never beyond."""

    def ahead(self, grid: Grid, origins: Indices, target: Target, quantiles: tuple[float, ...]) -> Values:
        """Amounts (quantile, origin) in the unit of the values; NaN = no forecast. Quantiles ascend."""
        ...


class Learner(Protocol):
    """What makes a law from the past of a series; every forecaster here is one."""

    def learn(self, grid: Grid) -> Law: ...


@dataclass(frozen=True, slots=True)
class Succession:
    """Two laws in turn: the first until `since`, what it forecast when it was tried, then the one that is in force.

    Both are asked only for origins that they have not seen, so that all of its errors are honest ones.
    """

    tried: Law
    present: Law
    since: float

    def ahead(self, grid: Grid, origins: Indices, target: Target, quantiles: tuple[float, ...]) -> Values:
        found = np.full((len(quantiles), len(origins)), np.nan)
        late = grid.at[origins] >= self.since - 1e-6
        for law, part in ((self.tried, ~late), (self.present, late)):
            if part.any():
                found[:, part] = law.ahead(grid, origins[part], target, quantiles)
        return found
