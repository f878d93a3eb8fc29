"""Means and medians over the rows before each row, and over the same time of earlier days. All arrays are (row,)."""

from __future__ import annotations

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray

from autoscaler.detect.settings import DAY_S

Values = NDArray[np.float64]

BLOCK_VALUES = 1 << 19
HALF_ROWS = 2
"""A day ago is the median of five rows, two on each side: what one of them happened to be is not expected today."""

SLACK_S = 5400.0
"""A row that is further than this from the same time of its day says nothing about it."""

LEAST_ROWS_PER_DAY = 4
DAYS = 7
LEAST_DAYS = 2


def mean(values: Values, rows: int) -> Values:
    """Of each row and those before it, `rows` in all or as many as there are."""
    total = np.cumsum(np.concatenate(([0.0], values - values[0])))
    end = np.arange(1, len(values) + 1)
    start = np.maximum(end - rows, 0)
    return np.asarray(values[0] + (total[end] - total[start]) / (end - start), dtype=np.float64)


def median_before(values: Values, rows: int) -> Values:
    """Of the `rows` before each row, or as many as there are; the first row gets its own value."""
    found = np.empty(len(values))
    first = min(rows, len(values))
    for n in range(1, first):
        found[n] = np.median(values[:n])
    found[0] = values[0]
    if len(values) > rows:
        windows = sliding_window_view(values, rows)[:-1]
        step = max(1, BLOCK_VALUES // rows)
        for start in range(0, len(windows), step):
            part = windows[start : start + step]
            found[rows + start : rows + start + len(part)] = np.median(part, axis=1)
    return found


def earlier_days(at_s: Values, values: Values) -> Values:
    """Median over the last seven days of what each was at this time of day; NaN where fewer than two are known.

    at_s never falls. Rows of the day before are enough to know its shape, so no step is assumed.
    """
    rows = np.arange(len(values))
    middle = _centred(values)
    known = np.full((DAYS, len(values)), np.nan)
    for day in range(1, DAYS + 1):
        then = at_s - day * DAY_S
        near = np.searchsorted(at_s, then + 0.5, side="right") - 1
        there = (near >= 0) & (then - at_s[np.maximum(near, 0)] <= SLACK_S) & (rows - near >= LEAST_ROWS_PER_DAY * day)
        known[day - 1, there] = middle[near[there]]
    found = np.full(len(values), np.nan)
    enough = np.count_nonzero(np.isfinite(known), axis=0) >= LEAST_DAYS
    if enough.any():
        found[enough] = np.nanmedian(known[:, enough], axis=0)
    return found


def _centred(values: Values) -> Values:
    """Median of five rows around each; at the end of fewer, which no row reads that is a quarter of a day later."""
    padded = np.concatenate((np.full(HALF_ROWS, values[0]), values, np.full(HALF_ROWS, values[-1])))
    return np.asarray(np.median(sliding_window_view(padded, 2 * HALF_ROWS + 1), axis=1), dtype=np.float64)
