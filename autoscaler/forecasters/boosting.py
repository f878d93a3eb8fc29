"""Median and upper tail of log growth by gradient-boosted trees, for one target."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from autoscaler.forecasters.features import View, features
from autoscaler.forecasters.flat import Flat, flatten
from autoscaler.forecasters.grid import Grid, Indices, Values
from autoscaler.forecasters.ridge import Lines, ridge, together
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
class Ensemble:
    """Trees for one target: FOLDS + 1 medians of growth, the tail of growth, and the tail of what a median was off.

    lines: what the medians stand on, one each, and the tail of growth on the last; None = on nothing.
    """

    trees: Flat
    lines: Lines | None

    def growth(self, table: Values) -> tuple[Values, Values]:
        """Median (row,) of log growth on the anchor, and the distance from there to the 0.95 quantile."""
        ground = np.zeros((len(table), FOLDS + 1)) if self.lines is None else self.lines.predict(table)
        said = self.trees.predict(table if self.lines is None else np.concatenate([table, ground], axis=1))
        middle = (said[:, : FOLDS + 1] + ground).mean(axis=1)
        tail, excess = said[:, FOLDS + 1] + ground[:, FOLDS], said[:, FOLDS + 2]
        # The tail of growth knows of each state how far it can go; that of the errors is honest about the median. Each
        # is noisy, and their mean loses less than either.
        return middle, np.maximum((tail - middle + excess) / 2.0, LEAST_SPREAD)


@dataclass(frozen=True, slots=True)
class Boosted:
    """What was learned for one target of one series."""

    target: Target
    floor: float
    ensemble: Ensemble

    def growth(self, grid: Grid, origins: Indices) -> tuple[Values, Values]:
        """Median (origin,) of log growth on the anchor, and the distance from there to the 0.95 quantile."""
        if not origins.size:
            return np.empty(0), np.empty(0)
        return self.ensemble.growth(features(View(grid, origins, self.floor), self.target))


def boosted(grid: Grid, target: Target, floor: float, size: Size) -> Boosted | None:
    """Trees learned from a past, or None when there are too few outcomes. Equal seeds give equal trees."""
    chance = np.random.default_rng(size.seed)
    drawn = examples(grid, target, floor, size.rows, chance)
    if len(drawn.origins) < LEAST_ROWS:
        return None
    table = features(View(grid, drawn.origins, floor), target)
    return Boosted(target, floor, ensemble(table, drawn.growth, size, chance))


@dataclass(frozen=True, slots=True)
class Examples:
    """Origins whose outcome is known, ascending, and the log growth (origin,) that came."""

    origins: Indices
    growth: Values


def examples(grid: Grid, target: Target, floor: float, rows: int, chance: np.random.Generator) -> Examples:
    """At most three times `rows` of them. Only those that may be drawn are worth their features."""
    origins = np.arange(len(grid))
    view = View(grid, origins, floor)
    level = view.anchor()
    growth = view.log(outcomes(grid, target, origins)) - level
    usable = np.flatnonzero(np.isfinite(growth))
    if len(usable) > 3 * rows:
        # Errors are paid in amounts, so rows are drawn in proportion to the level; weights would take ten times
        # as long.
        share = np.exp(level[usable])
        usable = np.sort(chance.choice(usable, 3 * rows, replace=False, p=share / share.sum()))
    return Examples(usable, growth[usable])


def ensemble(
    table: Values, wanted: Values, size: Size, chance: np.random.Generator, columns: Indices | None = None
) -> Ensemble:
    """Trees learned from a table and the growth (row,) that came; with `columns`, from what a ridge regression on those
    leaves, which they are shown too."""
    width, places = table.shape[1], np.arange(len(table))
    off = np.empty(len(table))
    learned, lines = [], []

    def draw(among: Indices) -> Indices:
        if len(among) <= size.rows:
            return among
        even = np.full(len(among), 1.0 / len(among))
        return np.sort(chance.choice(among, size.rows, replace=False, p=even))

    def median(rows: Indices, seed: int, unseen: Indices) -> Values:
        """Learns one from some rows, and says what it says of others."""
        line = None if columns is None else ridge(table[rows], wanted[rows], columns)
        lines.append(line)
        regressor, kept = _trees(*_left(table[rows], wanted[rows], line), 0.5, size.trees, seed)
        learned.append((regressor, np.where(kept < width, kept, width + len(lines) - 1)))
        shown, left = _left(table[unseen], wanted[unseen], line)
        # Not the library's own call, whose threads wait for each other at every tree.
        return left - flatten([(regressor, kept)], shown.shape[1]).predict(shown)[:, 0]

    for number, fold in enumerate(np.array_split(places, FOLDS)):
        off[fold] = median(draw(np.setdiff1d(places, fold, assume_unique=True)), size.seed + number, fold)
    # The medians that were made to find honest errors are not thrown away: several are steadier than one.
    median(draw(places), size.seed + FOLDS, places[:0])
    shown, left = _left(table, wanted, lines[-1])
    mine = draw(places)
    for number, outcome in enumerate((left, off)):
        regressor, kept = _trees(shown[mine], outcome[mine], TAIL, size.trees, size.seed + number)
        learned.append((regressor, np.where(kept < width, kept, width + FOLDS)))
    ground = [line for line in lines if line is not None]
    flat = flatten(learned, width + len(ground))
    return Ensemble(flat, together(ground) if ground else None)


def widths(quantiles: tuple[float, ...]) -> Values:
    """Each quantile's distance from the median as a multiple of the tail's, as in a normal distribution of logs."""
    return np.array([normal_score(q) / normal_score(TAIL) for q in quantiles])


def _left(table: Values, wanted: Values, line: Lines | None) -> tuple[Values, Values]:
    """The table with what a line says of each row as its last column, and what the line leaves of what came."""
    if line is None:
        return table, wanted
    ground = line.predict(table)
    return np.concatenate([table, ground], axis=1), wanted - ground[:, 0]


def _trees(table: Values, wanted: Values, quantile: float, count: int, seed: int) -> tuple[Any, Indices]:
    """A regressor and the places of the columns that it was shown."""
    from sklearn.ensemble import HistGradientBoostingRegressor
    from threadpoolctl import threadpool_limits

    columns = np.flatnonzero([_varies(column) for column in table.T])
    regressor = HistGradientBoostingRegressor(quantile=quantile, max_iter=count, random_state=seed, **TREES)
    # One thread: the other cores belong to the tick, and a thousand small fits gain nothing from a second one.
    with threadpool_limits(limits=1, user_api="openmp"):
        regressor.fit(table[:, columns], wanted)
    return regressor, columns


def _varies(column: Values) -> bool:
    known = column[np.isfinite(column)]
    return bool(known.size and known.min() < known.max())
