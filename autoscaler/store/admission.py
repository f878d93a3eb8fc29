"""Who gets in: how many series the store takes in all and of one pool, and what it knows of those that found no room.

What a series would have said for which there was no room is unknown, not nothing. So its metric stays less than fresh.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import dataclass

from autoscaler.types import Labels, SeriesKey

Group = tuple[str, str]
"""Pool and metric."""


@dataclass(frozen=True, slots=True)
class Limits:
    """How much the raw series may take. A source that is silent for `forget_s` is dropped with its series."""

    max_series: int = 200_000
    max_series_per_pool: int = 150_000
    max_sources: int = 20_000
    forget_s: float = 1200.0
    vanished_s: float = 600.0


class Admission:
    """Counts series by pool, and refused ones by what they would have been of and by source.

    Some are refused here; others never came so far, since whoever read them had no room, and said so.
    """

    def __init__(self, limits: Limits) -> None:
        self.limits = limits
        self.series = 0
        self.pools: dict[str, int] = {}
        self._here: dict[Group, dict[str, int]] = {}
        self._before: dict[Group, dict[str, int]] = {}

    @property
    def room(self) -> int:
        """How many series more may come."""
        return self.limits.max_series - self.series

    @property
    def waiting(self) -> frozenset[str]:
        """Sources of which series were refused here."""
        return frozenset(name for givers in self._here.values() for name in givers)

    def refused(self, pool: str, metric: str) -> dict[str, int]:
        """How many series of a metric found no room, by source."""
        found = dict(self._here.get((pool, metric), {}))
        for name, count in self._before.get((pool, metric), {}).items():
            found[name] = found.get(name, 0) + count
        return found

    def admit(self, keys: tuple[SeriesKey, ...]) -> tuple[tuple[SeriesKey, ...], list[int]]:
        """The keys that fit under the limits, each once, and their positions in the batch."""
        listed: dict[SeriesKey, int] = {}
        per_pool: dict[str, int] = {}
        room = self.room
        for position, key in enumerate(keys):
            if key in listed or len(listed) >= room:
                continue
            pool = pool_of(key.labels)
            count = per_pool.get(pool, self.pools.get(pool, 0))
            if count < self.limits.max_series_per_pool:
                listed[key] = position
                per_pool[pool] = count + 1
        return tuple(listed), list(listed.values())

    def count(self, pools: Iterable[tuple[str, int]]) -> None:
        """Note series of some pools that came (above 0) or went."""
        for pool, change in pools:
            self.series += change
            left = self.pools.get(pool, 0) + change
            if left:
                self.pools[pool] = left
            else:
                self.pools.pop(pool, None)

    def note_refused(self, source: str, keys: Iterable[SeriesKey], listed: Collection[SeriesKey]) -> None:
        """Remember what of a source's series is not listed."""
        out: dict[Group, int] = {}
        for key in set(keys).difference(listed):
            group = pool_of(key.labels), key.metric
            out[group] = out.get(group, 0) + 1
        _put(self._here, source, out)

    def note_unread(self, source: str, pool: str, counts: Iterable[tuple[str, int]]) -> None:
        """Remember how many series of each metric a source has that nobody had room to read."""
        _put(self._before, source, {(pool, metric): count for metric, count in counts})

    def forget(self, source: str) -> None:
        """A source that will not be heard again has nothing that is missing."""
        _put(self._here, source, {})
        _put(self._before, source, {})


def _put(groups: dict[Group, dict[str, int]], source: str, counts: dict[Group, int]) -> None:
    """What a source has refused, in place of what it had."""
    for group in [group for group, givers in groups.items() if givers.pop(source, None) and not givers]:
        del groups[group]
    for group, count in counts.items():
        groups.setdefault(group, {})[source] = count


def pool_of(labels: Labels) -> str:
    """The label `pool`; empty for series that no discovery has stamped."""
    for name, value in labels:
        if name == "pool":
            return value
    return ""
