"""`sigmascale override`: set, list and end a person's word over a pool."""

from __future__ import annotations

import json
from typing import Annotated, Literal

import typer

from autoscaler.cli.client import (
    DEFAULT_URL,
    CaOption,
    Client,
    JsonOption,
    TokenFileOption,
    UrlOption,
    connect,
    segment,
)
from autoscaler.errors import InputError

override = typer.Typer(
    no_args_is_help=True,
    rich_markup_mode=None,
    help="Pin, bound, freeze or pause a pool for a while. Every override has an end, an author and a reason.",
)

Pool = Annotated[str, typer.Argument(help="The pool, as its rule file names it.")]
Author = Annotated[str, typer.Option("--author", help="Who takes responsibility.")]
Reason = Annotated[str, typer.Option("--reason", help="Why; shown with every decision that it changes.")]
KINDS = ("pin", "floor", "ceiling", "freeze", "pause")


@override.command("set")
def set_override(
    pool: Pool,
    author: Author,
    reason: Reason,
    name: Annotated[str, typer.Option("--id", help="Its name; the same name replaces it.")] = "manual",
    pin: Annotated[int | None, typer.Option("--pin", help="Exactly this many replicas.")] = None,
    floor: Annotated[int | None, typer.Option("--floor", help="At least this many.")] = None,
    ceiling: Annotated[int | None, typer.Option("--ceiling", help="At most this many.")] = None,
    freeze: Annotated[bool, typer.Option("--freeze", help="Stay at the present size.")] = False,
    pause: Annotated[Literal["out", "in", "both"] | None, typer.Option("--pause", help="Stop one direction.")] = None,
    lasts: Annotated[str | None, typer.Option("--for", help="How long, such as 30m or 2h; at most 30d.")] = None,
    until: Annotated[str | None, typer.Option("--until", help="Its end, such as 2030-01-31T18:00:00Z.")] = None,
    url: UrlOption = DEFAULT_URL,
    token_file: TokenFileOption = None,
    ca: CaOption = None,
    as_json: JsonOption = False,
) -> None:
    """Set an override; it acts within a second.

    Examples:

      sigmascale override set chat --floor 12 --for 3h --author ada --reason "launch event"

      sigmascale override set chat --pause in --until 2030-01-31T18:00:00Z --author ada --reason "migration"
    """
    given: dict[str, int | str | None] = {"pin": pin, "floor": floor, "ceiling": ceiling, "pause": pause}
    chosen = [kind for kind, value in given.items() if value is not None] + (["freeze"] if freeze else [])
    if len(chosen) != 1:
        found = " and ".join(f"--{kind}" for kind in chosen) or "none"
        raise InputError(f"exactly one of {', '.join(f'--{k}' for k in KINDS)} is needed, given: {found}")
    if (lasts is None) == (until is None):
        raise InputError("an override needs an end: give --for 2h or --until 2030-01-31T18:00:00Z, one of the two")
    body: dict[str, object] = {"kind": chosen[0], "for": lasts, "until": until, "author": author, "reason": reason}
    body |= {"direction": pause, "replicas": next((n for n in (pin, floor, ceiling) if n is not None), None)}
    path = f"pools/{segment(pool)}/overrides/{segment(name)}"
    answer = connect(url, token_file, ca).ask("PUT", path, body={k: v for k, v in body.items() if v is not None})
    if as_json:
        typer.echo(json.dumps(answer))
    else:
        from autoscaler.explain import clock_text

        typer.echo(f"{answer['pool']}: {_shown(answer)} until {clock_text(answer['until'])} ({answer['id']})")


@override.command("list")
def list_overrides(
    pool: Annotated[str | None, typer.Argument(help="Only this pool.")] = None,
    url: UrlOption = DEFAULT_URL,
    token_file: TokenFileOption = None,
    ca: CaOption = None,
    as_json: JsonOption = False,
) -> None:
    """Show the overrides in force."""
    client = connect(url, token_file, ca)
    pools = [pool] if pool is not None else [p["pool"] for p in client.get("pools")["pools"]]
    found = [o for name in pools for o in client.get(f"pools/{segment(name)}/overrides")["overrides"]]
    if as_json:
        typer.echo(json.dumps(found))
    elif not found:
        typer.echo("no override is in force")
    else:
        _print_table(found)


@override.command("end")
def end_override(
    pool: Pool,
    author: Author,
    reason: Reason,
    name: Annotated[str, typer.Option("--id", help="Its name; `override list` shows it.")] = "manual",
    url: UrlOption = DEFAULT_URL,
    token_file: TokenFileOption = None,
    ca: CaOption = None,
) -> None:
    """End an override before its time; the rules decide again, under their rate limits.

    Example:

      sigmascale override end chat --author ada --reason "event is over"
    """
    client: Client = connect(url, token_file, ca)
    path = f"pools/{segment(pool)}/overrides/{segment(name)}"
    client.ask("DELETE", path, {"author": author, "reason": reason})
    typer.echo(f"{pool}: override {name} ended")


def _shown(override: dict[str, object]) -> str:
    if override["kind"] == "pause":
        return f"pause {override['direction']}"
    return str(override["kind"]) if override["replicas"] is None else f"{override['kind']} {override['replicas']}"


def _print_table(found: list[dict[str, object]]) -> None:
    from rich.console import Console
    from rich.markup import escape
    from rich.table import Table

    from autoscaler.explain import clock_text

    table = Table("pool", "id", "override", "until", "author", "reason")
    for o in found:
        cells = (o["pool"], o["id"], _shown(o), clock_text(float(str(o["until"]))), o["author"], o["reason"])
        table.add_row(*(escape(str(cell)) for cell in cells))
    Console().print(table)
