"""`sigmascale roll`: a new image or template goes through a pool, a few instances at a time."""

from __future__ import annotations

import json
from typing import Annotated, Any

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
from autoscaler.cli.cordon import Author, needed, who
from autoscaler.errors import InputError


def roll(
    pool: Annotated[str, typer.Argument(help="The pool, as its rule file names it.")],
    reason: Annotated[str, typer.Option("--reason", help="Why; the journal keeps it.")] = "",
    to: Annotated[
        list[str] | None,
        typer.Option("--to", metavar="KEY=VALUE", help="A setting that the rule file must have by now; may repeat."),
    ] = None,
    max_unavailable: Annotated[
        int | None, typer.Option("--max-unavailable", help="Most instances missing at once; default: the rule file's.")
    ] = None,
    max_surge: Annotated[
        int | None, typer.Option("--max-surge", help="Most instances besides those needed; default: the rule file's.")
    ] = None,
    per_hour: Annotated[int | None, typer.Option("--per-hour", help="Most replacements begun in an hour.")] = None,
    canary: Annotated[
        str | None, typer.Option("--canary", help="How long the first new one must serve before others go.")
    ] = None,
    window: Annotated[
        list[str] | None,
        typer.Option("--window", help="Only then, such as '02:00-05:00' or 'mon-fri 22:00-05:00 Europe/Berlin'."),
    ] = None,
    pause_on_failure: Annotated[
        bool, typer.Option("--pause-on-failure", help="Pause when a new one fails; --resume goes on.")
    ] = False,
    everything: Annotated[bool, typer.Option("--all", help="Also what has the settings of now.")] = False,
    lasts: Annotated[str | None, typer.Option("--for", help="Give up after this long; default 24h.")] = None,
    until: Annotated[str | None, typer.Option("--until", help="The same as an instant.")] = None,
    status: Annotated[bool, typer.Option("--status", help="Only say how it stands.")] = False,
    abort: Annotated[bool, typer.Option("--abort", help="Take it back; what is new stays new.")] = False,
    resume: Annotated[bool, typer.Option("--resume", help="Go on after a failure.")] = False,
    author: Author = None,
    url: UrlOption = DEFAULT_URL,
    token_file: TokenFileOption = None,
    ca: CaOption = None,
    as_json: JsonOption = False,
) -> None:
    """Replace every instance that is not of the settings that the rule file has now.

    Write the new image or template into the rule file first. The first new instance must serve for a while before
    anything leaves; one that fails stops the roll, and the pool stays whole.

    Examples:

      sigmascale roll chat --to image=ami-0a1b2c3d --reason "driver 570" --window "02:00-05:00 Europe/Berlin"

      sigmascale roll chat --status
    """
    if status + abort + resume > 1:
        raise InputError("--status, --abort and --resume exclude each other; give one")
    client, path = connect(url, token_file, ca), f"pools/{segment(pool)}/roll"
    if status:
        _print(client.get(path), as_json)
        return
    if abort or resume:
        _change(client, path, pool, who(author), reason, abort, as_json)
        return
    body: dict[str, Any] = {
        "reason": needed(reason, "roll"),
        "author": who(author),
        "to": dict(map(_pair, to or ())),
        "max_unavailable": max_unavailable,
        "max_surge": max_surge,
        "per_hour": per_hour,
        "canary": canary,
        "windows": window or [],
        "pause_on_failure": pause_on_failure,
        "everything": everything,
        "for": lasts,
        "until": until,
    }
    _print(client.ask("POST", path, body={k: v for k, v in body.items() if v is not None}), as_json)


def _change(client: Client, path: str, pool: str, author: str, reason: str, abort: bool, as_json: bool) -> None:
    if abort:
        client.ask("DELETE", path, {"author": author, "reason": needed(reason, "roll's end")})
        typer.echo(f"{pool}: the roll is taken back; what is new stays new")
        return
    body = {"author": author, "reason": needed(reason, "roll")}
    _print(client.ask("POST", f"{path}/resume", body=body), as_json)


def _pair(text: str) -> tuple[str, str]:
    name, equals, value = text.partition("=")
    if not equals or not name.strip():
        raise InputError(f"--to {text}: is not KEY=VALUE; write --to image=ami-0a1b2c3d")
    return name.strip(), value.strip()


def _print(answer: dict[str, Any], as_json: bool) -> None:
    typer.echo(json.dumps(answer) if as_json else f"{answer['pool']}: {answer['text']}")
