"""Every panel of every dashboard, asked of a real Prometheus that scrapes a simulated fleet: none stays empty."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from threading import Event

import pytest

from autoscaler.clock import monotonic
from tests.grafanapages import FOLDER, Asked, choices, committed, notes, put_in, queries
from tests.peers.dashboard_store import Asking, scraping
from tests.peers.pages import until
from tests.peers.programs import program

pytestmark = pytest.mark.peer

PATIENCE_S = 170.0
"""How long the slowest panel may take: it needs a scale-in and a machine that a cloud takes back."""
SHORT = {"__rate_interval": "20s", "__interval": "10s", "__range": "5m"}
FLEET = SHORT | {"pool": ".*", "host": ".*", "instance": ".*", "provider": ".*"}
ONE = SHORT | {"pool": "assistant", "signal": "load"}
"""The pool of the simulation that has everything: forecast, budget, warm pool, candidate, bands."""


@contextmanager
def simulated_fleet(folder: Path) -> Iterator[dict[str, str]]:
    """`sigmascale simulate --serve` until the `with` block ends, and where it says that it serves."""
    clean = {name: value for name, value in os.environ.items() if not name.startswith("SIGMASCALE_")}
    words = ["simulate", "--serve", "--listen", "127.0.0.1:0", "--pages", "127.0.0.1:0", "--speed", "4", "--json"]
    command = [sys.executable, "-m", "autoscaler.cli.main", *words, "--data", str(folder / "fleet")]
    log, said = folder / "fleet.log", folder / "fleet.json"
    with (
        log.open("wb") as errors,
        said.open("wb") as lines,
        subprocess.Popen(command, stdout=lines, stderr=errors, env=clean) as started,
    ):
        try:
            until(lambda: b"\n" in said.read_bytes() or started.poll() is not None, "the fleet serves", 60.0)
            assert started.poll() is None, log.read_text()[-3000:]
            yield json.loads(said.read_text().splitlines()[0])
        finally:
            started.terminate()
            try:
                started.wait(20.0)
            except subprocess.TimeoutExpired:
                started.kill()


def everything() -> list[tuple[Asked, str]]:
    """Each query of a panel and of a variable, the mark of a scale-out, and what is asked for it."""
    found = []
    for uid, tree in committed().items():
        values = ONE if uid == "sigmascale-pool" else FLEET
        marks = (note for note in notes(tree) if note.panel == "Scale out" and values is FLEET)
        asked = [*queries(tree), *(Asked(uid, "variables", series) for series in choices(tree)), *marks]
        found += [(one, put_in(one.expr, values)) for one in asked]
    return found


def still_empty(prometheus: Asking, asked: list[tuple[Asked, str]]) -> list[tuple[Asked, str]]:
    """Those that Prometheus has no answer to now; one that was answered is not asked again."""
    return [(one, expr) for one, expr in asked if not prometheus.now(expr)]


@pytest.mark.timeout(300)
def test_no_panel_is_empty_and_no_rule_fails_over_a_fleet_that_has_everything(tmp_path: Path) -> None:
    program("prometheus", "prometheus")
    with simulated_fleet(tmp_path) as fleet:
        jobs = {"sigmascale": f"{fleet['api']}/metrics", "sigmascale-agents": f"{fleet['pages']}/metrics"}
        with scraping(jobs, FOLDER / "prometheus" / "rules" / "*.yml", tmp_path) as prometheus:
            for uid, tree in committed().items():
                for note in notes(tree):  # most of them mark what seldom happens; all of them must be understood
                    prometheus.now(put_in(note.expr, ONE if uid == "sigmascale-pool" else FLEET))
            empty, deadline = everything(), monotonic() + PATIENCE_S
            pause = Event()
            while (empty := still_empty(prometheus, empty)) and monotonic() < deadline:
                pause.wait(2.0)
            assert not empty, "these stay empty:\n" + "\n".join(f"{one}" for one, _ in empty)
            assert prometheus.broken_rules() == []
