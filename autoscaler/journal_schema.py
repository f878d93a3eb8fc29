"""The journal's tables and how an older journal becomes a newer one.

Bodies are JSON of the values in `types.py`, so that a new field with a default needs no migration.
"""

from __future__ import annotations

import sqlalchemy as sa

from autoscaler.errors import StorageError

metadata = sa.MetaData()

meta = sa.Table("meta", metadata, sa.Column("version", sa.Integer, nullable=False))

decisions = sa.Table(
    "decisions",
    metadata,
    sa.Column("pool", sa.Text, primary_key=True),
    sa.Column("number", sa.Integer, primary_key=True),
    sa.Column("at", sa.Float, nullable=False),
    sa.Column("want", sa.Integer, nullable=False),
    sa.Column("body", sa.Text, nullable=False),
    sa.Column("plan", sa.Text, nullable=False),
)
# A body is a few kilobytes: whoever looks for changes over weeks reads this index and none of them.
sa.Index("decisions_in_short", decisions.c.pool, decisions.c.number, decisions.c.at, decisions.c.want)

intents = sa.Table(
    "intents",
    metadata,
    sa.Column("seq", sa.Integer, primary_key=True, autoincrement=True),
    sa.Column("id", sa.Text, nullable=False, unique=True),
    sa.Column("pool", sa.Text, nullable=False),
    sa.Column("at", sa.Float, nullable=False),
    sa.Column("decision", sa.Integer, nullable=False),
    sa.Column("body", sa.Text, nullable=False),
    sa.Column("open", sa.Boolean, nullable=False, default=True),
)
sa.Index("open_intents", intents.c.seq, sqlite_where=intents.c.open, postgresql_where=intents.c.open)

outcomes = sa.Table(
    "outcomes",
    metadata,
    sa.Column("seq", sa.Integer, primary_key=True, autoincrement=True),
    sa.Column("action", sa.Text, nullable=False, index=True),
    sa.Column("pool", sa.Text, nullable=False, index=True),
    sa.Column("at", sa.Float, nullable=False),
    sa.Column("status", sa.Text, nullable=False),
    sa.Column("body", sa.Text, nullable=False),
)

overrides = sa.Table(
    "overrides",
    metadata,
    sa.Column("seq", sa.Integer, primary_key=True, autoincrement=True),
    sa.Column("pool", sa.Text, nullable=False),
    sa.Column("id", sa.Text, nullable=False),
    sa.Column("body", sa.Text, nullable=False),
    sa.Column("ended_at", sa.Float),
    sa.Column("ended_by", sa.Text),
    sa.Column("why", sa.Text),
)

memories = sa.Table(
    "memories",
    metadata,
    sa.Column("pool", sa.Text, primary_key=True),
    sa.Column("number", sa.Integer, nullable=False),
    sa.Column("body", sa.Text, nullable=False),
)


learned = sa.Table(
    "learned",
    metadata,
    sa.Column("seq", sa.Integer, primary_key=True, autoincrement=True),
    sa.Column("pool", sa.Text, nullable=False),
    sa.Column("kind", sa.Text, nullable=False),
    sa.Column("key", sa.Text, nullable=False),
    sa.Column("version", sa.Text, nullable=False),
    sa.Column("at", sa.Float, nullable=False),
    sa.Column("body", sa.Text, nullable=False),
)
sa.Index("learned_by_key", learned.c.pool, learned.c.kind, learned.c.key, learned.c.seq)

marks = sa.Table(
    "marks",
    metadata,
    sa.Column("seq", sa.Integer, primary_key=True, autoincrement=True),
    sa.Column("pool", sa.Text, nullable=False),
    sa.Column("instance", sa.Text, nullable=False),
    sa.Column("body", sa.Text, nullable=False),
    sa.Column("ended_at", sa.Float),
    sa.Column("ended_by", sa.Text),
    sa.Column("why", sa.Text),
)

rolls = sa.Table(
    "rolls",
    metadata,
    sa.Column("seq", sa.Integer, primary_key=True, autoincrement=True),
    sa.Column("pool", sa.Text, nullable=False),
    sa.Column("id", sa.Text, nullable=False),
    sa.Column("body", sa.Text, nullable=False),
    sa.Column("ended_at", sa.Float),
    sa.Column("ended_by", sa.Text),
    sa.Column("why", sa.Text),
)

rollbacks = sa.Table(
    "rollbacks",
    metadata,
    sa.Column("seq", sa.Integer, primary_key=True, autoincrement=True),
    sa.Column("pool", sa.Text, nullable=False),
    sa.Column("at", sa.Float, nullable=False),
    sa.Column("decision", sa.Integer, nullable=False),
    sa.Column("body", sa.Text, nullable=False),
)

silences = sa.Table(
    "silences",
    metadata,
    sa.Column("id", sa.Text, primary_key=True),
    sa.Column("ends_at", sa.Float, nullable=False),
    sa.Column("body", sa.Text, nullable=False),
)

messages = sa.Table(
    "messages",
    metadata,
    sa.Column("seq", sa.Integer, primary_key=True, autoincrement=True),
    sa.Column("id", sa.Text, nullable=False, unique=True),
    sa.Column("receiver", sa.Text, nullable=False),
    sa.Column("state", sa.Text, nullable=False),
    sa.Column("made_at", sa.Float, nullable=False),
    sa.Column("body", sa.Text, nullable=False),
)
sa.Index(
    "waiting_messages",
    messages.c.seq,
    sqlite_where=messages.c.state == "waiting",
    postgresql_where=messages.c.state == "waiting",
)

told = sa.Table(
    "told",
    metadata,
    sa.Column("receiver", sa.Text, primary_key=True),
    sa.Column("key", sa.Text, primary_key=True),
    sa.Column("body", sa.Text, nullable=False),
)

requests = sa.Table(
    "requests",
    metadata,
    sa.Column("seq", sa.Integer, primary_key=True, autoincrement=True),
    sa.Column("key", sa.Text, nullable=False, unique=True),
    sa.Column("at", sa.Float, nullable=False, index=True),
    sa.Column("asked", sa.Text, nullable=False),
    sa.Column("status", sa.Integer, nullable=False),
    sa.Column("media_type", sa.Text, nullable=False, default=""),
    sa.Column("body", sa.Text, nullable=False, default=""),
)

MIGRATIONS: dict[int, tuple[str, ...]] = {
    1: (
        "create table learned (seq integer not null primary key, pool text not null, kind text not null, "
        "key text not null, version text not null, at float not null, body text not null)",
        "create index learned_by_key on learned (pool, kind, key, seq)",
    ),
    2: (
        "create table if not exists marks (seq integer not null primary key, pool text not null, "
        "instance text not null, body text not null, ended_at float, ended_by text, why text)",
        "create table if not exists rolls (seq integer not null primary key, pool text not null, id text not null, "
        "body text not null, ended_at float, ended_by text, why text)",
        "create table if not exists rollbacks (seq integer not null primary key, pool text not null, "
        "at float not null, decision integer not null, body text not null)",
    ),
    3: (
        "create table if not exists silences (id text not null primary key, ends_at float not null, "
        "body text not null)",
        "create table if not exists messages (seq integer not null primary key, id text not null unique, "
        "receiver text not null, state text not null, made_at float not null, body text not null)",
        "create index if not exists waiting_messages on messages (seq) where state = 'waiting'",
        "create table if not exists told (receiver text not null, key text not null, body text not null, "
        "primary key (receiver, key))",
        "create table if not exists requests (seq integer not null primary key, key text not null unique, "
        "at float not null, asked text not null, status integer not null, media_type text not null, "
        "body text not null)",
        "create index if not exists ix_requests_at on requests (at)",
        "create index if not exists decisions_in_short on decisions (pool, number, at, want)",
        "create index if not exists ix_outcomes_action on outcomes (action)",
    ),
}
"""Statements that lead from version N to N + 1, by N."""

SCHEMA_VERSION = 1 + len(MIGRATIONS)


def migrate(db: sa.Connection) -> None:
    """Creates the tables in an empty database and brings an older journal to this version, in one transaction.

    Raises StorageError for a journal that a newer release has written: going back would lose what it added.
    """
    fresh = not sa.inspect(db).has_table("meta")
    if fresh:
        metadata.create_all(db)
        db.execute(meta.insert(), {"version": SCHEMA_VERSION})
        return
    version = db.execute(sa.select(meta.c.version)).scalar_one()
    if version > SCHEMA_VERSION:
        raise StorageError(
            f"the journal has schema version {version}, this release writes {SCHEMA_VERSION}: "
            "upgrade sigmascale or start with another data folder"
        )
    for step in range(version, SCHEMA_VERSION):
        for statement in MIGRATIONS[step]:
            db.execute(sa.text(statement))
    if version < SCHEMA_VERSION:
        db.execute(meta.update().values(version=SCHEMA_VERSION))
