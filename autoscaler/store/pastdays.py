"""The day files as the store needs them: one that cannot be read is a problem to be told, and no end of anything."""

from __future__ import annotations

import math
from collections.abc import Sequence
from datetime import date
from pathlib import Path

import numpy as np

from autoscaler.errors import StorageError
from autoscaler.store.aggregate import Float64s
from autoscaler.store.daystore import DayStore, Meant, Point, utc_day

Trails = dict[Meant, tuple[Float64s, Float64s]]
"""(pool, signal, definition) -> times and values, ascending."""


class PastDays:
    """Points of pool signals on disk. `problems` says by path what cannot be read or tidied now.

    Points that do not say what they measure are older than all that do, or came before any rules were read: they belong
    to the first definition that the signal had since.
    """

    def __init__(self, directory: Path, retention_days: int) -> None:
        self.problems: dict[Path, str] = {}
        self._days = DayStore(directory, retention_days)
        self._tidied: date | None = None
        self._heirs: dict[tuple[str, str], str] | None = None

    def close(self) -> None:
        """Let go of the files."""
        self._days.close()

    def append(self, points: Sequence[Point]) -> None:
        """Write points, and once a day drop what is too old. Raises StorageError; then nothing was written."""
        self._days.append(points)
        for day in {utc_day(point.at) for point in points}:
            self.problems.pop(self._days.path(day), None)
        self._tidy(max((point.at for point in points), default=None))

    def history(self, name: Meant, since: float, until: float) -> list[tuple[Float64s, Float64s]]:
        """Times and values of a signal by day, since <= at < until."""
        found, names = [], self._own(name)
        for day in self._stored():
            if utc_day(since) <= day <= utc_day(until):
                try:
                    for own in names:
                        points = self._days.history(day, own, since, until)
                        if points[0].size:
                            found.append(points)
                except StorageError as error:
                    self.problems[self._days.path(day)] = str(error)
        return found

    def newest(self, history_s: float, max_points: int) -> Trails:
        """The newest `history_s` of everything, at most a day's worth more than `max_points`; of several definitions of
        a signal, the one that was measured last stands last."""
        found: dict[Meant, list[tuple[Float64s, Float64s]]] = {}
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
        for name, parts in _with_heirs(found).items():
            at = np.concatenate([part[0] for part in parts])
            values = np.concatenate([part[1] for part in parts])
            # Stable, so that of two points of one time the later one stays the later one.
            order = np.argsort(at, kind="stable")
            kept = order[at[order] >= newest - history_s]
            trails[name] = at[kept], values[kept]
        return dict(sorted(trails.items(), key=lambda trail: trail[1][0][-1] if trail[1][0].size else -math.inf))

    def _own(self, name: Meant) -> tuple[Meant, ...]:
        """The names under which points of a signal are stored: also that of no definition, where it is the heir."""
        if self._heirs is None:
            self._heirs = {}
            for day in self._stored():
                try:
                    began = self._days.meanings(day)
                except StorageError as error:
                    self.problems[self._days.path(day)] = str(error)
                    continue
                for pool, signal, meaning in began:
                    if meaning:
                        self._heirs.setdefault((pool, signal), meaning)
        heir = self._heirs.setdefault(name[:2], name[2]) if name[2] else ""
        return ((*name[:2], ""), name) if name[2] and heir == name[2] else (name,)

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


def _with_heirs(found: dict[Meant, list[tuple[Float64s, Float64s]]]) -> dict[Meant, list[tuple[Float64s, Float64s]]]:
    """Points by day, oldest first, those of no definition put before those of the signal's first one."""
    began = {name: float(parts[-1][0][0]) for name, parts in found.items() if name[2]}
    made: dict[Meant, list[tuple[Float64s, Float64s]]] = {name: parts[::-1] for name, parts in found.items() if name[2]}
    for name in [name for name in found if not name[2]]:
        heirs = sorted((at, other) for other, at in began.items() if other[:2] == name[:2])
        heir = heirs[0][1] if heirs else name
        made[heir] = [*found[name][::-1], *made.get(heir, [])]
    return made
