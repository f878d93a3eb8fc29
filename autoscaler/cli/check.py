"""`sigmascale check`: is what I wrote right, and is it wise?"""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from autoscaler.cli.client import JsonOption

if TYPE_CHECKING:
    from collections.abc import Sequence

    from autoscaler.rulefile.reader import Checked


def check(
    paths: Annotated[list[Path], typer.Argument(help="Rule files and folders of rule files.")],
    strict: Annotated[bool, typer.Option("--strict", help="Fail on warnings too.")] = False,
    max_replicas: Annotated[
        int | None, typer.Option("--max", min=1, help="Upper bound of pools whose file gives none, as for `run`.")
    ] = None,
    region: Annotated[str | None, typer.Option("--region", help="Region of offers that name none.")] = None,
    prices: Annotated[Path | None, typer.Option("--prices", help="CSV file of your own prices, as for `run`.")] = None,
    live: Annotated[
        bool, typer.Option("--live", help="Ask the clouds too whether each offer can be had; nothing is changed there.")
    ] = False,
    config: Annotated[
        Path | None,
        typer.Option("--config", "-c", help="The service's configuration, which says how clouds are asked."),
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Read rule files as `run` would, and report every error and warning at once, with file:line:column.

    Exit code 1 when there are errors, or with --strict warnings.

    Examples:

      sigmascale check rules/

      sigmascale check rules/chat.yaml --strict --json

      sigmascale check rules/ --live --config config.yaml
    """
    from datetime import UTC, datetime

    from autoscaler.clock import SystemClock
    from autoscaler.rulefile.reader import Defaults, check_file, rule_files, without_rivals
    from autoscaler.shadow.candidates import check_candidate
    from providers.prices import read_prices

    files = list(dict.fromkeys(file for path in paths for file in rule_files(path)))
    today = datetime.fromtimestamp(SystemClock().now(), UTC).date()
    defaults = Defaults(max_replicas, region, prices=read_prices(prices), today=today)
    checked = without_rivals(tuple(check_file(file, defaults=defaults) for file in files))
    # A candidate is as good as checked on its own; only together with its rules it may still be unfit.
    named = (check_candidate(c, defaults) for c in checked)
    checked += tuple(c for c in named if c is not None and c.file not in {str(file) for file in files})
    if live:
        from autoscaler.cli.live import asked

        checked = asked(checked, config)
    errors = sum(len(c.errors) for c in checked)
    warnings = sum(len(c.warnings) for c in checked)
    if as_json:
        typer.echo(json.dumps({"files": [_shown(c) for c in checked], "errors": errors, "warnings": warnings}))
    else:
        _print(checked, errors, warnings)
    if errors or (strict and warnings):
        raise typer.Exit(1)


def _shown(checked: Checked) -> dict[str, object]:
    import dataclasses

    rules = checked.rules
    return {
        "file": checked.file,
        "valid": rules is not None,
        "pool": rules.pool if rules is not None else None,
        "hash": rules.hash if rules is not None else None,
        "faults": [dataclasses.asdict(fault) for fault in checked.faults],
    }


def _print(checked: Sequence[Checked], errors: int, warnings: int) -> None:
    from rich.console import Console
    from rich.text import Text

    from autoscaler.words import counted

    # Faults are lines that editors and log searches understand, so nothing may wrap them.
    console = Console(soft_wrap=True, highlight=False)
    for c in checked:
        for fault in c.faults:
            style = "red" if fault.severity == "error" else "yellow"
            console.print(Text(fault.severity, style), Text(str(fault)))
        if c.rules is not None:
            r = c.rules
            what = f"pool {r.pool}: {r.bounds.min} to {r.bounds.max} replicas, {counted(len(r.rules), 'rule')}"
            size = counted(len(r.signals), "signal")
            console.print(Text("ok", "green"), Text(f"{c.file}: {what}, {size}, hash {r.hash}"))
    found = (counted(len(checked), "file"), counted(errors, "error"), counted(warnings, "warning"))
    console.print(Text(", ".join(found)))
