"""Which GPUs are there: a page never says that a GPU is gone, it only stops speaking of it."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from autoscaler.types import Labels, SeriesKey
from collectors.derived.devices import Columns, Device, board_labels

LOST_AFTER = 3
"""Answers of a target in a row that say nothing of a GPU after which it counts as lost."""
KNOWN_LIMIT = 1024
FORGET_S = 86_400.0
"""A lost GPU that did not come back for a day was taken out."""


@dataclass(slots=True)
class _Gpu:
    labels: Labels
    missed: int = 0
    lost_at: float = 0.0


class Presence:
    """gpu_up and gpu_lost of every GPU that the target ever spoke of.

    A GPU is up while any of its series has a value. Without one it is unknown at first, and lost after `lost_after`
    answers; lost GPUs stay for a day, and come back as soon as they are printed. Where pages carry several hosts, one
    that vanishes as a whole left, rather than lost its GPUs.
    """

    def __init__(self, lost_after: int = LOST_AFTER) -> None:
        self.keys: tuple[SeriesKey, ...] = ()
        self.new: frozenset[Device] = frozenset()
        self._lost_after = lost_after
        self._known: dict[Device, _Gpu] = {}
        self._listed: list[Device] = []
        self._columns = np.zeros(0, dtype=np.int64)
        self._starts = np.zeros(0, dtype=np.int64)
        self._labels: dict[Device, Labels] = {}
        self._native = False
        self._several = False
        self._steady: NDArray[np.float64] | None = None

    @property
    def known(self) -> Collection[Device]:
        """GPUs that are remembered, lost ones too."""
        return self._known.keys()

    def lay_out(self, keys: Sequence[SeriesKey], devices: Mapping[Device, Columns]) -> None:
        """Go on with these series."""
        self._native = any(key.metric == "gpu_up" for key in keys)
        by_board: dict[Device, list[int]] = {}
        for device, columns in devices.items():
            by_board.setdefault(device.board, []).extend(columns.all)
        self._listed = list(by_board)
        self._columns = np.array([c for columns in by_board.values() for c in columns], dtype=np.int64)
        sizes = [len(columns) for columns in by_board.values()]
        self._starts = np.cumsum([0, *sizes[:-1]], dtype=np.int64)
        self._labels = {board: board_labels(keys[column] for column in own) for board, own in by_board.items()}
        for board, labels in self._labels.items():
            if board in self._known:
                self._known[board].labels = labels
        self._name()

    def read(self, values: NDArray[np.float64], at: float, complete: bool = True) -> NDArray[np.float64]:
        """The derived values, beside `keys`. `new` says afterwards which GPUs were heard of for the first time."""
        told = self._told_of(values)
        if self._steady is not None and told.all():
            self.new = frozenset()
            return self._steady
        heard = dict(zip(self._listed, told.tolist(), strict=True))
        fresh = [board for board in self._listed if heard[board] and board not in self._known]
        self.new = frozenset(fresh)
        for board in fresh[: max(0, KNOWN_LIMIT - len(self._known))]:
            self._known[board] = _Gpu(self._labels[board])
        if self._miss(heard, at, complete) or fresh:
            self._name()
        if self._native:
            return np.zeros(0)
        found = np.array([value for gpu in self._known.values() for value in self._state(gpu)], dtype=np.float64)
        everyone = len(self._known) == len(self._listed) and not any(gpu.missed for gpu in self._known.values())
        self._steady = found if everyone else None
        return found

    def _told_of(self, values: NDArray[np.float64]) -> NDArray[np.bool_]:
        """(GPUs listed,): whether any of their series has a value."""
        if not self._listed:
            return np.zeros(0, dtype=np.bool_)
        return np.logical_or.reduceat(np.isfinite(values[self._columns]), self._starts)

    def _miss(self, heard: Mapping[Device, bool], at: float, complete: bool) -> list[Device]:
        """Count the silent ones; the GPUs that are to be forgotten, already taken out."""
        hosts = {_host(self._known[board]) for board, is_heard in heard.items() if is_heard and board in self._known}
        self._several = self._several or len(hosts) > 1
        gone = []
        for board, gpu in self._known.items():
            if heard.get(board):
                gpu.missed = 0
                continue
            gpu.missed += complete or not gpu.missed
            if gpu.missed == self._lost_after and complete:
                gpu.lost_at = at
            left = self._several and hosts and _host(gpu) not in hosts and gpu.missed >= self._lost_after
            if left or (gpu.missed > self._lost_after and at - gpu.lost_at > FORGET_S):
                gone.append(board)
        for board in gone:
            del self._known[board]
        return gone

    def _state(self, gpu: _Gpu) -> tuple[float, float]:
        if not gpu.missed:
            return 1.0, 0.0
        return (0.0, 1.0) if gpu.missed >= self._lost_after else (np.nan, np.nan)

    def _name(self) -> None:
        labels = () if self._native else [gpu.labels for gpu in self._known.values()]
        self._steady = None
        self.keys = tuple(SeriesKey(metric, own) for own in labels for metric in ("gpu_up", "gpu_lost"))


def _host(gpu: _Gpu) -> str:
    return dict(gpu.labels).get("host", "")
