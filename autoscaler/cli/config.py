"""`sigmascale config`: is the service's configuration right, and what is in force?"""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from autoscaler.cli.client import JsonOption

if TYPE_CHECKING:
    from autoscaler.cli.config_shown import Effective
    from autoscaler.errors import Fault

config = typer.Typer(
    no_args_is_help=True,
    rich_markup_mode=None,
    help="Check the service's configuration, or write a file to start from.",
)


@config.command("check")
def check(
    file: Annotated[
        Path | None,
        typer.Argument(
            envvar="SIGMASCALE_CONFIG", help="The service's YAML file; without one, defaults and variables."
        ),
    ] = None,
    strict: Annotated[bool, typer.Option("--strict", help="Fail on warnings too.")] = False,
    show: Annotated[
        bool, typer.Option("--show", help="Print every setting in force and where it comes from, secrets hidden.")
    ] = False,
    as_json: JsonOption = False,
) -> None:
    """Read the configuration as `run` would, with its SIGMASCALE_* variables, and report every fault at once.

    Besides settings it looks at the files that they name, at plug-ins and theirs, and warns of what works and will be
    regretted: no TLS, data in memory, no rules. Nothing is started, asked or written. Exit code 1 when there are
    errors, or with --strict warnings; 2 when the file cannot be read at all.

    Examples:

      sigmascale config check /etc/sigmascale/config.yaml

      sigmascale config check config.yaml --show

      sigmascale config check config.yaml --strict --json
    """
    import os
    from dataclasses import replace

    from autoscaler.cli.config_advice import refused, unwise
    from autoscaler.cli.config_shown import effective
    from autoscaler.configfile import look_at

    seen = look_at(file, os.environ)
    errors, warnings = list(seen.faults), []
    if seen.config is not None:
        # What a setting means to others is only looked at once it is one.
        if not errors:
            errors += refused(seen.config)
        found = [seen.config.fault(where, text) for where, text in unwise(seen.config)] if not seen.faults else []
        warnings = [replace(fault, severity="warning") for fault in found]
    settings = tuple(effective(seen)) if show else ()
    if as_json:
        typer.echo(_json(errors, warnings, settings))
    else:
        _print(errors, warnings, settings, file)
    if errors or (strict and warnings):
        raise typer.Exit(1)


@config.command("example")
def example() -> None:
    """Print a configuration file with every setting, its meaning and its default, all of it commented out.

    Examples:

      sigmascale config example > config.yaml
    """
    from autoscaler.configdocs import commented

    typer.echo(commented(), nl=False)


def _json(errors: list[Fault], warnings: list[Fault], settings: tuple[Effective, ...]) -> str:
    import dataclasses

    told: dict[str, object] = {
        "valid": not errors,
        "faults": [dataclasses.asdict(fault) for fault in (*errors, *warnings)],
        "errors": len(errors),
        "warnings": len(warnings),
    }
    if settings:
        told["settings"] = {one.name: {"value": one.value, "origin": one.origin} for one in settings}
    return json.dumps(told)


def _print(errors: list[Fault], warnings: list[Fault], settings: tuple[Effective, ...], file: Path | None) -> None:
    from rich.console import Console
    from rich.text import Text

    from autoscaler.words import counted

    # Faults are lines that editors and log searches understand, so nothing may wrap them.
    console = Console(soft_wrap=True, highlight=False)
    width = max((len(_line(one)) for one in settings), default=0)
    for one in settings:
        console.print(Text(_line(one).ljust(min(width, 44))), Text(f"  # {one.origin}", "dim"))
    for fault in (*errors, *warnings):
        console.print(Text(fault.severity, "red" if fault.severity == "error" else "yellow"), Text(str(fault)))
    if not errors:
        console.print(Text("ok", "green"), Text(str(file) if file is not None else "defaults and variables"))
    console.print(Text(f"{counted(len(errors), 'error')}, {counted(len(warnings), 'warning')}"))


def _line(one: Effective) -> str:
    """A setting as a line of YAML: JSON is YAML too. What is not set is a comment."""
    if one.value is None or one.value in ("", [], {}):
        return f"# {one.name} is not set"
    plain = isinstance(one.value, str) and one.value.replace("-", "").replace("_", "").replace("/", "").isalnum()
    return f"{one.name}: {one.value if plain else json.dumps(one.value)}"
