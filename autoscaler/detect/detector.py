"""The detector: bounds, a score and alerts for every row of a series, from that row and earlier ones."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from autoscaler.detect.alarm import Bell
from autoscaler.detect.rolling import Values
from autoscaler.detect.settings import VIEWS, Alarm, Tail
from autoscaler.detect.tail import Tails, fit
from autoscaler.detect.views import Seen, look

SUDDEN_UP, SUDDEN_DOWN = 0, 1
assert [(view.name, view.sign) for view in VIEWS[:2]] == [("sudden", 1.0), ("sudden", -1.0)]


@dataclass(frozen=True, slots=True)
class Detected:
    """One entry a row.

    lower, upper: between these the row alone is no reason for an alert, in the unit of the values; NaN in gaps and
    until 30 rows are known. score: 0 to 1, above 0.5 is rare enough for an alert. anomalous: an alert fires here. view:
    index into VIEWS of what saw most, -1 for none.
    """

    lower: Values
    upper: Values
    score: Values
    anomalous: NDArray[np.bool_]
    view: NDArray[np.int64]


def detect(
    at_s: Values,
    values: Values,
    tail: Tail = Tail(),  # noqa: B008 - a frozen value
    alarm: Alarm = Alarm(),  # noqa: B008
    progress: Callable[[int], None] | None = None,
) -> Detected:
    """Anomalies of a series (row,) at times in seconds, in the order of arrival.

    NaN and infinities are gaps: they are no anomaly and are not learned from. A time before an earlier one counts as
    that one. What is said of a row depends on it and those before it. `progress` is told of rows done.
    """
    rows = len(values)
    found = Detected(
        np.full(rows, np.nan),
        np.full(rows, np.nan),
        np.zeros(rows),
        np.zeros(rows, dtype=np.bool_),
        np.full(rows, -1, dtype=np.int64),
    )
    known = np.flatnonzero(np.isfinite(values))
    if not known.size:
        return found
    times = np.maximum.accumulate(at_s)[known]
    # Values near the end of what a float64 holds may overflow on the way; infinitely far is what they are.
    with np.errstate(over="ignore", invalid="ignore"):
        past = _Past(look(times, np.asarray(values[known], dtype=np.float64)), _young(times, alarm), tail, alarm)
    bell = Bell(alarm)
    for start, end in _stretches(known.size, tail):
        place = known[start:end]
        with np.errstate(over="ignore", invalid="ignore"):
            judged = past.judge(start, end)
        found.lower[place], found.upper[place] = judged.lower, judged.upper
        found.score[place], found.view[place] = judged.score, judged.view
        for row in np.flatnonzero(judged.rarity > judged.limit).tolist():
            found.anomalous[place[row]] = bell.rings(float(times[start + row]), float(judged.rarity[row]))
        if progress is not None:
            progress(int(place[-1]) + 1)
    return found


def _young(times: Values, law: Alarm) -> int:
    """How many rows come before the series is known well enough for the ordinary limit."""
    return min(law.young_rows, int(np.searchsorted(times, times[0] + law.young_s)))


def _stretches(rows: int, law: Tail) -> list[tuple[int, int]]:
    """Rows that are judged by one fit, (start, end): at least 16, more with a longer past, which changes less."""
    made = []
    start = 0
    while start < rows:
        end = min(rows, start + max(law.every_rows, start // 64))
        made.append((start, end))
        start = end
    return made


@dataclass(frozen=True, slots=True)
class _Judged:
    lower: Values
    upper: Values
    score: Values
    view: NDArray[np.int64]
    rarity: Values
    limit: Values


class _Past:
    """What was seen so far, and which of it counts as normal."""

    def __init__(self, seen: Seen, young: int, law: Tail, alarm: Alarm) -> None:
        self._seen, self._young, self._law, self._alarm = seen, young, law, alarm
        self._normal = np.ones(len(seen.expected), dtype=np.bool_)
        self._weights = np.array([view.weight for view in VIEWS])

    def judge(self, start: int, end: int) -> _Judged:
        """The rows of one stretch by those before it."""
        expected = self._seen.expected[start:end]
        rows = np.arange(start, end)
        limit = np.log10(np.clip(rows, self._alarm.least_rows, self._alarm.rows) / self._alarm.tolerated)
        ordinary = limit
        limit = limit + self._alarm.young_margin * (rows < self._young)
        if start < self._law.least_rows:
            nothing = np.full(end - start, np.nan)
            return _Judged(nothing, nothing, np.zeros(end - start), np.full(end - start, -1), nothing, limit)
        tails = self._tails(start)
        rarities = self._weights[:, None] * tails.rarity(self._seen.distances[:, start:end])
        rarity = rarities.max(axis=0)
        # What is no news yet may be an anomaly all the same, and is no example of the normal.
        self._set_aside(start, rows, rarity - ordinary)
        upper = expected + tails.distance(SUDDEN_UP, limit / self._weights[SUDDEN_UP])
        lower = expected - tails.distance(SUDDEN_DOWN, limit / self._weights[SUDDEN_DOWN])
        return _Judged(
            np.minimum(lower, expected),
            np.maximum(upper, expected),
            rarity / (rarity + limit),
            np.where(rarity > 0.0, rarities.argmax(axis=0), -1),
            rarity,
            limit,
        )

    def _tails(self, start: int) -> Tails:
        part = slice(max(0, start - self._law.rows), start)
        return fit(self._seen.distances[:, part][:, self._normal[part]], self._law)

    def _set_aside(self, start: int, rows: NDArray[np.int64], above: Values) -> None:
        """Rows far beyond the limit do not count as normal later, unless those are too many to be anomalies."""
        first = max(0, start - self._law.rows)
        room = math.ceil(self._alarm.set_aside_ratio * (start - first)) - np.count_nonzero(~self._normal[first:start])
        far = rows[above > self._alarm.margin]
        self._normal[far[: max(0, room)]] = False
