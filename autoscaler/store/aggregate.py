"""Aggregation of raw series into one number: pure functions of arrays.

NaN marks what is not known and never counts as zero: it is left out, and a result from nothing is NaN.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from autoscaler.ruleset import Aggregate

Float64s = NDArray[np.float64]


def increments(old: Float64s, new: Float64s) -> Float64s:
    """How much each counter grew from `old` to `new`, (series,); NaN where either is unknown.

    A counter that fell was reset, so all that it shows now is new (the convention of Prometheus's `rate`).
    """
    change = new - old
    return np.where(change < 0.0, new, change)


def aggregate(values: Float64s, how: Aggregate, quantile: float | None = None) -> float:
    """One number from known values (series,), none of them NaN; NaN from no values, except that their count is 0."""
    if values.size == 0:
        return 0.0 if how == "count" else math.nan
    match how:
        case "count":
            result = float(values.size)
        case "sum":
            result = values.sum()
        case "mean":
            result = values.sum() / values.size
        case "max":
            result = values.max()
        case "min":
            result = values.min()
        case "quantile":
            result = _quantile(values, 0.5 if quantile is None else quantile)
    return float(result)


def _quantile(values: Float64s, quantile: float) -> float:
    """What `np.quantile` gives (linear interpolation), at a tenth of its fixed cost."""
    ordered = np.sort(values)
    position = min(max(quantile, 0.0), 1.0) * (ordered.size - 1)
    below = int(position)
    above = min(below + 1, ordered.size - 1)
    return float(ordered[below] + (ordered[above] - ordered[below]) * (position - below))


def partial_bounds(known: Float64s, missing: int, how: Aggregate, quantile: float | None = None) -> tuple[float, float]:
    """Lowest and highest the aggregate may be when `missing` series are unknown: idle (0), or at the mean of the rest.

    Both assumptions are the third law of a correct decision: missing replicas count as idle when growing and as
    loaded like the others when shrinking. `known` (series,) must hold at least one value.
    """
    value = aggregate(known, how, quantile)
    if missing <= 0:
        return value, value
    idle = aggregate(np.concatenate((known, np.zeros(missing))), how, quantile)
    alike = aggregate(np.concatenate((known, np.full(missing, known.mean()))), how, quantile)
    if how == "count":
        return value, alike
    return min(idle, alike, value), max(idle, alike, value)


def window_totals(times: Float64s, grown: Float64s, window_s: float) -> Float64s:
    """Sum of the increments within `window_s` before each series' newest row, (series,); NaN where there is none.

    times, grown: (time, series), newest row last; `grown` is NaN where a sample gave no increment.
    """
    inside = (times > times[-1] - window_s) & ~np.isnan(grown)
    return _totals(grown, inside)


def _totals(grown: Float64s, inside: NDArray[np.bool_]) -> Float64s:
    totals: Float64s = np.where(inside, grown, 0.0).sum(axis=0)
    totals[~inside.any(axis=0)] = np.nan
    return totals


def rates(times: Float64s, grown: Float64s, began: Float64s, window_s: float) -> tuple[Float64s, bool]:
    """Increase per second of each counter, (series,), over the time that its increments really cover.

    times, grown as in `window_totals`; began (series,) is the time of each series' first sample. An increment covers
    the time since the sample before it, which after a gap may lie before the window. The second result is False when
    the rows given are too few to find that sample for every series.
    """
    known = ~np.isnan(grown)
    inside = (times > times[-1] - window_s) & known
    totals = _totals(grown, inside)
    until = np.where(inside, times, -np.inf).max(axis=0)
    since = np.maximum(np.where(known & ~inside, times, -np.inf).max(axis=0), began)
    oldest = np.fmin.reduce(times)
    found = since >= oldest
    covered = until - np.where(found, since, oldest)
    usable = covered > 0.0
    if not usable.all():
        # One row without the sample before it: an increment over an unknown time.
        totals, covered = np.where(usable, totals, np.nan), np.where(usable, covered, 1.0)
    return totals / covered, bool((found | np.isnan(totals)).all())


def histogram_quantile(quantile: float, bounds: Float64s, cumulative: Float64s) -> tuple[float, float, float]:
    """The quantile of a histogram and the bounds of the bucket that it fell into, in the unit of `bounds`.

    bounds: (bucket,) ascending upper bounds, the last one +Inf. cumulative: (bucket,) observations up to each bound.
    Interpolates within the bucket as Prometheus's `histogram_quantile` does (promql/quantile.go): the lowest bucket
    starts at 0 if its bound is positive, and what falls into the +Inf bucket is answered with the bound below it.
    All NaN when there is no observation, no +Inf bucket or only that one.
    """
    # Buckets of one page are not read at one instant, so sums may be out of order by a few observations.
    ordered = np.maximum.accumulate(cumulative)
    if bounds.size < 2 or not math.isinf(bounds[-1]) or not ordered[-1] > 0.0:
        return math.nan, math.nan, math.nan
    rank = quantile * float(ordered[-1])
    index = int(np.searchsorted(ordered, rank, side="left"))
    if index >= bounds.size - 1:
        return float(bounds[-2]), float(bounds[-2]), math.inf
    upper = float(bounds[index])
    if index == 0 and upper <= 0.0:
        return upper, -math.inf, upper
    lower, below = (float(bounds[index - 1]), float(ordered[index - 1])) if index else (0.0, 0.0)
    inside = float(ordered[index]) - below
    share = (rank - below) / inside if inside > 0.0 else 1.0
    return lower + (upper - lower) * share, lower, upper
