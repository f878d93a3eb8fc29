"""Several point forecasts tried on the recent past and the best used: how a naive model finds its one setting."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from autoscaler.forecasters.grid import Grid, Indices, Values
from autoscaler.forecasters.spread import Point
from autoscaler.forecasters.target import Target, outcomes

LOOKBACK_S = 7 * 86400.0
HALF_LIFE_S = 2 * 86400.0
"""Errors count half as much after this time, so that a season that went stale loses its weight within days."""

LEAST_GAIN = 0.01
"""Share of the error by which a later setting must beat the first one, the plainest; less is chance."""

LEAST_ORIGINS = 30


@dataclass(frozen=True, slots=True)
class Trial:
    """A point forecast: the one of `points` with the least absolute error of late; the first is the fallback."""

    points: tuple[Point, ...]
    history: Grid
    _chosen: dict[Target, int] = field(default_factory=dict, compare=False)

    def __call__(self, grid: Grid, origins: Indices, target: Target) -> Values:
        return self.points[self.chosen(target)](grid, origins, target)

    def chosen(self, target: Target) -> int:
        """The place of the best point forecast for a target."""
        if target not in self._chosen:
            self._chosen[target] = self._best(target)
        return self._chosen[target]

    def _best(self, target: Target) -> int:
        origins = np.arange(max(0, len(self.history) - self.history.steps(LOOKBACK_S)), len(self.history))
        came = outcomes(self.history, target, origins)
        said = np.stack([point(self.history, origins, target) for point in self.points])
        judged = np.isfinite(came) & np.isfinite(said).all(axis=0)
        if np.count_nonzero(judged) < LEAST_ORIGINS:
            return 0
        age_s = self.history.step_s * (len(self.history) - 1 - origins[judged])
        errors = np.abs(said[:, judged] - came[judged]) @ (0.5 ** (age_s / HALF_LIFE_S))
        best = int(np.argmin(errors))
        return best if errors[best] < (1.0 - LEAST_GAIN) * errors[0] else 0
