"""What the agent on a GPU node costs: `sigmascale agent` as a child over the stand-in for the driver's library, 8 H100.

CPU time and resident memory are the kernel's, of the whole process: collectors, pages, and a scrape of /metrics each
5 s. The stand-in answers at once where a driver takes its time, so this is what Python costs; what a driver adds is
still to be measured on hardware.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import urllib.request
from collections.abc import Mapping
from threading import Event

from autoscaler.clock import monotonic
from benchmarks.processes import cost
from benchmarks.table import Row, show
from tests.peers.nvml import models

SCRAPE_S = 5.0
START_S = 20.0
MEGABYTE = 1e6
GAUGES = ("--lanes", "buffers", "--no-host")
ALL = ("--stats",)
FAST = ("--stats", "--fast", "100ms")
TARGET_RSS_MB = 80.0
KINDS = (
    ("gauges and driver buffers", GAUGES, 1.0),
    ("all lanes, statistics and the machine", ALL, 2.0),
    ("the same with the fast lane all the time at 100 ms", FAST, 2.0),
)


def measure(what: str, flags: tuple[str, ...], target_percent: float, seconds: float) -> tuple[Row, ...]:
    """Share of a core and resident memory of one agent, from its second scrape on."""
    with models.hgx_h100() as fleet:
        for number, gpu in enumerate(fleet.gpus):
            gpu.busy_percent = 50 + number
        command = [sys.executable, "-m", "autoscaler.cli.main", "agent", "--listen", "127.0.0.1:0", "--host", "bench"]
        environment = {**fleet.environment(), "PYTHONPATH": os.getcwd()}
        with subprocess.Popen(
            [*command, "--log-format", "json", *flags], env=environment, stderr=subprocess.PIPE
        ) as child:
            try:
                url = _address(child)
                samples = _warm(url)
                spent_s, took_s, largest = _watch(child.pid, url, seconds)
            finally:
                child.terminate()
                child.communicate(timeout=START_S)
    named = f"8 GPUs, {what}"
    return (
        Row(f"share of one core, {named}", spent_s / took_s * 100, "%", target_percent, lower_is_better=True),
        Row(f"highest resident memory, {named}", largest / MEGABYTE, "MB", TARGET_RSS_MB, lower_is_better=True),
        Row(f"samples on its page, {named}", samples, "samples"),
    )


def run(seconds: float = 30.0) -> list[Row]:
    """All rows at the usual length."""
    return [row for what, flags, target in KINDS for row in measure(what, flags, target, seconds)]


def _address(child: subprocess.Popen[bytes]) -> str:
    """Where the page is, from the agent's log."""
    assert child.stderr is not None
    for line in child.stderr:
        told: Mapping[str, str] = json.loads(line)
        if told["event"] == "agent runs":
            return told["pages"]
    raise SystemExit("the agent did not start; run it by hand to see why")


def _warm(url: str) -> int:
    """Samples on the page once all lanes have spoken: when two scrapes 2 s apart show as many."""
    deadline, pause = monotonic() + START_S, Event()
    before, samples = -1, 0
    while monotonic() < deadline and (samples != before or not samples):
        pause.wait(2.0)
        before, samples = samples, _scrape(url)
    return samples


def _watch(pid: int, url: str, seconds: float) -> tuple[float, float, int]:
    """CPU seconds, seconds and the highest resident memory in bytes while the page is scraped."""
    pause, began, before = Event(), monotonic(), cost(pid)
    while monotonic() - began < seconds:
        _scrape(url)
        pause.wait(SCRAPE_S)
    now = cost(pid)
    return now.cpu_s - before.cpu_s, monotonic() - began, now.peak_bytes


def _scrape(url: str) -> int:
    with urllib.request.urlopen(url, timeout=5) as answer:
        return sum(not line.startswith(b"#") for line in answer.read().splitlines())


if __name__ == "__main__":
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("--seconds", type=float, default=60.0, help="length of each measured window")
    show(run(arguments.parse_args().seconds), "agent")
