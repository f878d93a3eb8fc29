"""Which raw series belong to a pool signal: columns found once for each layout of the sources."""

from __future__ import annotations

import math
from dataclasses import dataclass
from itertools import chain

import numpy as np
from numpy.typing import NDArray

from autoscaler.signals import SECOND_HAND
from autoscaler.store.admission import pool_of
from autoscaler.store.aggregate import Float64s
from autoscaler.store.rawseries import RawSeries
from autoscaler.store.ring import Ring
from autoscaler.store.source import Indices, Source
from autoscaler.types import Keys, Labels, SeriesKey

_DEVICES = ("gpu_", "host_", "DCGM_")


@dataclass(frozen=True, slots=True)
class Part:
    """The selected columns of one ring, (series,), and the sources that own them.

    owner_of (series,) are positions in `sources`, whose ring indices are `owners`; `owner` is that index by series.
    """

    ring: Ring
    columns: Indices
    sources: tuple[Source, ...]
    owners: Indices
    owner_of: Indices
    owner: Indices
    keys: tuple[SeriesKey, ...]


@dataclass(frozen=True, slots=True)
class Histograms:
    """Buckets of the histograms that share the commonest bounds: (histogram, bucket) positions of series.

    bounds: (bucket,) upper bounds. `left_out` histograms have other bounds and cannot be added to these.
    """

    bounds: Float64s
    buckets: NDArray[np.intp]
    left_out: int


@dataclass(frozen=True, slots=True)
class Selection:
    """All series of one metric of one pool, the ring with most of them first.

    `silent` are sources of the pool that never gave any series. `keys`: of all parts. `counters`: all of them are.
    interval_s: the longest sampling interval among the parts, 0 for none.
    """

    parts: tuple[Part, ...]
    keys: Keys
    silent: tuple[Source, ...]
    counters: bool
    interval_s: float
    histograms: Histograms | None = None
    refused: int = 0


class Selections:
    """Cache of selections, each valid for one version of its pool's columns."""

    def __init__(self, raw: RawSeries) -> None:
        self._raw = raw
        self._found: dict[tuple[str, str, Labels, Labels], tuple[tuple[int, int, int], Selection]] = {}

    def get(self, pool: str, metric: str, where: Labels = (), match: Labels = ()) -> Selection:
        """The series of `metric` that carry every label of `where` and belong to the pool.

        A series belongs to the pool whose name it carries, unless it contradicts `match`; one without a pool belongs
        to it if it carries every label of a `match` that is not empty.
        """
        version = self._raw.version(pool)
        name = (pool, metric, where, match)
        found = self._found.get(name)
        if found is not None and found[0] == version:
            return found[1]
        if len(self._found) > 50_000:
            self._found.clear()
        selection = self._select(pool, metric, where, match)
        self._found[name] = (version, selection)
        return selection

    def _select(self, pool: str, metric: str, where: Labels, match: Labels) -> Selection:
        raw = self._raw
        found: list[tuple[Source, Indices]] = []
        for stamped in (True, False) if match and pool else (True,):
            group = (pool if stamped else "", metric)
            for source in raw.names.get(group, {}).values():
                positions = source.groups[group]
                if where or match:
                    keys = source.columns
                    keep = [p for p in positions if _carries(keys[p], where) and _matches(keys[p], match, stamped)]
                    positions = np.array(keep, np.intp)
                if positions.size:
                    found.append((source, positions))
        by_ring: dict[float, list[tuple[Source, Indices]]] = {}
        # There are a hundred thousand series of devices at times, and none of them is second-hand.
        for source, positions in found if metric.startswith(_DEVICES) else _first_hand(found):
            by_ring.setdefault(source.interval_s, []).append((source, positions))
        parts = tuple(
            sorted((_part(raw.ring(some[0][0]), some) for some in by_ring.values()), key=lambda p: -p.columns.size)
        )
        silent = tuple(s for s in raw.mute.values() if _member(s.labels, pool, match))
        return Selection(
            parts,
            Keys(chain.from_iterable(part.keys for part in parts)),
            silent,
            counters=all(key.counter for part in parts for key in part.keys),
            interval_s=max((part.ring.interval_s for part in parts), default=0.0),
            histograms=_histograms(parts) if metric.endswith("_bucket") else None,
            refused=_refused(raw, pool, metric, match),
        )


def _refused(raw: RawSeries, pool: str, metric: str, match: Labels) -> int:
    """How many series of a metric found no room, of the pool's own and of those that may belong to it."""
    count = sum(raw.admission.refused(pool, metric).values())
    if pool and match:
        givers = raw.admission.refused("", metric).items()
        count += sum(n for name, n in givers if _member(raw.labels(name), pool, match))
    return count


def _first_hand(found: list[tuple[Source, Indices]]) -> list[tuple[Source, Indices]]:
    """Without series that were computed or passed on, if others say the same at first hand."""
    second = [
        np.array([any(name in SECOND_HAND for name, _ in source.columns[p].labels) for p in positions], np.bool_)
        for source, positions in found
    ]
    if not any(some.any() for some in second) or all(some.all() for some in second):
        return found
    kept = [(source, positions[~some]) for (source, positions), some in zip(found, second, strict=True)]
    return [(source, positions) for source, positions in kept if positions.size]


def _carries(key: SeriesKey, labels: Labels) -> bool:
    have = dict(key.labels)
    return all(have.get(name) == value for name, value in labels)


def _matches(key: SeriesKey, match: Labels, stamped: bool) -> bool:
    have = dict(key.labels)
    # A launched instance is stamped with its pool and need not carry the labels that discovery matched others by.
    return all(have.get(name, value if stamped else None) == value for name, value in match)


def _member(labels: Labels, pool: str, match: Labels) -> bool:
    have = dict(labels)
    if pool_of(labels) == pool:
        return all(have.get(name, value) == value for name, value in match)
    return pool_of(labels) == "" and bool(match) and all(have.get(name) == value for name, value in match)


def _part(ring: Ring, found: list[tuple[Source, Indices]]) -> Part:
    owners = np.array([source.index for source, _ in found], np.intp)
    owner_of = np.repeat(np.arange(len(found)), [positions.size for _, positions in found])
    first = np.array([source.lo for source, _ in found], np.intp)
    return Part(
        ring=ring,
        columns=np.concatenate([positions for _, positions in found]) + first[owner_of],
        sources=tuple(source for source, _ in found),
        owners=owners,
        owner_of=owner_of,
        owner=owners[owner_of],
        keys=tuple(
            chain.from_iterable(map(source.columns.__getitem__, positions.tolist()) for source, positions in found)
        ),
    )


def _histograms(parts: tuple[Part, ...]) -> Histograms | None:
    """Buckets grouped into histograms, and those into sets of equal bounds; the commonest set is kept."""
    found: dict[tuple[int, Labels], dict[float, int]] = {}
    position = 0
    for part in parts:
        for key, owner in zip(part.keys, part.owner, strict=True):
            bound = _bound(key)
            if bound is not None:
                rest = tuple(pair for pair in key.labels if pair[0] != "le")
                found.setdefault((int(owner), rest), {})[bound] = position
            position += 1
    sets: dict[tuple[float, ...], list[list[int]]] = {}
    for buckets in found.values():
        bounds = tuple(sorted(buckets))
        sets.setdefault(bounds, []).append([buckets[bound] for bound in bounds])
    if not sets:
        return None
    commonest = max(sets, key=lambda bounds: len(sets[bounds]))
    return Histograms(np.array(commonest), np.array(sets[commonest], np.intp), len(found) - len(sets[commonest]))


def _bound(key: SeriesKey) -> float | None:
    text = key.label("le")
    try:
        bound = math.nan if text is None else float(text)
    except ValueError:
        return None
    return None if math.isnan(bound) else bound
