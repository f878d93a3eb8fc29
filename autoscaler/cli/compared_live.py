"""A pool and its candidate as a running service tells them, for people."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from typing import Any

import typer
from rich.console import Console
from rich.table import Table

from autoscaler.cli.client import Client, segment
from autoscaler.words import amount
from autoscaler.words import seconds as span


def run(client: Client, pool: str, as_json: bool) -> None:
    """Asks and prints. Raises InputError for a pool without a candidate."""
    found = client.get(f"pools/{segment(pool)}/shadow")
    if as_json:
        typer.echo(json.dumps(found))
        return
    whole = Console(soft_wrap=True, highlight=False)
    table = Table(title=_title(found), title_justify="left")
    table.add_column("measure")
    for name in ("active", "candidate", "difference"):
        table.add_column(name, justify="right")
    for row in _rows(found["active"], found["candidate"]):
        table.add_row(*row)
    Console(width=120, highlight=False).print(table)
    for side in ("active", "candidate"):
        words = found[side]["error"] or found[side]["headline"] or "not judged yet"
        file = found[side]["rules"]["file"] if found[side]["rules"] else found["file"]
        whole.print(f"{side} {file}\n  {words}", markup=False)
    for note in _notes(found):
        whole.print(f"note: {note}", markup=False)


def _title(found: dict[str, Any]) -> str:
    covered = found["compared"]
    if covered is None:
        return f"pool {found['pool']}: nothing was compared yet"
    since = datetime.fromtimestamp(covered["since"], UTC).strftime("%Y-%m-%d %H:%M:%S UTC")
    return f"pool {found['pool']} since {since}: {span(covered['watched_s'])} compared"


def _rows(active: dict[str, Any], candidate: dict[str, Any]) -> Iterator[tuple[str, str, str, str]]:
    rows: tuple[tuple[str, str, Callable[[float], str]], ...] = (
        ("wanted now", "want", lambda v: f"{v:.0f}"),
        ("ready now", "ready", lambda v: f"{v:.0f}"),
        ("pending now", "pending", lambda v: f"{v:.0f}"),
        ("replica-hours", "replica_hours", lambda v: f"{v:,.2f}"),
        ("USD", "usd", lambda v: f"{v:,.2f}"),
        ("launches", "launches", lambda v: f"{v:,.0f}"),
        ("changes", "changes", lambda v: f"{v:,.0f}"),
        ("unserved work, estimated", "unserved_work", amount),
        ("share of the demand", "unserved_ratio", lambda v: f"{v:.4%}"),
        ("work that waits, estimated", "queued_work", amount),
        ("the most that waited", "most_queued_work", amount),
    )
    for title, key, shown in rows:
        a, b = active[key], candidate[key]
        told = ["-" if value is None else shown(value) for value in (a, b)]
        change = "-" if a is None or b is None else f"{'+' if b > a else ''}{shown(b - a)}"
        yield title, told[0], told[1], change


def _notes(found: dict[str, Any]) -> Iterator[str]:
    if found["problem"]:
        yield f"the candidate, or its newest version, does not run: {found['problem']}"
    if found["borrowed"]:
        yield f"measured on the active pool, also for the candidate: {', '.join(found['borrowed'])}"
    if not found["demand"]:
        yield "the active rules read no demand, so unserved work is not estimated"
    covered = found["compared"]
    if covered is not None and covered["unwatched_s"] > 0:
        yield f"{span(covered['unwatched_s'])} are left out, in which nobody looked"
    if covered is not None and covered["unknown_s"] > 0.01 * covered["watched_s"]:
        yield f"for {span(covered['unknown_s'])} demand or capacity were not known"
