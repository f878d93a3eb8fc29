"""`sigmascale test`: do my rules decide what I expect?"""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Annotated

import typer

from autoscaler.cli.client import JsonOption
from autoscaler.errors import InputError


def run_rule_tests(
    paths: Annotated[list[Path], typer.Argument(help="Test files (NAME.test.yaml) and folders with them.")],
    max_replicas: Annotated[
        int | None, typer.Option("--max", min=1, help="Upper bound of pools whose file gives none, as for `run`.")
    ] = None,
    region: Annotated[str | None, typer.Option("--region", help="Region of offers that name none.")] = None,
    as_json: JsonOption = False,
) -> None:
    """Run rule unit tests: given these series, at these times, expect these decisions and reasons.

    The real engine decides, in simulated time: an hour takes milliseconds. Exit code 1 when a test fails.

    Examples:

      sigmascale test rules/

      sigmascale test rules/chat.test.yaml --json
    """
    from autoscaler.rulefile.reader import Defaults
    from autoscaler.rulefile.trial import run_tests
    from autoscaler.words import counted
    from providers.prices import read_prices

    defaults = Defaults(max=max_replicas, region=region, prices=read_prices())
    results = [result for path in paths for result in run_tests(path, defaults)]
    if not results:
        named = ", ".join(map(str, paths))
        raise InputError(f"{named}: no tests found; write NAME.test.yaml beside NAME.yaml, as rules/README.md shows")
    failed = sum(not result.passed for result in results)
    if as_json:
        shown = [dataclasses.asdict(result) | {"passed": result.passed} for result in results]
        typer.echo(json.dumps({"tests": shown, "failed": failed}))
    else:
        for result in results:
            typer.secho(str(result), fg="green" if result.passed else "red")
        typer.echo(f"{counted(len(results), 'test')}, {failed} failed")
    if failed:
        raise typer.Exit(1)
