"""What every clock must do. The loop and the collectors know no other time."""

from __future__ import annotations

import time
from threading import Event, Thread

import pytest

from autoscaler.clock import SimClock, SystemClock, monotonic
from autoscaler.ports import Clock

each_clock = pytest.mark.parametrize("clock", [SystemClock(), SimClock(1000.0)], ids=["system", "simulated"])


class Noted(Event):
    """An event that is never set, notes how long it was waited for and does not let anybody wait."""

    def __init__(self) -> None:
        super().__init__()
        self.seconds: list[float] = []

    def wait(self, timeout: float | None = None) -> bool:
        assert timeout is not None, "no wait without an end"
        self.seconds.append(timeout)
        return False


@each_clock
def test_time_does_not_run_backwards_by_itself(clock: Clock) -> None:
    times = [clock.now() for _ in range(100)]
    assert times == sorted(times)
    assert all(isinstance(at, float) for at in times)


@each_clock
@pytest.mark.parametrize("wake", [None, Event()], ids=["nobody wakes", "nobody wakes it with an event"])
def test_wait_ends_at_its_time(clock: Clock, wake: Event | None) -> None:
    until = clock.now() + 0.05
    assert clock.wait(until, wake) is False
    # Sleeping and reading the time are two clocks of the system, which may differ by a tick of its timer.
    assert until - 0.02 <= clock.now() < until + 5.0
    assert wake is None or not wake.is_set()


@each_clock
def test_a_time_that_has_passed_is_not_waited_for(clock: Clock) -> None:
    began, before = monotonic(), clock.now()
    assert clock.wait(before - 3600.0) is False
    assert clock.wait(before - 3600.0, Event()) is False
    assert monotonic() - began < 1.0
    assert before <= clock.now() < before + 1.0, "nor gone back to"


@each_clock
def test_a_set_event_ends_the_wait_at_once_and_is_cleared(clock: Clock) -> None:
    wake = Event()
    wake.set()
    before = clock.now()
    assert clock.wait(before + 3600.0, wake) is True
    assert clock.now() < before + 60.0
    assert not wake.is_set()


@each_clock
def test_an_event_that_was_set_ends_one_wait_and_not_two(clock: Clock) -> None:
    wake = Event()
    wake.set()
    assert clock.wait(clock.now() + 0.01, wake) is True
    assert clock.wait(clock.now() + 0.01, wake) is False


def test_another_thread_wakes_who_waits_on_the_system_clock() -> None:
    clock, wake = SystemClock(), Event()
    began = monotonic()

    def later() -> None:
        clock.wait(clock.now() + 0.05)
        wake.set()

    other = Thread(target=later)
    other.start()
    assert clock.wait(clock.now() + 30.0, wake) is True
    other.join()
    assert monotonic() - began < 10.0


def test_simulated_time_moves_only_as_far_as_somebody_waits() -> None:
    clock = SimClock(1000.0)
    clock.wait(1010.0)
    clock.wait(1005.0)
    assert clock.now() == 1010.0


# --- the system's clock is set ----------------------------------------------------------------------------------


@pytest.mark.parametrize("step_s", [3600.0, -3600.0, 2.5])
def test_a_step_of_the_system_clock_is_followed_and_noted_once(monkeypatch: pytest.MonkeyPatch, step_s: float) -> None:
    true, clock = time.time, SystemClock()
    clock.now()
    monkeypatch.setattr(time, "time", lambda: true() + step_s)
    assert abs(clock.now() - true() - step_s) < 1.0
    clock.now()
    assert list(clock.jumps) == [pytest.approx(step_s, abs=0.5)]


def test_what_a_daemon_trims_off_the_clock_is_no_step(monkeypatch: pytest.MonkeyPatch) -> None:
    true, clock = time.time, SystemClock()
    monkeypatch.setattr(time, "time", lambda: true() + 0.5)
    clock.now()
    assert not clock.jumps


def test_a_clock_that_steps_every_time_does_not_fill_the_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    true, clock, steps = time.time, SystemClock(), iter(range(0, 100_000, 10))
    monkeypatch.setattr(time, "time", lambda: true() + next(steps))
    for _ in range(500):
        clock.now()
    assert len(clock.jumps) == 100


def test_a_step_back_by_an_hour_does_not_stretch_a_wait_beyond_a_minute(monkeypatch: pytest.MonkeyPatch) -> None:
    true, clock, wake = time.time, SystemClock(), Noted()
    until = clock.now() + 5.0
    monkeypatch.setattr(time, "time", lambda: true() - 3600.0)
    clock.wait(until, wake)
    assert wake.seconds == [60.0]
