"""`sigmascale cordon` and `uncordon`: an instance out of service for a while, and back."""

from __future__ import annotations

import json
from typing import Annotated, Any

import typer

from autoscaler.cli.client import DEFAULT_URL, CaOption, JsonOption, TokenFileOption, UrlOption, connect

Instance = Annotated[str, typer.Argument(help="Its id, as GET /api/v1/pools/POOL lists it.")]
Reason = Annotated[str, typer.Option("--reason", help="Why; the journal keeps it.")]
Author = Annotated[
    str | None, typer.Option("--author", help="Who takes responsibility; default is the name you are logged in as.")
]
Pool = Annotated[str | None, typer.Option("--pool", help="Its pool; only needed where two pools have the id.")]


def cordon(
    instance: Annotated[str | None, typer.Argument(help="Its id; without one: what is cordoned or replaced.")] = None,
    reason: Annotated[str, typer.Option("--reason", help="Why; the journal keeps it.")] = "",
    lasts: Annotated[str | None, typer.Option("--for", help="How long, such as 30m or 2h; default 4h.")] = None,
    until: Annotated[str | None, typer.Option("--until", help="Its end, such as 2030-01-31T18:00:00Z.")] = None,
    author: Author = None,
    pool: Pool = None,
    force: Annotated[bool, typer.Option("--force", help="Although it is the last one that serves.")] = False,
    url: UrlOption = DEFAULT_URL,
    token_file: TokenFileOption = None,
    ca: CaOption = None,
    as_json: JsonOption = False,
) -> None:
    """Take an instance out of routing and out of the pool's count.

    It finishes the requests that it has and is then kept as it is, so that somebody can look at it. The pool orders
    another in its place. At the end, or with `uncordon`, it serves again; `replace` lets it go for good.

    Examples:

      sigmascale cordon i-0a1b2c3d --for 2h --reason "falls off the bus, vendor looks at it"

      sigmascale cordon
    """
    client = connect(url, token_file, ca)
    if instance is None:
        print_marks(client.get("marks", pool=pool)["marks"], as_json)
        return
    body = asked(instance, needed(reason, "cordon"), author, pool, lasts, until)
    if force:
        body["force"] = True
    answer = client.ask("POST", "cordons", body=body)
    print_mark(answer, "cordoned", as_json)


def uncordon(
    instance: Instance,
    reason: Reason = "it is well",
    author: Author = None,
    pool: Pool = None,
    url: UrlOption = DEFAULT_URL,
    token_file: TokenFileOption = None,
    ca: CaOption = None,
) -> None:
    """Put a cordoned instance back into service.

    If the pool has one too many then, the ordinary order of scale-in chooses who leaves.

    Example:

      sigmascale uncordon i-0a1b2c3d
    """
    query: dict[str, object] = {"instance": instance, "author": who(author), "reason": reason, "pool": pool}
    connect(url, token_file, ca).ask("DELETE", "cordons", query)
    typer.echo(f"{instance}: serves and counts again from the next tick on")


def asked(
    instance: str, reason: str, author: str | None, pool: str | None, lasts: str | None, until: str | None
) -> dict[str, object]:
    """The body of a request on one instance."""
    body = {"instance": instance, "reason": reason, "author": who(author), "pool": pool, "for": lasts, "until": until}
    return {key: value for key, value in body.items() if value is not None}


def who(author: str | None) -> str:
    """The author, or the name that the caller is logged in as."""
    import getpass

    from autoscaler.errors import InputError

    if author is not None:
        return author
    try:
        return getpass.getuser()
    except (OSError, KeyError, ImportError):
        raise InputError("nobody is logged in here; say who takes responsibility with --author NAME") from None


def needed(reason: str, verb: str) -> str:
    """A reason that was given. Raises InputError for none."""
    from autoscaler.errors import InputError

    if not reason.strip():
        raise InputError(f"a {verb} needs a reason, which the journal keeps; add --reason TEXT")
    return reason


def print_mark(mark: dict[str, Any], done: str, as_json: bool) -> None:
    """One mark as JSON or a sentence."""
    from autoscaler.explain import clock_text

    end = "until" if mark["kind"] == "cordon" else "given up at"
    sentence = f"{mark['instance']} of {mark['pool']}: {done}, {end} {clock_text(mark['until'])}; {mark['text']}"
    typer.echo(json.dumps(mark) if as_json else sentence)


def print_marks(marks: list[dict[str, Any]], as_json: bool) -> None:
    """All marks as JSON or a table."""
    if as_json:
        typer.echo(json.dumps(marks))
        return
    if not marks:
        typer.echo("no instance is cordoned or to be replaced")
        return
    from rich.console import Console
    from rich.markup import escape
    from rich.table import Table

    from autoscaler.explain import clock_text

    table = Table("pool", "instance", "mark", "state", "until", "author", "reason")
    # An id is there to be copied.
    table.columns[1].min_width = min(60, max(len(m["instance"]) for m in marks))
    for m in marks:
        cells = (m["pool"], m["instance"], m["kind"], m["text"], clock_text(m["until"]), m["author"], m["reason"])
        table.add_row(*(escape(str(cell)) for cell in cells))
    Console().print(table)
