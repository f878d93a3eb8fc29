"""The journal: decisions, intents, outcomes, overrides, memory and what was learned, in one database.

An action is in here before it is done, and one tick is one transaction. Writes are serialised, readers are not.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa
from pydantic import TypeAdapter

from autoscaler import journal_changes, journal_learned
from autoscaler.journal_alerts import Notified
from autoscaler.journal_changes import Change
from autoscaler.journal_database import Database
from autoscaler.journal_learned import Lesson
from autoscaler.journal_operations import Operations
from autoscaler.journal_past import PastDecisions
from autoscaler.journal_requests import Requests
from autoscaler.journal_schema import (
    SCHEMA_VERSION,
    decisions,
    intents,
    learned,
    marks,
    memories,
    messages,
    meta,
    migrate,
    outcomes,
    overrides,
    rollbacks,
    rolls,
    silences,
    told,
)
from autoscaler.types import Action, Decision, Memory, Outcome, Override, Plan

KEEP_UNCHANGED_S = 300.0
"""A decision that repeats the one before is written at least this often, so that silence can be told from absence."""

ASKED_AT_ONCE = 500
"""Values in one query; databases take some thousands."""

DECISION: TypeAdapter[Decision] = TypeAdapter(Decision)
PLAN: TypeAdapter[Plan] = TypeAdapter(Plan)
ACTION: TypeAdapter[Action] = TypeAdapter(Action)
OUTCOME: TypeAdapter[Outcome] = TypeAdapter(Outcome)
OVERRIDE: TypeAdapter[Override] = TypeAdapter(Override)
MEMORY: TypeAdapter[Memory] = TypeAdapter(Memory)


@dataclass(frozen=True, slots=True)
class Entry:
    """What one tick of one pool leaves behind: its decision and plan, the outcomes that it saw, its memory after."""

    decision: Decision
    plan: Plan
    outcomes: tuple[Outcome, ...]
    memory: Memory


class Journal:
    """Raises StorageError, which names the database and the next step; after one, nothing of that tick is stored."""

    def __init__(self, url: str = "sqlite://") -> None:
        self.url = url
        self._db = Database(url)
        self._lock = self._db.lock
        self._written: dict[str, tuple[tuple[object, ...], float]] = {}
        with self._db.opening() as db:
            migrate(db)
            self._open = {row.id: ACTION.validate_json(row.body) for row in db.execute(_open_intents())}
            live = sa.select(overrides).where(overrides.c.ended_at.is_(None))
            self._overrides = {(r.pool, r.id): OVERRIDE.validate_json(r.body) for r in db.execute(live)}
        self.operations = Operations(self._db.reading, self._db.writing)
        self.past = PastDecisions(self._db.reading)
        self.notified = Notified(self._db.reading, self._db.writing)
        self.requests = Requests(self._db.writing)

    # --- the tick -----------------------------------------------------------------------------------------------

    def load(self) -> dict[str, Memory]:
        """The last memory of every pool."""
        with self._db.reading() as db:
            return {r.pool: MEMORY.validate_json(r.body) for r in db.execute(sa.select(memories))}

    def record(self, entries: Sequence[Entry]) -> None:
        """One transaction: all decisions worth a row, all intents, outcomes and memories of a pass of the loop."""
        rows = [self._decision_row(e) for e in entries if self._worth(e)]
        ordered = [(e, a) for e in entries for a in e.plan.actions]
        seen = [o for e in entries for o in e.outcomes]
        with self._lock:
            with self._db.writing() as db:
                _insert(db, decisions, rows)
                _insert(db, intents, [_intent_row(e, a) for e, a in ordered])
                _insert(db, outcomes, [_outcome_row(o) for o in seen])
                ended = [o.action for o in seen if o.final]
                if ended:
                    db.execute(intents.update().where(intents.c.id.in_(ended)).values(open=False))
                for e in entries:
                    body = MEMORY.dump_json(e.memory).decode()
                    db.execute(_upsert_memory(), {"pool": e.decision.pool, "number": e.memory.number, "body": body})
            for e in entries:
                if self._worth(e):
                    self._written[e.decision.pool] = (_signature(e), e.decision.at)
            self._open |= {a.id: a for _, a in ordered}
            for action in ended:
                self._open.pop(action, None)

    def open_intents(self) -> tuple[Action, ...]:
        """Actions whose end has not been seen, in the order in which they were journalled."""
        with self._lock:
            return tuple(self._open.values())

    def _worth(self, entry: Entry) -> bool:
        before = self._written.get(entry.decision.pool)
        changed = before is None or before[0] != _signature(entry) or bool(entry.plan.actions)
        return changed or entry.decision.at - before[1] >= KEEP_UNCHANGED_S  # type: ignore[index]

    def _decision_row(self, entry: Entry) -> dict[str, Any]:
        d = entry.decision
        body, planned = DECISION.dump_json(d).decode(), PLAN.dump_json(entry.plan).decode()
        return {"pool": d.pool, "number": d.number, "at": d.at, "want": d.want, "body": body, "plan": planned}

    # --- looking back -------------------------------------------------------------------------------------------

    def decisions(
        self,
        pool: str,
        since: float | None = None,
        until: float | None = None,
        before: int | None = None,
        limit: int = 100,
    ) -> list[Decision]:
        """Journalled decisions, newest first; `before` is a decision number, for paging."""
        query = sa.select(decisions.c.body).where(decisions.c.pool == pool)
        if since is not None:
            query = query.where(decisions.c.at >= since)
        if until is not None:
            query = query.where(decisions.c.at < until)
        if before is not None:
            query = query.where(decisions.c.number < before)
        query = query.order_by(decisions.c.number.desc()).limit(limit)
        with self._db.reading() as db:
            return [DECISION.validate_json(row.body) for row in db.execute(query)]

    def decision(self, pool: str, number: int) -> Decision | None:
        """One decision, if it was worth a row of its own."""
        row = self._row(pool, number)
        return DECISION.validate_json(row.body) if row is not None else None

    def plan(self, pool: str, number: int) -> Plan | None:
        """The plan that belongs to a journalled decision."""
        row = self._row(pool, number)
        return PLAN.validate_json(row.plan) if row is not None else None

    def _row(self, pool: str, number: int) -> sa.Row[Any] | None:
        query = sa.select(decisions).where(decisions.c.pool == pool, decisions.c.number == number)
        with self._db.reading() as db:
            return db.execute(query).one_or_none()

    def changes(
        self, pools: Collection[str], since: float = 0.0, until: float = math.inf, limit: int = 100
    ) -> tuple[Change, ...]:
        """Decisions of these pools that changed a size, newest first."""
        with self._db.reading() as db:
            found = [c for pool in pools for c in journal_changes.changes(db, pool, since, until, limit)]
        return tuple(sorted(found, key=lambda c: (c.at, c.pool), reverse=True)[:limit])

    def outcomes(self, pool: str, limit: int = 100) -> list[Outcome]:
        """Outcomes, newest first."""
        query = sa.select(outcomes.c.body).where(outcomes.c.pool == pool)
        query = query.order_by(outcomes.c.seq.desc()).limit(limit)
        with self._db.reading() as db:
            return [OUTCOME.validate_json(row.body) for row in db.execute(query)]

    def launches(self, actions: Collection[str]) -> dict[str, str]:
        """The pools that actions were ordered for, by action, of those that this journal knows."""
        wanted, found = sorted(actions), dict[str, str]()
        with self._db.reading() as db:
            for first in range(0, len(wanted), ASKED_AT_ONCE):
                some = intents.c.id.in_(wanted[first : first + ASKED_AT_ONCE])
                found |= {row.id: row.pool for row in db.execute(sa.select(intents.c.id, intents.c.pool).where(some))}
        return found

    def dump(self) -> Iterator[str]:
        """Every row as text, in order: equal journals give equal lines."""
        tables = (decisions, intents, outcomes, overrides, memories, learned, marks, rolls, rollbacks, silences)
        with self._db.reading() as db:
            for table in (*tables, messages, told):
                for row in db.execute(sa.select(table).order_by(*table.primary_key.columns)):
                    yield f"{table.name} {tuple(row)!r}"

    # --- overrides ----------------------------------------------------------------------------------------------

    def overrides(self, now: float) -> tuple[Override, ...]:
        """Overrides in force at `now`, oldest first."""
        with self._lock:
            # What is over stays over, even if the clock goes back, and takes no room.
            self._overrides = {key: o for key, o in self._overrides.items() if o.until > now}
            live = self._overrides.values()
            return tuple(sorted(live, key=lambda o: (o.created_at, o.id)))

    def put_override(self, override: Override) -> None:
        """Writes an override; one with the same pool and id is replaced."""
        body = OVERRIDE.dump_json(override).decode()
        key = sa.and_(overrides.c.pool == override.pool, overrides.c.id == override.id, overrides.c.ended_at.is_(None))
        with self._lock:
            with self._db.writing() as db:
                replaced = {"ended_at": override.created_at, "ended_by": override.author, "why": "replaced"}
                db.execute(overrides.update().where(key).values(**replaced))
                db.execute(overrides.insert(), {"pool": override.pool, "id": override.id, "body": body})
            self._overrides[override.pool, override.id] = override

    def end_override(self, pool: str, name: str, author: str, reason: str, at: float) -> bool:
        """Ends an override before its time; False if there is none of that name."""
        key = sa.and_(overrides.c.pool == pool, overrides.c.id == name, overrides.c.ended_at.is_(None))
        with self._lock:
            if (pool, name) not in self._overrides:
                return False
            with self._db.writing() as db:
                db.execute(overrides.update().where(key).values(ended_at=at, ended_by=author, why=reason))
            del self._overrides[pool, name]
            return True

    # --- what the worker learned --------------------------------------------------------------------------------

    def teach(self, lessons: Sequence[Lesson]) -> None:
        """One transaction of its own: new versions of learned values; the oldest of the same values are dropped."""
        with self._db.writing() as db:
            journal_learned.write(db, lessons)

    def lessons(self) -> tuple[Lesson, ...]:
        """The last version of every learned value, in the order in which they were written."""
        with self._db.reading() as db:
            return journal_learned.newest(db)

    def versions(self, pool: str, kind: str, key: str) -> tuple[Lesson, ...]:
        """The versions of one learned value that are kept, newest first."""
        with self._db.reading() as db:
            return journal_learned.versions(db, pool, kind, key)

    # --- the database -------------------------------------------------------------------------------------------

    def check(self) -> None:
        """Raises StorageError when the database cannot be written now; changes nothing."""
        with self._db.trying() as db:
            db.execute(meta.update().values(version=SCHEMA_VERSION))

    def close(self) -> None:
        """Releases the database; the journal cannot be used afterwards."""
        self._db.close()


def _signature(entry: Entry) -> tuple[object, ...]:
    return (*entry.decision.signature, tuple((r.source, r.replicas) for r in entry.plan.reasons))


def _open_intents() -> sa.Select[Any]:
    return sa.select(intents.c.id, intents.c.body).where(intents.c.open).order_by(intents.c.seq)


def _insert(db: sa.Connection, table: sa.Table, rows: Sequence[Mapping[str, Any]]) -> None:
    if rows:
        db.execute(table.insert(), list(rows))


def _intent_row(entry: Entry, action: Action) -> dict[str, Any]:
    body = ACTION.dump_json(action).decode()
    return {"id": action.id, "pool": action.pool, "at": action.at, "decision": entry.decision.number, "body": body}


def _outcome_row(outcome: Outcome) -> dict[str, Any]:
    body = OUTCOME.dump_json(outcome).decode()
    return {"action": outcome.action, "pool": outcome.pool, "at": outcome.at, "status": outcome.status, "body": body}


def _upsert_memory() -> sa.TextClause:
    return sa.text(
        "insert into memories (pool, number, body) values (:pool, :number, :body) "
        "on conflict (pool) do update set number = excluded.number, body = excluded.body"
    )


__all__ = ["SCHEMA_VERSION", "Entry", "Journal", "Lesson"]
