"""Sums and ratios of a device's own values, where its source does not give them itself."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from autoscaler.types import Labels, SeriesKey
from collectors.derived.devices import Columns, Device, with_label
from collectors.derived.saturation import INPUTS, saturations, source_of

Floats = NDArray[np.float64]
Indices = NDArray[np.int64]

UNKNOWN, ZERO = -2, -1
"""Columns that are not there: values are read with a NaN and a 0 more at their end."""
TAIL = np.array([np.nan, 0.0])
PATIENCE = 3
"""Readings without a value after which an input of the saturation counts as not available, rather than as late."""
FORGOTTEN = 17_280
"""Readings, a day of them at 5 s, after which an input that was there is not waited for any more."""

_SUMS = {
    "gpu_memory_total_bytes": ("gpu_memory_used_bytes", "gpu_memory_free_bytes", "gpu_memory_reserved_bytes"),
    "gpu_nvlink_bytes_per_second": ("gpu_nvlink_tx_bytes_per_second", "gpu_nvlink_rx_bytes_per_second", ""),
}
"""Of three terms the third may be missing: older drivers count what is reserved as used."""
_SATURATION = ("gpu_sm_active_ratio", "gpu_dram_active_ratio", "gpu_power_watts", "gpu_power_limit_watts")


class Arithmetic:
    """gpu_memory_total_bytes, gpu_memory_used_ratio, gpu_nvlink_bytes_per_second and gpu_saturation_ratio.

    A MIG instance's saturation is that of its own activity, without the board's power; the board's is then left out,
    so that one GPU does not count as a board and as its parts. No board's value is ever made of its instances': the
    shares of the board that are in no instance, or in one that prints nothing, would be guesses.

    Where an input is lost, the ratio of what is left may be far lower, and a profiler that pauses is no GPU that idles.
    So the series that had it stays beside the new one, without a value, and whoever adds them up knows that one is out.
    """

    def __init__(self) -> None:
        self.keys: tuple[SeriesKey, ...] = ()
        self.clamped = 0
        self._fixed: tuple[SeriesKey, ...] = ()
        self._sums = _columns([], 3)
        self._ratios = _columns([], 4)
        self._inputs = _columns([], 4)
        self._devices: list[Device] = []
        self._made: list[SeriesKey] = []
        self._missed: Indices = np.zeros((len(INPUTS), 0), dtype=np.int64)
        self._available: NDArray[np.bool_] = self._missed < PATIENCE
        self._remembered: NDArray[np.bool_] = self._missed < FORGOTTEN
        self._named = np.zeros(0, dtype=np.bool_)
        self._lost = np.zeros(0)
        self._late = False

    def lay_out(self, keys: Sequence[SeriesKey], devices: Mapping[Device, Columns]) -> None:
        """Go on with these series."""
        given = {(key.metric, key.labels) for key in keys}
        self._fixed = ()
        self._sums = _columns(self._lay_sums(keys, devices, given), 3)
        self._ratios = _columns(self._lay_ratios(keys, devices, given), 4)
        missed = dict(zip(self._devices, self._missed.T.tolist(), strict=True))
        rows = self._lay_saturation(keys, devices)
        self._devices = [device for device, _, _ in rows]
        self._inputs = _columns([columns for _, columns, _ in rows], 4)
        self._made = [key for _, _, key in rows]
        unseen = [FORGOTTEN] * len(INPUTS)
        self._missed = np.array([missed.get(d, unseen) for d in self._devices], dtype=np.int64).reshape(-1, 3).T
        self._name()

    def read(self, values: Floats) -> Floats:
        """The derived values, beside `keys`; values: of the series laid out, and TAIL."""
        with np.errstate(all="ignore"):
            totals = values[self._sums].sum(axis=0)
            used, some, more, less = values[self._ratios]
            room = some + more - less
            ratios = np.where(room > 0.0, used / room, np.nan)
            shares = self._shares(values)
        # Of absurd terms the sum may be more than a number can hold.
        totals[np.isinf(totals)] = np.nan
        return np.concatenate((totals, ratios, self._saturations(shares)))

    def _shares(self, values: Floats) -> Floats:
        """SM activity, memory activity, power over its limit, (3, devices)."""
        inputs = values[self._inputs]
        inputs[2] /= np.where(inputs[3] > 0.0, inputs[3], np.nan)
        return inputs[:3]

    def _saturations(self, shares: Floats) -> Floats:
        finite = np.isfinite(shares)
        if self._late or not np.array_equal(finite, self._available):
            self._missed = np.where(finite, 0, np.minimum(self._missed + 1, FORGOTTEN))
            states = (self._missed < PATIENCE, self._available), (self._missed < FORGOTTEN, self._remembered)
            if not all(np.array_equal(new, old) for new, old in states):
                self._name()
            self._late = bool(((self._missed > 0) & (self._missed < FORGOTTEN)).any())
        ratios, clamped = saturations(shares, self._available)
        self.clamped += int(clamped.sum())
        return np.concatenate((ratios[self._named], self._lost))

    def _name(self) -> None:
        self._available, self._remembered = self._missed < PATIENCE, self._missed < FORGOTTEN
        told, had = np.logical_or.reduce(self._available), np.logical_or.reduce(self._available != self._remembered)
        # What an instance tells takes the place of its board's, and only while it tells it.
        cut = {device.board for n, device in enumerate(self._devices) if device.instance and told[n]}
        whole = np.array([device not in cut for device in self._devices], dtype=np.bool_)
        self._named = told & whole
        named = [self._named_key(n, self._available) for n in np.flatnonzero(self._named).tolist()]
        lost = [self._named_key(n, self._remembered) for n in np.flatnonzero(had & whole).tolist()]
        self._lost = np.full(len(lost), np.nan)
        self.keys = (*self._fixed, *named, *lost)

    def _named_key(self, device: int, inputs: NDArray[np.bool_]) -> SeriesKey:
        key = self._made[device]
        return SeriesKey(key.metric, with_label(key.labels, "source", source_of(inputs[:, device])))

    def _lay_sums(
        self, keys: Sequence[SeriesKey], devices: Mapping[Device, Columns], given: set[tuple[str, Labels]]
    ) -> list[tuple[int, ...]]:
        rows: list[tuple[int, ...]] = []
        for metric, (first, second, third) in _SUMS.items():
            for columns in devices.values():
                a, b = columns.of.get(first), columns.of.get(second)
                if a is not None and b is not None and (metric, keys[a].labels) not in given:
                    rows.append((a, b, columns.of.get(third, ZERO)))
                    self._fixed += (SeriesKey(metric, keys[a].labels),)
        return rows

    def _lay_ratios(
        self, keys: Sequence[SeriesKey], devices: Mapping[Device, Columns], given: set[tuple[str, Labels]]
    ) -> list[tuple[int, ...]]:
        """Rows of (used, some, more, less): used memory as a share of some + more - less."""
        rows: list[tuple[int, ...]] = []
        for columns in devices.values():
            used, free, total = (columns.of.get(f"gpu_memory_{part}_bytes") for part in ("used", "free", "total"))
            if used is None or ("gpu_memory_used_ratio", keys[used].labels) in given:
                continue
            if free is not None:
                rows.append((used, used, free, ZERO))
            elif total is not None:
                rows.append((used, total, ZERO, columns.of.get("gpu_memory_reserved_bytes", ZERO)))
            else:
                continue
            self._fixed += (SeriesKey("gpu_memory_used_ratio", keys[used].labels),)
        return rows

    def _lay_saturation(
        self, keys: Sequence[SeriesKey], devices: Mapping[Device, Columns]
    ) -> list[tuple[Device, tuple[int, ...], SeriesKey]]:
        rows: dict[Device, tuple[tuple[int, ...], SeriesKey]] = {}
        if any(key.metric == "gpu_saturation_ratio" for key in keys):
            return []  # the source is an agent of ours, and gives it itself
        for device, columns in devices.items():
            row = tuple(columns.of.get(metric, UNKNOWN) for metric in _SATURATION)
            if device.instance:
                row = (*row[:2], UNKNOWN, UNKNOWN)
            whose = next((column for column in row[:3] if column != UNKNOWN), None)
            if whose is not None:
                rows[device] = (row, SeriesKey("gpu_saturation_ratio", keys[whose].labels))
        return [(device, row, key) for device, (row, key) in rows.items()]


def _columns(rows: Sequence[tuple[int, ...]], terms: int) -> Indices:
    """(terms, rows) of column numbers."""
    return np.array(rows, dtype=np.int64).reshape(len(rows), terms).T
