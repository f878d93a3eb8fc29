"""The journal's memory of requests with an idempotency key: what was asked, and what the answer was."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass

import sqlalchemy as sa

from autoscaler.journal_schema import requests

KEPT_S = 86400.0
"""A client that asks again does so within minutes; a day covers a night of somebody's script."""

MAX_KEPT = 10_000
"""Requests that are remembered, the newest ones."""

Connect = Callable[[], AbstractContextManager[sa.Connection]]


@dataclass(frozen=True, slots=True)
class Remembered:
    """A request that was begun. asked: hash of what it said. status 0: it has not ended, or nobody lived to say how."""

    asked: str
    status: int
    media_type: str = ""
    body: bytes = b""


class Requests:
    """A table of one journal; `write` opens transactions that raise StorageError. For any thread."""

    def __init__(self, write: Connect) -> None:
        self._write = write

    def begin(self, key: str, asked: str, now: float) -> Remembered | None:
        """Notes that a request is begun; returns the one that had this key before, None when there was none.

        key: the key together with whose it is. What is too old, or too much, is forgotten here.
        """
        mine = requests.c.key == key
        with self._write() as db:
            db.execute(requests.delete().where(requests.c.at <= now - KEPT_S))
            row = db.execute(sa.select(requests).where(mine)).one_or_none()
            if row is not None:
                return Remembered(row.asked, row.status, row.media_type, row.body.encode())
            db.execute(requests.insert(), {"key": key, "at": now, "asked": asked, "status": 0})
            newest = sa.select(requests.c.seq).order_by(requests.c.seq.desc()).limit(1).offset(MAX_KEPT)
            db.execute(requests.delete().where(requests.c.seq <= newest.scalar_subquery()))
        return None

    def finish(self, key: str, status: int, media_type: str, body: bytes) -> None:
        """Keeps the answer to a request that was begun."""
        answer = {"status": status, "media_type": media_type, "body": body.decode()}
        with self._write() as db:
            db.execute(requests.update().where(requests.c.key == key).values(**answer))

    def forget(self, key: str) -> None:
        """The request changed nothing, so that it may be sent again."""
        with self._write() as db:
            db.execute(requests.delete().where(requests.c.key == key))
