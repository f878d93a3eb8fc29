"""The newest value of every series, for whoever asks and however often; what is too old is no value any more."""

from __future__ import annotations

import math
import threading
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from autoscaler.types import Batch, SeriesKey

Floats = NDArray[np.float64]
Indices = NDArray[np.int64]

STALE_INTERVALS = 3.0
"""Intervals of its source after which a value is no longer served."""
SKEW_S = 5.0
"""How far ahead of our clock a value may be dated; one from further ahead was read before the clock was set back."""
SLOWEST_S = 60.0
"""The longest interval that a series is believed to have; a longer gap was a failure."""
PACES_S = (1.0, 2.0, 5.0, 10.0, 30.0, SLOWEST_S)
"""What the interval of a series that is told less often than its batches is rounded up to."""
FORGET_S = 300.0
SERIES_LIMIT = 20_000
LAYOUTS_LIMIT = 4096
_NOWHERE: Indices = np.zeros(0, dtype=np.int64)


@dataclass(frozen=True, slots=True)
class Snapshot:
    """What is known at `now`: all arrays (series,). `keys` is the same object while no series came or went.

    values: NaN = none. at: time of each value. every_s: how often each is told, NaN until it was told twice.
    ages_s: seconds since each source last spoke, by the source's name and the GPU's UUID (empty: no GPU).
    """

    now: float
    keys: tuple[SeriesKey, ...]
    values: Floats
    at: Floats
    every_s: Floats
    ages_s: dict[tuple[str, str], float]


@dataclass(slots=True)
class _Layout:
    """Where the series of one batch layout are kept. `keys` is held on to, so that its id cannot be given away.

    up: which of them says whether the GPU answers.
    """

    source: str
    keys: tuple[SeriesKey, ...]
    places: Indices
    at: float
    up: int | None = None


class Current:
    """Takes batches and gives snapshots; both from any thread.

    floor_s: values younger than this are served even from a source that speaks more often, because those who serve
    look at it only so often. `refused` counts series that came in layouts beyond the limit.
    """

    def __init__(self, floor_s: float) -> None:
        self._floor_s = floor_s
        self._lock = threading.Lock()
        self._layouts: dict[int, _Layout] = {}
        self._places: dict[SeriesKey, int] = {}
        self._keys: tuple[SeriesKey, ...] = ()
        self._values: Floats = np.zeros(0)
        self._at: Floats = np.zeros(0)
        self._until: Floats = np.zeros(0)
        self._every: Floats = np.zeros(0)
        self.refused = 0

    def add(self, batches: Iterable[Batch], now: float) -> None:
        """Take what a collector gave, in its order."""
        with self._lock:
            for batch in batches:
                if batch.state == "up":
                    self._take(batch, now)
                else:
                    self._silence(batch.source)

    def snapshot(self, now: float) -> Snapshot:
        """What is known and not too old. Forgets what has been silent for long."""
        with self._lock:
            if any(not -SKEW_S <= now - layout.at < FORGET_S for layout in self._layouts.values()):
                self._forget(now)
            values = np.where((self._at <= now + SKEW_S) & (now <= self._until), self._values, np.nan)
            ages: dict[tuple[str, str], float] = {}
            for layout in self._layouts.values():
                name = layout.source.partition(":")[0], layout.keys[0].label("uuid") or ""
                ages[name] = min(ages.get(name, math.inf), max(0.0, now - layout.at))
            return Snapshot(now, self._keys, values, self._at.copy(), self._every.copy(), ages)

    def _take(self, batch: Batch, now: float) -> None:
        if not batch.keys:
            return
        layout = self._layouts.get(id(batch.keys))
        if layout is None:
            layout = self._place(batch)
        layout.at = batch.at
        if not len(layout.places):
            return
        values = np.asarray(batch.values, dtype=np.float64)
        held = self._at[layout.places]
        # No value this time is no news, as a slow lane speaks in every tenth batch only: the last one ages. A drained
        # history may be older than what another call said since.
        news = ~np.isnan(values) & ((batch.at >= held) | (held > now + SKEW_S))
        places, values, held = layout.places[news], values[news], held[news]
        # What is told less often than its batches has an interval of its own.
        apart = np.where(batch.at - held <= SLOWEST_S, batch.at - held, 0.0)
        self._learn(places, batch.at - held, batch.interval_s)
        kept_s = np.maximum(STALE_INTERVALS * np.maximum(apart, batch.interval_s), self._floor_s)
        self._values[places] = values
        self._at[places] = batch.at
        self._until[places] = batch.at + kept_s
        if layout.up is not None and batch.values[layout.up] == 0.0:
            # A GPU that is gone has no last values worth showing.
            self._until[layout.places[~news]] = -math.inf

    def _learn(self, places: Indices, gaps_s: Floats, interval_s: float) -> None:
        """Settle how often series are told, at their second value and then for good: who gets pushes of several
        intervals takes each for a source, and would count a series that changes sides twice."""
        new = np.isnan(self._every[places]) & (gaps_s > 0) & np.isfinite(gaps_s)
        for place, gap_s in zip(places[new].tolist(), gaps_s[new].tolist(), strict=True):
            slow = next((pace for pace in PACES_S if pace >= 0.9 * gap_s), SLOWEST_S)
            self._every[place] = interval_s if gap_s <= 1.5 * interval_s else max(slow, interval_s)

    def _place(self, batch: Batch) -> _Layout:
        if len(self._layouts) >= LAYOUTS_LIMIT:
            del self._layouts[min(self._layouts, key=lambda key: self._layouts[key].at)]
        new = [key for key in dict.fromkeys(batch.keys) if key not in self._places]
        if len(self._places) + len(new) > SERIES_LIMIT:
            self.refused += len(batch.keys)
            layout = self._layouts[id(batch.keys)] = _Layout(batch.source, batch.keys, _NOWHERE, batch.at)
            return layout
        for key in new:
            self._places[key] = len(self._places)
        if new:
            self._keys = tuple(self._places)
            self._values = np.concatenate([self._values, np.full(len(new), np.nan)])
            self._at = np.concatenate([self._at, np.full(len(new), -math.inf)])
            self._until = np.concatenate([self._until, np.full(len(new), -math.inf)])
            self._every = np.concatenate([self._every, np.full(len(new), np.nan)])
        places = np.array([self._places[key] for key in batch.keys], dtype=np.int64)
        layout = self._layouts[id(batch.keys)] = _Layout(
            batch.source,
            batch.keys,
            places,
            batch.at,
            next((n for n, k in enumerate(batch.keys) if k.metric == "gpu_up"), None),
        )
        return layout

    def _silence(self, source: str) -> None:
        for number, layout in [*self._layouts.items()]:
            if layout.source == source:
                self._until[layout.places] = -math.inf
                del self._layouts[number]

    def _forget(self, now: float) -> None:
        """Drop layouts that were not used for long, and the series that no layout has."""
        kept = [layout for layout in self._layouts.values() if -SKEW_S <= now - layout.at < FORGET_S]
        used = {self._keys[place] for layout in kept for place in layout.places.tolist()}
        stays = np.array([key in used for key in self._keys], dtype=np.bool_)
        keys = tuple(key for key in self._keys if key in used)
        self._values, self._at = self._values[stays], self._at[stays]
        self._until, self._every = self._until[stays], self._every[stays]
        self._keys, self._places = keys, {key: place for place, key in enumerate(keys)}
        for layout in kept:
            if len(layout.places):
                layout.places = np.array([self._places[key] for key in layout.keys], dtype=np.int64)
        self._layouts = {id(layout.keys): layout for layout in kept}
