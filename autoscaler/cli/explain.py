"""`sigmascale explain`: why a pool has the size that it has."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from autoscaler.cli.changed import OfJournal, OfService, tell
from autoscaler.cli.client import DEFAULT_URL, CaOption, JsonOption, TokenFileOption, UrlOption, connect, segment
from autoscaler.errors import InputError

if TYPE_CHECKING:
    from autoscaler.journal import Journal


def explain(
    pool: Annotated[
        str | None, typer.Argument(help="The pool, as its rule file names it; default: every pool in one sentence.")
    ] = None,
    number: Annotated[int | None, typer.Option("--decision", help="A decision's number; default is the last.")] = None,
    last: Annotated[
        bool, typer.Option("--last", help="The last decision that changed a size; without a pool that of all pools.")
    ] = False,
    since: Annotated[
        str | None,
        typer.Option(
            "--since",
            help="Each change of size since then in one sentence, such as 2h or 2030-01-31T18:00:00Z; with --last none "
            "that is older.",
        ),
    ] = None,
    journal: Annotated[
        Path | None, typer.Option("--journal", help="Read this journal file instead of asking a service.")
    ] = None,
    url: UrlOption = DEFAULT_URL,
    token_file: TokenFileOption = None,
    ca: CaOption = None,
    as_json: JsonOption = False,
) -> None:
    """Say in plain words what was decided, who asked for what, which limits applied, and on which data.

    Examples:

      sigmascale explain

      sigmascale explain chat

      sigmascale explain --last

      sigmascale explain --since 8h

      sigmascale explain chat --decision 4711 --journal sigmascale-data/journal.db
    """
    if number is not None and (last or since is not None):
        raise InputError("--decision names one decision; leave --last and --since out, or leave it out")
    if journal is not None:
        _refuse_absent(journal)
    if last or since is not None:
        tell(OfJournal(journal) if journal else OfService(connect(url, token_file, ca)), pool, last, since, as_json)
        return
    if journal is not None:
        _from_journal(journal, pool, number, as_json)
        return
    client = connect(url, token_file, ca)
    if pool is not None:
        found = client.get(f"pools/{segment(pool)}/explain", decision=number)
        typer.echo(json.dumps(found) if as_json else found["text"])
        return
    _refuse_number(number)
    pools = client.get("pools")["pools"]
    if as_json:
        typer.echo(json.dumps(pools))
        return
    for p in pools:
        unsaid = f"{p['pool']}: {p['error'] or 'not judged yet'}"
        imagined = " (a candidate, imagined)" if p.get("shadow_of") else ""
        typer.echo((unsaid if p["error"] or not p["headline"] else p["headline"]) + imagined)
    if not pools:
        typer.echo("no pool is in force; GET /api/v1/rules says what is wrong with the rule files")


def _refuse_number(number: int | None) -> None:
    if number is not None:
        raise InputError("--decision needs a pool, since every pool counts its own; write explain POOL --decision N")


def _refuse_absent(path: Path) -> None:
    if not path.is_file():
        raise InputError(f"--journal {path}: there is no such file; it is journal.db in the service's data folder")


def _from_journal(path: Path, pool: str | None, number: int | None, as_json: bool) -> None:
    from autoscaler.journal import Journal

    if pool is None:
        _refuse_number(number)
        journal = Journal(f"sqlite:///{path.absolute()}")
        try:
            _every_pool(journal, as_json)
        finally:
            journal.close()
        return
    found = of_journal(path, pool, number)
    typer.echo(json.dumps(found) if as_json else found["text"])


def of_journal(path: Path, pool: str, number: int | None) -> dict[str, Any]:
    """A decision of a journal as the service shows one; number None = the last one. Raises InputError for no such."""
    from pydantic import TypeAdapter

    from autoscaler import explain as words
    from autoscaler.journal import Journal
    from autoscaler.types import Decision, Plan

    journal = Journal(f"sqlite:///{path.absolute()}")
    try:
        if number is None:
            last = journal.decisions(pool, limit=1)
            decision = last[0] if last else None
        else:
            decision = journal.decision(pool, number)
        if decision is None:
            known = ", ".join(sorted(journal.load())) or "none"
            what = "no decision" if number is None else f"no decision {number}"
            hint = f"it knows the pools {known}; most ticks repeat the one before and have no row of their own"
            raise InputError(f"--journal {path}: has {what} of pool {pool!r}; {hint}")
        plan = journal.plan(pool, decision.number)
    finally:
        journal.close()
    return {
        "pool": pool,
        "number": decision.number,
        "text": words.explain(decision, plan),
        "decision": TypeAdapter(Decision).dump_python(decision, mode="json"),
        "plan": TypeAdapter(Plan | None).dump_python(plan, mode="json"),
    }


def _every_pool(journal: Journal, as_json: bool) -> None:
    """The last decision of every pool in one sentence."""
    from autoscaler import explain as words

    last = [d for pool in sorted(journal.load()) for d in journal.decisions(pool, limit=1)]
    if as_json:
        typer.echo(json.dumps([{"pool": d.pool, "number": d.number, "headline": words.headline(d)} for d in last]))
    else:
        typer.echo("\n".join(words.headline(d) for d in last) or "the journal has no decision yet")
