"""The past of one series in even buckets, and what is read from it: levels, means over windows, lagged values."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from autoscaler.types import Frame

STEP_S = 60.0
"""Finer samples are put together: nothing that can still be bought in time changes within a minute."""

LEVEL_S = 120.0
"""The present level is the mean over this time, or one bucket: the span that decisions are made on."""

ANCHOR_S = 300.0
"""Forecasts start from the mean over this time, the span of what they are judged on: a minute alone is mostly noise."""

KEPT_S = 22 * 86400.0
"""Three weeks and a day: the longest season is a week, and three of it tell a habit from an accident."""

KEPT_STEPS = 8000
"""At least so many buckets: three weeks of hourly ones would teach little."""

FLOOR_RATIO = 0.02
"""Growth is counted on at least this share of the usual level; on a level near zero any factor would be possible."""

Values = NDArray[np.float64]
Indices = NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Grid:
    """Even buckets of `step_s` seconds; values (time,), NaN is a gap; the newest bucket ended at `end_at`."""

    values: Values
    step_s: float
    end_at: float

    def __len__(self) -> int:
        return len(self.values)

    @property
    def at(self) -> Values:
        """The right edge of each bucket, Unix seconds."""
        return self.end_at - self.step_s * np.arange(len(self.values) - 1, -1, -1, dtype=np.float64)

    def steps(self, seconds: float) -> int:
        """How many buckets a time spans, at least one."""
        return max(1, round(seconds / self.step_s))

    def until(self, at: float) -> Grid:
        """The buckets that ended by `at`."""
        kept = len(self.values) - max(0, math.ceil((self.end_at - at) / self.step_s - 1e-6))
        kept = max(0, kept)
        return Grid(self.values[:kept], self.step_s, self.end_at - self.step_s * (len(self.values) - kept))

    def index(self, at: float) -> int:
        """The place of the last bucket that ended by `at`; below 0 before the first."""
        return len(self.values) - 1 - math.ceil((self.end_at - at) / self.step_s - 1e-6)


def grid_of(frame: Frame) -> Grid:
    """The one series of a frame; `at` of a sample is when it was known, which is the end of its bucket.

    Samples closer than a minute are put together into buckets that end with the newest one, so that the last bucket
    is whole. What is infinite or below zero is a gap: demand is neither. Raises ValueError for several series.
    """
    if frame.values.ndim != 2 or frame.values.shape[0] != 1:
        raise ValueError(f"a forecaster looks at one series, not at values of shape {frame.values.shape}")
    step_s = frame.interval_s * max(1, math.ceil(STEP_S / frame.interval_s - 1e-6))
    at = frame.at.astype(np.float64)
    values = frame.values[0].astype(np.float64)
    if not at.size:
        return Grid(np.empty(0), step_s, math.nan)
    end_at = float(at[-1])
    back = np.floor((end_at - at) / step_s + 0.01).astype(np.int64)
    recent = back < kept_steps(step_s)
    usable = recent & np.isfinite(values) & (values >= 0.0)
    count = int(back[recent].max()) + 1
    place = count - 1 - back[usable]
    total = np.bincount(place, values[usable], count)
    samples = np.bincount(place, minlength=count)
    return Grid(np.where(samples > 0, total / np.maximum(samples, 1), np.nan), step_s, end_at)


def kept_steps(step_s: float) -> int:
    """How many buckets of the past are kept."""
    return max(int(KEPT_S / step_s), KEPT_STEPS)


def joined(older: Grid, newer: Grid) -> Grid:
    """Both pasts as one that ends with the newer; where both know a bucket the newer counts."""
    if not len(older) or not len(newer) or older.step_s != newer.step_s:
        return newer if len(newer) else older
    lead = round((newer.end_at - older.end_at) / newer.step_s)
    if lead < 0:
        return older
    length = min(max(len(newer), len(older) + lead), kept_steps(newer.step_s))
    values = np.full(length, np.nan)
    # Place of the older's newest bucket, counted from the end of both.
    kept = min(len(older), max(0, length - lead))
    if kept:
        values[length - lead - kept : length - lead] = older.values[len(older) - kept :]
    fresh = newer.values[-length:]
    known = np.isfinite(fresh)
    values[length - len(fresh) :][known] = fresh[known]
    return Grid(values, newer.step_s, newer.end_at)


def trailing_mean(values: Values, steps: int, places: Indices | None = None) -> Values:
    """Mean of the known ones of the last `steps` buckets, at each place (default: all); NaN where none is known."""
    known = np.isfinite(values)
    total = np.concatenate([[0.0], np.cumsum(np.where(known, values, 0.0))])
    count = np.concatenate([[0], np.cumsum(known)])
    after = np.arange(1, len(values) + 1) if places is None else np.maximum(places + 1, 0)
    before = np.maximum(after - steps, 0)
    some = count[after] - count[before]
    return np.where(some > 0, np.maximum(total[after] - total[before], 0.0) / np.maximum(some, 1), np.nan)


def window_mean(grid: Grid, origins: Indices, window_s: float) -> Values:
    """The mean over the last `window_s` at each origin, of what is known; NaN before the start and where nothing is."""
    return trailing_mean(grid.values, grid.steps(window_s), origins)


def window_level(grid: Grid, origins: Indices, window_s: float) -> Values:
    """The same, but through a gap the last known one: whether that is too old says who reads the present level."""
    found = window_mean(grid, origins, window_s)
    gaps = np.flatnonzero(np.isnan(found))
    if gaps.size and len(grid):
        known = np.where(np.isfinite(grid.values), np.arange(len(grid)), -1)
        last = np.maximum.accumulate(known)[np.maximum(origins[gaps], 0)]
        found[gaps] = window_mean(grid, np.where(origins[gaps] >= 0, last, -1), window_s)
    return found


def floor_of(grid: Grid) -> float:
    """The least level that growth is counted on, in the unit of the values; tiny but not 0 for a series of zeros."""
    level = trailing_mean(grid.values, grid.steps(ANCHOR_S))
    some = level[np.isfinite(level) & (level > 0.0)]
    return FLOOR_RATIO * float(np.median(some)) if some.size else 1e-9
