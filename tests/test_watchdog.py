"""The watchdog, asked by hand and at work on its own thread."""

from __future__ import annotations

import threading

import pytest
import structlog

from autoscaler.clock import SimClock, SystemClock
from autoscaler.loop import Stats
from autoscaler.watchdog import Watchdog
from tests.peers.pages import until

STUCK, LATE = "a pass of the loop is stuck", "ticks are late"


@pytest.mark.parametrize(
    ("began_s_ago", "late_s", "expected"),
    [
        pytest.param(None, 0.0, "", id="the loop waits"),
        pytest.param(29.0, 0.0, "", id="a long pass is not a stuck one"),
        pytest.param(31.0, 0.0, STUCK, id="a pass that does not end"),
        pytest.param(None, 0.9, "", id="a little late is on time"),
        pytest.param(None, 1.1, LATE, id="late"),
        pytest.param(31.0, 60.0, STUCK, id="stuck is worse than late"),
    ],
)
def test_it_finds(began_s_ago: float | None, late_s: float, expected: str) -> None:
    clock = SimClock(1000.0)
    stats = Stats(late_s=late_s, pass_began_at=None if began_s_ago is None else clock.now() - began_s_ago)
    assert Watchdog(stats, clock, stuck_s=30.0).look() == expected


def test_a_loop_that_rests_for_hours_is_not_stuck() -> None:
    stats, clock = Stats(), SimClock(1000.0)
    dog = Watchdog(stats, clock)
    stats.pass_began_at = clock.now()
    assert dog.look() == ""
    stats.pass_began_at = None
    clock.at += 36_000.0
    assert dog.look() == ""


def test_it_says_for_how_long_and_says_it_once() -> None:
    stats, clock = Stats(pass_began_at=1000.0), SimClock(1045.0)
    dog = Watchdog(stats, clock)
    with structlog.testing.capture_logs() as lines:
        for _ in range(5):
            dog.look()
            clock.at += 10.0
    assert [(line["log_level"], line["event"], line["pass_under_way_s"]) for line in lines] == [("error", STUCK, 45.0)]


def test_its_thread_notices_a_stuck_loop_and_ends_when_it_is_told_to() -> None:
    clock = SystemClock()
    stats = Stats(pass_began_at=clock.now() - 60.0)
    dog = Watchdog(stats, clock, period_s=0.01)
    with structlog.testing.capture_logs() as lines:
        dog.start()
        try:
            until(lambda: lines, "a finding")
            stats.pass_began_at = None
            until(lambda: len(lines) >= 2, "the end of it")
        finally:
            dog.stop()
    assert [line["event"] for line in lines] == [STUCK, "ticks are on time again"]
    until(lambda: not [t for t in threading.enumerate() if t.name == "watchdog"], "the end of its thread")


def test_it_may_be_stopped_without_having_been_started() -> None:
    Watchdog(Stats(), SimClock()).stop()
