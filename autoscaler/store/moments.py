"""Count, mean and spread of raw series over a lookback, carried from one tick to the next.

Of 240 points one or two are new at a tick and as many fall out. Adding those to sums and taking these from them costs
a hundredth of going through all points again. The sums are float64, about a value near each series' mean, so that 1e9
with a ripple of 1 keeps its ripple (shifted data algorithm: Chan, Golub and LeVeque 1983).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from autoscaler.store.aggregate import Float64s
from autoscaler.store.gather import gather_all, gather_some
from autoscaler.store.poolsignals import AGE_INTERVALS
from autoscaler.store.ring import SPARE_SLOTS
from autoscaler.store.selection import Part, Selection
from autoscaler.store.source import Indices
from autoscaler.types import Labels, Moments, Newest

DOUBTFUL_SHARE = 1e-8
"""Less of the largest sum of squares that there was cannot be told from rounding, whose share is 1e-16 a step."""
MOST_STEPS = SPARE_SLOTS
"""Rows further than this are gone from the ring, or so many that starting again is no dearer."""
RENEWED_AFTER = 10_000
"""Ticks after which sums start again, whatever they rounded away by then."""
_BLOCK = 256
_KEPT = 1000


class RunningMoments:
    """The sums of every selection and lookback that was asked for, as long as the selection's columns stay."""

    def __init__(self) -> None:
        self._sums: dict[tuple[str, str, Labels, float], tuple[Selection, tuple[Sums, ...]]] = {}

    def newest(self, name: tuple[str, str, Labels, float], selection: Selection, now: float) -> Newest:
        """The newest values of a selection and the moments before them; `name` ends with the lookback."""
        kept = self._sums.get(name)
        if kept is None or kept[0] is not selection:
            if len(self._sums) >= _KEPT:
                self._sums.clear()
            before = () if kept is None else kept[1]
            kept = self._sums[name] = selection, tuple(Sums(part, name[-1], before) for part in selection.parts)
        found = [sums.advance() for sums in kept[1]]
        moments = [sums.moments() for sums in kept[1]]
        last_at = [part.ring.last_at[part.columns] for part in selection.parts]
        fresh = [_fresh(part, at, now) for part, at in zip(selection.parts, last_at, strict=True)]
        counts, means, spreads = (_joined([m[n] for m in moments]) for n in range(3))
        return Newest(
            at=max((at for at, _ in found if not math.isnan(at)), default=math.nan),
            values=_joined([values for _, values in found]),
            last_at=_joined(last_at),
            fresh=_joined(fresh).astype(np.bool_, copy=False),
            keys=selection.keys,
            past=Moments(counts.astype(np.int64), means, spreads, float(np.finfo(np.float32).eps)),
        )

    def forget_pool(self, pool: str) -> None:
        """Drop what a pool asked for that has no rules any more."""
        for name in [name for name in self._sums if name[0] == pool]:
            del self._sums[name]


class Sums:
    """Sums over the rows `since` to `until`, without the latter, of each source of one part.

    shift, total, squares: (series,) what is taken from each value, and the sums of what is left and of its square.
    largest: (series,) the largest `squares` since they were summed afresh.
    """

    def __init__(self, part: Part, lookback_s: float, before: Sequence[Sums] = ()) -> None:
        self.part = part
        self._epochs = [source.epoch for source in part.sources]
        ring = part.ring
        self._rows = min(math.ceil(lookback_s / ring.interval_s - 1e-6), ring.slots - 1 - SPARE_SLOTS)
        self._lookback_s = lookback_s
        sources, series = part.owners.size, part.columns.size
        self._since = np.zeros(sources, np.int64)
        self._until = np.full(sources, -(2**62), np.int64)
        self._count = np.zeros(series, np.int64)
        self._shift, self._total = np.zeros(series), np.zeros(series)
        self._squares, self._largest = np.zeros(series), np.zeros(series)
        self._ticks = 0
        for other in before:
            if other.part.ring is ring:
                self._inherit(other)

    def _inherit(self, other: Sums) -> None:
        """Take over the sums of sources that are as they were; others come and go beside them all the time."""
        places = {id(source): n for n, source in enumerate(other.part.sources)}
        epochs = other._epochs
        pairs = [
            (n, places[id(source)])
            for n, source in enumerate(self.part.sources)
            if id(source) in places and source.epoch == epochs[places[id(source)]]
        ]
        if not pairs:
            return
        ours, theirs = np.array(pairs, np.intp).T
        self._ticks = other._ticks
        self._since[ours], self._until[ours] = other._since[theirs], other._until[theirs]
        # Series of a source are neighbours, in the same order on both sides.
        to = np.flatnonzero(np.isin(self.part.owner_of, ours))
        sizes = np.bincount(self.part.owner_of, minlength=len(self._epochs))[ours]
        first = np.searchsorted(other.part.owner_of, theirs)
        within = np.arange(to.size) - np.repeat(np.cumsum(sizes) - sizes, sizes)
        origin = np.repeat(first, sizes) + within
        for name in ("_count", "_shift", "_total", "_squares", "_largest"):
            getattr(self, name)[to] = getattr(other, name)[origin]

    def advance(self) -> tuple[float, NDArray[np.float32]]:
        """Take in what is new. The time of the newest sample, and each series' newest value (series,).

        A source whose newest sample is more than one and a half intervals older than that has none now.
        """
        part, ring = self.part, self.part.ring
        row = ring.row[part.owners]
        at = ring.at[row % ring.slots, part.owners]
        newest = float(np.fmax.reduce(at, initial=math.nan))
        # What a source only repeated is no row of its own: its last news is judged, and stands for the rows since.
        news = np.where(row - ring.news_row[part.owners] < ring.slots, ring.news_row[part.owners], row)
        late = ~(newest - at < 1.5 * ring.interval_s)
        rows = 0 if late.all() else self._window(np.where(late, 0, row))
        if rows:
            self._move(row - rows, np.maximum(news, row - rows))
            self._renew_doubtful()
        values = self._row(news, None)
        if late.any():
            values[late[part.owner_of]] = np.nan
        return newest, values

    def moments(self) -> tuple[NDArray[np.int64], Float64s, Float64s]:
        """Count, mean and population standard deviation, (series,) each; NaN where there is no value."""
        known = np.maximum(self._count, 1)
        away = self._total / known
        variance = np.maximum(self._squares / known - away * away, 0.0)
        mean = self._shift + away
        empty = self._count == 0
        if empty.any():
            mean[empty] = variance[empty] = np.nan
        return self._count, mean, np.sqrt(variance)

    def _window(self, row: NDArray[np.int64]) -> int:
        """How many rows before the newest lie in the lookback, by the times of the source that is here for longest."""
        if self._rows <= 0:
            return 0
        _, times = self.part.ring.rows(self.part.owners[[int(np.argmax(row))]], self._rows + 1)
        # Samples come a little early and late; half an interval decides which row is the first.
        outside = times[:-1, 0] < times[-1, 0] - self._lookback_s - 0.5 * self.part.ring.interval_s
        return self._rows - int(np.count_nonzero(outside))

    # --- sums ---------------------------------------------------------------------------------------------------

    def _move(self, since: NDArray[np.int64], until: NDArray[np.int64]) -> None:
        ring = self.part.ring
        self._ticks += 1
        enter, leave = until - self._until, since - self._since
        gone = (leave > 0) & (self._since <= ring.row[self.part.owners] - ring.slots)
        anew = (np.maximum(np.abs(enter), np.abs(leave)) > MOST_STEPS) | (enter < 0) | gone
        if self._ticks > RENEWED_AFTER:
            self._ticks, anew = 0, np.ones_like(anew)
        before_until, before_since = self._until, self._since
        self._until, self._since = until, since
        enter, leave = np.where(anew, 0, enter), np.where(anew, 0, leave)
        for n in range(int(enter.max(initial=0))):
            self._add(before_until + n, enter > n, 1)
        for n in range(int(leave.max(initial=0))):
            self._add(before_since + n, leave > n, -1)
        for n in range(int((-leave).max(initial=0))):
            self._add(before_since - 1 - n, -leave > n, 1)
        if anew.any():
            self._sum(None if anew.all() else np.flatnonzero(anew[self.part.owner_of]))

    def _row(self, rows: NDArray[np.int64], chosen: Indices | None) -> NDArray[np.float32]:
        """The values of series at a row of their sources."""
        part, ring = self.part, self.part.ring
        slots = rows % ring.slots
        columns, owner_of = part.columns, part.owner_of
        if chosen is not None:
            columns, owner_of = columns[chosen], owner_of[chosen]
        if (slots == slots[0]).all():
            values: NDArray[np.float32] = ring.values[slots[0]].take(columns)
        else:
            values = ring.values.reshape(-1).take((slots * ring.capacity)[owner_of] + columns)
        return values

    def _add(self, rows: NDArray[np.int64], which: NDArray[np.bool_], sign: Literal[1, -1]) -> None:
        """Add a row of each of some sources to the sums, or take it away."""
        chosen = None if which.all() else np.flatnonzero(which[self.part.owner_of])
        here: Indices | slice = slice(None) if chosen is None else chosen
        away = self._row(rows, chosen) - self._shift[here]
        gaps = np.isnan(away)
        if gaps.any():
            away[gaps] = 0.0
            self._count[here] += sign * ~gaps
        else:
            self._count[here] += sign
        self._total[here] += sign * away
        np.square(away, out=away)
        self._squares[here] += sign * away
        if sign > 0:
            self._largest[here] = np.maximum(self._largest[here], self._squares[here])

    def _renew_doubtful(self) -> None:
        """Sum afresh where the shift lies so far from the mean, or squares were so much larger, that rounding tells."""
        left = self._squares - self._total * self._total / np.maximum(self._count, 1)
        doubtful = np.flatnonzero(left < DOUBTFUL_SHARE * self._largest)
        if doubtful.size:
            self._sum(doubtful, about_mean=True)

    def _sum(self, chosen: Indices | None, about_mean: bool = False) -> None:
        """Go through all rows of some series, all if None; about each one's first value, or about its mean."""
        series = self.part.columns.size if chosen is None else chosen.size
        # Memory that was never touched costs more than the arithmetic, so all blocks share what the first one took.
        space = np.empty((self._rows, min(_BLOCK, series)))
        for start in range(0, series, _BLOCK):
            here = slice(start, min(start + _BLOCK, series)) if chosen is None else chosen[start : start + _BLOCK]
            block = self._gathered(here)
            if not block.size:
                continue
            shift = _means(block) if about_mean else block[0].astype(np.float64)
            shift[np.isnan(shift)] = 0.0
            away = np.subtract(block, shift, out=space[: len(block), : block.shape[1]])
            total = away.sum(axis=0)
            count: NDArray[np.intp] | int = len(block)
            if np.isnan(total).any():
                gaps = np.isnan(away)
                away[gaps] = 0.0
                total = away.sum(axis=0)
                count = len(block) - np.count_nonzero(gaps, axis=0)
            self._count[here], self._shift[here], self._total[here] = count, shift, total
            self._squares[here] = self._largest[here] = np.einsum("ij,ij->j", away, away)

    def _gathered(self, chosen: Indices | slice) -> NDArray[np.float32]:
        """All rows of some series, (time, series)."""
        part, ring = self.part, self.part.ring
        owner_of, columns = part.owner_of[chosen], part.columns[chosen]
        row = ring.row[part.owners]
        # At the beginning most rows were never written.
        rows = int(min((row - self._since)[0], row.max(initial=0)))
        into = np.empty((rows, columns.size), np.float32)
        ends = ((row - 1) % ring.slots)[owner_of]
        # Sources that walk in step share their slots: everything is fetched from the commonest, then the rest again.
        sizes = np.bincount(ends, minlength=ring.slots)
        commonest = int(sizes.argmax())
        gather_all(ring.values, commonest, columns, into)
        for end in np.flatnonzero(sizes) if sizes[commonest] < ends.size else ():
            if end != commonest:
                members = np.flatnonzero(ends == end)
                gather_some(ring.values, int(end), members, columns[members], into)
        # The row of a source's last news is judged, so it is no part of its past.
        behind = (row - self._until)[owner_of]
        judged = np.flatnonzero((behind > 0) & (behind <= rows))
        into[rows - behind[judged], judged] = np.nan
        return into


def _means(block: NDArray[np.float32]) -> Float64s:
    """The mean of each column's values, as a float32 can hold it, so that of a constant it is the very constant."""
    gaps = np.isnan(block)
    count = np.maximum(len(block) - np.count_nonzero(gaps, axis=0), 1)
    mean: NDArray[np.float32] = (np.where(gaps, 0.0, block).sum(axis=0, dtype=np.float64) / count).astype(np.float32)
    return mean.astype(np.float64)


def _fresh(part: Part, last_at: Float64s, now: float) -> NDArray[np.bool_]:
    ring = part.ring
    return ring.up[part.owner] & (now - last_at <= (AGE_INTERVALS * ring.news_s)[part.owner])


def _joined(arrays: list[NDArray[Any]]) -> NDArray[Any]:
    return arrays[0] if len(arrays) == 1 else np.concatenate(arrays) if arrays else np.empty(0)
