"""The newest values of every GPU, whoever tells of it: for people who look at a whole fleet at once.

Rules ask for one metric of one pool; a map of the fleet wants ten metrics of 10,000 GPUs of all pools every second. So
the labels of a source are read once for each of its layouts, outside the store's lock, and what is left to do for an
answer is fetching numbers by position.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from threading import Lock

import numpy as np
from numpy.typing import NDArray

from autoscaler.store.aggregate import Float64s
from autoscaler.store.gpuseries import MAPPED, QUIET, Parsed, parse
from autoscaler.store.poolsignals import AGE_INTERVALS
from autoscaler.store.rawseries import RawSeries
from autoscaler.store.ring import Ring
from autoscaler.store.source import Indices, Source
from autoscaler.types import Labels, SeriesKey

MAX_SIGNS = 5000
MAX_SERIES = 20_000
_TRIES = 2
_MACHINE = ("instance", "instance_id", "host")


@dataclass(frozen=True, slots=True)
class Gpu:
    """A GPU, or the MIG instance `part` of it. labels: those of NAMING that its series have."""

    uuid: str
    part: str
    labels: Labels


@dataclass(frozen=True, slots=True, eq=False)
class Gpus:
    """Every GPU that some source tells of. values, last_at, fresh: (len(MAPPED), gpus); NaN = it does not give that.

    `rows` is the same object for as long as there are the same GPUs.
    """

    rows: tuple[Gpu, ...]
    values: Float64s
    last_at: Float64s
    fresh: NDArray[np.bool_]


@dataclass(frozen=True, slots=True)
class Told:
    """The newest value of one series. began_at: when it was first heard; changed_at: when it last changed."""

    key: SeriesKey
    value: float
    at: float
    changed_at: float
    began_at: float
    fresh: bool


@dataclass(slots=True, eq=False)
class _Layer:
    """GPUs of sources of one interval, no GPU twice. owner_of, rows: (columns,) of `grid`."""

    sources: list[Source] = field(default_factory=list)
    grids: list[Indices] = field(default_factory=list)
    rows: list[int] = field(default_factory=list)
    owners: list[int] = field(default_factory=list)

    def join(self) -> tuple[Indices, Indices, Indices]:
        """grid, rows and owners as arrays."""
        return np.concatenate(self.grids, axis=1), np.array(self.rows, np.intp), np.array(self.owners, np.intp)


@dataclass(frozen=True, slots=True, eq=False)
class _Layout:
    """The GPUs of some parsed sources, and where their values are."""

    parsed: tuple[Parsed, ...]
    rows: tuple[Gpu, ...]
    layers: tuple[tuple[tuple[Source, ...], Indices, Indices, Indices], ...]


class Devices:
    """Reads GPUs out of raw series under their lock. For any thread."""

    def __init__(self, raw: RawSeries, lock: Lock) -> None:
        self._raw, self._lock = raw, lock
        self._parsed: dict[str, Parsed] = {}
        self._layout = _Layout((), (), ())

    def gpus(self, now: float) -> Gpus:
        """Every GPU with its newest values; of several sources of one value the newest counts."""
        with self._known() as found:
            layout = self._laid_out([(s, p) for s, p in found if p.gpus])
            shape = len(MAPPED), len(layout.rows)
            values, last_at, fresh = np.full(shape, np.nan), np.full(shape, -np.inf), np.zeros(shape, np.bool_)
            for sources, grid, rows, owners in layout.layers:
                ring = self._raw.ring(sources[0])
                lo = np.array([s.lo for s in sources], np.intp)[owners]
                index = np.array([s.index for s in sources], np.intp)[owners]
                columns = np.where(grid < 0, 0, grid + lo)
                at = np.where(grid < 0, -np.inf, ring.last_at[columns])
                newer = at > last_at[:, rows]
                values[:, rows] = np.where(newer, ring.raw[columns], values[:, rows])
                young = ring.up[index] & (now - at <= AGE_INTERVALS * ring.news_s[index])
                fresh[:, rows] = np.where(newer, young, fresh[:, rows])
                last_at[:, rows] = np.where(newer, at, last_at[:, rows])
        return Gpus(layout.rows, values, np.where(np.isinf(last_at), np.nan, last_at), fresh)

    def signs(self, now: float) -> tuple[Told, ...]:
        """Series that tell of trouble now, or did since they are known; those that changed last first, 5000 at most."""
        told: list[Told] = []
        with self._known() as found:
            for ring, sources, parsed in self._by_ring([(s, p) for s, p in found if p.signs.size]):
                sizes = [p.signs.size for p in parsed]
                owners = np.repeat(np.arange(len(sources)), sizes)
                places = np.concatenate([p.signs for p in parsed])
                columns = places + np.array([s.lo for s in sources], np.intp)[owners]
                quiet = np.concatenate([[QUIET[p.columns[n].metric] for n in p.signs.tolist()] for p in parsed])
                raw, changed_at = ring.raw[columns], ring.changed_at[columns]
                loud = np.flatnonzero(~np.isnan(raw) & ((raw != quiet) | (changed_at > ring.began_at[columns])))
                loud = loud[np.argsort(-changed_at[loud], kind="stable")][:MAX_SIGNS]
                keys = [parsed[owners[n]].columns[places[n]] for n in loud.tolist()]
                told += _told(ring, columns[loud], [sources[owners[n]] for n in loud.tolist()], keys, now)
        return tuple(sorted(told, key=lambda t: -t.changed_at)[:MAX_SIGNS])

    def machine(self, names: Collection[str], uuids: Collection[str], now: float) -> tuple[Told, ...]:
        """Every series of one machine, histograms left out: those with one of `names` as label instance, instance_id
        or host, and those of its GPUs. At most 20,000."""
        wanted, boards = frozenset(names), frozenset(uuids)
        with self._lock:
            sources = [(s, s.columns) for s in self._raw.sources if self._may_be_of(s, wanted, boards)]
        chosen = []
        for source, columns in sources:
            positions = [n for n, key in enumerate(columns) if _belongs(key, wanted, boards)]
            if positions:
                chosen.append((source, columns, np.array(positions[:MAX_SERIES], np.intp)))
        told: list[Told] = []
        with self._lock:
            alive = {id(s) for s in self._raw.sources}
            for source, columns, places in chosen:
                if id(source) in alive and source.columns is columns and len(told) < MAX_SERIES:
                    keys = [columns[n] for n in places.tolist()]
                    ring = self._raw.ring(source)
                    told += _told(ring, places + source.lo, [source] * len(keys), keys, now)
        return tuple(told)

    @contextmanager
    def _known(self) -> Iterator[list[tuple[Source, Parsed]]]:
        """Every source whose labels have been read, under the lock."""
        for _ in range(_TRIES):
            with self._lock:
                unread = [(s.name, s.columns) for s in self._raw.sources if not self._has_read(s)]
            # A service that starts has a hundred thousand series to read; nobody should wait for that to add one.
            for name, columns in unread:
                self._parsed[name] = parse(columns)
        with self._lock:
            sources = self._raw.sources
            for source in sources:
                if not self._has_read(source):
                    self._parsed[source.name] = parse(source.columns)
            if len(self._parsed) > 2 * len(sources) + 100:
                self._parsed = {s.name: self._parsed[s.name] for s in sources}
            yield [(s, self._parsed[s.name]) for s in sources]

    def _may_be_of(self, source: Source, names: frozenset[str], uuids: frozenset[str]) -> bool:
        """Whether a source may tell of a machine. A page of one machine says so with its first series as with its last;
        what is left out are pages of other machines, which are nearly all."""
        parsed = self._parsed.get(source.name)
        if parsed is None or parsed.columns is not source.columns or not parsed.columns:
            return True
        first, last = ([dict(key.labels).get(n) for n in _MACHINE] for key in (parsed.columns[0], parsed.columns[-1]))
        return first != last or not names.isdisjoint(first) or any(uuid in uuids for uuid, _ in parsed.gpus)

    def _has_read(self, source: Source) -> bool:
        parsed = self._parsed.get(source.name)
        return parsed is not None and parsed.columns is source.columns

    def _by_ring(
        self, found: Sequence[tuple[Source, Parsed]]
    ) -> Iterator[tuple[Ring, tuple[Source, ...], tuple[Parsed, ...]]]:
        groups: dict[float, list[tuple[Source, Parsed]]] = {}
        for source, parsed in found:
            groups.setdefault(source.interval_s, []).append((source, parsed))
        for some in groups.values():
            sources, parsed_some = zip(*some, strict=True)
            yield self._raw.ring(some[0][0]), sources, parsed_some

    def _laid_out(self, found: Sequence[tuple[Source, Parsed]]) -> _Layout:
        parsed = tuple(p for _, p in found)
        before = self._layout
        if len(parsed) == len(before.parsed) and all(a is b for a, b in zip(parsed, before.parsed, strict=True)):
            return before
        numbers: dict[tuple[str, str], int] = {}
        labels: list[dict[str, str]] = []
        layers: dict[tuple[float, int], _Layer] = {}
        turns: dict[tuple[float, int], int] = {}
        for source, p in found:
            taken: dict[int, tuple[list[int], list[int]]] = {}
            for column, name in enumerate(p.gpus):
                row = numbers.setdefault(name, len(numbers))
                if row == len(labels):
                    labels.append({})
                labels[row] = {**p.labels[column], **labels[row]}
                turn = turns.get((source.interval_s, row), 0)
                turns[source.interval_s, row] = turn + 1
                columns, rows = taken.setdefault(turn, ([], []))
                columns.append(column)
                rows.append(row)
            for turn, (columns, rows) in taken.items():
                layer = layers.setdefault((source.interval_s, turn), _Layer())
                layer.owners += [len(layer.sources)] * len(rows)
                layer.sources.append(source)
                layer.grids.append(p.grid[:, columns])
                layer.rows += rows
        made = tuple(Gpu(*name, tuple(sorted(own.items()))) for name, own in zip(numbers, labels, strict=True))
        rows_kept = before.rows if made == before.rows else made
        self._layout = _Layout(parsed, rows_kept, tuple((tuple(y.sources), *y.join()) for y in layers.values()))
        return self._layout


def _told(ring: Ring, columns: Indices, sources: Sequence[Source], keys: Sequence[SeriesKey], now: float) -> list[Told]:
    index = np.array([s.index for s in sources], np.intp)
    at = ring.last_at[columns]
    fresh = ring.up[index] & (now - at <= AGE_INTERVALS * ring.news_s[index])
    found = (ring.raw[columns], at, ring.changed_at[columns], ring.began_at[columns])
    rows = zip(keys, *(part.tolist() for part in found), fresh.tolist(), strict=True)
    return [Told(*row) for row in rows]


def _belongs(key: SeriesKey, names: frozenset[str], uuids: frozenset[str]) -> bool:
    if key.metric.endswith("_bucket"):
        return False
    return any(
        (name == "uuid" and value in uuids) or (name in _MACHINE and value in names) for name, value in key.labels
    )
