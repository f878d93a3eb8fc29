"""The day files as the store needs them: one that cannot be read is a problem to be told, and no end of anything."""

from __future__ import annotations

import math
from collections.abc import Sequence
from datetime import date
from pathlib import Path

import numpy as np

from autoscaler.errors import StorageError
from autoscaler.store.aggregate import Float64s
from autoscaler.store.daystore import DayStore, Point, utc_day

Trails = dict[tuple[str, str], tuple[Float64s, Float64s]]
"""(pool, signal) -> times and values, ascending."""


class PastDays:
    """Points of pool signals on disk. `problems` says by path what cannot be read or tidied now."""

    def __init__(self, directory: Path, retention_days: int) -> None:
        self.problems: dict[Path, str] = {}
        self._days = DayStore(directory, retention_days)
        self._tidied: date | None = None

    def close(self) -> None:
        """Let go of the files."""
        self._days.close()

    def append(self, points: Sequence[Point]) -> None:
        """Write points, and once a day drop what is too old. Raises StorageError; then nothing was written."""
        self._days.append(points)
        for day in {utc_day(point.at) for point in points}:
            self.problems.pop(self._days.path(day), None)
        self._tidy(max((point.at for point in points), default=None))

    def history(self, pool: str, signal: str, since: float, until: float) -> list[tuple[Float64s, Float64s]]:
        """Times and values of a signal by day, since <= at < until."""
        found = []
        for day in self._stored():
            if utc_day(since) <= day <= utc_day(until):
                try:
                    found.append(self._days.history(day, pool, signal, since, until))
                except StorageError as error:
                    self.problems[self._days.path(day)] = str(error)
        return found

    def newest(self, history_s: float, max_points: int) -> Trails:
        """The newest `history_s` of everything, at most a day's worth more than `max_points`."""
        found: dict[tuple[str, str], list[tuple[Float64s, Float64s]]] = {}
        newest, loaded = -math.inf, 0
        for day in reversed(self._stored()):
            try:
                points = self._days.read(day, newest - history_s)
            except StorageError as error:
                self.problems[self._days.path(day)] = str(error)
                continue
            newest = max([newest, *(float(at[-1]) for at, _ in points.values())])
            loaded += sum(at.size for at, _ in points.values())
            for name, trail in points.items():
                found.setdefault(name, []).append(trail)
            if (newest > -math.inf and not points) or loaded > max_points:
                break
        trails = {}
        for name, parts in found.items():
            at = np.concatenate([part[0] for part in reversed(parts)])
            values = np.concatenate([part[1] for part in reversed(parts)])
            kept = at >= newest - history_s
            trails[name] = at[kept], values[kept]
        return trails

    def _tidy(self, newest_at: float | None) -> None:
        """Once a day, drop what is too old; and forget problems of files that somebody has moved away."""
        self.problems = {path: text for path, text in self.problems.items() if path.exists()}
        if newest_at is None or self._tidied == utc_day(newest_at):
            return
        self._tidied = utc_day(newest_at)
        self.problems.pop(self._days.directory, None)
        try:
            self._days.retain(self._tidied)
        except StorageError as error:
            self.problems[self._days.directory] = str(error)

    def _stored(self) -> tuple[date, ...]:
        """Days on disk, oldest first; none, and a problem, if the folder cannot be listed."""
        try:
            return self._days.days()
        except StorageError as error:
            self.problems[self._days.directory] = str(error)
            return ()
