"""The newest rows of every series that is sampled at one interval, in numpy columns."""

from __future__ import annotations

import contextlib
import math
import mmap
from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from autoscaler.store.aggregate import Float64s, increments
from autoscaler.store.pace import Pace
from autoscaler.store.source import Indices, Source
from autoscaler.types import SeriesKey

FLOAT32_MAX = float(np.finfo(np.float32).max)
MAX_SLOTS = 2400
SPARE_SLOTS = 8
"""Rows kept beyond the window, so that what leaves a lookback of that length can still be taken from running sums."""
_MIN_CAPACITY = 64
_SPARE_SHARE = 32
_MANY = 4096
_ROOM_BYTES = 256 << 20
"""Address space of a ring of many columns. Room to grow into costs nothing before it is written; moving all columns to
larger arrays takes their memory twice for a moment."""


class Ring:
    """Columns of one sampling interval, (slots, series) float32, rows in a circle.

    Every source walks the rows at its own pace (`row`, a count since it came, which never wraps) and keeps its own
    sample times, so that a source with a wrong clock harms nobody else. Elapsed time decides how far it walks: missed
    samples leave NaN rows, and samples that come faster than the interval share a row (gauges: the newest, counters:
    the sum).
    Blocks are handed out in order; freed ones are dead until the next rebuild, which growth and compaction share.

    values: (slots, capacity) gauges as they are, counters as increments. raw: (capacity,) newest value, float64.
    last_at, changed_at, began_at: (capacity,) time of the newest value, of its last change, of the first.
    listed: (capacity,) whether the source gives it now. at: (slots, sources). row, up: (sources,). news_row, news_s:
    (sources,) the row of its last answer that was no repetition, and the usual time between two of them.
    """

    def __init__(self, interval_s: float, window_s: float) -> None:
        self.interval_s = interval_s
        self.slots = min(max(math.ceil(window_s / interval_s) + 1, 2), MAX_SLOTS) + SPARE_SLOTS
        self.sources: dict[str, Source] = {}
        self.used = 0
        self.dead = 0
        self.moves = 0
        self._free: list[int] = []
        self._allocate(0)
        self.at = np.empty((self.slots, 0))
        self.row = np.empty(0, np.int64)
        self.up = np.empty(0, np.bool_)
        self.news_row = np.empty(0, np.int64)
        self.news_s = np.empty(0)

    def _allocate(self, capacity: int) -> None:
        self.capacity = capacity
        self.values = _reserved(self.slots, capacity)
        self.raw = np.empty(capacity)
        self.last_at = np.empty(capacity)
        self.changed_at = np.empty(capacity)
        self.began_at = np.empty(capacity)
        self.listed = np.zeros(capacity, np.bool_)

    @property
    def nbytes(self) -> int:
        """Bytes of the columns in use; the room behind them is not backed by memory yet."""
        columns = (self.values, self.raw, self.last_at, self.changed_at, self.began_at, self.listed)
        used = sum(column.nbytes for column in columns) * self.used // max(1, self.capacity)
        return used + self.at.nbytes + self.row.nbytes + self.up.nbytes

    def enter(self, name: str) -> Source:
        """A new source without columns."""
        if not self._free:
            count = self.row.size
            grown = max(2 * count, 8)
            self.at = np.hstack((self.at, np.full((self.slots, grown - count), np.nan)))
            self.row = np.concatenate((self.row, np.zeros(grown - count, np.int64)))
            self.up = np.concatenate((self.up, np.zeros(grown - count, np.bool_)))
            self.news_row = np.concatenate((self.news_row, np.zeros(grown - count, np.int64)))
            self.news_s = np.concatenate((self.news_s, np.full(grown - count, self.interval_s)))
            self._free = list(range(grown - 1, count - 1, -1))
        source = Source(name, self.interval_s, self._free.pop(), pace=Pace(self.interval_s))
        self.at[:, source.index] = np.nan
        self.row[source.index] = 0
        self.up[source.index] = False
        self.news_row[source.index] = 0
        self.news_s[source.index] = self.interval_s
        self.sources[name] = source
        return source

    def leave(self, source: Source) -> None:
        """Free the columns of a source that will not be heard again."""
        del self.sources[source.name]
        self._free.append(source.index)
        self.dead += source.room
        self._compact()

    def lay_out(
        self, source: Source, columns: tuple[SeriesKey, ...], listed: int, heirs: Mapping[SeriesKey, SeriesKey]
    ) -> None:
        """Give a source a block for `columns`; series that it already has keep their past, and `heirs` (old key -> new
        key) that of the series whose place they took: of several, of the one that was heard last."""
        had = {key: source.lo + i for i, key in enumerate(source.columns)}
        for old, new in heirs.items():
            rival = had.get(new)
            if rival is None or not self.last_at[rival] >= self.last_at[had[old]]:
                had[new] = had[old]
        width, lo = len(columns), source.lo
        moves = [(i, had[key]) for i, key in enumerate(columns) if key in had] if had else []
        targets, origins = np.array(moves, np.intp).reshape(-1, 2).T
        kept = self.values[:, origins]
        states = [column[origins] for column in (self.raw, self.last_at, self.changed_at, self.began_at)]
        if width > source.room or 2 * width + _MIN_CAPACITY < source.room:
            self.dead += source.room
            # A few series more, such as what follows from a second sample, find their place without a move.
            source.columns, source.room = (), 0
            room = width + width // _SPARE_SHARE
            if self.used + room > self.capacity:
                self._rebuild(room)
            lo, source.room, self.used = self.used, room, self.used + room
        block = slice(lo, lo + width)
        self.values[:, block] = np.nan
        self.values[:, lo + targets] = kept
        for column, state in zip((self.raw, self.last_at, self.changed_at, self.began_at), states, strict=True):
            column[block] = np.nan
            column[lo + targets] = state
        self.listed[block] = np.arange(width) < listed
        source.lo, source.columns, source.listed = lo, columns, listed
        source.epoch += 1
        self._compact()

    def _compact(self) -> None:
        if self.dead > _MIN_CAPACITY and self.dead > self.used // 2:
            self._rebuild(0)

    def _rebuild(self, wanted: int) -> None:
        """Move all blocks together, with room for `wanted` columns and for many more."""
        old = (self.values, self.raw, self.last_at, self.changed_at, self.began_at, self.listed)
        blocks = [np.arange(s.lo, s.lo + s.room) for s in self.sources.values()]
        origins = np.concatenate((np.empty(0, np.intp), *blocks))
        live = origins.size
        needed = live + wanted
        room = 3 * needed if needed < _MANY else max(needed // 2, _ROOM_BYTES // (4 * self.slots) - needed)
        self._allocate(max(_MIN_CAPACITY, needed + room))
        for new_row, old_row in zip(self.values, old[0], strict=True):
            np.take(old_row, origins, out=new_row[:live], mode="clip")
        fresh = (self.raw, self.last_at, self.changed_at, self.began_at, self.listed)
        for target, origin in zip(fresh, old[1:], strict=True):
            target[:live] = origin[origins]
        lo = 0
        for source in self.sources.values():
            source.lo = lo
            lo += source.room
        self.used, self.dead = live, 0
        self.moves += 1

    def clear(self, source: Source) -> None:
        """Forget what a source said, but not which series it has: its clock was set back."""
        block = slice(source.lo, source.lo + len(source.columns))
        self.values[:, block] = np.nan
        for column in (self.raw, self.last_at, self.changed_at, self.began_at):
            column[block] = np.nan
        self.at[:, source.index] = np.nan
        self.row[source.index] = self.news_row[source.index] = 0
        source.at = -math.inf
        source.pace = Pace(self.interval_s)
        source.epoch += 1

    def write(self, source: Source, at: float, values: Float64s) -> tuple[NDArray[np.float32], int]:
        """Store what the listed series of a source say at a time later than its last; the row, and how many refused.

        values: float64 (listed,). Infinite values, values beyond float32 and negative counters are refused: one of them
        would poison every mean and rate that it enters. Of an answer that only repeats the one before nothing is kept
        but that it came: its row is NaN, and its series stay as old as they were.
        """
        block = slice(source.lo, source.lo + source.listed)
        usable = np.abs(values) <= FLOAT32_MAX
        counters = source.counters
        if counters.size:
            usable[counters] &= values[counters] >= 0.0
        complete, refused = bool(usable.all()), 0
        if not complete:
            refused = int(np.count_nonzero(~usable & ~np.isnan(values)))
            values = np.where(usable, values, np.nan)
        raw = self.raw[block]
        stored = values.astype(np.float32)
        if counters.size:
            stored[counters] = increments(raw[counters], values[counters])
        changed = values != raw
        if not complete:
            changed &= usable
        self.up[source.index] = True
        if self._repeats(source, at, changed, values, stored):
            stored.fill(np.nan)
            self._put(source, at, stored)
            source.at = at
            return stored, refused
        self._put(source, at, stored)
        self.news_row[source.index] = self.row[source.index]
        began = np.isnan(self.began_at[block])
        if complete:
            raw[:] = values
            self.last_at[block] = at
        else:
            began &= usable
            np.copyto(raw, values, where=usable)
            np.putmask(self.last_at[block], usable, at)
        np.putmask(self.changed_at[block], changed, at)
        np.putmask(self.began_at[block], began, at)
        source.at = at
        return stored, refused

    def _repeats(
        self, source: Source, at: float, changed: NDArray[np.bool_], values: Float64s, stored: NDArray[np.float32]
    ) -> bool:
        beats: bool | None = None
        # Where none of them ever counted anything, the device has no such counter.
        if source.pulse.size and (values[source.pulse] > 0.0).any():
            beats = bool((stored[source.pulse] > 0.0).any())
        found = source.pace.repeats(at, int(np.count_nonzero(changed)), beats)
        self.news_s[source.index] = source.pace.news_s
        return found

    def _put(self, source: Source, at: float, stored: NDArray[np.float32]) -> None:
        """Walk to the row of `at` and fill it."""
        lo, index = source.lo, source.index
        steps = 1 if math.isinf(source.at) else int((at - source.at) / self.interval_s + 0.5)
        row = int(self.row[index]) + steps
        slot = row % self.slots
        target = self.values[slot, lo : lo + source.listed]
        if steps == 0:
            known = ~np.isnan(target)
            sums = np.where(np.isnan(stored), 0.0, target[:] + stored)[source.counters]
            merged = np.where(np.isnan(stored), target, stored)
            both = known[source.counters] & ~np.isnan(stored[source.counters])
            merged[source.counters[both]] = sums[both]
            target[:] = merged
        else:
            if steps > 1:
                missed = min(steps, self.slots + 1) - 1
                rows = (row - missed + np.arange(missed)) % self.slots
                self.values[rows, lo : lo + len(source.columns)] = np.nan
                self.at[rows, index] = at - (at - source.at) * np.arange(missed, 0, -1) / steps
            target[:] = stored
            self.values[slot, lo + source.listed : lo + len(source.columns)] = np.nan
            self.row[index] = row
        self.at[slot, index] = at

    def rows(self, owners: Indices, count: int) -> tuple[Indices, Float64s]:
        """Slots and times of the newest `count` rows of some sources, (time, sources) each, newest last."""
        slots = (self.row[owners] - np.arange(count - 1, -1, -1)[:, None]) % self.slots
        return slots, self.at[slots, owners]


def _reserved(rows: int, columns: int) -> NDArray[np.float32]:
    """An array (rows, columns) that takes memory by the page, where it is written, and never in huge pages: these
    would back the room behind each row too."""
    size = 4 * rows * columns
    if not size:
        return np.empty((rows, columns), np.float32)
    flags = mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS | getattr(mmap, "MAP_NORESERVE", 0)
    space = mmap.mmap(-1, size, flags)
    # A kernel without huge pages refuses advice about them.
    with contextlib.suppress(AttributeError, OSError):
        space.madvise(mmap.MADV_NOHUGEPAGE)
    return np.frombuffer(space, np.float32).reshape(rows, columns)
