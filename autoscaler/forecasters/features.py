"""What a learned forecaster looks at: ratios to the present level, so that one law holds for every size of demand."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from autoscaler.forecasters.grid import ANCHOR_S, Grid, Indices, Values, trailing_mean, window_level
from autoscaler.forecasters.target import Target, outcomes, season_steps

DAY_S, WEEK_S = 86400.0, 7 * 86400.0
WINDOWS_S = (60.0, 120.0, 600.0, 1200.0, 1800.0, 3600.0, 7200.0, 14400.0, 43200.0, 86400.0)
LAGS_S = (300.0, 600.0, 900.0, 1200.0, 1500.0, 1800.0, 2400.0, 3000.0, 3600.0, 5400.0)
SEASONS_S = (DAY_S, 2 * DAY_S, WEEK_S)
CLOCKWORK_S = (1800.0, 3600.0)
"""Cron jobs and batches come every half hour and hour; what they did one period ago they tend to do again."""

NOISE_S = (1800.0, 7200.0)


@dataclass(frozen=True, slots=True)
class View:
    """The past of a series as of some origins. `floor` is added before logs, so that zeros have one."""

    grid: Grid
    origins: Indices
    floor: float

    def log(self, amounts: Values) -> Values:
        """Logs of amounts."""
        return np.log(amounts + self.floor)

    def anchor(self) -> Values:
        """Log of the level that growth is counted on, (origin,)."""
        return self.log(window_level(self.grid, self.origins, ANCHOR_S))


def features(view: View, target: Target) -> Values:
    """The table (origin, feature); NaN where the past does not reach, which trees take as it is."""
    if not view.origins.size:
        return np.empty((0, 0))
    reads, seasons = _Reads(), _seasons(view.grid, target)
    step = view.grid.steps
    for window in WINDOWS_S:
        reads.add(0, step(window))
    for lag in LAGS_S:
        reads.add(step(lag), step(ANCHOR_S))
    for back in seasons:
        reads.add(back, step(ANCHOR_S))
    for back in seasons[: len(SEASONS_S)]:
        # What came after the outcome of a season ago is known too, as long as it does not reach past the origin.
        for until_s, window in ((600.0, 1200.0), (3600.0, 1800.0)):
            reads.add(max(0, back - target.steps(view.grid) - step(until_s)), step(window))
            reads.add(back, step(window))
    view = _near(view, max(max(reads.back) + max(reads.steps), max(seasons) + 1))
    level = view.anchor()[:, None]
    mean = view.log(_means(view, reads))
    came = view.log(_came(view, target, seasons))
    first = len(WINDOWS_S) + len(LAGS_S)
    lately, earlier, beside = np.split(mean, [first, first + len(seasons)], axis=1)
    grown = came - earlier
    columns = [level, lately - level]
    for n in range(len(SEASONS_S)):
        one = slice(n, n + 1)
        smooth = beside[:, 4 * n : 4 * n + 4]
        columns += [grown[:, one], smooth[:, 0::2] - smooth[:, 1::2], came[:, one] - level]
    week = slice(len(SEASONS_S), len(SEASONS_S) + 7)
    columns += [_known_mean(grown[:, week]), _known_mean(came[:, week]) - level, grown[:, week.stop :]]
    at = view.grid.at[view.origins][:, None]
    columns += [_noise(view), at % DAY_S, at % 3600.0, np.floor(at / DAY_S) % 7.0]
    return np.concatenate(columns, axis=1)


@dataclass(slots=True)
class _Reads:
    """Means that are read for every origin: over so many buckets, that end so many buckets back."""

    back: list[int] = field(default_factory=list)
    steps: list[int] = field(default_factory=list)

    def add(self, back: int, steps: int) -> None:
        self.back.append(back)
        self.steps.append(steps)


def _seasons(grid: Grid, target: Target) -> list[int]:
    """So many buckets back: each season, each of the last seven days, half an hour and an hour."""
    periods = (*SEASONS_S, *(day * DAY_S for day in range(1, 8)), *CLOCKWORK_S)
    return [season_steps(grid, target, period) for period in periods]


def _near(view: View, reach: int) -> View:
    """The same without what lies further back than `reach` buckets, and without what is newer than the origins."""
    first = max(0, int(view.origins.min()) - reach)
    last = int(view.origins.max()) + 1
    grid = view.grid
    kept = Grid(grid.values[first:last], grid.step_s, grid.end_at - grid.step_s * (len(grid) - last))
    return View(kept, view.origins - first, view.floor)


def _means(view: View, reads: _Reads) -> Values:
    """(origin, read), from sums that are made once; NaN where nothing is known."""
    values = view.grid.values
    known = np.isfinite(values)
    total, count = np.zeros(len(values) + 1), np.zeros(len(values) + 1)
    np.cumsum(np.where(known, values, 0.0), out=total[1:])
    np.cumsum(known, out=count[1:])
    after = np.maximum(view.origins[:, None] + 1 - np.array(reads.back), 0)
    before = np.maximum(after - np.array(reads.steps), 0)
    some = count[after] - count[before]
    amount = np.maximum(total[after] - total[before], 0.0)
    return np.where(some > 0, amount / np.maximum(some, 1.0), np.nan)


def _came(view: View, target: Target, seasons: list[int]) -> Values:
    """What came after the origin of each season ago (origin, season)."""
    earlier = view.origins[:, None] - np.array(seasons)
    return outcomes(view.grid, target, earlier.ravel()).reshape(earlier.shape)


def _known_mean(columns: Values) -> Values:
    """The mean of what is known in each row, as one column; NaN where nothing is."""
    known: NDArray[np.bool_] = np.isfinite(columns)
    count = known.sum(axis=1, keepdims=True)
    total = np.where(known, columns, 0.0).sum(axis=1, keepdims=True)
    return np.where(count > 0, total / np.maximum(count, 1), np.nan)


def _noise(view: View) -> Values:
    """Mean change from one bucket to the next, as a log ratio: how rough the present is."""
    steps = [view.grid.steps(window) for window in NOISE_S]
    first = max(0, int(view.origins.min()) - max(steps) - 1)
    change = np.abs(np.diff(view.log(view.grid.values[first:]), prepend=np.nan))
    return np.stack([trailing_mean(change, n, view.origins - first) for n in steps], axis=1)
