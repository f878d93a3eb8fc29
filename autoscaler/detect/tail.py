"""How rare each view's distance is among its own earlier ones, in powers of ten."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from autoscaler.detect.rolling import Values
from autoscaler.detect.settings import Tail

FLAT_RATIO, LEAST_SCALE = 1e-3, 1e-9
"""Where rows have always been equal, the scale of what is beyond is a share of their level, or this."""


@dataclass(frozen=True, slots=True)
class Tails:
    """Fitted to the past: `foot` and `start` (view,) are quantiles, `scale` (view,) that of the tail beyond `start`."""

    law: Tail
    foot: Values
    start: Values
    scale: Values

    def rarity(self, distances: Values) -> Values:
        """-log10 of the share of rows expected to be as far, (view, row); 0 where that is not known.

        Below `start` nothing is rare, and a number from 0 to 1 only says how near to it the row is.
        """
        foot, start = self.foot[:, None], self.start[:, None]
        z = np.maximum(distances - start, 0.0) / self.scale[:, None]
        beyond = -math.log10(1.0 - self.law.start) + np.log1p(self.law.shape * z) / (self.law.shape * math.log(10.0))
        below = np.clip((distances - foot) / np.maximum(start - foot, LEAST_SCALE), 0.0, 1.0)
        return np.where(np.isnan(z), 0.0, np.where(distances > start, beyond, below))

    def distance(self, view: int, rarity: Values) -> Values:
        """The distance at which a view is as rare as this; the inverse of `rarity`, at least `start`."""
        shape = self.law.shape
        powers = np.maximum(rarity + math.log10(1.0 - self.law.start), 0.0)
        return np.asarray(self.start[view] + self.scale[view] * np.expm1(shape * math.log(10.0) * powers) / shape)


def fit(past: Values, law: Tail) -> Tails:
    """The tails of each row of `past` (view, row), NaN where a distance is not known, and all NaN where too few are.

    With shape x and quantiles at survival a and b < a, a generalised Pareto tail from the first quantile on has the
    scale (second - first) * x / ((a / b)^x - 1), and from the second on one that is (a / b)^x times as large.
    """
    count = np.count_nonzero(np.isfinite(past), axis=1)
    ordered = np.sort(past, axis=1)
    row, last = np.arange(len(past)), np.maximum(count - 1, 0)
    foot, start, top = (ordered[row, (share * last).astype(np.intp)] for share in (law.foot, law.start, 1.0))
    growth = ((1.0 - law.foot) / (1.0 - law.start)) ** law.shape
    scale = (start - foot) * law.shape / (growth - 1.0) * growth
    span = top - ordered[:, 0]
    # Of a series that mostly stands still, such as counts that are mostly 0, only the whole span tells a scale.
    still = np.where(span > 0.0, span, np.maximum(FLAT_RATIO * np.abs(start), LEAST_SCALE)) * growth
    scale = np.where(scale > 0.0, scale, still) * (1.0 + law.young_rows / np.maximum(count, 1))
    scale[count < law.least_rows] = np.nan
    return Tails(law, foot, start, scale)
