"""`sigmascale adopt` and `release`: give machines of others to a pool, and let a pool without rules go."""

from __future__ import annotations

import json
from typing import Annotated, Any

import typer

from autoscaler.cli.client import DEFAULT_URL, CaOption, JsonOption, TokenFileOption, UrlOption, connect, segment
from autoscaler.errors import InputError

Author = Annotated[str | None, typer.Option("--author", help="Who takes responsibility.")]
Reason = Annotated[str | None, typer.Option("--reason", help="Why; it is logged, and shown with what follows.")]


def adopt(
    pool: Annotated[str | None, typer.Argument(help="The pool, as its rule file names it.")] = None,
    instances: Annotated[list[str] | None, typer.Argument(help="Ids to adopt; none = only list.")] = None,
    author: Author = None,
    reason: Reason = None,
    url: UrlOption = DEFAULT_URL,
    token_file: TokenFileOption = None,
    ca: CaOption = None,
    as_json: JsonOption = False,
) -> None:
    """Give machines that somebody else made to a pool, by tagging them.

    Without ids: which machines could be adopted, and which pools have instances and no rules.

    Examples:

      sigmascale adopt

      sigmascale adopt chat

      sigmascale adopt chat i-0a1b2c3d4e5f60718 --author ada --reason "made before the service"
    """
    client = connect(url, token_file, ca)
    if instances:
        who = _word(author, reason)
        answer = client.ask("POST", f"pools/{segment(str(pool))}/adopt", body={"instances": instances, **who})
        typer.echo(json.dumps(answer) if as_json else f"{pool}: adopted {', '.join(answer['instances'])}")
        return
    pools = [pool] if pool is not None else [p["pool"] for p in client.get("pools")["pools"] if not p["shadow_of"]]
    found = [client.get(f"pools/{segment(name)}/adoptable") for name in pools]
    ownerless = [] if pool is not None else client.get("ownerless")["pools"]
    if as_json:
        typer.echo(json.dumps({"adoptable": found, "ownerless": ownerless}))
        return
    _show(found)
    for one in ownerless:
        released = one["release"]
        typer.echo(f"{one['pool']}: released by {released['author']}" if released else one["text"])


def release(
    pool: Annotated[str, typer.Argument(help="A pool that has instances and no rule file.")],
    author: Author = None,
    reason: Reason = None,
    url: UrlOption = DEFAULT_URL,
    token_file: TokenFileOption = None,
    ca: CaOption = None,
    as_json: JsonOption = False,
) -> None:
    """Let the machines of a pool without rules go: drained, then ended. `sigmascale adopt` lists such pools.

    Example:

      sigmascale release chat-old --author ada --reason "replaced by chat"
    """
    client = connect(url, token_file, ca)
    answer = client.ask("POST", f"ownerless/{segment(pool)}/release", body=_word(author, reason))
    if as_json:
        typer.echo(json.dumps(answer))
        return
    how = f"sigmascale override end {pool} --id {answer['id']} --author {answer['author']} --reason ... stops it"
    typer.echo(f"{pool}: its machines are drained and ended; {how}")


def _word(author: str | None, reason: str | None) -> dict[str, str]:
    if not author or not reason:
        raise InputError("this changes machines: give --author NAME and --reason TEXT, they are journalled")
    return {"author": author, "reason": reason}


def _show(found: list[dict[str, Any]]) -> None:
    from rich.console import Console
    from rich.markup import escape
    from rich.table import Table

    table = Table("pool", "id", "offer", "state", "detail")
    for answer in found:
        for i in answer["instances"]:
            table.add_row(*(escape(str(c)) for c in (answer["pool"], i["id"], i["offer"], i["state"], i["detail"])))
    if table.row_count:
        Console().print(table)
    else:
        typer.echo("no machine of somebody else's could be adopted")
    for answer in found:
        for text in answer["unknown"]:
            typer.echo(f"{answer['pool']}: {text}")
