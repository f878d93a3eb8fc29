"""The pages that people read first say what is so: their rules load, their commands parse, their paths exist."""

from __future__ import annotations

import importlib
import re
import shlex
from collections.abc import Iterator
from pathlib import Path

import pytest
from typer.main import get_command

from autoscaler.cli.main import app
from autoscaler.configfile import read_config
from autoscaler.rulefile.reader import Defaults, check_text
from benchmarks.__main__ import NAMES

REPOSITORY = Path(__file__).parent.parent
PAGES = ("README.md", "README.zh.md", "ARCHITECTURE.md", "CHANGELOG.md", "rules/README.md", "benchmarks/README.md")
BENCHMARKS = sorted(path for path in (REPOSITORY / "benchmarks").glob("*.py") if not path.stem.startswith("__"))
FENCE = re.compile(r"^```(\w*)\n(.*?)^```", re.DOTALL | re.MULTILINE)
COMMAND = re.compile(r"^(?:\$ )?(?:\S*/)?(sigmascale|make) ")


def text(page: str) -> str:
    return (REPOSITORY / page).read_text(encoding="utf-8")


def blocks(page: str, language: str) -> list[str]:
    """The code blocks of a page in that language; "" = those that name none."""
    return [found[2] for found in FENCE.finditer(text(page)) if found[1] == language]


def command_lines() -> Iterator[tuple[str, str]]:
    """Page and text of every command in a block or in backticks, from the program's name on."""
    for page in PAGES:
        prose = FENCE.sub("", text(page))
        lines = [line for found in FENCE.finditer(text(page)) if found[1] != "yaml" for line in found[2].splitlines()]
        for line in [*lines, *re.findall(r"`([^`\n]+)`", prose)]:
            found = COMMAND.match(line.strip())
            if found:
                yield page, line.strip()[found.start(1) :]


def targets() -> set[str]:
    return set(re.findall(r"^([a-z]+):", text("Makefile"), re.MULTILINE))


def parse(words: list[str]) -> None:
    """Let the command line's own parser read what stands after `sigmascale`; raises for what it does not know."""
    command, name = get_command(app), "sigmascale"
    while hasattr(command, "resolve_command"):
        context = command.make_context(name, [*words])
        name, command, words = command.resolve_command(context, words)
    command.make_context(name, [*words])


COMMAND_LINES = sorted(set(command_lines()))


@pytest.mark.parametrize(("page", "line"), COMMAND_LINES, ids=[f"{page}: {line}" for page, line in COMMAND_LINES])
def test_a_command_on_a_page_is_understood(page: str, line: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """It names a command and options that exist, and every rule file that it names is there."""
    monkeypatch.chdir(REPOSITORY)
    program, *words = shlex.split(line, comments=True)
    if program == "make":
        target, *variables = words
        assert target in targets()
        given = dict(v.split("=", 1) for v in variables)
        assert set(given) <= {"ARGS", "PYTHON"}
        words = shlex.split(given.get("ARGS", ""))
        if target == "bench":
            assert set(words) <= set(NAMES)
        if target != "demo":
            return
        words = ["demo", *words]
    parse(words)
    assert all(Path(word).exists() for word in words if word.startswith("rules/"))


def test_the_readme_shows_every_way_in() -> None:
    """A parser that finds no commands would prove nothing."""
    shown = {line.split()[1] for page, line in COMMAND_LINES if page == "README.md" and line.startswith("sigmascale")}
    assert shown >= {"check", "test", "simulate", "run", "explain", "override"}


@pytest.mark.parametrize("line", ["sigmascale chekc rules/", "sigmascale check --stirct rules/"])
def test_a_command_that_does_not_exist_is_found_out(line: str) -> None:
    with pytest.raises(Exception, match=r"(?i)no such (command|option)"):
        parse(shlex.split(line)[1:])


def test_the_readme_begins_with_the_demo_and_the_tests() -> None:
    first = blocks("README.md", "")[0]
    commands = [line.split("#")[0].strip() for line in first.splitlines()]
    assert commands == ["make demo", "make test"]
    assert {"demo", "test"} <= targets()


def test_the_rule_file_of_the_readme_has_no_fault() -> None:
    """Neither an error nor a warning, and without any default of the service's configuration."""
    (shown,) = (block for block in blocks("README.md", "yaml") if block.startswith("pool:"))
    checked = check_text(shown, file="README.md", defaults=Defaults(None, None, True))
    assert checked.rules is not None
    assert checked.rules.pool == "chat"
    assert [str(fault) for fault in checked.faults] == []


def test_the_configuration_of_the_readme_is_accepted(tmp_path: Path) -> None:
    (shown,) = (block for block in blocks("README.md", "yaml") if block.startswith("rules:"))
    (tmp_path / "rules").mkdir()
    file = tmp_path / "config.yaml"
    file.write_text(shown, encoding="utf-8")
    assert [target.pool for target in read_config(file, {}).targets] == ["chat"]


def test_every_benchmark_can_be_run_and_says_what_it_claims() -> None:
    """The command's names are the modules that return rows, and each has its lines in the table."""
    modules = {path.stem: importlib.import_module(f"benchmarks.{path.stem}") for path in BENCHMARKS}
    assert {name for name, module in modules.items() if hasattr(module, "run")} == {*NAMES, "anomaly"}
    assert re.findall(r"^\| `(\w+)` \|", text("benchmarks/README.md"), re.MULTILINE) == [*NAMES]


@pytest.mark.parametrize("page", PAGES)
def test_a_link_of_a_page_leads_to_a_file(page: str) -> None:
    links = re.findall(r"\]\(([^)#]+)[^)]*\)", text(page))
    local = [link for link in links if "://" not in link]
    assert [link for link in local if not ((REPOSITORY / page).parent / link).exists()] == []


@pytest.mark.parametrize(("page", "least"), [("README.md", 7), ("ARCHITECTURE.md", 30)])
def test_a_path_in_a_table_exists(page: str, least: int) -> None:
    """The first path of a row is seen from the top; the others may be seen from the folder of the first."""
    missing, found = [], 0
    for row in re.findall(r"^\| (.*?) \|", text(page), re.MULTILINE):
        paths = re.findall(r"`([^`]+)`", row) + re.findall(r"\]\(([^)#]+)\)", row)
        for path in paths:
            beside = (REPOSITORY / paths[0]).parent / path
            missing += [] if (REPOSITORY / path).exists() or beside.exists() else [path]
            found += 1
    assert missing == []
    assert found >= least
