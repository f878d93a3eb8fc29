"""Pool signals on disk: one DuckDB file for each UTC day, dropped whole when it is too old.

A file that is open for writing is locked against every other process; only days before today may be read from outside.
"""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from threading import Lock
from typing import TYPE_CHECKING

import numpy as np

from autoscaler.errors import StorageError
from autoscaler.store.aggregate import Float64s

if TYPE_CHECKING:
    import duckdb

_NAME = re.compile(r"pool-signals-(\d{4}-\d{2}-\d{2})\.duckdb")
# DuckDB's defaults take all cores and 80 % of the memory, and fetch unknown extensions from the network.
_SETTINGS: dict[str, str | bool | int | float | list[str]] = {
    "threads": 1,
    "memory_limit": "256MB",
    "autoinstall_known_extensions": False,
    "autoload_known_extensions": False,
    "checkpoint_threshold": "64MB",
}
# `at` is a reserved word of DuckDB.
_TABLE = """CREATE TABLE IF NOT EXISTS points
    (pool VARCHAR, signal VARCHAR, "at" DOUBLE, value DOUBLE, quality UTINYINT)"""
# Older files do not say what was measured.
_COLUMN = "ALTER TABLE points ADD COLUMN IF NOT EXISTS definition VARCHAR"
_HAS_COLUMN = "SELECT count(*) FROM duckdb_columns() WHERE table_name = 'points' AND column_name = 'definition'"
_INSERT = """INSERT INTO points (pool, signal, "at", value, quality, definition)
    SELECT pool, signal, "at", value, quality, definition FROM rows"""


@dataclass(frozen=True, slots=True)
class Point:
    """One value of a pool signal as it is stored; NaN is stored as NULL. `quality` is a code, see `poolhistory`.

    definition: the fingerprint of what was measured, empty = not known.
    """

    pool: str
    signal: str
    at: float
    value: float
    quality: int
    definition: str = ""


Meant = tuple[str, str, str]
"""Pool, signal and definition."""


class DayStore:
    """Day files of one folder. Every method may be called from any thread and raises StorageError.

    A failed write leaves nothing of it behind: each file gets its points in one transaction.
    """

    def __init__(self, directory: Path, retention_days: int) -> None:
        self.directory = directory
        self.retention_days = retention_days
        self._lock = Lock()
        self._today: tuple[Path, duckdb.DuckDBPyConnection] | None = None

    def append(self, points: Sequence[Point]) -> None:
        """Write points, the oldest day first. Of a point that is written again, the later one counts.

        When a day fails, the days before it are written; writing them again does no harm.
        """
        by_day: dict[date, list[Point]] = {}
        for point in points:
            by_day.setdefault(utc_day(point.at), []).append(point)
        with self._lock:
            for day in sorted(by_day):
                self._write(self.path(day), by_day[day])

    def path(self, day: date) -> Path:
        """The file of a day."""
        return self.directory / f"pool-signals-{day.isoformat()}.duckdb"

    def days(self) -> tuple[date, ...]:
        """Days that have a file, oldest first."""
        try:
            names = [_NAME.fullmatch(path.name) for path in self.directory.iterdir()]
        except FileNotFoundError:
            return ()
        except OSError as error:
            raise StorageError(
                f"{self.directory}: cannot be listed: {error.strerror}; check the data folder"
            ) from error
        return tuple(sorted(date.fromisoformat(name[1]) for name in names if name))

    def read(self, day: date, since: float) -> dict[Meant, tuple[Float64s, Float64s]]:
        """All points of a day from `since`, by what they measure: times ascending, values."""
        sizes = """SELECT pool, signal, {meaning}, count(*) FROM points WHERE "at" >= ? GROUP BY ALL
            ORDER BY pool, signal, {meaning}"""
        columns = """SELECT "at", value FROM points WHERE "at" >= ? ORDER BY pool, signal, {meaning}, "at", rowid"""
        with self._lock:
            rows, arrays = self._query(day, (sizes, (since,)), (columns, (since,)))
        found, start = {}, 0
        for pool, signal, definition, count in rows:
            block = slice(start, start + count)
            found[pool, signal, definition] = _latest(arrays[0][block], arrays[1][block])
            start += count
        return found

    def history(self, day: date, name: Meant, since: float, until: float) -> tuple[Float64s, Float64s]:
        """Points of one signal and day with since <= at < until: times ascending, values with NaN for gaps."""
        columns = """SELECT "at", value FROM points WHERE pool = ? AND signal = ? AND {meaning} = ? AND "at" >= ?
            AND "at" < ? ORDER BY "at", rowid"""
        with self._lock:
            return _latest(*self._query(day, None, (columns, (*name, since, until)))[1])

    def meanings(self, day: date) -> list[Meant]:
        """What was measured on a day, in the order in which it began."""
        text = 'SELECT pool, signal, {meaning}, 0 FROM points GROUP BY ALL ORDER BY min("at")'
        nothing = 'SELECT "at", value FROM points LIMIT 0'
        with self._lock:
            rows, _ = self._query(day, (text, ()), (nothing, ()))
        return [(pool, signal, definition) for pool, signal, definition, _ in rows]

    def retain(self, newest: date) -> None:
        """Drop the files of days that are too old; deleting a file frees its space, deleting rows would not."""
        with self._lock:
            for day in self.days():
                if day <= newest - timedelta(days=self.retention_days):
                    self._drop(self.path(day))

    def close(self) -> None:
        """Checkpoint and let go of today's file."""
        with self._lock:
            self._close()

    def _write(self, path: Path, points: list[Point]) -> None:
        import duckdb

        rows = {
            "pool": np.array([point.pool for point in points], object),
            "signal": np.array([point.signal for point in points], object),
            "at": np.array([point.at for point in points]),
            "value": np.array([point.value for point in points]),
            "quality": np.array([point.quality for point in points], np.uint8),
            "definition": np.array([point.definition for point in points], object),
        }
        try:
            connection = self._open(path)
            connection.begin()
            connection.register("rows", rows)
            connection.execute(_INSERT)
            connection.unregister("rows")
            connection.commit()
        except (duckdb.Error, OSError) as error:
            # After an input or output error DuckDB refuses all further work on a connection, so it is opened anew.
            self._discard()
            raise _storage_error(path, error) from error

    def _open(self, path: Path) -> duckdb.DuckDBPyConnection:
        import duckdb

        if self._today is not None and self._today[0] == path:
            return self._today[1]
        self._close()
        self.directory.mkdir(parents=True, exist_ok=True)
        connection = duckdb.connect(str(path), config=_SETTINGS)
        self._today = (path, connection)
        connection.execute(_TABLE)
        connection.execute(_COLUMN)
        return connection

    def _query(
        self,
        day: date,
        rows: tuple[str, tuple[object, ...]] | None,
        columns: tuple[str, tuple[object, ...]],
    ) -> tuple[list[tuple[str, str, str, int]], tuple[Float64s, Float64s]]:
        """The answers to two queries, in which {meaning} stands for the definition of a point."""
        import duckdb

        path = self.path(day)
        ours = self._today is not None and self._today[0] == path
        connection: duckdb.DuckDBPyConnection | None = None
        try:
            if self._today is not None and ours:
                connection = self._today[1].cursor()
            else:
                connection = duckdb.connect(str(path), read_only=True, config=_SETTINGS)
            known = connection.execute(_HAS_COLUMN).fetchone() == (1,)
            # DuckDB orders by no constant, so the empty text of files without the column is a part of another one.
            meaning = "coalesce(definition, '')" if known else "substr(pool, 1, 0)"
            found = []
            if rows is not None:
                found = connection.execute(rows[0].format(meaning=meaning), list(rows[1])).fetchall()
            arrays = connection.execute(columns[0].format(meaning=meaning), list(columns[1])).fetchnumpy()
            return found, (_filled(arrays["at"]), _filled(arrays["value"]))
        except duckdb.Error as error:
            raise _storage_error(path, error) from error
        finally:
            if connection is not None:
                connection.close()

    def _drop(self, path: Path) -> None:
        try:
            path.unlink(missing_ok=True)
            path.with_name(path.name + ".wal").unlink(missing_ok=True)
        except OSError as error:
            raise StorageError(f"{path}: too old, but cannot be deleted: {error.strerror}; delete it") from error

    def _close(self) -> None:
        import duckdb

        if self._today is None:
            return
        (path, connection), self._today = self._today, None
        try:
            connection.close()
        except duckdb.Error as error:
            raise _storage_error(path, error) from error

    def _discard(self) -> None:
        """Let go of a connection that failed, whatever it says."""
        import contextlib

        import duckdb

        with contextlib.suppress(duckdb.Error):
            if self._today is not None:
                self._today[1].close()
        self._today = None


def utc_day(at: float) -> date:
    """The UTC day that an instant belongs to."""
    return datetime.fromtimestamp(at, UTC).date()


def _filled(column: Float64s | np.ma.MaskedArray[tuple[int], np.dtype[np.float64]]) -> Float64s:
    """A column with NaN where the file has NULL."""
    if isinstance(column, np.ma.MaskedArray):
        return np.asarray(column.filled(math.nan), np.float64)
    return column


def _latest(at: Float64s, values: Float64s) -> tuple[Float64s, Float64s]:
    """Of points with the same time, which stand beside each other, the last one."""
    keep = np.append(at[1:] != at[:-1], True)[: at.size]
    return at[keep], values[keep]


def _storage_error(path: Path, error: Exception) -> StorageError:
    """What refused, and what a person can do about it."""
    text = str(error).splitlines()[0].removeprefix("IO Error: ")
    low = text.lower()
    if "set lock" in low:
        step = "stop the other process or give this one a data folder of its own"
    elif "not a valid duckdb" in low or "read enough bytes" in low or "corrupt" in low or "checksum" in low:
        step = "the file is damaged: move it away, a new one is started"
    elif "no space" in low or "file too large" in low or "write" in low:
        step = "free disk space or point the data folder at another disk"
    elif "permission" in low or "read-only" in low or "read only" in low:
        step = "make the data folder writable or choose another one"
    else:
        step = "check the data folder and its disk"
    return StorageError(f"{path}: {text}; {step}; meanwhile the store goes on in memory")
