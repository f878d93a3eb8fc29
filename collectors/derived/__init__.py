"""GPU metrics that follow from others, in one place for every source: pages, DCGM's host engine, the driver's library.

Nothing is derived twice: what a source gives itself is left as it is.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from autoscaler.types import SeriesKey
from collectors.derived.arithmetic import TAIL, Arithmetic
from collectors.derived.devices import Device, devices
from collectors.derived.faults import Faults
from collectors.derived.presence import LOST_AFTER, Presence

__all__ = ["Derived", "Device"]

_COLLECTED = ("nvidia_smi_last_collect_success",)
"""Series by which an exporter says that it could not ask its GPUs: their silence proves nothing then."""


class Derived:
    """What follows from the answers of one target.

    gpu_saturation_ratio{source}, gpu_memory_total_bytes and gpu_memory_used_ratio and gpu_nvlink_bytes_per_second where
    they are not given, gpu_up, gpu_lost, gpu_xid_events_total{xid}, gpu_last_xid_timestamp_seconds. lost_after: answers
    without a GPU after which it is lost.
    """

    def __init__(self, lost_after: int = LOST_AFTER) -> None:
        self._arithmetic = Arithmetic()
        self._presence = Presence(lost_after)
        self._faults = Faults()
        self._given: Sequence[SeriesKey] | None = None
        self._parts: tuple[tuple[SeriesKey, ...], ...] = ()
        self._keys: tuple[SeriesKey, ...] = ()
        self._idle = True
        self._failures = np.zeros(0, dtype=np.int64)

    @property
    def clamped(self) -> int:
        """Shares above 1 that entered a saturation as 1, since the start; the series themselves keep such values."""
        return self._arithmetic.clamped

    def extend(
        self, keys: tuple[SeriesKey, ...], values: NDArray[np.float64], at: float, *, complete: bool = True
    ) -> tuple[tuple[SeriesKey, ...], NDArray[np.float64]]:
        """The series of one answer at `at` and what follows from them. Both tuples are the same object while they are
        the same series; a target without GPUs gets back what it gave. complete: whether all that was said is here; only
        then is a silent GPU one step closer to being lost."""
        if keys is not self._given:
            self._lay_out(keys)
        if self._idle:
            return keys, values
        told = np.concatenate((values, TAIL))
        if self._failures.size:
            complete = complete and not np.any(told[self._failures] == 0.0)
        found = [self._arithmetic.read(told), self._presence.read(told, at, complete)]
        found.append(self._faults.read(told, at, self._presence.new))
        parts = (keys, self._arithmetic.keys, self._presence.keys, self._faults.keys)
        if any(new is not old for new, old in zip(parts, self._parts, strict=True)):
            self._parts = parts
            self._keys = tuple(key for part in parts for key in part)
        return self._keys, np.concatenate((values, *found))

    def _lay_out(self, keys: tuple[SeriesKey, ...]) -> None:
        self._given = keys
        self._parts = ((),) * 4
        found = devices(keys)
        self._idle = not found and not self._presence.known
        failures = [n for n, key in enumerate(keys) if key.metric in _COLLECTED]
        self._failures = np.array(failures, dtype=np.int64)
        if not self._idle:
            self._arithmetic.lay_out(keys, found)
            self._presence.lay_out(keys, found)
            self._faults.lay_out(keys, found, self._presence.known)
