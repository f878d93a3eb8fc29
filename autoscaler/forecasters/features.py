"""What a learned forecaster looks at: ratios to the present level, so that one law holds for every size of demand."""

from __future__ import annotations

import warnings
from dataclasses import dataclass

import numpy as np

from autoscaler.forecasters.grid import ANCHOR_S, Grid, Indices, Values, trailing_mean, window_level
from autoscaler.forecasters.target import Target, season_before

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
    mean = _LogMean(view)
    level = view.anchor()
    columns = [level]
    columns += [mean(view.origins, window) - level for window in WINDOWS_S]
    columns += [mean(view.origins - view.grid.steps(lag), ANCHOR_S) - level for lag in LAGS_S]
    for period in SEASONS_S:
        columns += _season(view, mean, target, period, level)
    columns += _week(view, mean, target, level)
    for period in CLOCKWORK_S:
        earlier, came = season_before(view.grid, target, view.origins, period)
        columns.append(view.log(came) - mean(earlier, ANCHOR_S))
    columns += _noise(view)
    at = view.grid.at[view.origins]
    columns += [at % DAY_S, at % 3600.0, np.floor(at / DAY_S) % 7.0]
    return np.stack(columns, axis=1)


class _LogMean:
    """Logs of means over windows, from sums that are made once."""

    def __init__(self, view: View) -> None:
        known = np.isfinite(view.grid.values)
        self._grid, self._floor = view.grid, view.floor
        self._total = np.concatenate([[0.0], np.cumsum(np.where(known, view.grid.values, 0.0))])
        self._count = np.concatenate([[0], np.cumsum(known)])

    def __call__(self, places: Indices, window_s: float) -> Values:
        after = np.maximum(places + 1, 0)
        before = np.maximum(after - self._grid.steps(window_s), 0)
        count = self._count[after] - self._count[before]
        total = np.maximum(self._total[after] - self._total[before], 0.0)
        return np.log(np.where(count > 0, total / np.maximum(count, 1) + self._floor, np.nan))


def _season(view: View, mean: _LogMean, target: Target, period_s: float, level: Values) -> list[Values]:
    """Growth a season ago, the same smoothed, an hour further on, and where it led to against the present level."""
    earlier, came = season_before(view.grid, target, view.origins, period_s)
    reached = view.log(came)
    # What came after the outcome of a season ago is known too, as long as it does not reach past the origin.
    beyond = np.minimum(earlier + target.steps(view.grid) + view.grid.steps(600.0), view.origins)
    hour = np.minimum(earlier + target.steps(view.grid) + view.grid.steps(3600.0), view.origins)
    return [
        reached - mean(earlier, ANCHOR_S),
        mean(beyond, 1200.0) - mean(earlier, 1200.0),
        mean(hour, 1800.0) - mean(earlier, 1800.0),
        reached - level,
    ]


def _week(view: View, mean: _LogMean, target: Target, level: Values) -> list[Values]:
    """Mean growth and mean place of the last seven days at this time."""
    growth, reached = [], []
    for day in range(1, 8):
        earlier, came = season_before(view.grid, target, view.origins, day * DAY_S)
        reached.append(view.log(came))
        growth.append(reached[-1] - mean(earlier, ANCHOR_S))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)  # the mean of nothing is NaN, as it should be
        return [np.nanmean(growth, axis=0), np.nanmean(reached, axis=0) - level]


def _noise(view: View) -> list[Values]:
    """Mean change from one bucket to the next, as a log ratio: how rough the present is."""
    change = np.abs(np.diff(view.log(view.grid.values), prepend=np.nan))
    return [trailing_mean(change, view.grid.steps(window), view.origins) for window in NOISE_S]
