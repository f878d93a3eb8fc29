"""The units of systemd: systemd takes them, our command line takes what they start, and they ask for little."""

from __future__ import annotations

import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest
from typer.main import get_command

from autoscaler.agent.settings import PREFIX, words
from autoscaler.cli.main import app
from autoscaler.configmodel import ENVIRONMENT_PREFIX, Settings
from tests.peers.programs import program

REPOSITORY = Path(__file__).parent.parent
FOLDER = REPOSITORY / "deploy" / "systemd"
UNITS = ("sigmascale.service", "sigmascale-agent.service")
INSTALLED = "/opt/sigmascale/bin/sigmascale"
DIRECTIVE = re.compile(r"^([A-Za-z]+)=(.*)$", re.MULTILINE)


def said(name: str) -> dict[str, list[str]]:
    """Every directive of a unit with its values."""
    found: dict[str, list[str]] = {}
    for key, value in DIRECTIVE.findall((FOLDER / name).read_text(encoding="utf-8")):
        found.setdefault(key, []).append(value)
    return found


def variables(name: str) -> dict[str, str]:
    return dict(line.split("=", 1) for line in said(name).get("Environment", []))


def parse(line: str) -> None:
    command, name, left = get_command(app), "sigmascale", shlex.split(line)[1:]
    while hasattr(command, "resolve_command"):
        context = command.make_context(name, [*left])
        name, command, left = command.resolve_command(context, left)
    command.make_context(name, [*left])


@pytest.fixture
def units(tmp_path: Path) -> list[Path]:
    """The units with a program that is there, beside their drop-ins."""
    for path in FOLDER.rglob("*"):
        if path.is_file():
            copy = tmp_path / path.relative_to(FOLDER)
            copy.parent.mkdir(exist_ok=True)
            text = path.read_text(encoding="utf-8").replace(INSTALLED, f"{Path(sys.executable).parent}/sigmascale")
            copy.write_text(text, encoding="utf-8")
    return [tmp_path / name for name in UNITS]


def test_systemd_finds_nothing_wrong(units: list[Path]) -> None:
    verify = [program("systemd", "systemd-analyze"), "verify", "--man=no", *map(str, units)]
    ended = subprocess.run(verify, check=False, capture_output=True, text=True, timeout=60)
    mine = [line for line in ended.stderr.splitlines() if "sigmascale" in line]
    assert (ended.returncode, mine) == (0, [])


@pytest.mark.parametrize(("unit", "most"), [("sigmascale.service", 1.5), ("sigmascale-agent.service", 2.5)])
def test_what_a_unit_lays_open_is_little_by_systemds_own_measure(units: list[Path], unit: str, most: float) -> None:
    """0 is best, 10 is a service of root without any limit."""
    path = next(one for one in units if one.name == unit)
    ask = [program("systemd", "systemd-analyze"), "security", "--offline=true", str(path)]
    told = subprocess.run(ask, check=False, capture_output=True, text=True, timeout=60).stdout
    found = re.search(r"Overall exposure level for \S+: ([0-9.]+)", told)
    assert found is not None, told
    assert float(found[1]) <= most


@pytest.mark.parametrize("unit", UNITS)
def test_what_a_unit_starts_is_understood(unit: str) -> None:
    lines = [*said(unit)["ExecStart"], *said(unit).get("ExecStartPre", [])]
    assert all(line.startswith(f"{INSTALLED} ") for line in lines)
    for line in lines:
        parse(line)


def test_the_variables_of_the_units_are_ours() -> None:
    service = {name.removeprefix(ENVIRONMENT_PREFIX).lower() for name in variables("sigmascale.service")}
    assert service <= set(Settings.model_fields)
    agent = variables("sigmascale-agent.service") | variables("sigmascale-agent.service.d/push.conf")
    assert agent
    assert all(name.startswith(PREFIX) for name in agent)
    assert words(agent).push == "http://10.0.0.2:9377"


def test_tokens_come_as_credentials_and_never_as_variables() -> None:
    for unit in (*UNITS, "sigmascale-agent.service.d/push.conf"):
        for name, value in variables(unit).items():
            assert "TOKEN" not in name or value.startswith("%d/"), f"{unit}: {name}"
    assert said("sigmascale.service")["LoadCredential"] == ["tokens:/etc/sigmascale/tokens"]


def test_the_agent_may_see_devices_that_are_made_after_it_started() -> None:
    assert not {"PrivateDevices", "DevicePolicy", "DeviceAllow"} & said("sigmascale-agent.service").keys()


def test_the_service_may_lower_its_own_priority() -> None:
    """The process that makes models calls nice(2), which the group @resources holds."""
    assert "@resources" not in " ".join(said("sigmascale.service")["SystemCallFilter"])
