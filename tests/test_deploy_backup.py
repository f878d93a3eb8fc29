"""A copy of the journal that is taken from a running service starts another one where that one was."""

from __future__ import annotations

import re
import shutil
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from autoscaler.errors import InputError
from tests.serviceworld import ServiceWorld

PAGE = Path(__file__).parent.parent / "docs" / "deployment.md"


@pytest.fixture
def world(tmp_path: Path) -> Iterator[ServiceWorld]:
    made = ServiceWorld(tmp_path, "127.0.7.61")
    made.write_rules(least=1)
    try:
        yield made
    finally:
        made.end()


def documented(journal: Path, copy: Path) -> list[str]:
    """The command that docs/deployment.md gives, for these two files."""
    (program,) = re.findall(r'python3 -c "(import sqlite3[^"]+)"', PAGE.read_text(encoding="utf-8"))
    assert program.count("/var/lib/sigmascale/journal.db") == program.count("/backup/journal.db") == 1
    words = program.replace("/var/lib/sigmascale/journal.db", str(journal)).replace("/backup/journal.db", str(copy))
    return [sys.executable, "-c", words]


def test_a_copy_taken_while_the_service_runs_is_whole_and_starts_another(world: ServiceWorld) -> None:
    """Decisions, overrides and the memory of the pool are in it; replicas are found again by their provider."""
    copy = world.folder / "copy.db"
    with world.running() as client:
        client.until_ready(1)
        body = {"kind": "floor", "replicas": 2, "for": "2h", "author": "ada", "reason": "launch event"}
        client.ask("PUT", "/pools/chat/overrides/launch", json=body)
        client.until_ready(2)
        before = [(d["number"], d["want"]) for d in client.decisions()]
        subprocess.run(documented(world.data / "journal.db", copy), check=True, capture_output=True)
        client.until_ticked(2)
    with closing(sqlite3.connect(copy)) as database:
        assert database.execute("pragma integrity_check").fetchone() == ("ok",)
    shutil.move(world.data / "local", world.folder / "local")
    shutil.rmtree(world.data)
    world.data.mkdir()
    shutil.move(world.folder / "local", world.data / "local")
    shutil.move(copy, world.data / "journal.db")
    with world.running() as client:
        client.until_ticked(2)
        client.until_ready(2)
        overrides = client.ask("GET", "/pools/chat/overrides")["overrides"]
        assert [(o["id"], o["author"]) for o in overrides] == [("launch", "ada")]
        assert [(d["number"], d["want"]) for d in client.decisions()][: len(before)] == before
        assert len(world.workers()) == 2, "no second pair was launched"


def test_two_services_never_share_a_folder(world: ServiceWorld) -> None:
    with world.running(), pytest.raises(InputError, match="another sigmascale runs on it"):
        world.service()
