"""`sigmascale rollback`: back to the size before a bad decision."""

from __future__ import annotations

import json
from typing import Annotated, Any

import typer

from autoscaler.cli.client import DEFAULT_URL, CaOption, JsonOption, TokenFileOption, UrlOption, connect, segment
from autoscaler.cli.cordon import Author, needed, who
from autoscaler.errors import InputError


def rollback(
    pool: Annotated[str, typer.Argument(help="The pool, as its rule file names it.")],
    reason: Annotated[str, typer.Option("--reason", help="What was wrong; the journal keeps it.")] = "",
    to: Annotated[int | None, typer.Option("--to", help="The decision whose size was right.")] = None,
    before: Annotated[str | None, typer.Option("--before", help="The size of so long ago, such as 10m.")] = None,
    lasts: Annotated[str | None, typer.Option("--for", help="How long it holds, such as 30m.")] = None,
    until: Annotated[
        str | None, typer.Option("--until", help="Its end, such as 2030-01-31T18:00:00Z; a duration such as 30m too.")
    ] = None,
    show: Annotated[bool, typer.Option("--list", help="Only show the last changes of size.")] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only tell what it would do.")] = False,
    force: Annotated[bool, typer.Option("--force", help="Shrink although requests wait.")] = False,
    author: Author = None,
    url: UrlOption = DEFAULT_URL,
    token_file: TokenFileOption = None,
    ca: CaOption = None,
    as_json: JsonOption = False,
) -> None:
    """Return a pool to the size that it had before a bad decision, for a while.

    After a scale-in the earlier size becomes a floor, after a scale-out a ceiling: in the other direction the rules go
    on. Without --to and --before it is the size before the last change. The rules themselves stay as they are.

    Examples:

      sigmascale rollback chat --list

      sigmascale rollback chat --before 10m --for 30m --reason "a dead exporter looked like no load"

      sigmascale rollback chat --to 4711 --until 2030-01-31T18:00:00Z --reason "same"
    """
    client, path = connect(url, token_file, ca), f"pools/{segment(pool)}/rollback"
    if show:
        history = client.get(path)
        typer.echo(json.dumps(history) if as_json else _history(history))
        return
    if until is not None and _is_duration(until):
        if lasts is not None:
            raise InputError("--for and --until are both durations; give one of the two")
        lasts, until = until, None
    if lasts is None and until is None:
        raise InputError("a rollback needs an end: give --for 30m or --until 2030-01-31T18:00:00Z, one of the two")
    body: dict[str, Any] = {"reason": needed(reason, "rollback"), "author": who(author), "to": to, "before": before}
    body |= {"for": lasts, "until": until, "dry_run": dry_run, "force": force}
    answer = client.ask("POST", path, body={k: v for k, v in body.items() if v is not None})
    if as_json:
        typer.echo(json.dumps(answer))
        return
    typer.echo(_moves(answer["moves"], answer["undone"]["decision"]))
    typer.echo(f"{pool}: {'would be: ' if dry_run else ''}{answer['text']}")
    if answer["rules_changed"]:
        typer.echo(answer["rules_changed"])
    if not dry_run:
        typer.echo(
            f"end it with: sigmascale override end {pool} --id {answer['override']['id']} --author YOU --reason WHY"
        )


def _is_duration(text: str) -> bool:
    from autoscaler import units

    try:
        units.duration_s(text)
    except ValueError:
        return False
    return True


def _history(history: dict[str, Any]) -> str:
    lines = [f"{history['pool']}: {'not decided yet' if history['want'] is None else history['want']} wanted now"]
    lines.append(_moves(history["moves"], None) or "the size has not changed as far as the journal was searched")
    lines += [
        f"rolled back: decision {u['decision']}, {u['kind']} {u['replicas']}, by {u['author']}: {u['reason']}"
        for u in history["rollbacks"]
    ]
    return "\n".join(lines)


def _moves(moves: list[dict[str, Any]], undone: int | None) -> str:
    """Changes of size, newest first, with a mark on the one that is undone."""
    from autoscaler.explain import clock_text

    return "\n".join(
        f"{'>' if m['number'] == undone else ' '} {m['number']:>7}  {clock_text(m['at'])}  "
        f"{m['before']} -> {m['after']}: {m['why'][:100]}"
        for m in moves
    )
