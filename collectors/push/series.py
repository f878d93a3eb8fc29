"""The series of one pushed source: what they mean, and which of them make up its batches."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from autoscaler.types import Labels, SeriesKey
from collectors.pages.identity import Identity, Resolve
from collectors.pages.layout import Floats, Indices, Layout, Ratchet, arrange
from collectors.pages.resolve import COMBINATIONS

FORGET_AFTER = 20
"""Rows after which a series that says nothing is forgotten."""
FORGET_ENDED_AFTER = 3
"""The same for one that said that it ended: it may have been a target that stumbled."""


class PushedSeries:
    """Series are numbered from 0 in the order in which they came. `labels` are the source's, part of every key."""

    def __init__(self, labels: Labels, resolve: Resolve) -> None:
        self.labels = labels
        self._resolve = resolve
        self._numbers: dict[tuple[str, Labels], int] = {}
        self._means: list[tuple[Identity, ...]] = []
        self._layout: Layout | None = None
        self._keys: tuple[SeriesKey, ...] = ()
        self._ratchet = Ratchet()
        self._changed = True
        self._silent_rows = np.zeros(0, dtype=np.int64)
        self._ended = np.zeros(0, dtype=np.bool_)

    def __len__(self) -> int:
        return len(self._means)

    def known(self, name: str, labels: Labels) -> int | None:
        """The number of a series, if it has one. labels: without those of the source, sorted."""
        return self._numbers.get((name, labels))

    def add(self, name: str, labels: Labels, hint: str) -> int:
        """The number of a new series. hint: its declared type, empty when unknown."""
        number = self._numbers[name, labels] = len(self._means)
        self._means.append(self._resolve(name, labels, hint))
        self._changed = True
        return number

    def fill(self, values: Floats, present: NDArray[np.bool_], here: NDArray[np.bool_]) -> tuple[Floats, int]:
        """Canonical values of one row and how many say "no value". here: series that were there lately, (series,)."""
        self._widen()
        self._silent_rows += 1
        self._silent_rows[present] = 0
        layout, here = self._layout, here & ~self._ended
        if layout is None or self._changed or not layout.standing(here):
            layout = self._arrange(here)
        return layout.fill(values, self._ratchet)

    @property
    def keys(self) -> tuple[SeriesKey, ...]:
        """The keys of the last row; the same object while the layout is the same."""
        return self._keys

    def end(self, series: Indices, ended: NDArray[np.bool_]) -> None:
        """Note which of these series said that they ended, and which are back."""
        self._widen()
        self._ended[series] = ended

    def _widen(self) -> None:
        more = len(self._means) - self._ended.size
        if more:
            self._silent_rows = np.append(self._silent_rows, np.zeros(more, dtype=np.int64))
            self._ended = np.append(self._ended, np.zeros(more, dtype=np.bool_))

    def outdated(self) -> Indices:
        """Series to forget: silent for long, or ended and not come back."""
        self._widen()
        gone = self._silent_rows > FORGET_AFTER
        gone |= self._ended & (self._silent_rows >= FORGET_ENDED_AFTER)
        return np.flatnonzero(gone)

    def forget(self, series: Indices) -> Indices:
        """Drop these series. The old numbers of those that stay, in their new order."""
        drop = set(series.tolist())
        keep = np.array([n for n in range(len(self._means)) if n not in drop], dtype=np.int64)
        names = list(self._numbers)
        self._numbers = {names[old]: new for new, old in enumerate(keep.tolist())}
        self._means = [self._means[old] for old in keep.tolist()]
        self._silent_rows, self._ended = self._silent_rows[keep], self._ended[keep]
        self._changed = True
        return keep

    def _arrange(self, here: NDArray[np.bool_]) -> Layout:
        seen = np.where(here, 1, -self._silent_rows)
        layout = arrange(self._means, self.labels, here, COMBINATIONS, seen)
        if layout.keys == self._keys:
            layout = replace(layout, keys=self._keys)
        self._layout, self._keys = layout, layout.keys
        self._ratchet.keep(self._keys)
        self._changed = False
        return layout
