"""The journal's record of what people did to a fleet: marks on instances, rolls, rollbacks; who, why and until when."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import replace
from typing import Protocol

import sqlalchemy as sa
from pydantic import TypeAdapter

from autoscaler.journal_schema import decisions, marks, rollbacks, rolls
from autoscaler.types import Mark, Roll, Undone

RETURN_S = 300.0
"""A mark that has ended is told for so long, so that what it held comes back though a tick or a restart was between."""
LOADED = 1000
"""Ended marks that are read at a start."""

MARK: TypeAdapter[Mark] = TypeAdapter(Mark)
ROLL: TypeAdapter[Roll] = TypeAdapter(Roll)
UNDONE: TypeAdapter[Undone] = TypeAdapter(Undone)

Connect = Callable[[], AbstractContextManager[sa.Connection]]


class Standing(Protocol):
    """What people have said of instances and pools, as a tick needs it."""

    def marks(self, now: float, pool: str = "") -> Sequence[Mark]:
        """Marks in force and those that ended within `RETURN_S`, oldest first; of one pool or of all."""
        ...

    def roll(self, pool: str) -> Roll | None:
        """The pool's roll, unless it was taken back."""
        ...


class Nothing:
    """Nobody has said anything; for back-tests."""

    def marks(self, now: float, pool: str = "") -> Sequence[Mark]:
        return ()

    def roll(self, pool: str) -> Roll | None:
        return None


class Operations:
    """Tables of one journal; `read` and `write` open transactions that raise StorageError. For any thread."""

    def __init__(self, read: Connect, write: Connect) -> None:
        self._read, self._write = read, write
        self._lock = threading.RLock()
        with read() as db:
            live = db.execute(sa.select(marks).where(marks.c.ended_at.is_(None)).order_by(marks.c.seq)).all()
            ended = sa.select(marks).where(marks.c.ended_at.is_not(None)).order_by(marks.c.seq.desc()).limit(LOADED)
            over = db.execute(ended).all()
            self._rolls = {
                row.pool: ROLL.validate_json(row.body)
                for row in db.execute(sa.select(rolls).where(rolls.c.ended_at.is_(None)).order_by(rolls.c.seq))
            }
        self._marks: dict[tuple[str, str], Mark] = {}
        for row in (*reversed(over), *live):
            mark = MARK.validate_json(row.body)
            until = mark.until if row.ended_at is None else min(mark.until, row.ended_at)
            self._marks[row.pool, row.instance] = replace(mark, until=until)

    # --- instances ----------------------------------------------------------------------------------------------

    def marks(self, now: float, pool: str = "") -> tuple[Mark, ...]:
        """Marks in force and those that ended within `RETURN_S`, oldest first; of one pool or of all."""
        with self._lock:
            self._marks = {key: m for key, m in self._marks.items() if m.until > now - RETURN_S}
            found = [m for m in self._marks.values() if pool in ("", m.pool)]
        return tuple(sorted(found, key=lambda m: (m.created_at, m.instance)))

    def put_mark(self, mark: Mark) -> None:
        """Writes a mark; it takes the place of one on the same instance."""
        with self._lock:
            with self._write() as db:
                ended = {"ended_at": mark.created_at, "ended_by": mark.author, "why": f"{mark.kind} takes its place"}
                db.execute(marks.update().where(_of(mark.pool, mark.instance)).values(**ended))
                body = MARK.dump_json(mark).decode()
                db.execute(marks.insert(), {"pool": mark.pool, "instance": mark.instance, "body": body})
            self._marks[mark.pool, mark.instance] = mark

    def end_mark(self, pool: str, instance: str, author: str, reason: str, at: float) -> Mark | None:
        """Ends the mark of an instance; returns it, None if there is none in force."""
        with self._lock:
            known = self._marks.get((pool, instance))
            if known is None or known.until <= at:
                return None
            with self._write() as db:
                ended = {"ended_at": at, "ended_by": author, "why": reason}
                db.execute(marks.update().where(_of(pool, instance)).values(**ended))
            self._marks[pool, instance] = replace(known, until=at)
            return known

    # --- pools --------------------------------------------------------------------------------------------------

    def roll(self, pool: str) -> Roll | None:
        """The pool's roll, unless it was taken back."""
        with self._lock:
            return self._rolls.get(pool)

    def put_roll(self, roll: Roll) -> None:
        """Writes a roll; it takes the place of the pool's last one."""
        with self._lock:
            with self._write() as db:
                ended = {"ended_at": roll.created_at, "ended_by": roll.author, "why": "another takes its place"}
                db.execute(rolls.update().where(_roll_of(roll.pool)).values(**ended))
                db.execute(rolls.insert(), {"pool": roll.pool, "id": roll.id, "body": ROLL.dump_json(roll).decode()})
            self._rolls[roll.pool] = roll

    def end_roll(self, pool: str, author: str, reason: str, at: float) -> bool:
        """Takes the pool's roll back; False if there is none."""
        with self._lock:
            if pool not in self._rolls:
                return False
            with self._write() as db:
                ended = {"ended_at": at, "ended_by": author, "why": reason}
                db.execute(rolls.update().where(_roll_of(pool)).values(**ended))
            del self._rolls[pool]
            return True

    def put_undone(self, undone: Undone) -> None:
        """Writes a rollback."""
        body = UNDONE.dump_json(undone).decode()
        row = {"pool": undone.pool, "at": undone.at, "decision": undone.decision, "body": body}
        with self._lock, self._write() as db:
            db.execute(rollbacks.insert(), row)

    def first_decision(self, pool: str) -> tuple[int, float] | None:
        """Number and time of the oldest decision of a pool."""
        query = sa.select(decisions.c.number, decisions.c.at).where(decisions.c.pool == pool)
        with self._read() as db:
            row = db.execute(query.order_by(decisions.c.number).limit(1)).one_or_none()
        return None if row is None else (row.number, row.at)

    def undone(self, pool: str, limit: int = 20) -> tuple[Undone, ...]:
        """The pool's rollbacks, newest first."""
        query = sa.select(rollbacks.c.body).where(rollbacks.c.pool == pool).order_by(rollbacks.c.seq.desc())
        with self._read() as db:
            return tuple(UNDONE.validate_json(row.body) for row in db.execute(query.limit(limit)))


def _of(pool: str, instance: str) -> sa.ColumnElement[bool]:
    return sa.and_(marks.c.pool == pool, marks.c.instance == instance, marks.c.ended_at.is_(None))


def _roll_of(pool: str) -> sa.ColumnElement[bool]:
    return sa.and_(rolls.c.pool == pool, rolls.c.ended_at.is_(None))
