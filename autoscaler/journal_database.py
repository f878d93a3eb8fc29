"""The journal's database: SQLite with every commit on disk, or in memory for a simulation; one writer, many readers."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import sqlalchemy as sa
from pydantic import ValidationError
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.pool import StaticPool

from autoscaler.errors import StorageError


class Database:
    """Raises StorageError, which names the database and the next step; after one, nothing of a write is stored."""

    def __init__(self, url: str) -> None:
        self.url = url
        self.lock = threading.RLock()
        self.engine = open_database(url)
        self._writer = self.engine.execution_options(write=True)
        self._file: tuple[int, int] | None = None

    @contextmanager
    def opening(self) -> Iterator[sa.Connection]:
        """The first transaction, which may make the file."""
        with self._errors("open"), self._writer.begin() as db:
            yield db
        self._file = self._identity()

    @contextmanager
    def reading(self) -> Iterator[sa.Connection]:
        """A connection to read with."""
        with self._errors("read"), self._reader() as db:
            yield db

    @contextmanager
    def writing(self) -> Iterator[sa.Connection]:
        """One transaction, with the lock of the writers."""
        with self.lock, self._same_file(), self._errors("write"), self._writer.begin() as db:
            yield db

    @contextmanager
    def trying(self) -> Iterator[sa.Connection]:
        """A transaction that is undone: whether the database could be written now."""
        with self.lock, self._same_file(), self._errors("write"), self.engine.connect() as db:
            yield db
            db.rollback()

    def close(self) -> None:
        """Releases the database, which cannot be used afterwards."""
        self.engine.dispose()

    @contextmanager
    def _reader(self) -> Iterator[sa.Connection]:
        # A database in memory has one connection, which the writer uses too.
        if self.url == "sqlite://":
            with self.lock, self.engine.connect() as db:
                yield db
        else:
            with self.engine.connect() as db:
                yield db

    def _identity(self) -> tuple[int, int] | None:
        """Which file is at the path of the database; None = none, or no file at all."""
        path = self.engine.url.database if self.engine.url.get_backend_name() == "sqlite" else None
        try:
            found = os.stat(path) if path and path != ":memory:" else None
        except OSError:
            return None
        return (found.st_dev, found.st_ino) if found else None

    @contextmanager
    def _same_file(self) -> Iterator[None]:
        # SQLite goes on writing to a deleted file: every write succeeds and nothing of it is there after a restart.
        if self._file != self._identity():
            rule = "its file was deleted or replaced while it was open"
            hint = "put it back or restart the service; nothing is launched or removed until then"
            raise StorageError(f"journal {self.url}: cannot write: {rule}; {hint}")
        yield

    @contextmanager
    def _errors(self, verb: str) -> Iterator[None]:
        try:
            yield
        except SQLAlchemyError as error:
            cause = getattr(error, "orig", None) or error
            hint = (
                "check that the folder exists, is writable and has space; nothing is launched or removed until it does"
            )
            raise StorageError(f"journal {self.url}: cannot {verb}: {cause}; {hint}") from error
        except ValidationError as error:
            what = f"a row holds no {error.title} ({error.error_count()} faults)"
            hint = "put the file back from a backup, or start with another data folder and let it adopt the fleet"
            raise StorageError(f"journal {self.url}: cannot {verb}: {what}; {hint}") from error


def open_database(url: str) -> sa.Engine:
    """The engine of a database. Connections with the option `write` take the write lock when they begin."""
    if url == "sqlite://":
        return sa.create_engine(url, poolclass=StaticPool, connect_args={"check_same_thread": False})
    engine = sa.create_engine(url, connect_args={"timeout": 5.0} if url.startswith("sqlite") else {})
    if url.startswith("sqlite"):

        @sa.event.listens_for(engine, "connect")
        def _settings(connection: Any, _record: Any) -> None:
            connection.isolation_level = None
            for pragma in ("journal_mode=WAL", "synchronous=FULL", "foreign_keys=ON"):
                connection.execute(f"PRAGMA {pragma}")

        @sa.event.listens_for(engine, "begin")
        def _begin(connection: sa.Connection) -> None:
            connection.exec_driver_sql(
                "BEGIN IMMEDIATE" if connection.get_execution_options().get("write") else "BEGIN"
            )

    return engine
