"""Raw series as frames, for alerts on each series, and as counts of requests inside each instance."""

from __future__ import annotations

import math
from collections.abc import Iterable
from itertools import chain

import numpy as np
from numpy.typing import NDArray

from autoscaler.store.gather import gather_all, gather_some
from autoscaler.store.poolsignals import AGE_INTERVALS
from autoscaler.store.selection import Part, Selection
from autoscaler.store.source import Indices
from autoscaler.types import Announced, Frame, Quality

HOLD_S = 300.0
"""How long the last value of a raw series is held; the default of a signal's `max_hold_s`."""


def raw_frame(selection: Selection, now: float, lookback_s: float) -> Frame:
    """All series of a selection on one time axis, (series, time) float32, newest value in the last column.

    The axis ends with the newest sample. A source whose last sample is up to one and a half intervals older stands in
    the same column, so that staggered scrapes do not look like gaps. Series of another sampling interval stand at the
    times of the largest group. Quality as for pool signals; `partial` does not occur.
    """
    parts = selection.parts
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
        keys=selection.keys,
    )


def _columns(part: Part, lookback_s: float) -> tuple[NDArray[np.float64], NDArray[np.float32]]:
    """The time axis and the rows of one ring, (time, series), each source shifted to its newest sample's column."""
    ring = part.ring
    count = max(1, min(math.ceil(lookback_s / ring.interval_s) + 1, ring.slots))
    newest = ring.at[ring.row[part.owners] % ring.slots, part.owners]
    if np.isnan(newest).all():
        return np.empty(0), np.empty((0, part.columns.size), np.float32)
    now = float(np.nanmax(newest))
    late = np.floor((now - newest) / ring.interval_s - 0.5)
    at = _axis(part, np.flatnonzero(late <= 0), now, count)
    count = at.size
    shift = np.where(np.isnan(late), count, np.clip(late, 0, count)).astype(np.intp)
    values = np.empty((count, part.columns.size), np.float32)
    # Sources that walk in step share their slots. Most do: everything is fetched from theirs, then the rest again.
    starts = (ring.row[part.owners] + shift) % ring.slots
    groups, sizes = np.unique(starts, return_counts=True)
    for place, start in enumerate(groups[np.argsort(-sizes)]):
        if not place:
            gather_all(ring.values, int(start), part.columns, values)
        else:
            members = np.flatnonzero((starts == start)[part.owner_of])
            gather_some(ring.values, int(start), members, part.columns[members], values)
    for owner in np.flatnonzero(shift):
        values[count - shift[owner] :, part.owner_of == owner] = np.nan
    _bring_forward(part, values, (ring.row - ring.news_row)[part.owners] * (shift == 0))
    # Samples come a little early and late; half an interval decides which row is the first.
    inside = at >= now - lookback_s - 0.5 * ring.interval_s
    return at[inside], values[inside]


def _axis(part: Part, punctual: Indices, now: float, count: int) -> NDArray[np.float64]:
    """The times of the newest rows, moved up to `now`: those of the source that has been there for longest."""
    owners = part.owners[punctual]
    oldest = owners[[int(np.argmax(part.ring.row[owners]))]]
    _, times = part.ring.rows(oldest, min(count, int(part.ring.row[oldest[0]])))
    at: NDArray[np.float64] = times[:, 0] + (now - times[-1, 0])
    return at


def _bring_forward(part: Part, values: NDArray[np.float32], behind: NDArray[np.int64]) -> None:
    """Move the last news of sources that have only repeated themselves since, `behind` rows ago, to the last row.

    They may have been said before the first of these rows.
    """
    ring, rows = part.ring, values.shape[0]
    of_series = behind[part.owner_of]
    moved = np.flatnonzero((of_series > 0) & (of_series < ring.slots))
    slots = ring.news_row[part.owner[moved]] % ring.slots
    values[-1, moved] = ring.values[slots, part.columns[moved]]
    inside = moved[of_series[moved] < rows]
    values[rows - 1 - of_series[inside], inside] = np.nan


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


def announced(selections: Iterable[tuple[str, Selection]]) -> dict[str, list[Announced]]:
    """What machines tell of their cloud's notices, by label `instance` and by `instance_id`; 0 announces nothing.

    selections: with the kind of those series that have no label of that name. What is told late still counts: a machine
    that goes falls silent first.
    """
    found: dict[str, list[Announced]] = {}
    for kind, selection in selections:
        for part in selection.parts:
            ring, columns = part.ring, part.columns
            for key, value, at in zip(part.keys, ring.raw[columns], ring.last_at[columns], strict=True):
                if value > 0:
                    told = Announced(key.label("kind") or kind, float(value), float(at))
                    for name in {key.label("instance"), key.label("instance_id")} - {None}:
                        found.setdefault(str(name), []).append(told)
    return found


def totals(selection: Selection) -> dict[tuple[str, str], tuple[float, float]]:
    """Newest value, counters since they began, and its time, by label `instance` and bound of a bucket ("" for none).

    Series of one instance, such as its ranks, are added; the time is that of the oldest. What is not listed any more is
    left out, and a sum in which one is unknown too.
    """
    sums: dict[tuple[str, str], tuple[float, float]] = {}
    for part in selection.parts:
        ring, columns = part.ring, part.columns
        listed = ring.listed[columns]
        for key, value, at, is_listed in zip(part.keys, ring.raw[columns], ring.last_at[columns], listed, strict=True):
            name = key.label("instance")
            if name is not None and is_listed:
                place = (name, key.label("le") or "")
                total, oldest = sums.get(place, (0.0, math.inf))
                sums[place] = (total + float(value), min(oldest, float(at)))
    return {place: found for place, found in sums.items() if not math.isnan(found[0])}


def _by_instance(selection: Selection) -> dict[str, tuple[float, float]]:
    return {name: found for (name, _), found in totals(selection).items()}
