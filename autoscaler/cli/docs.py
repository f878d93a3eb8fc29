"""Writes the pages of docs/ that are made from the code: `python -m autoscaler.cli.docs docs/`."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping
from pathlib import Path

RULES = Path(__file__).parents[2] / "rules"
"""Of the checkout, the only place where pages are written."""


def pages() -> dict[str, str]:
    """Every generated page by its file name."""
    from autoscaler import configdocs, ownmetrics
    from autoscaler.rulefile import cookbook
    from collectors import reference as telemetry

    return {
        "api.md": _api(),
        "cli.md": cli_reference(),
        "config.md": configdocs.reference(),
        "cookbook.md": cookbook.reference(RULES / "cookbook"),
        "errors.md": _errors(),
        "metrics.md": ownmetrics.reference(),
        "telemetry.md": telemetry.reference(),
    }


def _api() -> str:
    from autoscaler import __version__
    from autoscaler.api.app import ApiDeps, create_app
    from autoscaler.api.reference import reference
    from autoscaler.board import Board
    from autoscaler.clock import SimClock
    from autoscaler.journal import Journal
    from autoscaler.rulefile.watch import RuleBook
    from autoscaler.store import Store

    journal = Journal()
    try:
        deps = ApiDeps(Board(), journal, Store(None), SimClock(), RuleBook(()), version=__version__)
        return reference(create_app(deps))
    finally:
        journal.close()


def _errors() -> str:
    from autoscaler.api.errordocs import reference

    return reference()


def cli_reference() -> str:
    """docs/cli.md: the help of every command, as it is shown."""
    from typer.main import get_command

    from autoscaler.cli.main import app

    lines = ["# Command line", "", "What `--help` says. Written by `make docs`; do not edit."]
    for words in _commands((), get_command(app)):
        lines += ["", f"## {' '.join(('sigmascale', *words))}", "", "```text", _help(words), "```"]
    return "\n".join([*lines, ""])


def _commands(words: tuple[str, ...], command: object) -> Iterator[tuple[str, ...]]:
    """The words that lead to every command, parents first."""
    yield words
    children: Mapping[str, object] = getattr(command, "commands", {})
    for name, child in children.items():
        yield from _commands((*words, name), child)


def _help(words: tuple[str, ...]) -> str:
    from typer.testing import CliRunner

    from autoscaler.cli.main import app

    # The runner fixes the width of the terminal, so that the page does not depend on who writes it.
    shown = CliRunner().invoke(app, [*words, "--help"], prog_name="sigmascale")
    assert shown.exit_code == 0, shown.output
    return "\n".join(line.rstrip() for line in shown.output.strip().splitlines())


if __name__ == "__main__":
    for file_name, text in pages().items():
        (Path(sys.argv[1]) / file_name).write_text(text, encoding="utf-8")
