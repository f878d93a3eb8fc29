"""From a point forecast to quantiles: how far, by factors, what came was from what had been said."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from statistics import NormalDist
from typing import Protocol

import numpy as np

from autoscaler.forecasters.grid import Grid, Indices, Values, floor_of
from autoscaler.forecasters.target import Target, outcomes

PRIOR_SIGMA = math.log(1.3) / NormalDist().inv_cdf(0.95)
"""Without history the 0.95 quantile is 1.3 times the level, as of a service of middling liveliness."""

PRIOR_COUNT = 30.0
"""The prior weighs as much as this many errors; those of neighbouring minutes are nearly one."""

LOOKBACK_S = 7 * 86400.0


class Point(Protocol):
    """A point forecast."""

    def __call__(self, grid: Grid, origins: Indices, target: Target) -> Values:
        """Amounts (origin,), from what was known at each origin."""
        ...


@dataclass(frozen=True, slots=True)
class Spread:
    """A law: a point forecast with the errors that it made over the last week of a history."""

    point: Point
    history: Grid
    floor: float
    _errors: dict[Target, Values] = field(default_factory=dict, compare=False)

    def ahead(self, grid: Grid, origins: Indices, target: Target, quantiles: tuple[float, ...]) -> Values:
        centre = self.point(grid, origins, target) + self.floor
        if target not in self._errors:
            self._errors[target] = self._measured(target)
        factors = np.exp(error_quantiles(self._errors[target], quantiles, target.steps(self.history)))
        return np.maximum(centre[None, :] * factors[:, None] - self.floor, 0.0)

    def _measured(self, target: Target) -> Values:
        """Logs of what came over what was said, ascending, for each origin of the week."""
        origins = np.arange(max(0, len(self.history) - self.history.steps(LOOKBACK_S)), len(self.history))
        came = outcomes(self.history, target, origins)
        said = self.point(self.history, origins, target)
        errors = np.log(came + self.floor) - np.log(said + self.floor)
        return np.sort(errors[np.isfinite(errors)])


def spread_of(point: Point, history: Grid) -> Spread:
    """The law of a point forecast, its floor taken from the history too."""
    return Spread(point, history, floor_of(history))


def error_quantiles(errors: Values, quantiles: tuple[float, ...], overlap: int = 1) -> Values:
    """Quantiles of log errors (quantile,), drawn towards the prior while there are few.

    Of `overlap` neighbouring errors, whose ways to the horizon overlap, only one is new. With n new ones the q-quantile
    of those seen covers less than a share q of those to come; that of rank q * (n + 1) / n does not (split conformal
    prediction: Vovk, Gammerman and Shafer 2005).
    """
    prior = np.array([PRIOR_SIGMA * normal_score(q) for q in quantiles])
    if not errors.size:
        return prior
    weight = errors.size / (errors.size + PRIOR_COUNT)
    spare = overlap / errors.size
    ranks = [q * (1.0 + spare) if q > 0.5 else 1.0 - (1.0 - q) * (1.0 + spare) if q < 0.5 else q for q in quantiles]
    return np.asarray(weight * np.quantile(errors, np.clip(ranks, 0.0, 1.0)) + (1.0 - weight) * prior)


def normal_score(quantile: float) -> float:
    """The quantile of a standard normal distribution, within six sigma."""
    return NormalDist().inv_cdf(min(max(quantile, 1e-9), 1.0 - 1e-9))
