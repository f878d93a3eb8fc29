"""The model that fitting gives: a law with the past that it was learned from, asked for growth on the present level."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from autoscaler.errors import InputError
from autoscaler.forecasters.conformal import Calibrated
from autoscaler.forecasters.grid import LEVEL_S, Grid, Indices, Values, floor_of, grid_of, joined, window_level
from autoscaler.forecasters.law import Law, Learner, Succession
from autoscaler.forecasters.record import Record
from autoscaler.forecasters.target import Target
from autoscaler.types import Frame, Of, Outlook

TRIED_S = 2 * 86400.0
TRIED_SHARE = 0.25
TRIED_STEPS = 200
"""The newest part of a history, at most two days or 200 buckets, is forecast by what was learned from the rest."""

LEAST_S = 4 * 3600.0
"""With less history nothing is tried, since neither part would tell much."""


@dataclass(frozen=True, slots=True)
class Fitted:
    """A law, the past that it was learned from, and the least level that growth is counted on."""

    version: str
    law: Law
    history: Grid
    floor: float

    def outlook(self, recent: Frame, horizons_s: tuple[float, ...], quantiles: tuple[float, ...], of: Of) -> Outlook:
        """Growth factors as of the newest sample of `recent`, from where horizons count; NaN = no forecast.

        `recent` is joined to the history, so that an hour of it is enough. A factor multiplies the mean of the last two
        minutes, or `floor` where that is larger. Raises InputError for horizons and quantiles that make no sense.
        """
        check(horizons_s, quantiles)
        grid = self.joined(recent)
        at = grid.end_at if len(grid) else math.nan
        growth, level = np.full((len(quantiles), len(horizons_s)), np.nan), np.array([math.nan])
        if len(grid):
            origin = np.array([len(grid) - 1])
            level = np.maximum(window_level(grid, origin, LEVEL_S), self.floor)
            order = np.argsort(quantiles)
            ascending = tuple(quantiles[n] for n in order)
            for place, horizon_s in enumerate(horizons_s):
                growth[order, place] = (self.law.ahead(grid, origin, Target(of, horizon_s), ascending) / level)[:, 0]
        growth[~np.isfinite(growth)] = np.nan
        rows = tuple(tuple(row) for row in growth.tolist())
        return Outlook(at, self.version, of, tuple(horizons_s), tuple(quantiles), rows, self.floor, float(level[0]))

    def ahead(self, recent: Frame, at: Values, target: Target, quantiles: tuple[float, ...]) -> Values:
        """Amounts (quantile, time) as of many times of `recent` in one call, each from what was known by then."""
        grid = self.joined(recent)
        origins: Indices = np.array([grid.index(when) for when in at], dtype=np.int64)
        return self.law.ahead(grid, origins, target, quantiles)

    def joined(self, recent: Frame) -> Grid:
        """The history, going on with what came since."""
        return joined(self.history, grid_of(recent))


def check(horizons_s: tuple[float, ...], quantiles: tuple[float, ...]) -> None:
    """Raise InputError unless every horizon lies ahead and every quantile between 0 and 1."""
    faults = [f"a horizon of {h:g} s is not ahead; write one above 0" for h in horizons_s if not (0.0 < h < math.inf)]
    faults += [
        f"a quantile of {q:g} is not between 0 and 1; write one such as 0.95" for q in quantiles if not 0 < q < 1
    ]
    if faults:
        raise InputError(*faults)


def fitted(name: str, learner: Learner, history: Frame) -> Fitted:
    """The model of a learner: tried on the newest part of the history, calibrated by that, and learned from all."""
    grid = grid_of(history)
    since = tried_since(grid)
    if since is None:
        return model(name, learner.learn(grid), grid)
    succession = Succession(learner.learn(grid.until(since)), learner.learn(grid), grid.end_at)
    return model(name, Calibrated(Record(succession, grid, since), floor_of(grid)), grid)


def model(name: str, law: Law, grid: Grid) -> Fitted:
    """A law as a model; its version names the forecaster and the end of its history."""
    end = f"{grid.end_at:.0f}" if len(grid) else "empty"
    return Fitted(f"{name}@{end}", law, grid, floor_of(grid))


def tried_since(grid: Grid) -> float | None:
    """From when on a history is forecast by what came before; None when it is too short for that."""
    known_s = grid.step_s * float(np.count_nonzero(np.isfinite(grid.values)))
    if known_s < LEAST_S:
        return None
    length_s = min(max(TRIED_S, TRIED_STEPS * grid.step_s), TRIED_SHARE * grid.step_s * len(grid))
    return grid.end_at - grid.step_s * math.floor(length_s / grid.step_s)
