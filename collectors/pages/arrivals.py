"""Requests that arrived at an engine which counts only those that it finished.

Completed requests hide demand while an engine is overloaded: they stop rising when the engine is full. What arrived is
what was finished, what runs and what waits, taken together. A page
is no snapshot, though: a request may have left the running ones before it is among the finished, so the sum dips and
comes back. And some requests leave uncounted, so that it falls for good.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from autoscaler.signals import DERIVED
from autoscaler.types import SeriesKey

ARRIVED = "requests_arrived_total"
FINISHED = ("request_success_total", "request_failure_total")
RUNNING, WAITING = "requests_running", "requests_waiting"
GROUPS = ("application", "deployment", "engine", "model", "model_name", "dp_rank", "version")
"""Labels that tell engines and models of one page apart; those that all parts of the sum have make groups."""
MOST = 1e12
"""What no engine has finished or holds. A count that ran below 0 and is printed as an unsigned integer (1.8e19) would
leave a sum in which single requests are lost for ever."""
PATIENCE = 3
"""Pages after which a fall is no dip any more: the requests left without being counted."""


@dataclass(frozen=True, slots=True)
class Arrival:
    """Which columns a derived count of arrivals is computed from, and the column that it goes to."""

    column: int
    finished: tuple[int, ...]
    inside: tuple[int, ...]


@dataclass(slots=True)
class Tally:
    """A count of arrivals that only rises.

    done: finished requests, whose counters are added up change by change, so that a series that is missing once or
    starts afresh moves nothing. inside: the series that told of requests that run or wait. shift: what is added to
    finished and inside; it makes up for requests that left without being counted, and for what was counted before a
    restart.
    """

    seen: dict[SeriesKey, float] = field(default_factory=dict)
    inside: frozenset[SeriesKey] = frozenset()
    done: float = 0.0
    shift: float = 0.0
    peak: float = -math.inf
    low: float = math.inf
    dips: int = 0

    def count(self, finished: Iterable[tuple[SeriesKey, float]], inside: Sequence[tuple[SeriesKey, float]]) -> float:
        """The arrivals so far; NaN when the page says nothing of what is finished, or not all of what is inside.

        inside: every series there is of it, NaN for one that the page leaves out: it is not empty, and what it says
        when it is back did not all come at once. One that never said anything is not waited for.
        """
        known = {key: value for key, value in finished if 0.0 <= value < MOST}
        held = {key: value for key, value in inside if 0.0 <= value < MOST}
        if not known or not held:
            return math.nan
        waited_for = frozenset() if self._restarted(known) else self.inside.intersection(key for key, _ in inside)
        self.inside = waited_for.union(held)
        if not waited_for <= held.keys():
            return math.nan
        total = self.shift + self.done + sum(held.values())
        if total >= self.peak:
            self.peak, self.dips, self.low = total, 0, math.inf
            return self.peak
        self.dips += 1
        self.low = min(self.low, total)
        if self.dips >= PATIENCE:
            # From the lowest point on, everything that came is new.
            self.shift += self.peak - self.low
            self.peak += total - self.low
            self.dips, self.low = 0, math.inf
        return self.peak

    def _restarted(self, known: Mapping[SeriesKey, float]) -> bool:
        """Add up what is finished; whether the engine was started again."""
        first = not self.seen
        if any(value < self.seen.get(key, value) for key, value in known.items()):
            # The engine was started again: all that it shows now is new, and what was inside is gone.
            self.shift, self.done = self.peak, sum(known.values())
            self.seen = dict(known)
            return True
        for key, value in known.items():
            # A series that appears later may be old: its first value is where counting starts.
            self.done += value - self.seen.get(key, 0.0 if first else value)
        self.seen.update(known)
        return False


def find_arrivals(
    columns: dict[SeriesKey, int], overlapping: Collection[int], target: Mapping[str, str]
) -> tuple[Arrival, ...]:
    """The counts of arrivals that a page's columns allow for; their own columns are added to `columns`.

    None where the page has a count of its own, and none for what nothing says to be running: without it the sum falls
    whenever a request stops waiting, and models that only finish requests are steps on the way of others. overlapping:
    waiting requests that run as well.
    """
    parts = [(key, column) for key, column in columns.items() if key.metric in (*FINISHED, RUNNING, WAITING)]
    finished = [(key, column) for key, column in parts if key.metric in FINISHED]
    if not finished or any(key.metric == ARRIVED for key in columns):
        return ()
    parts = [(key, column) for key, column in parts if column not in overlapping]
    labels = [set(dict(key.labels)) for key, _ in parts]
    shared = set(GROUPS).intersection(*labels) | set(target)
    groups: dict[tuple[tuple[str, str], ...], list[tuple[SeriesKey, int]]] = {}
    for key, column in parts:
        name = tuple((label, value) for label, value in key.labels if label in shared)
        groups.setdefault(name, []).append((key, column))
    return tuple(filter(None, (_arrival(columns, name, some) for name, some in groups.items())))


def _arrival(
    columns: dict[SeriesKey, int], name: tuple[tuple[str, str], ...], some: Iterable[tuple[SeriesKey, int]]
) -> Arrival | None:
    by_metric: dict[str, list[int]] = {}
    for key, column in some:
        by_metric.setdefault(key.metric, []).append(column)
    finished = [column for metric in FINISHED for column in by_metric.get(metric, ())]
    running, waiting = by_metric.get(RUNNING, []), by_metric.get(WAITING, [])
    if not finished or not running:
        return None
    words = "finished+running+waiting" if waiting else "finished+running"
    made = SeriesKey(ARRIVED, tuple(sorted((*name, (DERIVED, words)))), True)
    columns[made] = len(columns)
    return Arrival(columns[made], tuple(finished), (*running, *waiting))
