"""The recent raw series of every source, in memory: who gives what, what is refused, what is forgotten."""

from __future__ import annotations

import math
from collections.abc import Collection, Iterable
from dataclasses import dataclass

import numpy as np

from autoscaler.store.admission import Admission, Limits, pool_of
from autoscaler.store.pace import PULSE
from autoscaler.store.ring import Ring
from autoscaler.store.source import Source
from autoscaler.store.succession import successors
from autoscaler.types import Batch, Labels, SeriesKey

WORK_COUNTERS = frozenset(
    ("generation_tokens_total", "prompt_tokens_total", "requests_arrived_total", "request_success_total")
)
"""Counters that move only while requests are served; energy, for one, also moves in an idle machine."""

BUSY = "gpu_busy_ratio"
"""What tells of work where no engine is asked: the driver counts it, so that a paused profiler leaves it alone."""

ABSENT_S = 86_400.0
"""How long a source that is heard is expected to give a metric again that it gave and of which it gives no series now:
an empty page is no idle replica. After a day it was taken out."""

_ABSENT_LIMIT = 2000
_BUSY_FROM = 0.05
_RECOVER_AFTER = 3
_SWEEP_S = 30.0


@dataclass(slots=True)
class Counts:
    """What happened at the door, since the start: samples stored and refused by reason."""

    stored: int = 0
    unusable: int = 0
    late: int = 0
    over_limit: int = 0
    malformed: int = 0
    repeated: int = 0


class RawSeries:
    """Rings by sampling interval, and the index from (pool, metric) to the sources that give it.

    A batch that is not newer than the last one of its source is refused. Three refused ones in a row, each newer
    than the one before, mean that the source's clock was set back: it starts again, without its past.
    """

    def __init__(self, window_s: float, limits: Limits) -> None:
        self.admission = Admission(limits)
        self.counts = Counts()
        self.work_at: dict[str, float] = {}
        self.busy_at: dict[str, float] = {}
        self.names: dict[tuple[str, str], dict[str, Source]] = {}
        self.mute: dict[str, Source] = {}
        self.generation: dict[str, int] = {}
        self._window_s = window_s
        self._rings: dict[float, Ring] = {}
        self._sources: dict[str, Source] = {}
        self._swept_at = -math.inf
        self._changes = 0
        self._past_moves = 0

    @property
    def limits(self) -> Limits:
        """How much it may take."""
        return self.admission.limits

    @property
    def series(self) -> int:
        """Series that have a column, those that vanished lately among them."""
        return self.admission.series

    @property
    def sources(self) -> tuple[Source, ...]:
        return tuple(self._sources.values())

    @property
    def nbytes(self) -> int:
        """Bytes of all columns."""
        return sum(ring.nbytes for ring in self._rings.values())

    def labels(self, source: str) -> Labels:
        """The labels of a source."""
        return self._sources[source].labels

    def ring(self, source: Source) -> Ring:
        """The ring that a source is in."""
        return self._rings[source.interval_s]

    def version(self, pool: str) -> tuple[int, int, int]:
        """Changes whenever the columns of a pool's series change."""
        moves = sum([ring.moves for ring in self._rings.values()], self._past_moves)
        return self.generation.get(pool, 0), self.generation.get("", 0), moves

    def add(self, batch: Batch) -> None:
        """Store one batch, or count why not."""
        if not (math.isfinite(batch.at) and batch.interval_s > 0.0) or len(batch.values) != len(batch.keys):
            self.counts.malformed += 1
            return
        source = self._sources.get(batch.source)
        if batch.state == "gone":
            if source is not None:
                self._drop(source)
            return
        if source is not None and source.interval_s != batch.interval_s:
            self._drop(source)
            source = None
        if source is None:
            if len(self._sources) >= self.limits.max_sources:
                self.counts.over_limit += len(batch.values)
                return
            source = self._enter(batch)
        if batch.at <= source.at and not self._set_back(source, batch.at):
            self.counts.late += len(batch.values)
            return
        source.heard_at = batch.at
        if batch.state == "down":
            if source.down_since is None:
                source.down_since = batch.at
                self.ring(source).up[source.index] = False
            return
        source.down_since, source.late_run = None, 0
        if batch.unread != source.unread:
            source.unread = batch.unread
            self.admission.note_unread(source.name, pool_of(source.labels), batch.unread)
            self._changed((pool_of(source.labels),))
        if batch.keys is not source.keys:
            self._lay_out(source, batch.keys)
        self._write(source, batch)

    def _write(self, source: Source, batch: Batch) -> None:
        values = np.asarray(batch.values, np.float64)
        if source.take is not None:
            self.counts.over_limit += values.size - source.take.size
            values = values[source.take]
        ring = self.ring(source)
        stored, refused = ring.write(source, batch.at, values)
        if ring.news_row[source.index] != ring.row[source.index]:
            self.counts.repeated += values.size - refused
        else:
            self.counts.stored += values.size - refused
        self.counts.unusable += refused
        for pool, positions in source.work:
            if np.any(stored[positions] > 0.0):
                self.work_at[pool] = max(batch.at, self.work_at.get(pool, -math.inf))
        for pool, positions in source.busy:
            if np.any(stored[positions] > _BUSY_FROM):
                self.busy_at[pool] = max(batch.at, self.busy_at.get(pool, -math.inf))

    def forget(self, now: float) -> None:
        """Drop sources that have been silent too long; cheap enough to be called at every read."""
        if abs(now - self._swept_at) < _SWEEP_S:
            return
        self._swept_at = now
        for source in self.sources:
            if source.heard_at < now - self.limits.forget_s:
                self._drop(source)
        for times in (self.work_at, self.busy_at):
            for pool, at in tuple(times.items()):
                if at > now + _SWEEP_S or at < now - self._window_s:
                    del times[pool]
        for name in self.admission.waiting if self.admission.room > 0 else ():
            self._sources[name].keys = None  # its next batch is laid out anew, and may find room
        alive = {pool_of(source.labels) for source in self._sources.values()} | set(self.admission.pools)
        self.generation = {pool: number for pool, number in self.generation.items() if pool in alive}

    def _set_back(self, source: Source, at: float) -> bool:
        """Whether a refused batch shows that the clock of its source was set back; the source starts again then."""
        source.late_run = source.late_run + 1 if at > source.late_at else 1
        source.late_at = at
        if source.late_run < _RECOVER_AFTER:
            return False
        self.ring(source).clear(source)
        self._changed(pool for pool, _ in source.groups)
        source.late_run = 0
        return True

    def _enter(self, batch: Batch) -> Source:
        ring = self._rings.get(batch.interval_s)
        if ring is None:
            ring = self._rings[batch.interval_s] = Ring(batch.interval_s, self._window_s)
        source = self._sources[batch.source] = ring.enter(batch.source)
        source.labels = batch.labels
        self.mute[source.name] = source
        self._changed((pool_of(batch.labels),))
        return source

    def _drop(self, source: Source) -> None:
        self._unindex(source)
        self.admission.forget(source.name)
        self._changed((pool_of(source.labels),))
        self.mute.pop(source.name, None)
        del self._sources[source.name]
        ring = self.ring(source)
        ring.leave(source)
        if not ring.sources:
            self._past_moves += ring.moves + 1
            del self._rings[source.interval_s]

    def _lay_out(self, source: Source, keys: tuple[SeriesKey, ...]) -> None:
        """Give a source columns for these keys; series that it stopped giving stay behind them for `vanished_s`."""
        if keys == source.keys:
            source.keys = keys
            return
        past = self._past(source, {key.metric for key in keys})
        self._unindex(source)
        listed, take = self.admission.admit(keys)
        self.admission.note_refused(source.name, keys if len(take) < len(keys) else (), listed)
        given = set(listed) if past else frozenset[SeriesKey]()
        gone = [key for key in past if key not in given]
        heirs = successors(gone, listed) if gone else {}
        vanished = [key for key in gone if key not in heirs]
        columns = (*listed, *vanished[: max(0, self.admission.room - len(listed))])
        self.ring(source).lay_out(source, columns, len(listed), heirs)
        source.keys = keys
        source.take = None if len(take) == len(keys) else np.array(take, np.intp)
        source.counters = np.array([i for i, key in enumerate(listed) if key.counter], np.intp)
        self._index(source)

    def _past(self, source: Source, metrics: Collection[str]) -> list[SeriesKey]:
        """Series of a source to be kept: recent ones, and older ones of metrics that it does not give at all now."""
        last_at = self.ring(source).last_at[source.lo : source.lo + len(source.columns)]
        ages_s = dict(zip(source.columns, (source.heard_at - last_at).tolist(), strict=True))
        absent = [key for key, age_s in ages_s.items() if age_s <= ABSENT_S and key.metric not in metrics]
        chosen = set(absent[:_ABSENT_LIMIT])
        return [key for key, age_s in ages_s.items() if age_s <= self.limits.vanished_s or key in chosen]

    def _index(self, source: Source) -> None:
        groups: dict[tuple[str, str], list[int]] = {}
        work: dict[str, list[int]] = {}
        busy: dict[str, list[int]] = {}
        for position, key in enumerate(source.columns):
            pool = pool_of(key.labels)
            groups.setdefault((pool, key.metric), []).append(position)
            if key.counter and key.metric in WORK_COUNTERS and position < source.listed:
                work.setdefault(pool, []).append(position)
            if key.metric == BUSY and position < source.listed:
                busy.setdefault(pool, []).append(position)
        source.groups = {name: np.array(positions, np.intp) for name, positions in groups.items()}
        source.work = tuple((pool, np.array(positions, np.intp)) for pool, positions in work.items())
        source.busy = tuple((pool, np.array(positions, np.intp)) for pool, positions in busy.items())
        pulse = [n for n, key in enumerate(source.columns[: source.listed]) if key.metric == PULSE and key.counter]
        source.pulse = np.array(pulse, np.intp)
        for name in source.groups:
            self.names.setdefault(name, {})[source.name] = source
        self._count(source, 1)
        if source.columns:
            self.mute.pop(source.name, None)
        self._changed((pool_of(source.labels), *(pool for pool, _ in source.groups)))

    def _unindex(self, source: Source) -> None:
        for name in source.groups:
            givers = self.names[name]
            del givers[source.name]
            if not givers:
                del self.names[name]
        self._count(source, -1)
        self._changed(pool for pool, _ in source.groups)
        source.groups, source.work, source.busy = {}, (), ()

    def _count(self, source: Source, sign: int) -> None:
        self.admission.count((pool, sign * positions.size) for (pool, _), positions in source.groups.items())

    def _changed(self, pools: Iterable[str]) -> None:
        for pool in set(pools):
            self._changes += 1
            self.generation[pool] = self._changes
