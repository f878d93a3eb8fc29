"""Raw series as frames, for alerts on each series, and as counts of requests inside each instance."""

from __future__ import annotations

import math
from itertools import chain

import numpy as np
from numpy.typing import NDArray

from autoscaler.store.poolsignals import AGE_INTERVALS
from autoscaler.store.ring import Indices
from autoscaler.store.selection import Part, Selection
from autoscaler.types import Frame, Quality

HOLD_S = 300.0
"""How long the last value of a raw series is held; the default of a signal's `max_hold_s`."""


def raw_frame(selection: Selection, now: float, lookback_s: float) -> Frame:
    """All series of a selection on one time axis, (series, time) float32, newest value in the last column.

    The axis is that of the source with the newest sample. A source whose last sample is up to one and a half intervals
    older stands in the same column, so that staggered scrapes do not look like gaps. Series of another sampling
    interval stand at the times of the largest group. Quality as for pool signals; `partial` does not occur.
    """
    parts = sorted(selection.parts, key=lambda part: -part.columns.size)
    if not parts:
        return Frame(0.0, np.empty(0), np.empty((0, 0), np.float32), np.empty(0), ())
    at, values = _columns(parts[0], lookback_s)
    blocks = [values, *(_resampled(part, at) for part in parts[1:])]
    last_at = np.concatenate([part.ring.last_at[part.columns] for part in parts])
    quality = tuple(chain.from_iterable(_qualities(part, now) for part in parts))
    return Frame(
        interval_s=parts[0].ring.interval_s,
        at=at,
        values=blocks[0].T if len(blocks) == 1 else np.concatenate(blocks, axis=1).T,
        last_at=last_at,
        quality=quality,
        keys=parts[0].keys if len(parts) == 1 else tuple(chain.from_iterable(part.keys for part in parts)),
    )


def _columns(part: Part, lookback_s: float) -> tuple[NDArray[np.float64], NDArray[np.float32]]:
    """The time axis and the rows of one ring, (time, series), each source shifted to its newest sample's column."""
    ring = part.ring
    count = max(1, min(math.ceil(lookback_s / ring.interval_s) + 1, ring.slots))
    newest = ring.at[ring.row[part.owners] % ring.slots, part.owners]
    if np.isnan(newest).all():
        return np.empty(0), np.empty((0, part.columns.size), np.float32)
    reference = int(np.nanargmax(newest))
    _, axis = ring.rows(part.owners[reference : reference + 1], count)
    at = axis[:, 0]
    written = int(np.count_nonzero(~np.isnan(at)))
    at, count = at[count - written :], written
    late = np.floor((newest[reference] - newest) / ring.interval_s - 0.5)
    shift = np.where(np.isnan(late), count, np.clip(late, 0, count)).astype(np.intp)
    values = np.empty((count, part.columns.size), np.float32)
    # Sources that walk in step share their slots. Most do: everything is fetched from theirs, then the rest again.
    starts = (ring.row[part.owners] + shift) % ring.slots
    groups, sizes = np.unique(starts, return_counts=True)
    for place, start in enumerate(groups[np.argsort(-sizes)]):
        if not place:
            _gather_all(ring.values, int(start), part.columns, values)
        else:
            members = np.flatnonzero((starts == start)[part.owner_of])
            _gather_some(ring.values, int(start), members, part.columns[members], values)
    for owner in np.flatnonzero(shift):
        values[count - shift[owner] :, part.owner_of == owner] = np.nan
    _bring_forward(values, (ring.row - ring.news_row)[part.owners] * (shift == 0), part.owner_of)
    inside = at >= newest[reference] - lookback_s
    return at[inside], values[inside]


def _bring_forward(values: NDArray[np.float32], behind: NDArray[np.int64], owner_of: Indices) -> None:
    """Move the last news of sources that have only repeated themselves since, `behind` rows ago, to the last row."""
    behind = behind[owner_of]
    moved = np.flatnonzero((behind > 0) & (behind < values.shape[0]))
    rows = values.shape[0] - 1 - behind[moved]
    values[-1, moved] = values[rows, moved]
    values[rows, moved] = np.nan


def _gather_all(ring: NDArray[np.float32], newest: int, columns: Indices, into: NDArray[np.float32]) -> None:
    """Fetch columns of the rows up to the slot `newest`; those of many equal sources lie evenly, and are sliced."""
    first, slots = newest - into.shape[0] + 1, ring.shape[0]
    spans = [(first, newest + 1, 0)] if first >= 0 else [(first + slots, slots, 0), (0, newest + 1, -first)]
    even = _evenly(columns)
    for begin, end, place in spans:
        rows, target = ring[begin:end], into[place : place + end - begin]
        if even is None:
            for row, out in zip(rows, target, strict=True):
                np.take(row, columns, out=out, mode="clip")
        else:
            width, step, repeats = even
            shape, strides = (len(rows), repeats, width), (rows.strides[0], 4 * step, 4)
            source = np.lib.stride_tricks.as_strided(rows[:, columns[0] :], shape, strides, writeable=False)
            np.copyto(target.reshape(shape), source)


def _evenly(columns: Indices) -> tuple[int, int, int] | None:
    """Width, distance and number of equal runs of neighbours that the columns consist of; None if they do not."""
    breaks = np.flatnonzero(np.diff(columns) != 1) + 1
    width = int(breaks[0]) if breaks.size else columns.size
    if columns.size % width:
        return None
    runs = columns.reshape(-1, width)
    step = int(runs[1, 0] - runs[0, 0]) if len(runs) > 1 else width
    if step < width:
        return None
    even = runs[0, 0] + step * np.arange(len(runs))[:, None] + np.arange(width)
    return (width, step, len(runs)) if np.array_equal(even, runs) else None


def _gather_some(
    ring: NDArray[np.float32], newest: int, members: Indices, columns: Indices, into: NDArray[np.float32]
) -> None:
    count = into.shape[0]
    for i in range(count):
        into[i, members] = ring[(newest - (count - 1 - i)) % ring.shape[0]][columns]


def _resampled(part: Part, at: NDArray[np.float64]) -> NDArray[np.float32]:
    """The newest value of each series at or shortly before each time, (time, series); NaN where there is none."""
    ring = part.ring
    values = np.full((at.size, part.columns.size), np.nan, np.float32)
    for position, owner in enumerate(part.owners):
        slots, times = ring.rows(np.array([owner]), ring.slots)
        known = ~np.isnan(times[:, 0])
        times_known, slots_known = times[known, 0], slots[known, 0]
        found = np.searchsorted(times_known, at, side="right") - 1
        usable = (found >= 0) & (at - times_known[found] < 1.5 * ring.interval_s) if times_known.size else found >= 0
        members = np.flatnonzero(part.owner_of == position)
        rows = slots_known[found[usable]]
        values[np.ix_(usable, members)] = ring.values[np.ix_(rows, part.columns[members])]
    return values


def _qualities(part: Part, now: float) -> list[Quality]:
    ring = part.ring
    age_s = now - ring.last_at[part.columns]
    fresh = ring.up[part.owner] & (age_s <= AGE_INTERVALS * ring.news_s[part.owner])
    codes = np.where(fresh, 0, np.where(age_s <= HOLD_S, 1, 2))
    names: tuple[Quality, ...] = ("fresh", "stale", "missing")
    return [names[code] for code in codes.tolist()]


def in_flight(running: Selection, waiting: Selection) -> dict[str, tuple[int, float]]:
    """Requests inside each instance and when that was known, for the instances that give both numbers in full."""
    first, second = _by_instance(running), _by_instance(waiting)
    return {
        name: (round(first[name][0] + second[name][0]), min(first[name][1], second[name][1]))
        for name in first
        if name in second
    }


def _by_instance(selection: Selection) -> dict[str, tuple[float, float]]:
    sums: dict[str, tuple[float, float]] = {}
    for part in selection.parts:
        ring, columns = part.ring, part.columns
        listed = ring.listed[columns]
        for key, value, at, is_listed in zip(part.keys, ring.raw[columns], ring.last_at[columns], listed, strict=True):
            name = key.label("instance")
            if name is not None and is_listed:
                total, oldest = sums.get(name, (0.0, math.inf))
                # NaN, a rank that gave no number, makes the sum unknown.
                sums[name] = (total + float(value), min(oldest, float(at)))
    return {name: found for name, found in sums.items() if not math.isnan(found[0])}
