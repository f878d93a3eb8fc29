"""The newest values of one GPU, laid out for batches whose keys stay the same object while the layout does."""

from __future__ import annotations

import math
import threading
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass, field

import numpy as np

from autoscaler import signals
from autoscaler.types import Batch, FloatArray, Labels, SeriesKey
from collectors.nvml.call import Sample
from collectors.nvml.history import KEPT_S, STATS, History

ABSENT_LIMIT = 3
"""Batches in a row without a labelled series (a process, a MIG instance) after which it leaves the layout."""
SERIES_LIMIT = 4096
"""Series of one GPU; what comes beyond is refused and counted in `refused`."""
RECENT_LIMIT = 240


@dataclass(eq=False, slots=True)
class Series:
    """One series: its newest value, when it was told, and by which lane; a lower rank is the better source.

    fresh: told since the last batch. known: told since it was last in doubt. absent: batches in a row without it.
    history: its raw samples where they come faster than batches.
    """

    metric: str
    labels: Labels
    value: float = math.nan
    at: float = -math.inf
    rank: int = 0
    fresh: bool = False
    known: bool = False
    absent: int = 0
    history: History | None = None


@dataclass(eq=False)
class Table:
    """The series of one source. Written by one thread; `recent` may be read by others.

    labels: of each series, sorted. stats: whether series with a history also give their STATS, each under its own name.
    """

    source: str
    interval_s: float
    labels: Labels
    batch_labels: Labels
    stats: bool = False
    refused: int = field(default=0, init=False)
    _series: dict[tuple[str, Labels], Series] = field(default_factory=dict, init=False, repr=False)
    _keys: tuple[SeriesKey, ...] | None = field(default=None, init=False, repr=False)
    _made: dict[tuple[str, Labels], SeriesKey] = field(default_factory=dict, init=False, repr=False)
    _order: tuple[Series, ...] = field(default=(), init=False, repr=False)
    _with_stats: tuple[Series, ...] = field(default=(), init=False, repr=False)
    _batches: deque[Batch] = field(default_factory=lambda: deque(maxlen=RECENT_LIMIT), init=False, repr=False)
    _lock: threading.Lock = field(default_factory=threading.Lock, init=False, repr=False)

    def put(self, sample: Sample, at: float, rank: int = 0) -> None:
        """Take a value unless a better source told one since the last batch."""
        series = self.series(sample.metric, sample.labels)
        if series is not None and (rank <= series.rank or not series.fresh):
            series.value, series.at, series.rank, series.fresh = sample.value, at, rank, True
            series.known = series.known or math.isfinite(sample.value)

    def tell(self, metric: str, value: float, at: float, labels: Labels = ()) -> None:
        """Take a value of the collector itself."""
        self.put(Sample(metric, value, labels), at)

    def series(self, metric: str, labels: Labels = ()) -> Series | None:
        """The series of that name and labels, made on first use; None when there are too many."""
        found = self._series.get((metric, labels))
        if found is None:
            if len(self._series) >= SERIES_LIMIT:
                self.refused += 1
                return None
            with self._lock:
                found = self._series[(metric, labels)] = Series(metric, labels)
                self._keys = None
        return found

    def newest(self, metric: str, labels: Labels = ()) -> float | None:
        """The value told since the last batch; NaN when a known series was not told, None when it is unknown."""
        found = self._series.get((metric, labels))
        if found is None:
            return None
        return found.value if found.fresh else math.nan

    def keep_history(self, metric: str, labels: Labels = ()) -> History | None:
        """The history of a series, from now on kept."""
        found = self.series(metric, labels)
        if found is None:
            return None
        if found.history is None:
            found.history = History()
            if self.stats:
                self._keys = None
        return found.history

    def doubt(self, metric: str | None = None) -> None:
        """Forget the series of a metric, or all, unless they are told again soon."""
        for series in tuple(self._series.values()):
            if metric is None or series.metric == metric:
                series.known, series.absent = False, 0

    def relabel(self, labels: Labels) -> None:
        """Lay out anew under other labels."""
        if labels != self.labels:
            self.labels, self._keys = labels, None
            self._made = {}

    def told(self) -> frozenset[str]:
        """The metrics that were told since they were last in doubt."""
        return frozenset(series.metric for series in tuple(self._series.values()) if series.known)

    def batch(self, now: float) -> Batch:
        """What was told since the last batch, NaN for what was not."""
        self._age()
        if self._keys is None:
            self._lay_out()
        values = [series.value if series.fresh else math.nan for series in self._order]
        for series in self._with_stats:
            if series.history is not None:
                values.extend(series.history.take().stats)
        for series in self._order:
            series.fresh = False
        batch = Batch(
            self.source, now, self.interval_s, self._keys or (), np.array(values, np.float64), self.batch_labels
        )
        self._remember(batch)
        return batch

    def blank(self, now: float, told: dict[str, float]) -> Batch:
        """A batch in the layout of the last one in which nothing is known but `told`; from any thread."""
        keys = self._batches[-1].keys if self._batches else tuple(SeriesKey(m, self.labels) for m in told)
        values = [told.get(key.metric, math.nan) if key.labels == self.labels else math.nan for key in keys]
        batch = Batch(self.source, now, self.interval_s, keys, np.array(values, np.float64), self.batch_labels)
        self._remember(batch)
        return batch

    def recent(self, metric: str, since: float, labels: Labels = ()) -> tuple[FloatArray, FloatArray]:
        """Times and values of the last two minutes, (time,) each: raw samples where they are kept, else one a batch."""
        found = self._series.get((metric, labels))
        if found is not None and found.history is not None:
            return found.history.since(since)
        wanted = self._full(labels)
        rows = []
        with self._lock:
            batches = tuple(self._batches)
        where: tuple[object, int | None] = (None, None)
        for batch in (b for b in batches if b.at >= since):
            if where[0] is not batch.keys:
                at = [n for n, key in enumerate(batch.keys) if key.metric == metric and key.labels == wanted]
                where = (batch.keys, at[0] if at else None)
            if where[1] is not None and math.isfinite(batch.values[where[1]]):
                rows.append((batch.at, float(batch.values[where[1]])))
        at_value = np.array(rows, np.float64).reshape(-1, 2)
        return at_value[:, 0], at_value[:, 1]

    def _remember(self, batch: Batch) -> None:
        with self._lock:
            self._batches.append(batch)
            while self._batches[0].at < batch.at - KEPT_S:
                self._batches.popleft()

    def _age(self) -> None:
        for series in self._order:
            series.absent = 0 if series.fresh else series.absent + 1
            if series.absent >= ABSENT_LIMIT and (series.labels or not series.known):
                with self._lock:
                    self._series.pop((series.metric, series.labels), None)
                    self._keys = None

    def _lay_out(self) -> None:
        self._order = tuple(self._series.values())
        self._with_stats = tuple(s for s in self._order if s.history is not None) if self.stats else ()
        # A series that stays keeps its key: two minutes of batches hold on to every layout that they had.
        self._keys = keys = tuple(self._all_keys())
        self._made = {(key.metric, key.labels): key for key in keys}

    def _all_keys(self) -> Iterator[SeriesKey]:
        for series in self._order:
            yield self._key(series.metric, series.labels, signals.is_counter(series.metric))
        for series in self._with_stats:
            for stat in STATS:
                yield self._key(f"{series.metric}_{stat}", series.labels, False)

    def _key(self, metric: str, labels: Labels, counter: bool) -> SeriesKey:
        full = self._full(labels)
        return self._made.get((metric, full)) or SeriesKey(metric, full, counter)

    def _full(self, labels: Labels) -> Labels:
        return tuple(sorted({**dict(self.labels), **dict(labels)}.items())) if labels else self.labels
