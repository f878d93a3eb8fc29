"""How the journal's database is opened: SQLite with every commit on disk, or in memory for a simulation."""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa
from sqlalchemy.pool import StaticPool


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
