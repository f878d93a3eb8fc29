"""The journal's record of what people are told: silences, messages on their way, and what receivers were last told."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Sequence
from contextlib import AbstractContextManager
from dataclasses import replace

import sqlalchemy as sa
from pydantic import TypeAdapter

from autoscaler.errors import InputError
from autoscaler.journal_schema import messages, silences, told
from autoscaler.types import Message, MessageState, Silence, Told

MAX_SILENCES = 500
"""Silences that are not over. Each is compared with every alert, and nobody keeps more in mind."""
KEPT_ENDED = 500
"""Silences that are over and still shown."""
MAX_MESSAGES = 20_000
"""Messages that are kept, the newest ones; those that wait are bounded by their receivers."""
KEPT_S = 30 * 86400.0
"""How long a message that is done with is kept."""

SILENCE: TypeAdapter[Silence] = TypeAdapter(Silence)
MESSAGE: TypeAdapter[Message] = TypeAdapter(Message)
TOLD: TypeAdapter[Told] = TypeAdapter(Told)

Connect = Callable[[], AbstractContextManager[sa.Connection]]


class Notified:
    """Tables of one journal; `read` and `write` open transactions that raise StorageError. For any thread."""

    def __init__(self, read: Connect, write: Connect) -> None:
        self._read, self._write = read, write
        self._lock = threading.RLock()
        with read() as db:
            query = sa.select(silences.c.body).order_by(silences.c.ends_at.desc()).limit(MAX_SILENCES + KEPT_ENDED)
            found = [SILENCE.validate_json(row.body) for row in db.execute(query)]
        self._silences = {s.id: s for s in found}

    # --- silences -----------------------------------------------------------------------------------------------

    def silences(self, now: float) -> tuple[Silence, ...]:
        """Silences in force and to come, then those that are over; each the oldest first."""
        with self._lock:
            known = tuple(self._silences.values())
        return tuple(sorted(known, key=lambda s: (s.ends_at <= now, s.created_at, s.id)))

    def put_silence(self, silence: Silence) -> None:
        """Writes a silence. Raises InputError when there are too many."""
        now = silence.created_at
        with self._lock:
            live = sum(s.ends_at > now for s in self._silences.values())
            if live >= MAX_SILENCES:
                raise InputError(f"{live} silences are in force or to come, which is the limit; end some of them first")
            over = sorted((s for s in self._silences.values() if s.ends_at <= now), key=lambda s: s.ends_at)
            gone = [s.id for s in over[: max(0, len(over) - KEPT_ENDED)]]
            body = SILENCE.dump_json(silence).decode()
            with self._write() as db:
                if gone:
                    db.execute(silences.delete().where(silences.c.id.in_(gone)))
                db.execute(silences.insert(), {"id": silence.id, "ends_at": silence.ends_at, "body": body})
            for name in gone:
                del self._silences[name]
            self._silences[silence.id] = silence

    def end_silence(self, name: str, author: str, at: float) -> Silence | None:
        """Ends a silence before its time; returns it, None if there is none of that id that is not over."""
        with self._lock:
            known = self._silences.get(name)
            if known is None or known.ends_at <= at:
                return None
            ended = replace(known, starts_at=min(known.starts_at, at), ends_at=at, ended_by=author)
            body = SILENCE.dump_json(ended).decode()
            with self._write() as db:
                db.execute(silences.update().where(silences.c.id == name).values(ends_at=at, body=body))
            self._silences[name] = ended
            return ended

    # --- messages -----------------------------------------------------------------------------------------------

    def tell(self, new: Sequence[Message], now_told: Iterable[Told], forgotten: Iterable[tuple[str, str]]) -> None:
        """One transaction: messages that are to be sent, and what their receivers then were told."""
        with self._write() as db:
            for one in new:
                db.execute(_PUT, _row(one))
            for t in now_told:
                db.execute(_TOLD, {"receiver": t.receiver, "key": t.key, "body": TOLD.dump_json(t).decode()})
            for receiver, key in forgotten:
                db.execute(told.delete().where(told.c.receiver == receiver, told.c.key == key))

    def settle(self, some: Sequence[Message]) -> None:
        """What became of messages; those that the journal does not have yet are written."""
        with self._write() as db:
            for one in some:
                db.execute(_PUT, _row(one))

    def waiting(self) -> tuple[Message, ...]:
        """Messages that were neither delivered nor given up, in the order in which they were made."""
        query = sa.select(messages.c.body).where(messages.c.state == "waiting").order_by(messages.c.seq)
        with self._read() as db:
            return tuple(MESSAGE.validate_json(row.body) for row in db.execute(query))

    def told(self) -> tuple[Told, ...]:
        """What every receiver was last told of every group."""
        with self._read() as db:
            rows = db.execute(sa.select(told.c.body).order_by(told.c.receiver, told.c.key))
            return tuple(TOLD.validate_json(row.body) for row in rows)

    def messages(
        self, receiver: str = "", state: MessageState | None = None, before: int | None = None, limit: int = 100
    ) -> list[tuple[int, Message]]:
        """Messages with their numbers in the journal, newest first; `before` is such a number, for paging."""
        query = sa.select(messages.c.seq, messages.c.body).order_by(messages.c.seq.desc()).limit(limit)
        if receiver:
            query = query.where(messages.c.receiver == receiver)
        if state is not None:
            query = query.where(messages.c.state == state)
        if before is not None:
            query = query.where(messages.c.seq < before)
        with self._read() as db:
            return [(row.seq, MESSAGE.validate_json(row.body)) for row in db.execute(query)]

    def forget(self, now: float) -> int:
        """Drops messages that are done with and old or too many; says how many."""
        done = messages.c.state != "waiting"
        newest = sa.select(messages.c.seq).order_by(messages.c.seq.desc()).offset(MAX_MESSAGES).limit(1)
        with self._write() as db:
            row = db.execute(newest).one_or_none()
            old = messages.c.made_at < now - KEPT_S
            gone = old if row is None else sa.or_(old, messages.c.seq <= row.seq)
            return int(db.execute(messages.delete().where(done, gone)).rowcount)


def _row(one: Message) -> dict[str, object]:
    body = MESSAGE.dump_json(one).decode()
    return {"id": one.id, "receiver": one.receiver, "state": one.state, "made_at": one.made_at, "body": body}


_PUT = sa.text(
    "insert into messages (id, receiver, state, made_at, body) values (:id, :receiver, :state, :made_at, :body) "
    "on conflict (id) do update set state = excluded.state, body = excluded.body"
)
_TOLD = sa.text(
    "insert into told (receiver, key, body) values (:receiver, :key, :body) "
    "on conflict (receiver, key) do update set body = excluded.body"
)
