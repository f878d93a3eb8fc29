"""The journal as charts and lists read it: months of decisions in short, a few of them in full."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Collection, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Literal

import sqlalchemy as sa
from pydantic import TypeAdapter

from autoscaler.journal_schema import decisions, outcomes
from autoscaler.types import Decision, Outcome

MOST_ROWS = 100_000
"""Decisions of one pool that are looked through: a year at rest. They are read from an index, so it takes 0.1 s."""

MOST_IN_FULL = 500
"""Decisions or actions that are asked for at once."""

DECISION: TypeAdapter[Decision] = TypeAdapter(Decision)
OUTCOME: TypeAdapter[Outcome] = TypeAdapter(Outcome)

Connect = Callable[[], AbstractContextManager[sa.Connection]]
Direction = Literal["out", "in", "both"]


@dataclass(frozen=True, slots=True)
class Short:
    """A journalled decision in short. before: the size that the one before it wanted, None = it is the first."""

    number: int
    at: float
    want: int
    before: int | None

    @property
    def changes(self) -> bool:
        """Whether it wants another size than the one before it."""
        return self.before is not None and self.before != self.want


class PastDecisions:
    """Looks back; `read` opens transactions that raise StorageError. For any thread."""

    def __init__(self, read: Connect) -> None:
        self._read = read

    def short(
        self,
        pool: str,
        *,
        since: float | None = None,
        until: float | None = None,
        before: int | None = None,
        only: Direction | None = None,
        limit: int = 100,
    ) -> list[Short]:
        """Decisions in [since, until) with numbers below `before`, newest first. only: those that changed the size."""
        d = decisions.c
        newest = sa.select(d.number, d.at, d.want).where(d.pool == pool)
        if before is not None:
            newest = newest.where(d.number < before)
        some = newest.order_by(d.number.desc()).limit(MOST_ROWS).subquery()
        was = sa.func.lag(some.c.want).over(order_by=some.c.number).label("was")
        all_of = sa.select(some, was).subquery()
        query = sa.select(all_of)
        if since is not None:
            query = query.where(all_of.c.at >= since)
        if until is not None:
            query = query.where(all_of.c.at < until)
        match only:
            case "out":
                query = query.where(all_of.c.want > all_of.c.was)
            case "in":
                query = query.where(all_of.c.want < all_of.c.was)
            case "both":
                query = query.where(all_of.c.want != all_of.c.was)
        query = query.order_by(all_of.c.number.desc()).limit(limit)
        with self._read() as db:
            return [Short(row.number, row.at, row.want, row.was) for row in db.execute(query)]

    def next_change(self, pool: str, number: int) -> Short | None:
        """The first decision after this one that wanted another size than the one before it."""
        d = decisions.c
        later = sa.select(d.number, d.at, d.want).where(d.pool == pool, d.number >= number)
        some = later.order_by(d.number).limit(MOST_ROWS).subquery()
        was = sa.func.lag(some.c.want).over(order_by=some.c.number).label("was")
        all_of = sa.select(some, was).subquery()
        query = sa.select(all_of).where(all_of.c.want != all_of.c.was).order_by(all_of.c.number).limit(1)
        with self._read() as db:
            row = db.execute(query).one_or_none()
        return Short(row.number, row.at, row.want, row.was) if row is not None else None

    def full(self, pool: str, numbers: Collection[int]) -> dict[int, Decision]:
        """At most `MOST_IN_FULL` decisions of these numbers, as far as each has a row."""
        wanted = sorted(numbers)[:MOST_IN_FULL]
        query = sa.select(decisions.c.body).where(decisions.c.pool == pool, decisions.c.number.in_(wanted))
        with self._read() as db:
            found = [DECISION.validate_json(row.body) for row in db.execute(query)]
        return {decision.number: decision for decision in found}

    def outcomes_of(self, actions: Sequence[str]) -> dict[str, list[Outcome]]:
        """What became of at most `MOST_IN_FULL` actions, each oldest first."""
        wanted = list(actions)[:MOST_IN_FULL]
        query = sa.select(outcomes.c.body).where(outcomes.c.action.in_(wanted)).order_by(outcomes.c.seq)
        found: dict[str, list[Outcome]] = defaultdict(list)
        with self._read() as db:
            for row in db.execute(query):
                outcome = OUTCOME.validate_json(row.body)
                found[outcome.action].append(outcome)
        return dict(found)
