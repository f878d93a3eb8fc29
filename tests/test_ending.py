"""Told to end, a program ends: at any moment of its start, by an event that a signal sets and nothing else."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from autoscaler.ending import asked_to_end
from tests.peers.pages import until

REPOSITORY = Path(__file__).parent.parent


def test_a_signal_sets_the_event_and_interrupts_nothing() -> None:
    before = signal.getsignal(signal.SIGTERM)
    with asked_to_end() as asked:
        assert not asked.is_set()
        os.kill(os.getpid(), signal.SIGTERM)
        assert asked.wait(5.0)
        assert signal.getsignal(signal.SIGTERM) is signal.SIG_DFL, "the second one ends the process at once"
    assert signal.getsignal(signal.SIGTERM) is before


def test_a_signal_that_comes_while_the_event_is_looked_at_stops_nothing() -> None:
    """`wait` holds the event's own lock now and then, and a handler runs on the thread that holds it."""
    with asked_to_end() as asked:
        with asked._cond:  # type: ignore[attr-defined]
            os.kill(os.getpid(), signal.SIGTERM)
        assert asked.wait(5.0)


def test_somebody_who_takes_things_down_may_ask_not_to_be_killed_by_the_second_signal() -> None:
    with asked_to_end((signal.SIGHUP,), second_kills=False) as asked:
        for _ in range(3):
            os.kill(os.getpid(), signal.SIGHUP)
        assert asked.wait(5.0)


def test_on_another_thread_signals_are_left_as_they_are() -> None:
    found = []

    def use() -> None:
        with asked_to_end() as asked:
            found.append((signal.getsignal(signal.SIGTERM), asked.is_set()))

    before = signal.getsignal(signal.SIGTERM)
    thread = threading.Thread(target=use)
    thread.start()
    thread.join(5.0)
    assert found == [(before, False)]


def catches(pid: int, number: signal.Signals) -> bool:
    """Whether the process has a handler of its own for a signal."""
    try:
        status = Path(f"/proc/{pid}/status").read_text(encoding="ascii")
    except OSError:
        return False
    mask = next((line.split()[1] for line in status.splitlines() if line.startswith("SigCgt:")), "0")
    return bool(int(mask, 16) >> (number - 1) & 1)


@pytest.mark.parametrize(
    ("words", "code"),
    [
        pytest.param(("agent", "--listen", "127.0.0.1:0"), 0, id="the agent"),
        pytest.param(("run", "--rules", "rules", "--max", "2", "--listen", "127.0.0.1:0"), 0, id="the service"),
        pytest.param(("demo", "--duration", "60s", "--headless"), 130, id="the demo"),
    ],
)
def test_a_signal_while_everything_is_still_being_imported_is_a_clean_end(
    words: tuple[str, ...], code: int, tmp_path: Path
) -> None:
    extra = ("--data-dir", str(tmp_path / "data")) if words[0] == "run" else ()
    process = subprocess.Popen(
        [sys.executable, "-m", "autoscaler.cli.main", *words, *extra],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        cwd=REPOSITORY,
        env={name: value for name, value in os.environ.items() if not name.startswith("SIGMASCALE_")},
    )
    try:
        until(lambda: catches(process.pid, signal.SIGTERM), "its handler", 30.0)
        process.send_signal(signal.SIGTERM)
        output, _ = process.communicate(timeout=30)
    finally:
        process.kill()
        process.wait()
    assert process.returncode == code, output
    assert "Traceback" not in output
