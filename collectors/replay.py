"""A recorded workload as the counter of a pool, on whatever clock it is asked with."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from autoscaler.errors import InputError
from autoscaler.trace import Trace, load_trace
from autoscaler.types import Batch, Labels, SeriesKey

MAX_POINTS = 1000
"""Points of one call: after a jump of the clock the newest ones are enough, since a counter forgets nothing."""


@dataclass
class Replay:
    """A collector that replays `column` of the file `path` as the counter `metric` of `pool`.

    speed: seconds of the trace per second of the clock. start_s: the time of the trace at which it begins.
    begin_at: the clock's time of that; None = the first call. A point is given every `interval_s` of the clock. In a
    gap the value is NaN while the counter goes on unseen along the line between the buckets beside the gap: it must
    not look like a time without load afterwards. After the trace's end the source is gone. A clock that goes
    back takes nothing back: the trace goes on from where it was.
    """

    path: Path | str
    pool: str
    column: str = "requests"
    metric: str = "requests_arrived_total"
    labels: Labels = ()
    speed: float = 1.0
    start_s: float = 0.0
    begin_at: float | None = None
    interval_s: float = 5.0
    finished: bool = field(default=False, init=False)
    _trace: Trace = field(init=False, repr=False)
    _edges_s: np.ndarray[tuple[int], np.dtype[np.float64]] = field(init=False, repr=False)
    _sums: np.ndarray[tuple[int], np.dtype[np.float64]] = field(init=False, repr=False)
    _keys: tuple[SeriesKey, ...] = field(init=False, repr=False)
    _next: int = field(default=0, init=False, repr=False)
    _asked_at: float = field(default=-math.inf, init=False, repr=False)

    def __post_init__(self) -> None:
        for name, value in (("speed", self.speed), ("interval", self.interval_s)):
            if not value > 0:
                raise InputError(f"replay of {self.path}: {name} is {value:g} and must be above 0; 1 is real time")
        self._trace = load_trace(self.path, self.column)
        if not self._trace.at_s[0] <= self.start_s < self._trace.end_s:
            bounds = f"{self._trace.at_s[0]:g} s to {self._trace.end_s:g} s"
            raise InputError(
                f"replay of {self.path}: start {self.start_s:g} s lies outside the trace; choose within {bounds}"
            )
        self._edges_s = np.append(self._trace.at_s, self._trace.end_s)
        self._sums = np.append(0.0, np.cumsum(self._trace.bridged().amount))
        labels = tuple(sorted({**dict(self.labels), "pool": self.pool}.items()))
        self._keys = (SeriesKey(self.metric, labels, counter=True),)

    def collect(self, now: float) -> tuple[Batch, ...]:
        """The points since the last call up to `now`, the newest 1,000 of them."""
        if self.begin_at is None:
            self.begin_at = now
        if self._next and now < self._asked_at:
            self.begin_at -= self._asked_at - now
        self._asked_at = now
        if self.finished or now < self.begin_at:
            return ()
        last = int((now - self.begin_at) / self.interval_s + 1e-9)
        first = max(self._next, last - MAX_POINTS + 1)
        self._next = max(self._next, last + 1)
        batches: list[Batch] = []
        for n in range(first, last + 1):
            batches.append(self._point(self.begin_at + n * self.interval_s))
            if batches[-1].state == "gone":
                self.finished = True
                break
        return tuple(batches)

    def _point(self, at: float) -> Batch:
        assert self.begin_at is not None
        t_s = self.start_s + (at - self.begin_at) * self.speed
        source = f"replay:{self.path}:{self.column}"
        labels = self._keys[0].labels
        if t_s > self._trace.end_s + 1e-6:
            return Batch(source, at, self.interval_s, (), np.empty(0), labels, "gone")
        bucket = min(int((t_s - self._trace.at_s[0]) / self._trace.step_s), len(self._trace.amount) - 1)
        value = np.nan if self._trace.missing[bucket] else np.interp(t_s, self._edges_s, self._sums)
        return Batch(source, at, self.interval_s, self._keys, np.array([value], dtype=np.float64), labels)
