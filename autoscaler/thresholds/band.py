"""From the centre and spread of each series to a band: least width, resolution of the values, physical limit."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from autoscaler.errors import InputError
from autoscaler.types import Bands, FloatArray

CLIPPED_SHARE = 0.05
"""Share of a lookback on the physical limit from which it counts as clipped: one point in twenty.

From there on the 95th percentile of the demand is hidden behind the limit, and no band made of such values says
what more demand would look like.
"""

BLOCK_BYTES = 512 * 1024
"""Rows are taken in blocks of this size, so that every pass after the first finds its values in the cache."""


@dataclass(frozen=True, slots=True)
class Shape:
    """How a centre and a spread become a band.

    The half-width is k spreads, but at least `min_width` and at least `min_width_ratio` of |centre|, so that a flat
    line does not alarm on noise. `clip_at`: the physical limit of the values, such as 1.0 of a ratio.
    """

    k: float
    min_points: int
    min_width: float
    min_width_ratio: float
    clip_at: float | None

    def check(self, name: str) -> None:
        """Raise InputError for numbers that give no band. `name` is what the person called the threshold."""
        faults = []
        for key, value in (("k", self.k), ("min_width", self.min_width), ("min_width_ratio", self.min_width_ratio)):
            if not (math.isfinite(value) and value >= 0):
                faults.append(f"{name}: {key} is {value}, but must be a number of at least 0; write one, such as 3")
        if self.min_points < 2:
            faults.append(f"{name}: min_points is {self.min_points}, but a spread needs 2 points; write 2 or more")
        if self.clip_at is not None and not math.isfinite(self.clip_at):
            faults.append(f"{name}: clip_at is {self.clip_at}, but must be a number; write one or leave it out")
        if faults:
            raise InputError(*faults)

    def bands(self, values: FloatArray, count: NDArray[np.int64], centre: FloatArray, spread: FloatArray) -> Bands:
        """Bounds of each row of `values` (series, time), float64; NaN where fewer than `min_points` are finite.

        With `clip_at`, the upper bound stays just below the limit: a value at the limit counts as above the band
        whatever the spread, because nothing could ever exceed it. Rows that spent CLIPPED_SHARE of the lookback there
        are marked in `clipped`; a value inside their band must not be taken for "normal".
        """
        free = self.around(count, centre, spread, float(np.finfo(values.dtype).eps))
        if self.clip_at is None:
            return free
        top = below(self.clip_at)
        clipped = _touching(values, top) >= CLIPPED_SHARE * np.maximum(count, 1)
        return Bands(np.minimum(free.lower, top), np.minimum(free.upper, top), clipped)

    def around(self, count: NDArray[np.int64], centre: FloatArray, spread: FloatArray, resolution: float) -> Bands:
        """Bounds without regard to a limit, as `bands`; `resolution` is the relative one of the values' type."""
        half = np.maximum(self.k * spread, self.min_width)
        # A band narrower than the resolution of the values would judge rounding, not the series.
        half = np.maximum(half, max(self.min_width_ratio, 2.0 * resolution) * np.abs(centre))
        half[count < self.min_points] = np.nan
        return Bands(centre - half, centre + half)


def below(limit: float) -> float:
    """The largest float32 below the limit: both a float32 and a float64 value at the limit exceed it."""
    return float(np.nextafter(np.float32(limit), np.float32(-np.inf)))


def rows_per_block(values: FloatArray) -> int:
    """How many rows of `values` (series, time) fill one block; at least 1."""
    return max(1, BLOCK_BYTES // max(1, int(values.shape[1]) * values.itemsize))


def _touching(values: FloatArray, top: float) -> NDArray[np.int64]:
    """How many finite values of each row are above `top`."""
    touching = np.zeros(values.shape[0], dtype=np.int64)
    rows = rows_per_block(values)
    for start in range(0, values.shape[0], rows):
        block = values[start : start + rows]
        touching[start : start + rows] = np.count_nonzero((block > top) & (block < np.inf), axis=1)
    return touching
