"""Which journalled decisions changed a pool's size, found from the newest on."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice, pairwise

import sqlalchemy as sa

from autoscaler.journal_schema import decisions

MOST_ROWS = 20_000
"""Decisions of one pool that are looked at: two months at rest, a fortnight of ceaseless change."""


@dataclass(frozen=True, slots=True)
class Change:
    """A decision that wanted another size than the one before it."""

    pool: str
    number: int
    at: float
    before: int
    after: int


def changes(db: sa.Connection, pool: str, since: float, until: float, limit: int) -> tuple[Change, ...]:
    """The changes of a pool in [since, until), newest first. The first decision of a journal changes nothing."""
    return tuple(islice(_found(db, pool, since, until), limit))


def _found(db: sa.Connection, pool: str, since: float, until: float) -> Iterator[Change]:
    query = sa.select(decisions.c.number, decisions.c.at, decisions.c.want).where(decisions.c.pool == pool)
    # Rows come as they are asked for: the last change is mostly among the first few.
    rows = db.execute(query.order_by(decisions.c.number.desc()).limit(MOST_ROWS).execution_options(yield_per=100))
    for newer, older in pairwise(rows):
        if newer.at < since:
            return
        if newer.want != older.want and newer.at < until:
            yield Change(pool, newer.number, newer.at, older.want, newer.want)
