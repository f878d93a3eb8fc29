"""What a forecast is about: five minutes that end at the horizon, or the highest level or the need on the way."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from autoscaler.forecasters.grid import LEVEL_S, Grid, Indices, Values
from autoscaler.types import Of

MEAN_S = 300.0
KNOWN_SHARE = 0.75
"""Share of the way to the horizon that must be known for its peak to count as seen."""

PATIENCE_S = 5.0
"""Work that waits longer than this was served too late."""


@dataclass(frozen=True, slots=True, order=True)
class Target:
    """`mean`: the mean of the five minutes that end `horizon_s` ahead, or the bucket's share of them where buckets are
    longer. `peak`: the highest level, a mean over two minutes or one bucket, until then. `need`: the least constant
    rate of serving at which no work that comes until then waits over PATIENCE_S, if nothing waits at the origin."""

    of: Of
    horizon_s: float

    def steps(self, grid: Grid) -> int:
        """After how many buckets the outcome is known."""
        return max(1, math.ceil(self.horizon_s / grid.step_s - 1e-6))


def outcomes(grid: Grid, target: Target, origins: Indices) -> Values:
    """What came after each origin (origin,); NaN where that is not known, or not yet, and before the start."""
    match target.of:
        case "mean":
            return _means(grid, target, origins)
        case "peak":
            return _peaks(grid, target, origins)
        case "need":
            return _needs(grid, target, origins)


def season_before(grid: Grid, target: Target, origins: Indices, period_s: float) -> tuple[Indices, Values]:
    """Origins whole periods earlier, so many that their outcomes are known by now, and those outcomes."""
    earlier = np.asarray(origins - season_steps(grid, target, period_s))
    return earlier, outcomes(grid, target, earlier)


def season_steps(grid: Grid, target: Target, period_s: float) -> int:
    """How many buckets those origins lie back."""
    back = round(period_s * math.ceil(target.horizon_s / period_s - 1e-6) / grid.step_s)
    # Buckets that do not divide the period must not let it end before the outcome is known.
    return max(back, target.steps(grid))


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
    ahead = grid.values[origins[seen][:, None] + np.arange(1, steps + 1)]
    known = np.isfinite(ahead)
    # A level on the way must not reach back before the origin, where it would be no news.
    width = min(grid.steps(LEVEL_S), steps)
    total, count = _sums(np.where(known, ahead, 0.0)), _sums(known)
    some = count[:, width:] - count[:, :-width]
    level = (total[:, width:] - total[:, :-width]) / np.maximum(some, 1)
    peak = np.where(known[:, width - 1 :], level, -np.inf).max(axis=1)
    found[seen] = np.where((known.mean(axis=1) >= KNOWN_SHARE) & np.isfinite(peak), np.maximum(peak, 0.0), np.nan)
    return found


def _needs(grid: Grid, target: Target, origins: Indices) -> Values:
    """The most work of any window over its length and the patience.

    At a constant rate r what came in a window of w seconds, during which something always waits, has been served
    r * (w + PATIENCE_S) of work if its last piece waited just as long as it may. Where demand is constant in each
    bucket the worst window begins and ends at edges.
    """
    steps = target.steps(grid)
    found = np.full(len(origins), np.nan)
    seen = np.flatnonzero((origins >= 0) & (origins + steps < len(grid)))
    if not seen.size:
        return found
    ahead = grid.values[origins[seen][:, None] + np.arange(1, steps + 1)]
    known = np.isfinite(ahead)
    # The last bucket may reach beyond the horizon.
    length_s = np.full(steps, grid.step_s)
    length_s[-1] = min(grid.step_s, target.horizon_s - grid.step_s * (steps - 1))
    # What a gap hides is not known to have been anything.
    work, at_s = _sums(np.where(known, ahead, 0.0) * length_s), np.concatenate([[0.0], np.cumsum(length_s)])
    need = np.zeros(len(seen))
    for buckets in range(1, steps + 1):
        patient_s = at_s[buckets:] - at_s[:-buckets] + PATIENCE_S
        np.maximum(need, ((work[:, buckets:] - work[:, :-buckets]) / patient_s).max(axis=1), out=need)
    found[seen] = np.where((known.mean(axis=1) >= KNOWN_SHARE) & known.any(axis=1), need, np.nan)
    return found


def _sums(values: NDArray[Any]) -> NDArray[Any]:
    """Sums of the first n of each row (row, n), from none to all."""
    sums = np.zeros((values.shape[0], values.shape[1] + 1), dtype=np.int64 if values.dtype == np.bool_ else np.float64)
    np.cumsum(values, axis=1, out=sums[:, 1:])
    return sums
