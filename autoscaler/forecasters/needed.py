"""The model of `need`: what is expected, with a spread and a tail that are measured on what it told live."""

from __future__ import annotations

import math
from dataclasses import dataclass, field

import numpy as np

from autoscaler.forecasters.features import View
from autoscaler.forecasters.fitted import check
from autoscaler.forecasters.grid import LEVEL_S, Grid, Indices, Values, grid_of, joined, window_level
from autoscaler.forecasters.pair import Pair
from autoscaler.forecasters.tail import LEVELS, scores
from autoscaler.forecasters.target import Target
from autoscaler.forecasters.told import (
    TAIL_SCORE,
    Hour,
    Told,
    full_hour,
    going_on,
    hour,
    hour_before,
    lately,
    next_place,
    nothing,
    week_steps,
)
from autoscaler.types import Frame, Of, Outlook

UNCHANGED_S = 86400.0
"""What was told is told again when the values of so long before it are others than they were."""


@dataclass(frozen=True, slots=True)
class Said:
    """Forecasts: median of the log of need, standard deviation (origin,), tail scores (origin, level); NaN = none.

    The floor that stands in all logs is in the median too, and is left in: the tail is measured around it.
    """

    middle: Values
    spread: Values
    tail: Values

    def amounts(self, quantiles: tuple[float, ...]) -> Values:
        """Need (quantile, origin)."""
        return np.asarray(np.exp(self.middle + scores(self.tail, quantiles) * self.spread))


@dataclass(frozen=True, slots=True)
class _Memory:
    """What was told until a full hour, the grid that it was told of, and what that hour knows."""

    hour_at: float
    told: Told
    grid: Grid
    hour: Hour


@dataclass(frozen=True, slots=True)
class Watched:
    """A pair, and what was told of its target until the end of the history that it learned from.

    What it told since then follows from the series, so a restart loses nothing; it is remembered only to save time.
    """

    pair: Pair
    told: Told
    _memory: list[_Memory] = field(default_factory=list, compare=False, repr=False)

    def __reduce__(self) -> tuple[type[Watched], tuple[Pair, Told]]:
        return Watched, (self.pair, self.told)

    def present(self, grid: Grid, horizon_s: float) -> Said:
        """As of the newest bucket of a grid that goes on from the history."""
        origin = np.array([len(grid) - 1])
        known = self._known(grid, origin)
        level, growth, width = self.pair.expected(grid, origin)
        spread = known.spread(float(width[0]) / TAIL_SCORE)
        return self._at(horizon_s, level, growth, np.array([spread]), known.tail[None])

    def many(self, grid: Grid, origins: Indices, horizon_s: float) -> Said:
        """As of many of its buckets, each from what was known by then; NaN before the end of the history."""
        since = next_place(self.told, grid)
        ours = np.flatnonzero(origins >= since)
        middle, spread = np.full(len(origins), np.nan), np.full(len(origins), np.nan)
        tail = np.full((len(origins), len(LEVELS)), np.nan)
        if not ours.size:
            return Said(middle, spread, tail)
        told = self._going_on(grid, int(origins.max()))
        first = next_place(told, grid) - len(told)
        places = origins[ours] - first
        hours, which = np.unique(full_hour(grid, origins[ours]), return_inverse=True)
        steps = self.pair.target.steps(grid)
        known = np.stack([hour(told, int(place) - first, steps).tail for place in hours])
        level = View(grid, origins[ours], self.pair.floor).anchor()
        found = self._at(horizon_s, level, told.middle[places] - level, told.spread[places], known[which])
        middle[ours], spread[ours], tail[ours] = found.middle, found.spread, found.tail
        return Said(middle, spread, tail)

    def told_until(self, grid: Grid, until: float) -> Told:
        """What this model and those before it told until a time within a grid that goes on from the history."""
        # From the start, so that it does not depend on what was asked in between.
        return lately(self._from(self.told, grid, grid.index(until)))

    def _at(self, horizon_s: float, level: Values, growth: Values, spread: Values, tail: Values) -> Said:
        # Beyond what was learned changes are taken to add up like those of a random walk.
        scale = math.sqrt(horizon_s / self.pair.target.horizon_s)
        return Said(level + growth * scale, spread * scale, tail)

    def _going_on(self, grid: Grid, until: int) -> Told:
        begun = self.told
        for memory in self._memory:
            if next_place(memory.told, grid) <= until + 1 and _continues(memory.grid, grid):
                begun = memory.told
        return self._from(begun, grid, until)

    def _from(self, begun: Told, grid: Grid, until: int) -> Told:
        week = week_steps(begun)
        if until + 1 - next_place(begun, grid) > week:
            # Nobody was asked for longer than anyone looks back.
            begun = nothing(grid.end_at - grid.step_s * (len(grid) - 1 - until + week), begun.step_s)
        return going_on(begun, self.pair, grid, until)

    def _known(self, grid: Grid, origin: Indices) -> Hour:
        """What the full hour before the origin knows, remembered until the next one."""
        hour_at = float(hour_before(np.array([grid.end_at]))[0])
        for memory in self._memory:
            if memory.hour_at == hour_at and _continues(memory.grid, grid):
                return memory.hour
        # In the first hour of a model that is the hour in which its history ended: nothing newer is told yet.
        place = int(full_hour(grid, origin)[0])
        told = self._going_on(grid, max(place, next_place(self.told, grid) - 1))
        first = next_place(told, grid) - len(told)
        known = hour(told, place - first, self.pair.target.steps(grid))
        until = grid.end_at - grid.step_s * (len(grid) - 1 - place)
        self._memory[:] = [_Memory(hour_at, told, grid.until(until), known)]
        return known


def _continues(older: Grid, newer: Grid) -> bool:
    """Whether a grid goes on from an earlier one: the newest day of that is in it unchanged."""
    lead = (newer.end_at - older.end_at) / newer.step_s
    steps = round(lead)
    if abs(lead - steps) > 1e-3:
        # Other buckets of the same samples, which cannot be compared.
        return lead > 0
    count = min(len(older), len(newer) - steps, max(1, round(UNCHANGED_S / newer.step_s)))
    if steps < 0 or count < 0:
        return False
    before = newer.values[len(newer) - steps - count : len(newer) - steps]
    return np.array_equal(older.values[len(older) - count :], before, equal_nan=True)


@dataclass(frozen=True, slots=True)
class Needed:
    """A fitted forecaster of need; `watched`, by horizon, is empty while there is too little history.

    version names the forecaster and the end of its history; floor is the least level that growth is counted on.
    """

    version: str
    history: Grid
    floor: float
    watched: tuple[Watched, ...]

    def outlook(
        self, recent: Frame, horizons_s: tuple[float, ...], quantiles: tuple[float, ...], of: Of = "need"
    ) -> Outlook:
        """Growth factors as of the newest sample of `recent`, which is joined to the history; NaN = no forecast.

        A factor multiplies the mean of the last two minutes, or `floor` where that is larger. The spread is that of the
        longest horizon. Raises InputError for horizons and quantiles that make no sense.
        """
        check(horizons_s, quantiles)
        grid = self.joined(recent)
        at, level, spread = (grid.end_at if len(grid) else math.nan), math.nan, math.nan
        growth = np.full((len(quantiles), len(horizons_s)), np.nan)
        if len(grid):
            found = window_level(grid, np.array([len(grid) - 1]), LEVEL_S)
            level = float(np.maximum(found, self.floor)[0])
        if of == "need" and self.watched and math.isfinite(level):
            for place, horizon_s in enumerate(horizons_s):
                said = self.nearest(horizon_s).present(grid, horizon_s)
                growth[:, place] = said.amounts(quantiles)[:, 0] / level
                spread = float(said.spread[0]) if horizon_s == max(horizons_s) else spread
        growth[~np.isfinite(growth)] = np.nan
        rows = tuple(tuple(row) for row in growth.tolist())
        return Outlook(at, self.version, of, tuple(horizons_s), tuple(quantiles), rows, self.floor, level, spread)

    def outlooks(
        self, recent: Frame, at: Values, horizons_s: tuple[float, ...], quantiles: tuple[float, ...]
    ) -> list[Outlook]:
        """What `outlook` says of need as of many times of `recent`, in one call."""
        check(horizons_s, quantiles)
        grid = self.joined(recent)
        origins = _places(grid, at)
        level = np.maximum(window_level(grid, origins, LEVEL_S), self.floor)
        growth = np.full((len(quantiles), len(horizons_s), len(at)), np.nan)
        spread = np.full(len(at), np.nan)
        for place, horizon_s in enumerate(horizons_s if self.watched else ()):
            said = self.nearest(horizon_s).many(grid, origins, horizon_s)
            growth[:, place] = said.amounts(quantiles) / level
            spread = said.spread if horizon_s == max(horizons_s) else spread
        growth[~np.isfinite(growth)] = np.nan
        rest = zip(np.moveaxis(growth, 2, 0).tolist(), level.tolist(), spread.tolist(), strict=True)
        when = (grid.end_at - grid.step_s * (len(grid) - 1 - origins)).tolist()
        return [
            Outlook(
                t, self.version, "need", horizons_s, quantiles, tuple(tuple(row) for row in rows), self.floor, now, wide
            )
            for t, (rows, now, wide) in zip(when, rest, strict=True)
        ]

    def ahead(self, recent: Frame, at: Values, target: Target, quantiles: tuple[float, ...]) -> Values:
        """Amounts (quantile, time) as of many times of `recent` in one call, each from what was known by then; NaN
        before the end of the history and for other kinds than need."""
        if target.of != "need" or not self.watched:
            return np.full((len(quantiles), len(at)), np.nan)
        grid = self.joined(recent)
        said = self.nearest(target.horizon_s).many(grid, _places(grid, at), target.horizon_s)
        return said.amounts(quantiles)

    def joined(self, recent: Frame) -> Grid:
        """The history, going on with what came since."""
        return joined(self.history, grid_of(recent))

    def nearest(self, horizon_s: float) -> Watched:
        """What was learned of the horizon that is nearest by factor."""
        return min(self.watched, key=lambda each: abs(math.log(horizon_s / each.pair.target.horizon_s)))


def _places(grid: Grid, at: Values) -> Indices:
    return np.array([grid.index(when) for when in at.tolist()], dtype=np.int64)
