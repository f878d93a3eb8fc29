"""What a forecast is about: the mean of five minutes that end at the horizon, or the highest level on the way."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view

from autoscaler.forecasters.grid import LEVEL_S, Grid, Indices, Values, trailing_mean

MEAN_S = 300.0
KNOWN_SHARE = 0.75
"""Share of the way to the horizon that must be known for its peak to count as seen."""

Of = Literal["mean", "peak"]


@dataclass(frozen=True, slots=True, order=True)
class Target:
    """`mean`: the mean of the five minutes that end `horizon_s` ahead, or the bucket's share of them where buckets are
    longer. `peak`: the highest level, a mean over two minutes or one bucket, until then."""

    of: Of
    horizon_s: float

    def steps(self, grid: Grid) -> int:
        """After how many buckets the outcome is known."""
        return max(1, math.ceil(self.horizon_s / grid.step_s - 1e-6))


def outcomes(grid: Grid, target: Target, origins: Indices) -> Values:
    """What came after each origin (origin,); NaN where that is not known, or not yet, and before the start."""
    return _means(grid, target, origins) if target.of == "mean" else _peaks(grid, target, origins)


def season_before(grid: Grid, target: Target, origins: Indices, period_s: float) -> tuple[Indices, Values]:
    """Origins whole periods earlier, so many that their outcomes are known by now, and those outcomes."""
    back = round(period_s * math.ceil(target.horizon_s / period_s - 1e-6) / grid.step_s)
    # Buckets that do not divide the period must not let it end before the outcome is known.
    back = max(back, target.steps(grid))
    earlier = np.asarray(origins - back)
    return earlier, outcomes(grid, target, earlier)


def _means(grid: Grid, target: Target, origins: Indices) -> Values:
    """Buckets count by their share of the five minutes; one that is a gap makes the mean unknown."""
    known = np.isfinite(grid.values)
    edge = np.arange(len(grid) + 1, dtype=np.float64)
    total = np.concatenate([[0.0], np.cumsum(np.where(known, grid.values, 0.0))])
    count = np.concatenate([[0.0], np.cumsum(known)])
    until = origins + 1.0 + target.horizon_s / grid.step_s
    since = until - MEAN_S / grid.step_s
    width = np.interp(until, edge, count) - np.interp(since, edge, count)
    amount = np.interp(until, edge, total) - np.interp(since, edge, total)
    whole = (origins >= 0) & (since >= -1e-6) & (until <= len(grid) + 1e-6) & (width >= (until - since) * (1.0 - 1e-6))
    return np.where(whole, np.maximum(amount, 0.0) / np.maximum(width, 1e-12), np.nan)


def _peaks(grid: Grid, target: Target, origins: Indices) -> Values:
    steps = target.steps(grid)
    found = np.full(len(origins), np.nan)
    seen = np.flatnonzero((origins >= 0) & (origins + steps < len(grid)))
    if not seen.size:
        return found
    # A level on the way must not reach back before the origin, where it would be no news.
    width = min(grid.steps(LEVEL_S), steps)
    level = np.where(np.isfinite(grid.values), trailing_mean(grid.values, width), -np.inf)
    after = origins[seen] + 1
    peak = sliding_window_view(level, steps)[after][:, width - 1 :].max(axis=1)
    known = sliding_window_view(np.isfinite(grid.values), steps)[after].mean(axis=1)
    found[seen] = np.where((known >= KNOWN_SHARE) & np.isfinite(peak), peak, np.nan)
    return found
