"""What a law said at regular origins of the past and what came: what calibration and selection judge by."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from autoscaler.forecasters.grid import Grid, Indices, Values
from autoscaler.forecasters.law import Law
from autoscaler.forecasters.target import Target, outcomes

JUDGED_S = 300.0
"""Forecasts are judged this often; those of a minute later are nearly the same."""


@dataclass(frozen=True, slots=True)
class Seen:
    """Forecasts at judged origins. origins (time,) ascending; said (quantile, time); came (time,), NaN = unknown.

    Whoever judges as of an origin may look only at those whose `known` (time,), the place of the bucket in which their
    outcome ends, is not after it.
    """

    origins: Indices
    known: Indices
    said: Values
    came: Values


@dataclass(frozen=True, slots=True)
class Record:
    """The forecasts of a law from `since` on; those within `history` are asked once and remembered."""

    law: Law
    history: Grid
    since: float
    _past: dict[tuple[Target, tuple[float, ...]], Values] = field(default_factory=dict, compare=False)

    def seen(self, grid: Grid, until: int, target: Target, quantiles: tuple[float, ...]) -> Seen:
        """Everything said at judged origins up to the bucket `until` of `grid`, which goes on from the history."""
        step_s = max(JUDGED_S, grid.step_s)
        until_at = grid.end_at - grid.step_s * (len(grid) - 1 - until)
        count = max(0, int((until_at - self.since) / step_s + 1e-6) + 1)
        at: Values = self.since + step_s * np.arange(count, dtype=np.float64)
        past = at <= self.history.end_at - self.history.step_s / 2
        origins = _places(grid, at)
        said = np.concatenate(
            [
                self._said(at[past], target, quantiles),
                self.law.ahead(grid, origins[~past], target, quantiles),
            ],
            axis=1,
        )
        return Seen(origins, origins + target.steps(grid), said, outcomes(grid, target, origins))

    def _said(self, at: Values, target: Target, quantiles: tuple[float, ...]) -> Values:
        asked = (target, quantiles)
        known = self._past.get(asked)
        if known is None or known.shape[1] < len(at):
            known = self.law.ahead(self.history, _places(self.history, at), target, quantiles)
            self._past[asked] = known
        return known[:, : len(at)]


def _places(grid: Grid, at: Values) -> Indices:
    return np.asarray(np.floor(len(grid) - 1 - (grid.end_at - at) / grid.step_s + 1e-6), dtype=np.int64)
