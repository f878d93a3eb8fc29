"""How long a launch takes on this machine: from the provider's call until the child runs, state on the disk included.

    python -m benchmarks.launch

The peer is a bare `subprocess.Popen` of the same program, without state, log or limits.
"""

from __future__ import annotations

import subprocess
import tempfile
from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np

from autoscaler.clock import monotonic
from autoscaler.types import Launch, Offer
from benchmarks.table import Row, show
from providers.local import LocalProvider

LAUNCHES, AT_ONCE = 200, 20


def run() -> list[Row]:
    """Latency of `apply` for launches, of which AT_ONCE run side by side. It returns when the child runs."""
    ours, bare = _ours(), _bare()
    return [
        Row(f"launch to running child, p{q}", _ms(ours, q), "ms", None, _ms(bare, q), lower_is_better=True)
        for q in (50, 99)
    ]


def _ours() -> list[float]:
    offer = Offer("local", "sleep", settings=(("command", "sleep 300"),))
    took: list[float] = []
    for group in range(LAUNCHES // AT_ONCE):
        with tempfile.TemporaryDirectory() as directory:
            provider = LocalProvider(Path(directory) / "state")
            provider.observe()
            for number in range(AT_ONCE):
                launch = Launch(f"launch-{group}-{number}", "bench", 0.0, 0.0, offer)
                took.append(_seconds(partial(provider.apply, launch)))
            running = provider.observe().instances
            assert len(running) == AT_ONCE
            assert {instance.state for instance in running} == {"pending"}
            provider.close(kill=True)
    return took


def _bare() -> list[float]:
    took: list[float] = []
    for _ in range(LAUNCHES // AT_ONCE):
        children: list[subprocess.Popen[bytes]] = []

        def start(started: list[subprocess.Popen[bytes]] = children) -> None:
            started.append(subprocess.Popen(["sleep", "300"]))

        took.extend(_seconds(start) for _ in range(AT_ONCE))
        for child in children:
            child.kill()
            child.wait()
    return took


def _seconds(call: Callable[[], object]) -> float:
    began = monotonic()
    call()
    return monotonic() - began


def _ms(seconds: list[float], percentile: float) -> float:
    return float(np.percentile(seconds, percentile)) * 1000.0


if __name__ == "__main__":
    show(run(), "local provider")
