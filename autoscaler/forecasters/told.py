"""What the models in force said, minute after minute, and how far off each was: what their spread is measured by."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from autoscaler.forecasters.grid import Grid, Indices, Values
from autoscaler.forecasters.pair import Pair
from autoscaler.forecasters.spread import normal_score
from autoscaler.forecasters.tail import tail
from autoscaler.forecasters.target import outcomes

LOOKBACK_S = 7 * 86400.0
HOUR_S = 3600.0
"""Tails and usual widths are renewed at every full hour."""

OWN_SHARE = 0.75
"""How much of a forecast's own width counts, the rest is the usual one of the week: each is noisy."""

LEAST_SPREAD = 0.05
"""Added in squares: demand that stood still for a week may still move by some per cent."""

TAIL_SCORE = normal_score(0.95)


@dataclass(frozen=True, slots=True)
class Told:
    """Forecasts in even buckets, the newest made at `end_at`; all (bucket,), NaN = none.

    middle, width: median of the log of need, and the distance to its 0.95 quantile over TAIL_SCORE. spread: the
    standard deviation that was told. off: how many spreads need was above the median; NaN also = not known.
    """

    end_at: float
    step_s: float
    middle: Values
    width: Values
    spread: Values
    off: Values

    def __len__(self) -> int:
        return len(self.middle)


@dataclass(frozen=True, slots=True)
class Hour:
    """What is known at a full hour: the tail's scores (level,), and sum and number of the week's log widths."""

    tail: Values
    total: float
    count: int

    def spread(self, width: float) -> float:
        """The spread of a forecast of that width within the hour."""
        log_width = float(np.log(width))
        usual = (self.total + log_width) / (self.count + 1)
        return float(_spread(np.array([log_width]), np.array([usual]))[0])


def nothing(end_at: float, step_s: float) -> Told:
    """No forecast until a time."""
    return Told(end_at, step_s, *(np.empty(0) for _ in range(4)))


def next_place(told: Told, grid: Grid) -> int:
    """The bucket of a grid that comes after the last forecast."""
    return grid.index(told.end_at + grid.step_s * 0.01) + 1


def going_on(told: Told, pair: Pair, grid: Grid, until: int) -> Told:
    """The same with what the pair says at each bucket up to `until`, and with what came within the grid."""
    first = next_place(told, grid)
    origins = np.arange(first, until + 1)
    level, growth, width = pair.expected(grid, origins)
    width = width / TAIL_SCORE
    gap = np.full(len(origins), np.nan)
    grown = Told(
        grid.end_at - grid.step_s * (len(grid) - 1 - max(until, first - 1)),
        told.step_s,
        np.concatenate([told.middle, level + growth]),
        np.concatenate([told.width, width]),
        np.concatenate([told.spread, gap]),
        np.concatenate([told.off, gap]),
    )
    if origins.size:
        places = np.arange(len(told), len(grown))
        known = full_hour(grid, origins) - origins + places
        total, count = _week(grown, known)
        log_width = np.log(width)
        grown.spread[places] = _spread(log_width, (total + log_width) / (count + 1))
    _settle(grown, pair, grid, first - len(told))
    return grown


def _settle(told: Told, pair: Pair, grid: Grid, first: int) -> None:
    """Fills in what came after forecasts of which that was not known; the first was made at the bucket `first`."""
    open_ = np.flatnonzero(np.isnan(told.off))
    # Where nothing came the floor did, on which forecasts stand too.
    came = np.maximum(outcomes(grid, pair.target, first + open_), pair.floor)
    told.off[open_] = (np.log(came) - told.middle[open_]) / told.spread[open_]


def full_hour(grid: Grid, origins: Indices) -> Indices:
    """The last bucket that ended by the full hour before each origin."""
    at = grid.end_at - grid.step_s * (len(grid) - 1 - origins)
    late = np.ceil((at - hour_before(at)) / grid.step_s - 1e-6).astype(np.int64)
    return np.asarray(origins - late)


def hour_before(at: NDArray[np.floating[Any]]) -> Values:
    """The last full hour that lies before each time."""
    return np.asarray(HOUR_S * (np.ceil(at / HOUR_S - 1e-9) - 1.0))


def hour(told: Told, known: int, steps: int) -> Hour:
    """What the forecasts up to the place `known` tell at its time, if outcomes are known after `steps` buckets."""
    total, count = _week(told, np.array([known]))
    since = max(0, known + 1 - week_steps(told))
    return Hour(tail(told.off[since : max(since, known + 1 - steps)]), float(total[0]), int(count[0]))


def lately(told: Told) -> Told:
    """The newest week of it, which is all that is looked at."""
    kept = week_steps(told)
    fields = (told.middle, told.width, told.spread, told.off)
    return Told(told.end_at, told.step_s, *(np.array(field[-kept:]) for field in fields))


def _week(told: Told, known: Indices) -> tuple[Values, Indices]:
    """Sum and number of log widths in the week that ends with each place."""
    finite = np.isfinite(told.width)
    total = np.concatenate([[0.0], np.cumsum(np.where(finite, np.log(np.where(finite, told.width, 1.0)), 0.0))])
    count = np.concatenate([[0], np.cumsum(finite)])
    after = np.maximum(known + 1, 0)
    before = np.maximum(after - week_steps(told), 0)
    return total[after] - total[before], count[after] - count[before]


def week_steps(told: Told) -> int:
    """How many buckets are looked back on."""
    return max(1, round(LOOKBACK_S / told.step_s))


def _spread(log_width: Values, usual: Values) -> Values:
    own = np.exp(OWN_SHARE * log_width + (1.0 - OWN_SHARE) * usual)
    return np.asarray(np.sqrt(own * own + LEAST_SPREAD * LEAST_SPREAD))
