"""Seasonal bands: what this time of day, or of the week, has been like, so that a daily peak is no alarm."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from autoscaler.errors import InputError
from autoscaler.thresholds.band import Shape
from autoscaler.thresholds.robust import SIGMA_PER_MAD, medians
from autoscaler.types import Bands, FloatArray, Frame

DAY_S = 86400.0
WEEK_S = 7 * DAY_S
LEAST_SEASONS = 3
"""So many days, or weeks, must have spoken: the median of two is as wrong as the worse of them is."""


@dataclass(frozen=True, slots=True)
class Seasonal:
    """Median +/- k * 1.4826 * MAD of what each series was within `window_s` of this time on earlier days.

    Where three earlier weeks are known, only the same day of the week counts. A series of which fewer than three days,
    or fewer than `min_points` such values, are known gets the band of `Robust` over its whole lookback. Days are those
    of UTC and last 24 hours: where clocks change, a series is an hour off for as long as the lookback is.
    The other fields mean what they mean for `Robust`.
    """

    k: float
    min_points: int = 20
    min_width: float = 0.0
    min_width_ratio: float = 0.0
    clip_at: float | None = None
    window_s: float = 1800.0

    def __post_init__(self) -> None:
        self._shape().check("seasonal threshold")
        if not (math.isfinite(self.window_s) and 0 < self.window_s <= DAY_S / 2):
            raise InputError(
                f"seasonal threshold: window_s is {self.window_s}, but must be above 0 and at most half a day; "
                "write such as 1800"
            )

    def bands(self, history: Frame) -> Bands:
        """Bounds of shape (series,), float64, for one interval after the last time; NaN = cannot judge yet."""
        values = history.values
        count, centre, deviation = medians(values)
        if not history.at.size or float(history.at[-1] - history.at[0]) < LEAST_SEASONS * DAY_S - self.window_s:
            return self._shape().bands(values, count, centre, SIGMA_PER_MAD * deviation)
        age_s = float(history.at[-1]) + history.interval_s - history.at
        # Weeks overrule days: a Sunday says more about a Sunday than a Friday does.
        for season_s in (DAY_S, WEEK_S):
            season = np.round(age_s / season_s).astype(np.int64)
            near = (season > 0) & (np.abs(age_s - season * season_s) <= self.window_s)
            if np.unique(season[near]).size < LEAST_SEASONS:
                continue
            alike = values[:, near]
            known, middle, spread = medians(alike)
            enough = (known >= self.min_points) & (_seasons(alike, season[near]) >= LEAST_SEASONS)
            count, centre = np.where(enough, known, count), np.where(enough, middle, centre)
            deviation = np.where(enough, spread, deviation)
        return self._shape().bands(values, count, centre, SIGMA_PER_MAD * deviation)

    def _shape(self) -> Shape:
        return Shape(self.k, self.min_points, self.min_width, self.min_width_ratio, self.clip_at)


def _seasons(values: FloatArray, season: NDArray[np.int64]) -> NDArray[np.int64]:
    """In how many seasons each row of `values` (series, time) has a finite value; `season` (time,) never rises."""
    first = np.flatnonzero(np.diff(season, prepend=season[0] + 1))
    spoke = np.logical_or.reduceat(np.isfinite(values), first, axis=1)
    return np.asarray(np.count_nonzero(spoke, axis=1), dtype=np.int64)
