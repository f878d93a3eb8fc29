"""docs/deployment.md: its commands are understood, and the files and pages that it names are there."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import pytest

from tests.test_docs import parse

REPOSITORY = Path(__file__).parent.parent
PAGE = (REPOSITORY / "docs" / "deployment.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"^```console\n(.*?)^```", PAGE, re.DOTALL | re.MULTILINE)
SHOWN = [line.strip(" $#") for block in BLOCKS for line in block.splitlines()]
COMMANDS = sorted({
    found[1]
    for line in [*SHOWN, *re.findall(r"`([^`\n]+)`", PAGE)]
    if (found := re.search(r"(?:^|[/ ])(sigmascale (?:config|run|check|explain|agent|override)\b[^>]*)", line))
})  # fmt: skip


@pytest.mark.parametrize("line", COMMANDS)
def test_a_command_is_understood(line: str) -> None:
    parse(shlex.split(line, comments=True)[1:])


def test_there_are_commands() -> None:
    assert {line.split()[1] for line in COMMANDS} >= {"config", "run", "explain", "check"}


def test_links_lead_to_pages_and_headings() -> None:
    for link in re.findall(r"\]\(([^)]+)\)", PAGE):
        file, _, anchor = link.partition("#")
        target = REPOSITORY / "docs" / (file or "deployment.md")
        assert target.exists(), link
        headings = re.findall(r"^#+ (.+)$", target.read_text(encoding="utf-8"), re.MULTILINE)
        assert not anchor or anchor in {h.lower().replace(" ", "-").replace(",", "") for h in headings}, link


def test_files_of_the_checkout_that_are_named_are_there() -> None:
    named = {path.rstrip("/.") for path in re.findall(r"\b(?:deploy|dashboards)/[\w./-]+", PAGE)}
    made = {"deploy/compose/secrets", "deploy/compose/secrets/admin-token"}
    assert [path for path in named - made if not (REPOSITORY / path).exists()] == []
