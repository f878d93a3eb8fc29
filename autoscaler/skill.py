"""How good forecasts were: error of the middle against naive ones, loss of the tail, and how often it held."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from autoscaler.forecasters.grid import Values
from autoscaler.rolling import Rolled


@dataclass(frozen=True, slots=True)
class Skill:
    """Scores over the rows where the outcome, the forecast and every naive forecast are known.

    error_ratio: WAPE, the sum of absolute errors over the sum of what came, of the quantile nearest 0.5 (`middle`).
    naive_error_ratios: the same of each naive forecast. loss, naive_loss: mean pinball loss of the highest quantile
    (`tail`) and of last value times the same quantile of its own growth. covered_ratios: share of outcomes at or below
    each quantile. Ratios of nothing are NaN.
    """

    rows: int
    judged: int
    middle: float
    error_ratio: float
    naive_error_ratios: dict[str, float]
    tail: float
    loss: float
    naive_loss: float
    covered_ratios: dict[float, float]

    @property
    def best_naive(self) -> tuple[str, float]:
        """Name and error of the best naive forecast, known in hindsight."""
        name = min(self.naive_error_ratios, key=lambda one: self.naive_error_ratios[one])
        return name, self.naive_error_ratios[name]


def skill(rolled: Rolled) -> Skill:
    """The scores of a course."""
    known = np.isfinite(rolled.actual) & np.isfinite(rolled.said).all(axis=0)
    for values in rolled.naive.values():
        known &= np.isfinite(values)
    came, said = rolled.actual[known], rolled.said[:, known]
    levels = np.array(rolled.quantiles)
    middle, tail = int(np.argmin(np.abs(levels - 0.5))), int(np.argmax(levels))
    return Skill(
        len(rolled.actual),
        int(np.count_nonzero(known)),
        rolled.quantiles[middle],
        wape(came, said[middle]),
        {name: wape(came, values[known]) for name, values in rolled.naive.items()},
        rolled.quantiles[tail],
        pinball(came, said[tail], rolled.quantiles[tail]),
        pinball(came, rolled.naive_tail[tail][known], rolled.quantiles[tail]),
        {q: float(np.mean(came <= said[row])) if came.size else np.nan for row, q in enumerate(rolled.quantiles)},
    )


def wape(came: Values, said: Values) -> float:
    """Sum of absolute errors over the sum of what came; NaN when nothing came."""
    total = float(came.sum())
    return float(np.abs(came - said).sum()) / total if total > 0.0 else np.nan


def pinball(came: Values, said: Values, quantile: float) -> float:
    """Mean pinball loss, in the unit of the values; its least expectation is at the true quantile."""
    off = came - said
    return float(np.mean(np.maximum(quantile * off, (quantile - 1.0) * off))) if came.size else np.nan
