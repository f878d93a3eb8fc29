"""History of the pool signals in memory: rolling buffers whose views are handed out without copying."""

from __future__ import annotations

import math
from dataclasses import dataclass, field, replace

import numpy as np

from autoscaler.queries import definition
from autoscaler.ruleset import Signal
from autoscaler.store.aggregate import Float64s
from autoscaler.store.poolsignals import Measured
from autoscaler.types import Frame, Past, Quality

QUALITIES: tuple[Quality, ...] = ("fresh", "partial", "stale", "frozen", "missing")
"""The position of a quality is its code on disk."""

_START = 64

Name = tuple[str, str]
"""Pool and signal."""
Pending = tuple[str, str, str, float]
"""Pool, signal, definition and time of a point."""


@dataclass(slots=True, eq=False)
class Trail:
    """Points of one signal, `first` to `end` of two buffers. What a view shows is never written again.

    definition: the fingerprint of what the points measure, empty while nobody knows. of: the signal that has it.
    answers_after: an answer to a question that is not asked any more is up to so old.
    """

    at: Float64s = field(default_factory=lambda: np.empty(_START))
    values: Float64s = field(default_factory=lambda: np.empty(_START))
    first: int = 0
    end: int = 0
    newest_at: float = -math.inf
    interval_s: float = 0.0
    definition: str = ""
    of: Signal | None = None
    answers_after: float = -math.inf

    @property
    def last_at(self) -> float:
        """Time of the newest point, -inf without one."""
        return float(self.at[self.end - 1]) if self.end > self.first else -math.inf

    @property
    def last(self) -> float:
        """Value of the newest point, NaN without one."""
        return float(self.values[self.end - 1]) if self.end > self.first else math.nan

    def append(self, at: float, value: float, keep_s: float, max_points: int) -> None:
        """Add a point later than the last; what is older than `keep_s` or too much falls out."""
        if self.end == self.at.size:
            self._move(at - keep_s, max_points)
        self.at[self.end] = at
        self.values[self.end] = value
        self.end += 1
        if self.at[self.first] < at - keep_s:
            self.first += int(np.searchsorted(self.at[self.first : self.end], at - keep_s))
        self.first = max(self.first, self.end - max_points)

    def _move(self, since: float, max_points: int) -> None:
        first = self.first + int(np.searchsorted(self.at[self.first : self.end], since))
        first = max(first, self.end - max_points)
        self._copy(first, self.end, max(_START, (self.end - first) * 5 // 4 + 16))

    def _copy(self, first: int, end: int, capacity: int) -> None:
        at, values = np.empty(capacity), np.empty(capacity)
        at[: end - first] = self.at[first:end]
        values[: end - first] = self.values[first:end]
        self.at, self.values, self.first, self.end = at, values, 0, end - first

    def revise(self, value: float) -> None:
        """Replace the newest value, on a new buffer: frames that were handed out keep theirs."""
        self.values = self.values.copy()
        self.values[self.end - 1] = value

    def cut(self, until: float) -> None:
        """Drop points after `until`: the clock was set back, they lie in the future now."""
        end = self.first + int(np.searchsorted(self.at[self.first : self.end], until, side="right"))
        self._copy(self.first, end, self.at.size)
        self.newest_at = self.last_at

    def load(self, at: Float64s, values: Float64s) -> None:
        """Start from points that were stored before, ascending."""
        self.at, self.values, self.first, self.end = at.copy(), values.copy(), 0, at.size
        self.newest_at = self.last_at


class PoolHistory:
    """The trails of all pools' signals, and the points that are not on disk yet.

    A signal that means something else from now on starts without a past. What its name meant before is kept beside, so
    that whoever takes a change back has the past back too.

    `pending` maps (pool, signal, definition, at) to (value, quality code), oldest first, at most `max_backlog` of them;
    `lost` counts those that fell out of it.
    """

    def __init__(self, history_s: float, max_points: int, max_backlog: int, durable: bool) -> None:
        self.history_s = history_s
        self.max_points = max_points
        self.max_backlog = max_backlog
        self.durable = durable
        self.trails: dict[Name, Trail] = {}
        self.replaced: dict[Name, Trail] = {}
        self.pending: dict[Pending, tuple[float, int]] = {}
        self.lost = 0

    @property
    def nbytes(self) -> int:
        """Bytes of all buffers."""
        trails = (*self.trails.values(), *self.replaced.values())
        return sum(trail.at.nbytes + trail.values.nbytes for trail in trails)

    @property
    def limit(self) -> int:
        """Points that one signal may keep: its share of `max_points`, at least an hour at one a second."""
        return max(3600, self.max_points // max(1, len(self.trails) + len(self.replaced)))

    def load(self, name: Name, meaning: str, at: Float64s, values: Float64s) -> None:
        """Start from points that were stored before; of several definitions, give the oldest first."""
        trail = Trail(definition=meaning)
        trail.load(at, values)
        if name in self.trails:
            self.replaced[name] = self.trails[name]
        self.trails[name] = trail

    def forget_pool(self, pool: str) -> None:
        """Drop the trails of a pool."""
        for trails in (self.trails, self.replaced):
            for name in [name for name in trails if name[0] == pool]:
                del trails[name]

    def trail(self, name: Name, meaning: str) -> Trail:
        """The trail of a signal that means this, a new one if need be."""
        found = self.trails.get(name)
        if found is None:
            found = self.trails[name] = Trail(definition=meaning)
        elif not found.definition:
            found.definition = meaning
        elif found.definition != meaning:
            other = self.replaced.get(name)
            self.replaced[name] = found
            found = other if other is not None and other.definition == meaning else Trail(definition=meaning)
            self.trails[name] = found
        return found

    def fill(self, past: Past) -> int:
        """Put points of the past where there are none; how many. A point within half an interval of one is that one."""
        name = past.pool, past.signal
        now = self.trails.get(name)
        trail = self.trail(name, past.definition or (now.definition if now else ""))
        known = slice(trail.first, trail.end)
        at, values = trail.at[known], trail.values[known]
        usable = np.isfinite(past.at) & ~np.isinf(past.values)
        new_at, new_values = past.at[usable].astype(np.float64), past.values[usable].astype(np.float64)
        spacing = float(np.median(np.diff(new_at))) if new_at.size > 1 else trail.interval_s
        near = np.searchsorted(at, new_at - spacing / 2, "right") < np.searchsorted(at, new_at + spacing / 2, "left")
        new_at, new_values = new_at[~near], new_values[~near]
        if not new_at.size:
            return 0
        order = np.argsort(np.concatenate((at, new_at)), kind="stable")
        merged_at = np.concatenate((at, new_at))[order]
        merged = np.concatenate((values, new_values))[order]
        kept = (merged_at >= merged_at[-1] - self.history_s) & (
            np.arange(merged_at.size) >= merged_at.size - self.limit
        )
        trail.load(merged_at[kept], merged[kept])
        for point_at, value in zip(new_at.tolist(), new_values.tolist(), strict=True):
            self.put_off((*name, trail.definition, point_at), value, "fresh")
        return int(new_at.size)

    def take(
        self, pool: str, signal: Signal, measured: Measured, interval_s: float, now: float, answered: bool = False
    ) -> Frame:
        """Record what was measured if it is new, and give the history with it. answered: by a store that was asked.

        A point is new when the newest sample in it is. When only older samples came in, or a source fell silent, the
        newest point is revised. Nothing to measure while the last point is younger than `max_hold_s`: that is held.
        """
        trail = self._trail_of((pool, signal.name), signal, measured.newest_at)
        trail.interval_s = interval_s or trail.interval_s
        if answered and measured.newest_at <= trail.answers_after:
            measured = Measured(
                math.nan, "missing", "its definition has changed, and no store has answered the new one"
            )
        if trail.last_at > now + trail.interval_s:
            trail.cut(now)
        self._record((pool, signal.name), trail, measured, now)
        if measured.quality == "stale" and not math.isnan(trail.last):
            measured = replace(measured, value=trail.last)
        held = (
            measured.quality == "missing"
            and math.isnan(measured.newest_at)
            and self._hold(trail, now, signal.max_hold_s)
        )
        if held:
            text = f"{measured.detail}; last value is {now - trail.last_at:.0f} s old".removeprefix("; ")
            measured = Measured(trail.last, "stale", text, trail.last_at)
        return _frame(trail, measured)

    def _trail_of(self, name: Name, signal: Signal, newest_at: float) -> Trail:
        """The trail of a signal as it is defined now. newest_at: of what it is measured from."""
        trail = self.trails.get(name)
        if trail is not None and trail.of is signal:
            return trail
        before = None if trail is None else trail.definition
        trail = self.trail(name, definition(signal))
        trail.of = signal
        if before and before != trail.definition and not math.isnan(newest_at):
            trail.answers_after = newest_at
        return trail

    def _record(self, name: Name, trail: Trail, measured: Measured, now: float) -> None:
        if math.isnan(measured.newest_at):
            return
        at = min(measured.newest_at, now)
        if trail.newest_at > now >= measured.newest_at:
            # The source whose clock was ahead is gone; those that are left count from the last point.
            trail.newest_at = trail.last_at
        if measured.newest_at > trail.newest_at and at > trail.last_at:
            trail.append(at, measured.value, self.history_s, self.limit)
            trail.newest_at = measured.newest_at
        elif measured.quality == "stale" or trail.end == trail.first or _same(measured.value, trail.last):
            return
        else:
            trail.revise(measured.value)
            at = trail.last_at
        self.put_off((*name, trail.definition, at), measured.value, measured.quality)

    def put_off(self, point: Pending, value: float, quality: Quality) -> None:
        """Keep a point for the disk, if there is one; the oldest that waits falls out when there are too many."""
        if not self.durable:
            return
        self.pending[point] = (value, QUALITIES.index(quality))
        if len(self.pending) > self.max_backlog:
            del self.pending[next(iter(self.pending))]
            self.lost += 1

    @staticmethod
    def _hold(trail: Trail, now: float, max_hold_s: float) -> bool:
        return trail.last_at >= now - max_hold_s and not math.isnan(trail.last)

    def take_pending(self) -> dict[Pending, tuple[float, int]]:
        """The points to write; they are the caller's now."""
        pending, self.pending = self.pending, {}
        return pending

    def give_back(self, points: dict[Pending, tuple[float, int]]) -> None:
        """Points that could not be written wait again; the oldest fall out when there are too many."""
        self.pending = {**points, **self.pending}
        excess = len(self.pending) - self.max_backlog
        if excess > 0:
            self.lost += excess
            self.pending = dict(list(self.pending.items())[excess:])


def _same(one: float, other: float) -> bool:
    return one == other or (math.isnan(one) and math.isnan(other))


def _frame(trail: Trail, measured: Measured) -> Frame:
    view = slice(trail.first, trail.end)
    return Frame(
        interval_s=trail.interval_s,
        at=trail.at[view],
        values=trail.values[None, view],
        last_at=np.array((measured.newest_at,)),
        quality=(measured.quality,),
        detail=(measured.detail,),
        lower=None if measured.lower is None else np.array((measured.lower,)),
        upper=None if measured.upper is None else np.array((measured.upper,)),
    )
