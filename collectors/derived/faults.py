"""Driver faults (XID) as events, from pages that only show states.

DCGM's field 230 holds the last code for ever, so one fault is one change of it, however often it is scraped; a second
fault with the same code does not change it and cannot be seen there (NVIDIA/dcgm-exporter issues 500, 190, 95). The
exporter's own window counts repeats too, so where a page has it, it alone is counted.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from autoscaler.types import Labels, SeriesKey
from collectors.derived.devices import Columns, Device, board_labels, with_label

LAST = "gpu_last_xid"
COUNTED = {"DCGM_EXP_XID_ERRORS_COUNT": False, "nvidia_smi_xid_errors_total": True}
"""Series that count faults by code, from when they happen on; whether a fall is a restart, rather than an old fault
that left a window."""
EVENTS = "gpu_xid_events_total"
CODES_LIMIT = 64
"""Different codes of one GPU that are kept; there are some 170 in all."""


@dataclass(slots=True)
class _Gpu:
    """last: code by MIG instance. windows: what the exporter's window held last, by code. totals: events since we
    look, by code. shown: what was told of them. at: when the last one was noticed."""

    labels: Labels = ()
    last: dict[str, float] = field(default_factory=dict)
    windows: dict[str, float] = field(default_factory=dict)
    totals: dict[str, float] = field(default_factory=dict)
    shown: dict[str, float] = field(default_factory=dict)
    at: float = math.nan


class Faults:
    """gpu_xid_events_total{xid} and gpu_last_xid_timestamp_seconds, of boards.

    What a GPU shows when it is seen first happened before, and is not counted. A new code's series starts with 0, so
    that whoever reads the counter's increase sees its first event too; that is told one answer later.
    """

    def __init__(self) -> None:
        self.keys: tuple[SeriesKey, ...] = ()
        self._gpus: dict[Device, _Gpu] = {}
        self._columns = np.zeros(0, dtype=np.int64)
        self._owners: list[tuple[Device, str, str | None]] = []
        self._before: NDArray[np.float64] | None = None
        self._told = np.zeros(0)
        self._counted = False
        self._restarts = False
        self._native = False

    def lay_out(
        self, keys: Sequence[SeriesKey], devices: Mapping[Device, Columns], known: Collection[Device] = ()
    ) -> None:
        """Go on with these series. known: GPUs that need not be among them now, and are remembered."""
        self._native = any(key.metric == EVENTS for key in keys)
        found: dict[int, tuple[Device, str, str | None]] = {}
        by_board: dict[Device, list[int]] = {}
        for device, columns in devices.items():
            by_board.setdefault(device.board, []).extend(columns.all)
            for column in columns.all:
                if keys[column].metric == LAST:
                    found[column] = (device.board, device.instance, None)
                elif keys[column].metric in COUNTED:
                    self._counted = True
                    self._restarts = COUNTED[keys[column].metric]
                    found[column] = (device.board, device.instance, keys[column].label("xid") or "")
        self._gpus = {board: gpu for board, gpu in self._gpus.items() if board in by_board or board in known}
        for board, own in by_board.items():
            if any(column in found for column in own):
                self._gpus.setdefault(board, _Gpu()).labels = board_labels(keys[column] for column in own)
        self._columns = np.array(list(found), dtype=np.int64)
        self._owners = list(found.values())
        self._before = None
        self._name()

    def read(self, values: NDArray[np.float64], at: float, new: Collection[Device]) -> NDArray[np.float64]:
        """The derived values, beside `keys`. new: GPUs that this answer is the first to speak of."""
        codes = values[self._columns]
        settled = self._before is not None and np.array_equal(codes, self._before, equal_nan=True)
        if self._native or (settled and not new):
            return self._told
        self._before = codes
        windows: dict[tuple[Device, str], float] = {}
        for (board, instance, xid), value in zip(self._owners, codes.tolist(), strict=True):
            if xid:
                windows[board, xid] = windows.get((board, xid), 0.0) + (0.0 if math.isnan(value) else value)
            elif xid is None and not math.isnan(value):
                self._note_last(board, instance, value, at, board in new)
        for (board, xid), count in windows.items():
            self._note_window(board, xid, count, at, board in new)
        if self._tell():
            # Something was shown as 0 that is more by now: look again at the next answer, whatever that says.
            self._before = None
        return self._told

    def _note_last(self, board: Device, instance: str, code: float, at: float, is_new: bool) -> None:
        gpu = self._gpus[board]
        changed = code != gpu.last.get(instance, 0.0)
        # A fault of the whole board shows up on all of its MIG instances: one event, not one for each.
        repeated = any(other != instance and code == last for other, last in gpu.last.items()) and gpu.at == at
        gpu.last[instance] = code
        if not changed or code <= 0.0 or repeated:
            return
        self._count(gpu, f"{code:.0f}", 0.0 if is_new or self._counted else 1.0, at, is_new)

    def _note_window(self, board: Device, xid: str, count: float, at: float, is_new: bool) -> None:
        gpu = self._gpus[board]
        before = gpu.windows.get(xid, 0.0)
        risen = 0.0 if is_new else max(0.0, count if self._restarts and count < before else count - before)
        gpu.windows[xid] = count
        if risen or (is_new and count):
            self._count(gpu, xid, risen, at, is_new)

    def _count(self, gpu: _Gpu, xid: str, events: float, at: float, is_new: bool) -> None:
        if xid in gpu.totals or len(gpu.totals) < CODES_LIMIT:
            gpu.totals[xid] = gpu.totals.get(xid, 0.0) + events
            gpu.at = gpu.at if is_new else at

    def _tell(self) -> bool:
        """Set out what is told now; whether there is more to tell."""
        for gpu in self._gpus.values():
            gpu.shown = {xid: total if xid in gpu.shown else 0.0 for xid, total in gpu.totals.items()}
        self._name()
        return any(gpu.shown != gpu.totals for gpu in self._gpus.values())

    def _name(self) -> None:
        rows = self._rows()
        keys = tuple(key for key, _ in rows)
        self.keys = self.keys if keys == self.keys else keys
        self._told = np.array([value for _, value in rows], dtype=np.float64)

    def _rows(self) -> list[tuple[SeriesKey, float]]:
        if self._native:
            return []
        rows = []
        for gpu in self._gpus.values():
            rows += [(SeriesKey(EVENTS, with_label(gpu.labels, "xid", xid), True), n) for xid, n in gpu.shown.items()]
            if not math.isnan(gpu.at):
                rows.append((SeriesKey("gpu_last_xid_timestamp_seconds", gpu.labels), gpu.at))
        return rows
