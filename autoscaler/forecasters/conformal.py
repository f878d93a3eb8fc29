"""Keeps quantiles honest: shifts each by what it was off, so that its share of misses comes out as promised."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from autoscaler.forecasters.grid import Grid, Indices, Values
from autoscaler.forecasters.record import Record, Seen
from autoscaler.forecasters.target import Target

STEP = 0.08
"""Shift after one miss, in usual errors: large enough to follow a change of regime in hours, small beside the error."""

MEMORY = 288
"""So many outcomes tell how large an error is usual: a day of them."""

QUIET_ERROR = 0.005
"""A log error that is taken for usual before any is known."""


@dataclass(frozen=True, slots=True)
class Calibrated:
    """A law whose quantiles are shifted, in logs, by an online gradient step on the pinball loss after each outcome.

    After an outcome above the shifted q-quantile it rises by STEP * q usual errors, after one below it falls by
    STEP * (1 - q): it stands still only where a share q of outcomes lies below, whatever the distribution does
    (adaptive conformal inference: Gibbs and Candès 2021; in this form, the quantile tracker: Angelopoulos, Candès and
    Tibshirani 2023). The median is a point forecast and judged as such; it is not shifted.
    """

    record: Record
    floor: float

    def ahead(self, grid: Grid, origins: Indices, target: Target, quantiles: tuple[float, ...]) -> Values:
        said = self.record.law.ahead(grid, origins, target, quantiles)
        if not origins.size:
            return said
        asked = tuple(sorted({0.5, *quantiles}))
        seen = self.record.seen(grid, int(origins.max()), target, asked)
        for row, quantile in enumerate(quantiles):
            if quantile != 0.5:
                shift = shifts(seen, asked.index(quantile), asked.index(0.5), quantile, self.floor, origins)
                said[row] = np.maximum((said[row] + self.floor) * np.exp(shift) - self.floor, 0.0)
        return uncrossed(said, quantiles)


def uncrossed(said: Values, quantiles: tuple[float, ...]) -> Values:
    """Quantiles (quantile, origin) that were shifted one by one, put in order outwards from the median, which stays."""
    low = sum(quantile < 0.5 for quantile in quantiles)
    found = np.array(said)
    found[low:] = np.maximum.accumulate(said[low:], axis=0)
    if low < len(quantiles):
        found[:low] = np.minimum(said[:low], found[low])
    found[:low] = np.maximum.accumulate(found[:low], axis=0)
    return found


def shifts(seen: Seen, row: int, middle: int, quantile: float, floor: float, origins: Indices) -> Values:
    """The shift in logs of one quantile, `row` of what was said, at each origin, from outcomes known by then."""
    logs = np.log(seen.came + floor)
    score = logs - np.log(seen.said[row] + floor)
    error = np.abs(logs - np.log(seen.said[middle] + floor))
    judged = np.isfinite(score) & np.isfinite(error)
    known = seen.known[judged]
    track = _Track(quantile)
    # `path[n]` is the shift that forecast n got; a miss counts against that one and not against what was learned since.
    path: list[float] = []
    after = [track.shift]
    ripe, scores, errors, ripe_at = 0, score[judged].tolist(), error[judged].tolist(), known.tolist()
    for at in [*seen.origins[judged].tolist(), math.inf]:
        while ripe < len(path) and ripe_at[ripe] <= at:
            track.learn(scores[ripe] > path[ripe], errors[ripe])
            after.append(track.shift)
            ripe += 1
        path.append(track.shift)
    return np.asarray(after)[np.searchsorted(known, origins, side="right")]


class _Track:
    """The shift of one quantile in logs, and how large an error is usual."""

    def __init__(self, quantile: float) -> None:
        self.shift = 0.0
        self._quantile = quantile
        self._usual, self._count = QUIET_ERROR, 1

    def learn(self, missed: bool, error: float) -> None:
        """Take in one outcome: whether it was above the quantile, and its log error against the median."""
        self._count += 1
        self._usual += (error - self._usual) / min(self._count, MEMORY)
        self.shift += STEP * self._usual * (float(missed) - (1.0 - self._quantile))
