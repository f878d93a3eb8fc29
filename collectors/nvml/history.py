"""The last two minutes of one raw series, kept where it is measured, and what a second of it amounts to."""

from __future__ import annotations

import math
import threading
from dataclasses import dataclass, field

import numpy as np

from autoscaler.types import FloatArray

KEPT_S = 120.0
START_SAMPLES, LIMIT_SAMPLES = 128, 8192
"""Room of one series: grown when it is needed, at most 68 samples a second for two minutes (16 bytes each)."""
STATS = ("min", "mean", "max", "p95", "count")
"""Of one interval, as the metric's name goes on; see `signal_table.AGGREGATES`."""


@dataclass(frozen=True, slots=True)
class Aggregate:
    """Some samples of one series in its unit; p95 is the smallest value that at least 95 % do not exceed."""

    count: int
    min: float
    mean: float
    max: float
    p95: float
    last: float

    @property
    def stats(self) -> tuple[float, ...]:
        """The values in the order of STATS."""
        return self.min, self.mean, self.max, self.p95, float(self.count)


EMPTY = Aggregate(0, math.nan, math.nan, math.nan, math.nan, math.nan)


def aggregate(values: list[float]) -> Aggregate:
    """What the values of one second amount to. A list, since numpy costs ten times as much for twenty numbers."""
    if not values:
        return EMPTY
    ranked = sorted(values)
    count = len(ranked)
    p95 = ranked[math.ceil(0.95 * count) - 1]
    return Aggregate(count, ranked[0], math.fsum(ranked) / count, ranked[-1], p95, values[-1])


@dataclass(eq=False)
class History:
    """A ring of (at, value) in the order of arrival; written by one thread, read by any."""

    _rows: FloatArray = field(default_factory=lambda: np.empty((2, START_SAMPLES)), init=False, repr=False)
    _begin: int = field(default=0, init=False)
    _end: int = field(default=0, init=False)
    _new: int = field(default=0, init=False)
    _lock: threading.Lock = field(default_factory=threading.Lock, init=False, repr=False)

    def append(self, at: float, value: float) -> None:
        """Add one sample."""
        with self._lock:
            self._make_room(1, at)
            self._rows[0, self._end] = at
            self._rows[1, self._end] = value
            self._end += 1
            self._new += 1

    def extend(self, at: FloatArray, values: FloatArray) -> None:
        """Add samples, (time,) each, ascending; of more than fit only the newest."""
        at, values = at[-LIMIT_SAMPLES:], values[-LIMIT_SAMPLES:]
        if not len(at):
            return
        with self._lock:
            self._make_room(len(at), float(at[-1]))
            self._rows[0, self._end : self._end + len(at)] = at
            self._rows[1, self._end : self._end + len(at)] = values
            self._end += len(at)
            self._new += len(at)

    def take(self) -> Aggregate:
        """What arrived since the last call, each sample once however late it came."""
        with self._lock:
            fresh = self._rows[1, max(self._begin, self._end - self._new) : self._end].tolist()
            self._new = 0
        return aggregate(fresh)

    def since(self, at: float) -> tuple[FloatArray, FloatArray]:
        """Times and values from `at` on, (time,) each; copies."""
        with self._lock:
            kept = self._rows[:, self._begin : self._end]
            wanted = kept[:, kept[0] >= at]
            return wanted[0].copy(), wanted[1].copy()

    def _make_room(self, number: int, newest: float) -> None:
        room = self._rows.shape[1]
        if self._end + number <= room:
            return
        kept = self._rows[:, self._begin : self._end]
        # What is two minutes old goes, and so does what a clock that went back left in the future.
        recent = kept[:, (kept[0] >= newest - KEPT_S) & (kept[0] <= newest)]
        recent = recent[:, max(0, recent.shape[1] + number - LIMIT_SAMPLES) :]
        while room < LIMIT_SAMPLES and recent.shape[1] + number > 0.75 * room:
            room *= 2
        if recent.shape[1] + number > 0.75 * room:
            # Full: drop a quarter, so that not every sample moves all others.
            recent = recent[:, min(recent.shape[1], max(0, recent.shape[1] + number - room * 3 // 4)) :]
        rows = np.empty((2, room))
        rows[:, : recent.shape[1]] = recent
        self._rows, self._begin, self._end = rows, 0, recent.shape[1]
        self._new = min(self._new, self._end)
