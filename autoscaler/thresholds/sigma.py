"""Three-sigma bands: mean and standard deviation of the lookback, for one series or 100,000 in one call."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from autoscaler.thresholds.band import Shape, rows_per_block
from autoscaler.types import Bands, FloatArray, Frame, Moments

KEPT_SHARE = 0.01
"""Least share of the sum of squares that must be left once the mean is taken out.

float32 sums of some hundred terms are good to about 1e-6, so what is left is good to 1e-4 and its root to half that.
"""


@dataclass(frozen=True, slots=True)
class Sigma:
    """Mean +/- k standard deviations (population, ddof 0) of the finite values of each series.

    min_points: with fewer the series cannot be judged. min_width: least half-width, in the unit of the values;
    min_width_ratio: the same as a share of |mean|. clip_at: see `Shape.bands`.
    """

    k: float
    min_points: int = 20
    min_width: float = 0.0
    min_width_ratio: float = 0.0
    clip_at: float | None = None

    def __post_init__(self) -> None:
        self._shape().check("sigma threshold")

    def bands(self, history: Frame) -> Bands:
        """Bounds of shape (series,), float64; NaN = cannot judge yet."""
        count, mean, spread = moments(history.values)
        return self._shape().bands(history.values, count, mean, spread)

    @property
    def moments_suffice(self) -> bool:
        """Whether the values need not be looked at; how many of them touch a limit, no moment tells."""
        return self.clip_at is None

    def bands_of(self, past: Moments) -> Bands:
        """Bounds of shape (series,), float64, for a threshold without `clip_at`."""
        return self._shape().around(past.count, past.mean, past.spread, past.resolution)

    def _shape(self) -> Shape:
        return Shape(self.k, self.min_points, self.min_width, self.min_width_ratio, self.clip_at)


def moments(values: FloatArray) -> tuple[NDArray[np.int64], NDArray[np.float64], NDArray[np.float64]]:
    """Count, mean and standard deviation of the finite values of each row of `values` (series, time).

    NaN and infinities are gaps; a row without values has mean and deviation NaN.
    """
    series, points = values.shape
    count = np.full(series, points, dtype=np.int64)
    mean = np.full(series, np.nan)
    variance = np.full(series, np.nan)
    if points == 0:
        return count, mean, variance
    rows = rows_per_block(values)
    with np.errstate(over="ignore", invalid="ignore"):
        for start in range(0, series, rows):
            part = slice(start, start + rows)
            doubtful = _about_first(values[part], mean[part], variance[part])
            if doubtful.size:
                at = start + doubtful
                count[at], mean[at], variance[at] = _about_mean(values[at])
    return count, mean, np.sqrt(variance)


def _about_first(block: FloatArray, mean: FloatArray, variance: FloatArray) -> NDArray[np.intp]:
    """Fill in mean and variance from sums about each row's first value; return the rows that need more care.

    Differences from a value of the row itself stay small, so that 1e9 with a ripple of 1 keeps its ripple (shifted
    data algorithm: Chan, Golub and LeVeque 1983). Rows with gaps, with sums beyond the range of their type, or whose
    first value lies far from the others are returned.
    """
    points = block.shape[1]
    away = block - block[:, :1]
    total = np.asarray(away @ np.ones(points, dtype=block.dtype), dtype=np.float64)
    squares = np.asarray(np.vecdot(away, away), dtype=np.float64)
    left = squares - total * total / points
    mean[:] = block[:, 0] + total / points
    variance[:] = np.maximum(left, 0.0) / points
    # NaN and infinity compare as false, so a row with a gap fails this test too.
    sound = (left >= KEPT_SHARE * squares) & (squares < np.inf)
    return np.flatnonzero(~sound)


def _about_mean(block: FloatArray) -> tuple[NDArray[np.int64], NDArray[np.float64], NDArray[np.float64]]:
    """Count, mean and variance of each row in two passes of float64, gaps left out."""
    wide = block.astype(np.float64)
    gaps = ~np.isfinite(wide)
    count = wide.shape[1] - np.count_nonzero(gaps, axis=1)
    known = np.maximum(count, 1)
    wide[gaps] = 0.0
    mean = wide.sum(axis=1) / known
    wide -= mean[:, None]
    wide[gaps] = 0.0
    # What rounding left of the sum corrects the mean and, squared, the variance.
    rest = wide.sum(axis=1) / known
    variance = np.maximum(np.vecdot(wide, wide) / known - rest * rest, 0.0)
    mean = mean + rest
    mean[count == 0] = np.nan
    variance[count == 0] = np.nan
    return count, mean, variance
