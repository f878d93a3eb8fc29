"""`sigmascale silence`: alerts that nobody is told of for a while; add, list and end."""

from __future__ import annotations

import json
from typing import Annotated, Any

import typer

from autoscaler.cli.client import DEFAULT_URL, CaOption, JsonOption, TokenFileOption, UrlOption, connect, segment
from autoscaler.cli.cordon import who
from autoscaler.errors import InputError

silence = typer.Typer(
    no_args_is_help=True,
    rich_markup_mode=None,
    help="Mute alerts for a while. Every silence has an end, an author and a comment; muted alerts are still shown.",
)

Author = Annotated[
    str | None, typer.Option("--author", help="Who takes responsibility; default is the name you are logged in as.")
]


@silence.command("add")
def add(
    matchers: Annotated[
        list[str], typer.Argument(help="All must hold: pool=chat, severity!=critical, alertname=~'power.*'.")
    ],
    comment: Annotated[str, typer.Option("--comment", help="Why; shown beside the silence.")],
    lasts: Annotated[str | None, typer.Option("--for", help="How long, such as 30m or 2h; at most 30d.")] = None,
    until: Annotated[str | None, typer.Option("--until", help="Its end, such as 2030-01-31T18:00:00Z.")] = None,
    starts: Annotated[str | None, typer.Option("--starts", help="Its begin, when that is not now.")] = None,
    author: Author = None,
    url: UrlOption = DEFAULT_URL,
    token_file: TokenFileOption = None,
    ca: CaOption = None,
    as_json: JsonOption = False,
) -> None:
    """Mute the alerts whose labels match, from now on.

    Labels are alertname, pool, severity and those of the series. Expressions match the whole value.

    Examples:

      sigmascale silence add pool=chat --for 2h --comment "load test"

      sigmascale silence add alertname=~'gpu_power.*' instance=node-7:9400 --for 1d --comment "power supply ordered"
    """
    if (lasts is None) == (until is None):
        raise InputError("a silence needs an end: give --for 2h or --until 2030-01-31T18:00:00Z, one of the two")
    body: dict[str, object] = {"matchers": matchers, "author": who(author), "comment": comment}
    body |= {k: v for k, v in {"for": lasts, "until": until, "starts": starts}.items() if v is not None}
    answer = connect(url, token_file, ca).ask("POST", "silences", body=body)
    if as_json:
        typer.echo(json.dumps(answer))
        return
    from autoscaler.explain import clock_text
    from autoscaler.words import counted

    begin = f"from {clock_text(answer['starts_at'])} " if answer["state"] == "pending" else ""
    now = f"; muted now: {counted(answer['alerts'], 'alert')}" if answer["state"] == "active" else ""
    typer.echo(f"{answer['id']}: {answer['text']} is silent {begin}until {clock_text(answer['ends_at'])}{now}")


@silence.command("list")
def list_all(
    every: Annotated[bool, typer.Option("--all", help="Those that are over, too.")] = False,
    url: UrlOption = DEFAULT_URL,
    token_file: TokenFileOption = None,
    ca: CaOption = None,
    as_json: JsonOption = False,
) -> None:
    """List the silences in force and to come.

    Example:

      sigmascale silence list
    """
    found: list[dict[str, Any]] = connect(url, token_file, ca).get("silences")["silences"]
    found = [s for s in found if every or s["state"] != "ended"]
    if as_json:
        typer.echo(json.dumps(found))
        return
    if not found:
        typer.echo("nothing is silent")
        return
    from rich.console import Console
    from rich.markup import escape
    from rich.table import Table

    from autoscaler.explain import clock_text

    table = Table("id", "state", "alerts", "until", "matchers", "author", "comment")
    # An id is there to be copied.
    table.columns[0].min_width = max(len(s["id"]) for s in found)
    for s in found:
        cells = (s["id"], s["state"], s["alerts"], clock_text(s["ends_at"]), s["text"], s["author"], s["comment"])
        table.add_row(*(escape(str(cell)) for cell in cells))
    Console().print(table)


@silence.command("end")
def end(
    name: Annotated[str, typer.Argument(help="Its id, as `sigmascale silence list` shows it.")],
    author: Author = None,
    url: UrlOption = DEFAULT_URL,
    token_file: TokenFileOption = None,
    ca: CaOption = None,
) -> None:
    """End a silence before its time; what still fires is told at once.

    Example:

      sigmascale silence end 3f9c0a7be412
    """
    connect(url, token_file, ca).ask("DELETE", f"silences/{segment(name)}", {"author": who(author)})
    typer.echo(f"{name}: ended")
