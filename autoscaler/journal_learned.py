"""The journal's lessons: what the worker learned, each version a row; the newest one of each is what is known."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from typing import Protocol

import sqlalchemy as sa

from autoscaler.journal_schema import learned

KEPT = 20
"""Versions of one value that are kept: enough to look up what the last decisions used, and a bound on the table."""


@dataclass(frozen=True, slots=True)
class Lesson:
    """One version of one learned value. pool "" = it is of no single pool. body: JSON that only its writer reads."""

    pool: str
    kind: str
    key: str
    version: str
    at: float
    body: str


class Notebook(Protocol):
    """Where lessons are written; the journal is one."""

    def lessons(self) -> Sequence[Lesson]:
        """The last version of every value, in the order in which they were written."""
        ...

    def teach(self, lessons: Sequence[Lesson]) -> None:
        """Keep all of them, or raise StorageError and keep none."""
        ...


class Unread:
    """A notebook that nobody reads, for back-tests: it keeps nothing."""

    def lessons(self) -> Sequence[Lesson]:
        return ()

    def teach(self, lessons: Sequence[Lesson]) -> None:
        return


def write(db: sa.Connection, lessons: Iterable[Lesson]) -> None:
    """Adds versions and drops the oldest of the same values."""
    rows = [asdict(lesson) for lesson in lessons]
    if not rows:
        return
    db.execute(learned.insert(), rows)
    for pool, kind, key in sorted({(r["pool"], r["kind"], r["key"]) for r in rows}):
        same = sa.and_(learned.c.pool == pool, learned.c.kind == kind, learned.c.key == key)
        last = sa.select(learned.c.seq).where(same).order_by(learned.c.seq.desc()).offset(KEPT).limit(1)
        db.execute(learned.delete().where(same, learned.c.seq <= last.scalar_subquery()))


def newest(db: sa.Connection) -> tuple[Lesson, ...]:
    """The last version of every value, in the order in which they were written."""
    last = sa.select(sa.func.max(learned.c.seq)).group_by(learned.c.pool, learned.c.kind, learned.c.key)
    query = sa.select(learned).where(learned.c.seq.in_(last)).order_by(learned.c.seq)
    return tuple(_lesson(row) for row in db.execute(query))


def versions(db: sa.Connection, pool: str, kind: str, key: str) -> tuple[Lesson, ...]:
    """The versions of one value that are kept, newest first."""
    same = sa.and_(learned.c.pool == pool, learned.c.kind == kind, learned.c.key == key)
    return tuple(_lesson(row) for row in db.execute(sa.select(learned).where(same).order_by(learned.c.seq.desc())))


def _lesson(row: sa.Row[tuple[object, ...]]) -> Lesson:
    return Lesson(row.pool, row.kind, row.key, row.version, row.at, row.body)
