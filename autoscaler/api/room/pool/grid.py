"""Many columns of a pool's past on one time base, thinned so that no peak and no dip is lost. Pure."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Values = NDArray[np.float64]

CELLS_PER_INTERVAL = 2
"""While there is room for it, so that no two points of one series share a cell though each comes a little early or
late."""

MAX_CELLS = 4000


@dataclass(frozen=True, slots=True)
class Grid:
    """Equal cells of a span of time. thinned: a cell holds many points, and is shown as its least and its greatest.

    A cell has one row, or two when it is thinned: the extremes in the order in which they came. One more row at the
    very end says what is newest.
    """

    since: float
    until: float
    cells: int
    thinned: bool

    @property
    def cell_s(self) -> float:
        """Seconds of one cell."""
        return (self.until - self.since) / self.cells

    @property
    def at(self) -> Values:
        """The instant of each row: the middle of its cell, or of its half, and the end."""
        rows = 2 * self.cells if self.thinned else self.cells
        width = (self.until - self.since) / rows
        return np.append(self.since + width * (np.arange(rows, dtype=np.float64) + 0.5), self.until)


def grid(since: float, until: float, rows: int, interval_s: float) -> Grid:
    """At most so many rows for points that come every `interval_s` seconds."""
    most = max(2, min(rows, MAX_CELLS))
    wanted = math.ceil((until - since) / max(interval_s, 1e-3) * CELLS_PER_INTERVAL)
    if wanted < most:
        return Grid(since, until, max(1, wanted), False)
    return Grid(since, until, max(1, (most - 1) // 2), True)


def lines(base: Grid, at: Values, values: Values, reach_s: float) -> Values:
    """Points as rows of the grid, NaN where there is a gap.

    at ascending. A cell without a point lies on the line between its neighbours when those are values and at most
    `reach_s` apart, else it is a gap.
    """
    if at.size < 2:
        between = np.full(base.at.size, np.nan)
    else:
        between = np.interp(base.at, at, values, left=np.nan, right=np.nan)
        after = np.clip(np.searchsorted(at, base.at), 1, at.size - 1)
        between[at[after] - at[after - 1] > reach_s] = np.nan
    between[-1] = _in_force(at, values, np.array([base.until]), reach_s)[0]
    known = np.isfinite(values)
    return _extremes(base, at[known], values[known], between)


def steps(base: Grid, at: Values, values: Values, known_s: float) -> Values:
    """Values that stay in force until the next one, as rows of the grid.

    A value that is not repeated for `known_s` seconds is not known any more, and NaN says that it is not known at once.
    """
    if not base.thinned:
        ends = np.minimum(base.at + np.float64(base.cell_s / 2), base.until)
        return _in_force(at, values, ends, known_s)
    # What was in force when a cell began counts in it, as what came later.
    begins = base.since + base.cell_s * np.arange(base.cells, dtype=np.float64)
    held = _in_force(at, values, begins, known_s)
    all_at, all_values = np.concatenate((begins, at)), np.concatenate((held, values))
    order = np.argsort(all_at, kind="stable")
    all_at, all_values = all_at[order], all_values[order]
    known = np.isfinite(all_values)
    between = np.full(base.at.size, np.nan)
    between[-1] = _in_force(at, values, np.array([base.until]), known_s)[0]
    return _extremes(base, all_at[known], all_values[known], between)


def _in_force(at: Values, values: Values, when: Values, known_s: float) -> Values:
    if not at.size:
        return np.full(when.size, np.nan)
    last = np.searchsorted(at, when, side="right") - 1
    found = np.where(last >= 0, values[np.maximum(last, 0)], np.nan)
    found[(last < 0) | (when - at[np.maximum(last, 0)] > known_s)] = np.nan
    return found


def _extremes(base: Grid, at: Values, values: Values, between: Values) -> Values:
    """`between`, with the extremes of every cell that has points of its own."""
    inside = (at >= base.since) & (at <= base.until)
    at, values = at[inside], values[inside]
    rows = between.copy()
    if not at.size:
        return rows
    cell = np.minimum(((at - base.since) / base.cell_s).astype(np.int64), base.cells - 1)
    # By cell, then by value: the first of a cell is its least, the last its greatest.
    order = np.lexsort((values, cell))
    sorted_cells = cell[order]
    first = np.flatnonzero(np.append(True, sorted_cells[1:] != sorted_cells[:-1]))
    least, greatest = order[first], order[np.append(first[1:], order.size) - 1]
    where = sorted_cells[first]
    if not base.thinned:
        rows[where] = values[greatest]
        return rows
    rising = at[least] <= at[greatest]
    rows[2 * where] = np.where(rising, values[least], values[greatest])
    rows[2 * where + 1] = np.where(rising, values[greatest], values[least])
    return rows
