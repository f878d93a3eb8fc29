"""Quantile regression of growth by gradient boosting: which states of the past have led where."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from autoscaler.errors import InputError
from autoscaler.forecasters.boosting import Boosted, Size, boosted, widths
from autoscaler.forecasters.features import View
from autoscaler.forecasters.fitted import Fitted, fitted
from autoscaler.forecasters.grid import ANCHOR_S, Grid, Indices, Values, floor_of
from autoscaler.forecasters.last import Anchor
from autoscaler.forecasters.law import Law
from autoscaler.forecasters.spread import spread_of
from autoscaler.forecasters.target import Target
from autoscaler.types import Frame, Of

HORIZONS_S = (600.0, 1800.0)


@dataclass(frozen=True, slots=True)
class Quantile:
    """Log growth from level ratios, lags, seasons and the time of day; median and tail by gradient-boosted trees.

    horizons_s: horizons that are learned, others are read between them. of: what is learned about them. rows: most
    origins that trees learn from. trees: in each regressor. seed: equal ones give equal models. With too little history
    it is the last value.
    """

    horizons_s: tuple[float, ...] = HORIZONS_S
    of: tuple[Of, ...] = ("mean", "peak")
    rows: int = 4000
    trees: int = 45
    seed: int = 1

    def __post_init__(self) -> None:
        faults = []
        if not self.horizons_s or not all(0.0 < h < math.inf for h in self.horizons_s):
            faults.append(f"quantile: horizons {self.horizons_s} are not all ahead; write seconds above 0, such as 600")
        if not self.of or not set(self.of) <= {"mean", "peak", "need"}:
            faults.append(f"quantile: of {self.of} is not mean, peak, need or several of them; write one or more")
        if self.rows < 500:
            faults.append(f"quantile: {self.rows} rows teach trees nothing; write 500 or more")
        if not 1 <= self.trees <= 10_000:
            faults.append(f"quantile: {self.trees} trees are not from 1 to 10000; write a number such as 45")
        if self.seed < 0:
            faults.append(f"quantile: seed {self.seed} is below 0; write a whole number")
        if faults:
            raise InputError(*faults)

    def fit(self, history: Frame) -> Fitted:
        return fitted("quantile", self, history)

    def learn(self, grid: Grid) -> Law:
        floor = floor_of(grid)
        wanted = [Target(of, h) for of in self.of for h in sorted(set(self.horizons_s))]
        learned = [boosted(grid, target, floor, Size(self.rows, self.trees, self.seed)) for target in wanted]
        known = tuple(one for one in learned if one is not None)
        return _Trees(known, floor) if known else spread_of(Anchor(ANCHOR_S), grid)


@dataclass(frozen=True, slots=True)
class _Trees:
    """Trees for several targets; a horizon between two is read on the line between them."""

    learned: tuple[Boosted, ...]
    floor: float

    def ahead(self, grid: Grid, origins: Indices, target: Target, quantiles: tuple[float, ...]) -> Values:
        known = [one for one in self.learned if one.target.of == target.of]
        if not known:
            return np.full((len(quantiles), len(origins)), np.nan)
        middle, width = self._growth(known, grid, origins, target.horizon_s)
        logs = View(grid, origins, self.floor).anchor() + middle + widths(quantiles)[:, None] * width
        return np.asarray(np.maximum(np.exp(logs) - self.floor, 0.0))

    @staticmethod
    def _growth(known: list[Boosted], grid: Grid, origins: Indices, horizon_s: float) -> tuple[Values, Values]:
        """Median and width of log growth at a horizon."""
        horizons = [one.target.horizon_s for one in known]
        if horizon_s <= horizons[0] or horizon_s >= horizons[-1]:
            nearest = known[0] if horizon_s <= horizons[0] else known[-1]
            middle, width = nearest.growth(grid, origins)
            # Beyond what was learned changes are taken to add up like those of a random walk.
            scale = math.sqrt(horizon_s / nearest.target.horizon_s)
            return middle * scale, width * scale
        after = next(n for n, h in enumerate(horizons) if h >= horizon_s)
        share = (horizon_s - horizons[after - 1]) / (horizons[after] - horizons[after - 1])
        before_middle, before_width = known[after - 1].growth(grid, origins)
        after_middle, after_width = known[after].growth(grid, origins)
        middle = (1.0 - share) * before_middle + share * after_middle
        return middle, (1.0 - share) * before_width + share * after_width
