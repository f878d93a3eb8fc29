"""Decisions that changed a size, for `sigmascale explain --last` and `--since`: from a service or from a journal."""

from __future__ import annotations

import json
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any, Protocol

import typer

from autoscaler.cli.client import Client, segment
from autoscaler.clock import SystemClock
from autoscaler.errors import InputError
from autoscaler.units import duration_s, duration_text

MOST = 200
"""Changes that are told at once."""
CANDIDATE = "~shadow"


@dataclass(frozen=True, slots=True)
class Changed:
    """A decision that changed a size, in one sentence."""

    pool: str
    number: int
    headline: str


class Past(Protocol):
    """Who knows of past decisions."""

    def changes(self, pool: str | None, since: float, limit: int) -> list[Changed]:
        """Decisions that changed a size since then, newest first, of one pool or of all."""
        ...

    def explained(self, pool: str, number: int) -> dict[str, Any]:
        """One decision: pool, number, text, decision, plan."""
        ...


@dataclass(frozen=True, slots=True)
class OfService:
    """What a running service knows."""

    client: Client

    def changes(self, pool: str | None, since: float, limit: int) -> list[Changed]:
        found = self.client.get("changes", pool=pool, since=since, limit=limit)["changes"]
        return [Changed(c["pool"], c["number"], c["headline"]) for c in found]

    def explained(self, pool: str, number: int) -> dict[str, Any]:
        found: dict[str, Any] = self.client.get(f"pools/{segment(pool)}/explain", decision=number)
        return found


@dataclass(frozen=True, slots=True)
class OfJournal:
    """What a journal file knows. Raises InputError where there is none."""

    path: Path

    def changes(self, pool: str | None, since: float, limit: int) -> list[Changed]:
        from autoscaler.explain import headline
        from autoscaler.journal import Journal

        journal = Journal(f"sqlite:///{self.path.absolute()}")
        try:
            known = sorted(journal.load())
            if pool is not None and pool not in known:
                raise InputError(
                    f"--journal {self.path}: has no pool {pool!r}; it knows {', '.join(known) or 'no pool'}"
                )
            pools = [pool] if pool is not None else [name for name in known if not name.endswith(CANDIDATE)]
            found = journal.changes(pools, since, limit=limit)
            made = [(c, journal.decision(c.pool, c.number)) for c in found]
        finally:
            journal.close()
        return [Changed(c.pool, c.number, headline(d)) for c, d in made if d is not None]

    def explained(self, pool: str, number: int) -> dict[str, Any]:
        from autoscaler.cli.explain import of_journal

        return of_journal(self.path, pool, number)


def tell(past: Past, pool: str | None, last: bool, since: str | None, as_json: bool) -> None:
    """Prints the newest change in full, or all since an instant in a sentence each."""
    begins = 0.0 if since is None else instant_of(since)
    found = past.changes(pool, begins, 1 if last else MOST)
    if last and found:
        told = past.explained(found[0].pool, found[0].number)
        typer.echo(json.dumps(told) if as_json else told["text"])
    elif as_json:
        rows = [{"pool": c.pool, "number": c.number, "headline": c.headline} for c in found]
        typer.echo(json.dumps(None if last else rows))
    elif found:
        typer.echo("\n".join(c.headline for c in found))
        if len(found) == MOST:
            typer.echo(f"and perhaps more: these are the last {MOST}; give a later --since")
    else:
        whose = f"pool {pool}" if pool is not None else "any pool"
        when = "in the journal" if since is None else f"since {since}"
        typer.echo(f"no decision has changed the size of {whose} {when}")


def instant_of(text: str) -> float:
    """Unix seconds of `2h` (ago) or of an ISO 8601 time with a zone. Raises InputError, which names the option."""
    now = SystemClock().now()
    try:
        return now - duration_s(text)
    except ValueError:
        pass
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        rule = "write a duration such as 2h, or a time such as 2030-01-31T18:00:00Z"
        raise InputError(f"--since: {text[:60]!r} is neither a duration nor a time; {rule}") from None
    if moment.tzinfo is None:
        raise InputError(f"--since: {text!r} names no time zone; add Z for UTC or an offset such as +08:00")
    if moment.timestamp() > now:
        ahead = duration_text(round(moment.timestamp() - now))
        raise InputError(f"--since: {text!r} is {ahead} ahead; give a time that has passed")
    return moment.timestamp()
