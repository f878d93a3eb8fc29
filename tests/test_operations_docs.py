"""docs/operations.md says what is so: its commands parse, its rules load, its defaults are those of the code."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import pytest

from autoscaler.movement import Disruption
from autoscaler.rulefile.reader import check_text
from autoscaler.windows import window
from tests.test_docs import FENCE, parse

PAGE = (Path(__file__).parent.parent / "docs" / "operations.md").read_text(encoding="utf-8")
COMMANDS = sorted(
    {line[2:].split("  #")[0] for f in FENCE.finditer(PAGE) for line in f[2].splitlines() if line.startswith("$ ")}
    | set(re.findall(r"`(sigmascale (?:cordon|uncordon|replace|roll|rollback) [^`]+)`", PAGE))
)


@pytest.mark.parametrize("command", COMMANDS)
def test_a_command_is_understood(command: str) -> None:
    parse(shlex.split(command)[1:])


def test_the_section_loads_and_shows_the_defaults() -> None:
    (section,) = [f[2] for f in FENCE.finditer(PAGE) if f[1] == "yaml"]
    checked = check_text(f"pool: chat\nlimits: {{max: 4}}\n{section}", file="chat.yaml")
    assert checked.rules is not None, checked.faults
    assert checked.rules.disruption == Disruption(windows=(window("mon-fri 22:00-05:00 Europe/Berlin"),))


def test_every_command_of_the_page_is_there() -> None:
    assert len(COMMANDS) >= 8
