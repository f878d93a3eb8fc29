"""The faults of all GPUs as batches of their own: a GPU that a fault took away tells nothing else any more."""

from __future__ import annotations

import math
import threading
from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np

from autoscaler import signals
from autoscaler.types import Batch, Labels, SeriesKey
from collectors.nvml.faults import Fault, FaultBook

SOURCE = "nvml:faults"
BEFORE_S = 0.001
"""A counter that is new is told as 0 so long before its first count; its first fault would raise nothing otherwise."""


@dataclass(eq=False)
class FaultBatches:
    """Tells the faults in `book`: at once when one is recorded, and each `interval_s` after. From any thread.

    labels: of a GPU by its UUID, sorted. batch_labels: of the machine. emit: takes the batches, oldest first.
    """

    book: FaultBook
    interval_s: float
    labels: Callable[[str], Labels]
    batch_labels: Labels
    emit: Callable[[Batch], object]
    _told: dict[SeriesKey, float] = field(default_factory=dict, init=False, repr=False)
    _keys: tuple[SeriesKey, ...] = field(default=(), init=False, repr=False)
    _at: float = field(default=-math.inf, init=False, repr=False)
    _lock: threading.Lock = field(default_factory=threading.Lock, init=False, repr=False)

    def record(self, fault: Fault, now: float) -> bool:
        """Count a fault and tell it; False when it was known from the other reporter."""
        if not self.book.record(fault):
            return False
        with self._lock:
            self._tell(now)
        return True

    def tell_due(self, now: float) -> None:
        """Tell them again when it is time; nothing while there was no fault."""
        with self._lock:
            if now >= self._at + self.interval_s or now < self._at:
                self._tell(now)

    def _tell(self, now: float) -> None:
        values = {
            SeriesKey(
                sample.metric,
                tuple(sorted((*self.labels(uuid), *sample.labels))),
                signals.is_counter(sample.metric),
            ): sample.value
            for uuid in self.book.uuids()
            for sample in self.book.samples(uuid)
        }
        if not values:
            return
        if values.keys() != self._told.keys():
            self._keys = tuple(values)
            before = {key: self._told.get(key, 0.0 if key.counter else math.nan) for key in self._keys}
            self._emit(before, now - BEFORE_S)
        self._told, self._at = values, now
        self._emit(values, now)

    def _emit(self, values: dict[SeriesKey, float], at: float) -> None:
        numbers = np.array([values[key] for key in self._keys], np.float64)
        self.emit(Batch(SOURCE, at, self.interval_s, self._keys, numbers, self.batch_labels))
