"""Median and upper tail of log growth by gradient-boosted trees, for one target."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from autoscaler.forecasters.features import View, features
from autoscaler.forecasters.grid import Grid, Indices, Values
from autoscaler.forecasters.spread import normal_score
from autoscaler.forecasters.target import Target, outcomes

TAIL = 0.95
FOLDS = 3
LEAST_ROWS = 300
LEAST_SPREAD = 1e-6
TREES: dict[str, Any] = {
    "loss": "quantile",
    "learning_rate": 0.13,
    "max_leaf_nodes": 8,
    "min_samples_leaf": 40,
    "l2_regularization": 1.0,
    "max_features": 0.3,
    "early_stopping": False,
}
"""Shallow trees on a third of the columns each: neighbouring minutes are nearly one, so that less can be learned from
thousands of rows than their number says. The same for every series."""


@dataclass(frozen=True, slots=True)
class Size:
    """How much is learned from: rows, trees of each regressor, and the seed of what is drawn."""

    rows: int
    trees: int
    seed: int


@dataclass(frozen=True, slots=True)
class Boosted:
    """Trees for one target: medians of growth, the tail of growth, and the tail of what the median was off."""

    target: Target
    floor: float
    medians: tuple[_Trees, ...]
    tail: _Trees
    excess: _Trees

    def growth(self, grid: Grid, origins: Indices) -> tuple[Values, Values]:
        """Median (origin,) of log growth on the anchor, and the distance from there to the 0.95 quantile."""
        table = features(View(grid, origins, self.floor), self.target)
        middle = np.mean([trees.predict(table) for trees in self.medians], axis=0)
        # The tail of growth knows of each state how far it can go; that of the errors is honest about the median. Each
        # is noisy, and their mean loses less than either.
        width = (self.tail.predict(table) - middle + self.excess.predict(table)) / 2.0
        return middle, np.maximum(width, LEAST_SPREAD)


def boosted(grid: Grid, target: Target, floor: float, size: Size) -> Boosted | None:
    """Trees learned from a past, or None when there are too few outcomes. Equal seeds give equal trees."""
    origins = np.arange(len(grid))
    view = View(grid, origins, floor)
    level = view.anchor()
    growth = view.log(outcomes(grid, target, origins)) - level
    usable = np.flatnonzero(np.isfinite(growth))
    if len(usable) < LEAST_ROWS:
        return None
    rows, seed = size.rows, size.seed
    chance = np.random.default_rng(seed)
    # Errors are paid in amounts, so rows are drawn in proportion to the level; weights would do it ten times slower.
    draw = _Draw(np.exp(level), rows, chance)
    # Only rows that may be drawn are worth their features.
    usable = np.sort(draw(usable, 3 * rows))
    table = features(View(grid, usable, floor), target)
    wanted, draw = growth[usable], _Draw(np.ones(len(usable)), rows, chance)
    places = np.arange(len(usable))
    off = np.empty(len(usable))
    medians = []
    for number, fold in enumerate(np.array_split(places, FOLDS)):
        others = draw(np.setdiff1d(places, fold, assume_unique=True))
        medians.append(_trees(table[others], wanted[others], 0.5, size.trees, seed + number))
        off[fold] = wanted[fold] - medians[-1].predict(table[fold])
    # The medians that were made to find honest errors are not thrown away: several are steadier than one.
    mine = draw(places)
    medians.append(_trees(table[mine], wanted[mine], 0.5, size.trees, seed + FOLDS))
    mine = draw(places)
    tail = _trees(table[mine], wanted[mine], TAIL, size.trees, seed)
    excess = _trees(table[mine], off[mine], TAIL, size.trees, seed + 1)
    return Boosted(target, floor, tuple(medians), tail, excess)


def widths(quantiles: tuple[float, ...]) -> Values:
    """Each quantile's distance from the median as a multiple of the tail's, as in a normal distribution of logs."""
    return np.array([normal_score(q) / normal_score(TAIL) for q in quantiles])


@dataclass(frozen=True, slots=True)
class _Draw:
    weights: Values
    rows: int
    chance: np.random.Generator

    def __call__(self, places: Indices, rows: int | None = None) -> Indices:
        count = self.rows if rows is None else rows
        if len(places) <= count:
            return places
        share = self.weights[places] / self.weights[places].sum()
        return np.sort(self.chance.choice(places, count, replace=False, p=share))


@dataclass(frozen=True, slots=True)
class _Trees:
    """A regressor and the columns that it was shown."""

    regressor: Any
    columns: NDArray[np.bool_]

    def predict(self, table: Values) -> Values:
        if not len(table):
            return np.empty(0)
        return np.asarray(self.regressor.predict(table[:, self.columns]), dtype=np.float64)


def _trees(table: Values, wanted: Values, quantile: float, count: int, seed: int) -> _Trees:
    from sklearn.ensemble import HistGradientBoostingRegressor
    from threadpoolctl import threadpool_limits

    columns = np.array([_varies(column) for column in table.T])
    regressor = HistGradientBoostingRegressor(quantile=quantile, max_iter=count, random_state=seed, **TREES)
    # One thread: the other cores belong to the tick, and a thousand small fits gain nothing from a second one.
    with threadpool_limits(limits=1, user_api="openmp"):
        regressor.fit(table[:, columns], wanted)
    return _Trees(regressor, columns)


def _varies(column: Values) -> bool:
    known = column[np.isfinite(column)]
    return bool(known.size and known.min() < known.max())
