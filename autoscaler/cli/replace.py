"""`sigmascale replace`: another instance in the place of one."""

from __future__ import annotations

from typing import Annotated

import typer

from autoscaler.cli.client import DEFAULT_URL, CaOption, JsonOption, TokenFileOption, UrlOption, connect
from autoscaler.cli.cordon import Author, Instance, Pool, asked, needed, print_mark, who


def replace(
    instance: Instance,
    reason: Annotated[str, typer.Option("--reason", help="Why; the journal keeps it.")] = "",
    cancel: Annotated[bool, typer.Option("--cancel", help="Keep it after all.")] = False,
    lasts: Annotated[
        str | None, typer.Option("--for", help="Give up when it has not left by then; default 24h.")
    ] = None,
    until: Annotated[str | None, typer.Option("--until", help="The same as an instant.")] = None,
    author: Author = None,
    pool: Pool = None,
    url: UrlOption = DEFAULT_URL,
    token_file: TokenFileOption = None,
    ca: CaOption = None,
    as_json: JsonOption = False,
) -> None:
    """Order a successor; when that serves, the old instance drains and goes. The pool never has fewer than it needs.

    One that is cordoned has its successor already and goes as soon as it holds no request.

    Examples:

      sigmascale replace i-0a1b2c3d --reason "ECC errors"

      sigmascale replace i-0a1b2c3d --cancel --reason "it was another one"
    """
    client = connect(url, token_file, ca)
    reason = needed(reason, "replacement")
    if cancel:
        client.ask(
            "DELETE", "replacements", {"instance": instance, "author": who(author), "reason": reason, "pool": pool}
        )
        typer.echo(f"{instance}: it stays")
        return
    answer = client.ask("POST", "replacements", body=asked(instance, reason, author, pool, lasts, until))
    print_mark(answer, "to be replaced", as_json)
