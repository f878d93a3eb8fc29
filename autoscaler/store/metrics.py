"""The metrics store: recent raw series in memory, pool signals for weeks on disk."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from pathlib import Path
from threading import Lock

import numpy as np

from autoscaler.errors import StorageError
from autoscaler.presence import Given
from autoscaler.ruleset import RuleSet
from autoscaler.signals import is_answer
from autoscaler.store.admission import Limits
from autoscaler.store.aggregate import Float64s
from autoscaler.store.daystore import Point
from autoscaler.store.described import SeriesInfo, StoreStats
from autoscaler.store.devices import Devices
from autoscaler.store.given import given
from autoscaler.store.moments import RunningMoments
from autoscaler.store.origin import bounded, origin
from autoscaler.store.pastdays import PastDays
from autoscaler.store.poolhistory import PoolHistory, Trail
from autoscaler.store.poolsignals import measure
from autoscaler.store.rawframe import announced, in_flight, raw_frame, totals
from autoscaler.store.rawseries import RawSeries
from autoscaler.store.selection import Selections
from autoscaler.store.steps import MAX_POINTS, PREFIX, Steps
from autoscaler.types import Announced, Batch, Frame, Labels, Newest, Past

_FAR = 32503680000.0
"""The year 3000, the end of all questions."""


class Store:
    """Thread-safe. `directory` None keeps pool signals in memory only.

    Nothing here raises for a disk that refuses, except `flush` and `close`: the store goes on in memory, keeps up to
    `max_backlog` points to write later, and `problems` says so.
    """

    def __init__(
        self,
        directory: Path | None,
        raw_window_s: float = 1200.0,
        history_s: float = 7 * 86400.0,
        retention_days: int = 28,
        limits: Limits | None = None,
        max_points: int = 40_000_000,
        max_backlog: int = 250_000,
    ) -> None:
        self._lock = Lock()
        self._raw = RawSeries(raw_window_s, limits or Limits(forget_s=raw_window_s))
        self._selections = Selections(self._raw)
        self._moments = RunningMoments()
        self.devices = Devices(self._raw, self._lock)
        self._history = PoolHistory(history_s, max_points, max_backlog, directory is not None)
        self._steps = Steps(self._history)
        self._days = None if directory is None else PastDays(directory, retention_days)
        self._flushing = Lock()
        self._write_problem = ""
        found = {} if self._days is None else self._days.newest(history_s, max_points)
        for (pool, signal, meaning), trail in found.items():
            if signal.startswith(PREFIX):
                self._steps.load((pool, signal), *trail)
            else:
                self._history.load((pool, signal), meaning, *trail)
        # From then on memory has all that the disk has, unless there was too much of it.
        whole = sum(at.size for at, _ in found.values()) <= max_points
        self._whole_since = max((at[-1] - history_s for at, _ in found.values() if at.size), default=0.0)
        self._whole_since = self._whole_since if whole else math.inf

    def add(self, batch: Batch) -> None:
        """Take in what a source said. Never raises for what a batch contains: bad samples are refused and counted."""
        with self._lock:
            self._raw.add(batch)

    def read(self, rules: RuleSet, now: float) -> dict[str, Frame]:
        """Every signal of the pool that is measured from raw series, as of `now`: one series each, newest point last.

        Values are float64 (1, time); the arrays are views that later reads do not change. `lower` and `upper` are
        given where the newest value is uncertain: a quantile's bucket (upper may be +Inf), or series that are missing.
        """
        frames = {}
        with self._lock:
            self._raw.forget(now)
            work_at = self._raw.work_at.get(rules.workload, -math.inf)
            busy_at = self._raw.busy_at.get(rules.workload, -math.inf)
            for signal in rules.signals:
                if signal.forecast is None:
                    asked, selection = origin(self._selections, rules, signal)
                    measured = measure(asked, selection, now, work_at, busy_at)
                    answered = asked is not signal
                    if answered:
                        measured = bounded(self._selections, rules.pool, signal, measured)
                    frames[signal.name] = self._history.take(
                        rules.pool, signal, measured, selection.interval_s, now, answered
                    )
        return frames

    def fill(self, past: Past) -> int:
        """Put what a source remembers of a pool's signal into its history where that has gaps; how many points."""
        with self._lock:
            return self._history.fill(past)

    def note(self, pool: str, now: float, numbers: Mapping[str, float]) -> None:
        """What a tick found and decided, by name: the steps that `history` gives as signal `pool:NAME`."""
        with self._lock:
            self._steps.note(pool, now, numbers)

    def raw(self, pool: str, metric: str, where: Labels, now: float, lookback_s: float) -> Frame:
        """The raw series of a metric, (series, time) float32, newest value last; counters as increments."""
        with self._lock:
            return raw_frame(self._selections.get(pool, metric, where), now, lookback_s)

    def newest(self, pool: str, metric: str, where: Labels, now: float, lookback_s: float) -> Newest:
        """The newest values of the same series and the moments of those in the `lookback_s` before; far cheaper."""
        with self._lock:
            found = self._selections.get(pool, metric, where)
            return self._moments.newest((pool, metric, where, lookback_s), found, now)

    def in_flight(self, pool: str, now: float) -> dict[str, tuple[int, float]]:
        """Requests running and waiting by label `instance`, and the time of the older of the two samples.

        An instance that does not give both is left out: unknown is not zero.
        """
        with self._lock:
            running = self._selections.get(pool, "requests_running")
            waiting = self._selections.get(pool, "requests_waiting")
            return in_flight(running, waiting)

    def announced(self, pool: str) -> dict[str, list[Announced]]:
        """What the pool's machines tell of their cloud's notices, by labels `instance` and `instance_id`."""
        with self._lock:
            kinds = (("terminate", "instance_interruption"), ("rebalance", "instance_rebalance"))
            some = [(kind, self._selections.get(pool, f"{name}_timestamp_seconds")) for kind, name in kinds]
            return announced(some)

    def totals(self, pool: str, metrics: Iterable[str]) -> dict[str, dict[tuple[str, str], tuple[float, float]]]:
        """By metric: newest value and its time of every instance, and of each of its buckets (bound, else "").

        Counters as they are, since they began; an instance without a recent value is left out only when it is gone.
        """
        with self._lock:
            return {metric: totals(self._selections.get(pool, metric)) for metric in metrics}

    def history(self, pool: str, signal: str, since: float, until: float) -> tuple[Float64s, Float64s]:
        """Times and values of a pool signal as it is defined now, since <= at < until; memory first, then day files."""
        with self._lock:
            trail = self._trail(pool, signal)
            at, values, meaning = (
                trail.at[trail.first : trail.end],
                trail.values[trail.first : trail.end],
                trail.definition,
            )
            full = trail.end - trail.first >= min(self._history.limit, MAX_POINTS)
        until, since = min(until, _FAR), max(since, 0.0)
        begin, end = np.searchsorted(at, (since, until))
        recent = at[begin:end], values[begin:end]
        memory_since = float(at[0]) if at.size else math.inf
        whole_since = math.inf if full else max(self._whole_since, trail.last_at - self._history.history_s)
        if self._days is None or since >= min(memory_since, whole_since):
            return recent
        found = [*self._days.history((pool, signal, meaning), since, min(until, memory_since)), recent]
        return np.concatenate([times for times, _ in found]), np.concatenate([points for _, points in found])

    def recent(self, pool: str, signal: str, since: float) -> tuple[Float64s, Float64s]:
        """As `history` until now, of what is in memory only: for whoever asks for hundreds of pools at once."""
        with self._lock:
            trail = self._trail(pool, signal)
            begin = trail.first + int(np.searchsorted(trail.at[trail.first : trail.end], since))
            return trail.at[begin : trail.end], trail.values[begin : trail.end]

    def _trail(self, pool: str, signal: str) -> Trail:
        return self._history.trails.get((pool, signal)) or self._steps.trails.get((pool, signal)) or Trail()

    def flush(self) -> int:
        """Write the points that are new, and say how many; for a worker thread, after each tick.

        StorageError: nothing is lost yet, the points wait for the next flush.
        """
        if self._days is None:
            return 0
        with self._flushing:
            with self._lock:
                points = self._history.take_pending()
            try:
                self._days.append(
                    [Point(pool, signal, at, *of, meaning) for (pool, signal, meaning, at), of in points.items()]
                )
            except StorageError as error:
                with self._lock:
                    self._history.give_back(points)
                self._write_problem = str(error)
                raise
            self._write_problem = ""
            return len(points)

    def close(self) -> None:
        """Write what is left and let go of the files; raises StorageError if that fails, with the files let go."""
        if self._days is not None:
            try:
                self.flush()
            finally:
                self._days.close()

    def forget_pool(self, pool: str) -> None:
        """Drop the history of a pool that has no rules any more from memory; the disk keeps it."""
        with self._lock:
            self._moments.forget_pool(pool)
            self._history.forget_pool(pool)
            self._steps.forget_pool(pool)

    def problems(self) -> tuple[str, ...]:
        """What a person should know: files that cannot be read or written, limits that refuse samples."""
        stats, found = self.stats(), [] if self._days is None else list(self._days.problems.values())
        if self._write_problem:
            lost = f", {stats.lost} are lost" if stats.lost else ""
            found.append(f"{self._write_problem}; {stats.waiting} points wait to be written{lost}")
        if stats.over_limit:
            found.append(
                f"{stats.over_limit} samples were refused: the store holds {stats.series} series and takes at most "
                f"{self._raw.limits.max_series} in all and {self._raw.limits.max_series_per_pool} of one pool; "
                "scrape fewer targets or metrics, raise max_series, or keep raw series in a Prometheus"
            )
        return tuple(found)

    def describe(self) -> tuple[SeriesInfo, ...]:
        """Every metric that some source gives, by pool; a store's answers to single signals are none."""
        with self._lock:
            return tuple(self._info(*name) for name in sorted(self._raw.names) if not is_answer(name[1]))

    def given(self, rules: RuleSet) -> dict[str, Given]:
        """What there is to measure each signal of the pool from, by signal; forecasts are left out."""
        with self._lock:
            return {
                signal.name: given(signal, *origin(self._selections, rules, signal), self._raw, rules.pool)
                for signal in rules.signals
                if signal.forecast is None
            }

    def metrics(self, pool: str) -> frozenset[str]:
        """Names of what some source gives for the pool, or without a pool."""
        with self._lock:
            return frozenset(m for owner, m in self._raw.names if owner in (pool, "") and not is_answer(m))

    def owners(self, metric: str) -> frozenset[str]:
        """Pools that have series of a metric, or of its buckets; empty = series without a pool."""
        names = (metric, f"{metric.removesuffix('_bucket')}_bucket")
        with self._lock:
            return frozenset(owner for owner, name in self._raw.names if name in names)

    def stats(self) -> StoreStats:
        """Counts for our own metrics page."""
        with self._lock:
            counts = self._raw.counts
            return StoreStats(
                series=self._raw.series,
                sources=len(self._raw.sources),
                stored=counts.stored,
                unusable=counts.unusable,
                late=counts.late,
                over_limit=counts.over_limit,
                malformed=counts.malformed,
                memory_bytes=self._raw.nbytes + self._history.nbytes + self._steps.nbytes,
                waiting=len(self._history.pending),
                lost=self._history.lost,
                repeated=counts.repeated,
            )

    def _info(self, pool: str, metric: str) -> SeriesInfo:
        sources = self._raw.names[pool, metric]
        series, newest_at, interval_s = 0, math.nan, 0.0
        for source in sources.values():
            positions = source.groups[pool, metric]
            last_at = self._raw.ring(source).last_at[source.lo + positions]
            series += positions.size
            newest_at = float(np.fmax.reduce(last_at, initial=newest_at))
            interval_s = max(interval_s, source.interval_s)
        counter = any(s.columns[s.groups[pool, metric][0]].counter for s in sources.values())
        return SeriesInfo(pool, metric, series, interval_s, newest_at, tuple(sorted(sources)), counter)
