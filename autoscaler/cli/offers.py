"""`sigmascale offers`: what could my pools buy, at what price, and what stands in the way."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Annotated, Any

import typer

from autoscaler.cli.client import DEFAULT_URL, CaOption, JsonOption, TokenFileOption, UrlOption, connect

if TYPE_CHECKING:
    from collections.abc import Sequence


def offers(
    pool: Annotated[str | None, typer.Argument(help="Only this pool's; default: all pools.")] = None,
    url: UrlOption = DEFAULT_URL,
    token_file: TokenFileOption = None,
    ca: CaOption = None,
    as_json: JsonOption = False,
) -> None:
    """Show what a running service could launch: price, lead time, quota left, shortages, and problems.

    Clouds are asked at the start of the service and once an hour; what they were not asked yet, or refused to tell, is
    shown as a dash.

    Examples:

      sigmascale offers

      sigmascale offers chat --json
    """
    found = connect(url, token_file, ca).get("offers", pool=pool)["offers"]
    if as_json:
        typer.echo(json.dumps(found))
        return
    if not found:
        typer.echo("no pool has offers, so nothing can be launched; add `offers` to a rule file")
        return
    _print(found)


def _print(found: Sequence[dict[str, Any]]) -> None:
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    from autoscaler.units import duration_text

    table = Table(box=None, pad_edge=False)
    for name in ("pool", "offer", "USD/h", "lead time", "has", "quota left", "shortage"):
        table.add_column(name, justify="left" if name in ("pool", "offer", "shortage") else "right", no_wrap=True)
    for one in found:
        price = "-" if one["usd_per_hour"] is None else f"{one['usd_per_hour']:.2f}"
        short = "" if not one["shortages"] else f"{one['shortages']} refusals in a row"
        lead = duration_text(round(one["lead_time_s"])) + ("" if one["lead_time_learned"] else " (prior)")
        units = "-" if one["units"] is None else str(one["units"])
        style = "red" if one["problem"] else ""
        cells = (one["pool"], one["offer"], price, lead, str(one["instances"]), units, short)
        table.add_row(*(Text(cell, style) for cell in cells))
    console = Console(width=160, soft_wrap=True, highlight=False)
    console.print(table)
    for text in dict.fromkeys(_remarks(found)):
        console.print(Text(text))


def _remarks(found: Sequence[dict[str, Any]]) -> Sequence[str]:
    """What people have to know besides the numbers; of offers that share it, once."""
    bad = [f"{one['pool']}, {one['offer']}: {one['problem']}" for one in found if one["problem"]]
    quotas = [one["quota"] for one in found if one["quota"] and not one["problem"]]
    unknown = [f"not known: {text}" for one in found for text in one["unknown"]]
    return [*bad, *quotas, *unknown]
