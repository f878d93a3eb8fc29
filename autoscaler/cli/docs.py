"""Writes the pages of docs/ that are made from the code: `python -m autoscaler.cli.docs docs/`."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from typer._click.core import Command


def pages() -> dict[str, str]:
    """Every generated page by its file name."""
    from autoscaler import configfile, ownmetrics

    return {
        "api.md": _api(),
        "cli.md": cli_reference(),
        "config.md": configfile.reference(),
        "metrics.md": ownmetrics.reference(),
    }


def _api() -> str:
    from autoscaler import __version__
    from autoscaler.api.app import ApiDeps, create_app
    from autoscaler.api.reference import reference
    from autoscaler.board import Board
    from autoscaler.clock import SimClock
    from autoscaler.journal import Journal
    from autoscaler.rulewatch import RuleBook
    from autoscaler.store import Store

    journal = Journal()
    try:
        deps = ApiDeps(Board(), journal, Store(None), SimClock(), RuleBook(()), version=__version__)
        return reference(create_app(deps))
    finally:
        journal.close()


def cli_reference() -> str:
    """docs/cli.md: every command with its arguments and options, from the Typer app."""
    import typer

    from autoscaler.cli.main import app

    lines = ["# Command line", "", "Written by `make docs`; do not edit."]
    lines += _command("sigmascale", typer.main.get_command(app))
    return "\n".join([*lines, ""])


def _command(name: str, command: Command) -> list[str]:
    help_text = (command.help or "").strip()
    lines = ["", f"## {name}", "", *_paragraphs(help_text)]
    rows = [_parameter(p) for p in command.params if p.name != "help"]
    if rows:
        lines += ["", "| argument or option | type | default | meaning |", "|---|---|---|---|", *rows]
    for child_name, child in getattr(command, "commands", {}).items():
        lines += _command(f"{name} {child_name}", child)
    return lines


def _paragraphs(text: str) -> list[str]:
    """Help as Markdown: its indented lines are examples, and neighbouring ones share a block."""
    found: list[str] = []
    inside = False
    for block in text.split("\n\n"):
        example = block.startswith("  ")
        if inside and not example:
            found += ["```", ""]
        if example and not inside:
            found.append("```console")
        found += [line.strip() for line in block.splitlines()] if example else [" ".join(block.split()), ""]
        inside = example
    return [*found, "```"] if inside else found[:-1]


def _parameter(parameter: Any) -> str:
    is_option = parameter.param_type_name == "option"
    names = [*parameter.opts, *parameter.secondary_opts] if is_option else [parameter.make_metavar(None)]
    shown = ", ".join(f"`{name}`" for name in names)
    kind = "flag" if getattr(parameter, "is_flag", False) else parameter.type.name
    if getattr(parameter.type, "choices", None):
        kind = " or ".join(f"`{choice}`" for choice in parameter.type.choices)
    if parameter.required:
        default = "mandatory"
    else:
        default = f"`{parameter.default}`" if parameter.default not in (None, False, (), []) else "none"
    variable = f" Variable: `{parameter.envvar}`." if parameter.envvar else ""
    return f"| {shown} | {kind} | {default} | {(getattr(parameter, 'help', None) or '').strip()}{variable} |"


if __name__ == "__main__":
    for file_name, text in pages().items():
        (Path(sys.argv[1]) / file_name).write_text(text, encoding="utf-8")
