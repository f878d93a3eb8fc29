"""Who forecasts: judged on two windows of the past and on the last day, for the middle and for the tail apart."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from autoscaler.forecasters.grid import Grid, Indices, Values
from autoscaler.forecasters.record import Record, Seen
from autoscaler.forecasters.target import Target

MIDDLE = 0.5
TAIL_FROM = 0.6
"""Quantiles from here on are the tail's: who knows the middle best may know little of how far it can go."""

WIN_RATIO = 0.95
"""A challenger's loss is at most this share of the best naive one's, in both windows."""

NAIVE_RATIO = 0.98
"""A naive one is preferred to the plainest, the first, only for more than chance."""

DEMOTE_RATIO = 1.05
LIVE_S = 86400.0
LEAST_JUDGED = 12
"""Fewer outcomes in a window prove nothing: one hour of them."""


@dataclass(frozen=True, slots=True)
class Entrant:
    """A forecaster that takes part: what it said is in its record. naive: it needs to beat nobody."""

    name: str
    naive: bool
    record: Record


@dataclass(frozen=True, slots=True)
class Verdict:
    """Places of the entrant that was chosen and of the best naive one, which takes over when it is demoted."""

    chosen: int
    base: int


@dataclass(frozen=True, slots=True)
class Contest:
    """A law: for each target and part of the distribution the entrant that has won it.

    risk: the quantile whose pinball loss judges the tail; under-forecasts cost risk / (1 - risk) times as much there.
    The middle is judged by absolute error, the pinball loss of the median.
    """

    entrants: tuple[Entrant, ...]
    history: Grid
    risk: float
    _verdicts: dict[tuple[Target, float], Verdict] = field(default_factory=dict, compare=False)

    def ahead(self, grid: Grid, origins: Indices, target: Target, quantiles: tuple[float, ...]) -> Values:
        said = np.full((len(quantiles), len(origins)), np.nan)
        tail = np.array([q >= TAIL_FROM for q in quantiles], dtype=np.bool_)
        for level, rows in ((MIDDLE, np.flatnonzero(~tail)), (self.risk, np.flatnonzero(tail))):
            if not rows.size or not origins.size:
                continue
            asked = tuple(quantiles[row] for row in rows)
            verdict = self.verdict(target, level)
            out = self._demoted(grid, origins, target, level, verdict)
            for place, part in ((verdict.chosen, ~out), (verdict.base, out)):
                if part.any():
                    law = self.entrants[place].record.law
                    said[np.ix_(rows, np.flatnonzero(part))] = law.ahead(grid, origins[part], target, asked)
        return said

    def verdict(self, target: Target, level: float) -> Verdict:
        """Who is chosen for a target by the loss at a quantile, as of the end of the history."""
        if (target, level) not in self._verdicts:
            self._verdicts[target, level] = self._judge(target, level)
        return self._verdicts[target, level]

    def names(self, target: Target) -> tuple[str, str]:
        """The names of who is chosen for the middle and for the tail."""
        middle, tail = self.verdict(target, MIDDLE), self.verdict(target, self.risk)
        return self.entrants[middle.chosen].name, self.entrants[tail.chosen].name

    def _judge(self, target: Target, level: float) -> Verdict:
        seen = [self._seen(place, self.history, target) for place in range(len(self.entrants))]
        loss = np.stack([_loss(one, level) for one in seen])
        base = next(place for place, one in enumerate(self.entrants) if one.naive)
        loss = loss[:, np.isfinite(loss[base])]
        windows = np.array_split(loss, 2, axis=1)
        if windows[1].shape[1] < LEAST_JUDGED:
            return Verdict(base, base)
        # One forecast that is missing where the plainest has one loses a window.
        losses = np.stack([np.where(np.isfinite(w), w, np.inf).sum(axis=1) for w in windows], axis=1)
        total = losses.sum(axis=1)
        naive = [place for place, one in enumerate(self.entrants) if one.naive]
        best = min(naive, key=lambda place: total[place])
        base = best if total[best] < NAIVE_RATIO * total[base] else base
        winners = [
            place
            for place, one in enumerate(self.entrants)
            if not one.naive and bool((losses[place] <= WIN_RATIO * losses[base]).all())
        ]
        return Verdict(min(winners, key=lambda place: total[place], default=base), base)

    def _demoted(
        self, grid: Grid, origins: Indices, target: Target, level: float, verdict: Verdict
    ) -> NDArray[np.bool_]:
        """Whether, as of each origin, the chosen one lost too much over a day at any time since it was fitted."""
        live = origins > grid.index(self.history.end_at)
        out = np.zeros(len(origins), dtype=np.bool_)
        if verdict.chosen == verdict.base or not live.any():
            return out
        until = int(origins.max())
        pair = [self._seen(place, grid, target, until) for place in (verdict.chosen, verdict.base)]
        known = pair[0].known
        loss = np.stack([_loss(one, level) for one in pair])
        judged = np.isfinite(loss).all(axis=0)
        loss, known = loss[:, judged], known[judged]
        total = np.concatenate([np.zeros((2, 1)), np.cumsum(loss, axis=1)], axis=1)
        first = np.searchsorted(known, known - grid.steps(LIVE_S))
        last = np.arange(1, len(known) + 1)
        day = total[:, last] - total[:, first]
        worse = (day[0] > DEMOTE_RATIO * day[1]) & (last - first >= LEAST_JUDGED)
        # What was known before the end of the history has been weighed by the verdict.
        worse &= known > grid.index(self.history.end_at)
        ever = np.concatenate([[False], np.maximum.accumulate(worse)]) if worse.size else np.array([False])
        out[live] = ever[np.searchsorted(known, origins[live], side="right")]
        return out

    def _seen(self, place: int, grid: Grid, target: Target, until: int | None = None) -> Seen:
        asked = (MIDDLE, self.risk)
        return self.entrants[place].record.seen(grid, len(grid) - 1 if until is None else until, target, asked)


def _loss(seen: Seen, level: float) -> Values:
    """Pinball loss at each judged origin; NaN where the outcome is unknown or there was no forecast."""
    off = seen.came - seen.said[0 if level == MIDDLE else 1]
    return np.asarray(np.maximum(level * off, (level - 1.0) * off))
