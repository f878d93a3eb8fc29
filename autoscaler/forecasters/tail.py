"""How far need goes beyond what was expected of it: from what the forecasts in force were off of late, and a prior."""

from __future__ import annotations

import numpy as np

from autoscaler.forecasters.grid import Values
from autoscaler.forecasters.spread import normal_score

LEVELS = np.array([0.3, 0.2, 0.1, 0.05, 0.03, 0.02, 0.012, 0.007, 0.004, 0.0025, 0.0015, 0.0008])
"""Chances of going beyond; between two of them a quantile is read on the line over the logarithm of the chance."""

PRIOR_COUNT = 1200.0
"""The prior weighs as much as this many forecasts; those of neighbouring minutes are nearly one."""

HEAVIER_FROM, HEAVIER = 3.0, 0.25
"""From a chance of exp(-3) on the prior grows faster than a normal distribution, by a quarter for each factor of e."""

SLOPE_OVER = 3
"""Beyond the last level the slope over so many levels goes on."""

_LOGS = np.log(LEVELS)
_FIRST = normal_score(1.0 - float(LEVELS[0]))
PRIOR = np.array([normal_score(1.0 - level) for level in LEVELS.tolist()]) * (
    1.0 + HEAVIER * np.maximum(0.0, -_LOGS - HEAVIER_FROM)
)


def tail(off: Values) -> Values:
    """The scores (level,) that outcomes go beyond with the chances LEVELS. Without any outcome they are the prior's.

    off (forecast,): how many spreads each was off, upwards; NaN = not known yet.
    """
    known = off[np.isfinite(off)]
    if not known.size:
        return np.array(PRIOR)
    weight = known.size / (known.size + PRIOR_COUNT)
    return np.asarray(weight * np.quantile(known, 1.0 - LEVELS) + (1.0 - weight) * PRIOR)


def scores(tails: Values, quantiles: tuple[float, ...]) -> Values:
    """Scores (quantile, row) of tails (row, level). They ascend with the quantile.

    Below the first level the rest is taken to be a normal distribution.
    """
    found = np.empty((len(quantiles), len(tails)))
    for row, quantile in enumerate(quantiles):
        log_chance = np.log1p(-quantile)
        if log_chance >= _LOGS[0]:
            found[row] = tails[:, 0] + normal_score(quantile) - _FIRST
        elif log_chance <= _LOGS[-1]:
            slope = (tails[:, -1] - tails[:, -1 - SLOPE_OVER]) / (_LOGS[-1 - SLOPE_OVER] - _LOGS[-1])
            found[row] = tails[:, -1] + slope * (_LOGS[-1] - log_chance)
        else:
            after = int(np.searchsorted(-_LOGS, -log_chance))
            share = (_LOGS[after - 1] - log_chance) / (_LOGS[after - 1] - _LOGS[after])
            found[row] = (1.0 - share) * tails[:, after - 1] + share * tails[:, after]
    return found
