"""What each view sees of a series: how far the newest rows are from what is expected, (view, row)."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from autoscaler.detect.rolling import Values, earlier_days, mean, median_before
from autoscaler.detect.settings import VIEWS

RECENT_ROWS = 24
"""What is normal lately: long enough that an anomaly of some rows is a minority of it."""

LEVEL_ROWS, PAST_ROWS = 12, 144
SEASON_ROWS = 6


@dataclass(frozen=True, slots=True)
class Seen:
    """expected: (row,) what the row alone was expected to be, in the unit of the values. distances: (view, row)."""

    expected: Values
    distances: Values


def look(at_s: Values, values: Values) -> Seen:
    """All of VIEWS over finite values whose times never fall. A row's distances depend on it and earlier rows only.

    sudden: the row against the same time of day, moved to where the series was lately; without two days of history
    against the median of the last 24 rows. level: the last 12 rows against the median of the last 144. season: the
    last six rows against the same time of day, without moving it, so that a lost or doubled daily wave shows. record:
    the value itself.
    """
    usual = earlier_days(at_s, values)
    known = np.isfinite(usual)
    off = np.where(known, values - usual, 0.0)
    expected = np.where(known, usual + median_before(off, RECENT_ROWS), median_before(values, RECENT_ROWS))
    found = {
        "sudden": values - expected,
        "level": mean(values, LEVEL_ROWS) - median_before(values, PAST_ROWS),
        "season": np.where(known, mean(off, SEASON_ROWS), np.nan),
        "record": values,
    }
    return Seen(expected, np.array([view.sign * found[view.name] for view in VIEWS]))
