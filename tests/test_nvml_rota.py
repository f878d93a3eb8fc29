"""One thread gives everybody a turn; whoever holds it up keeps that thread, and another one goes on."""

from __future__ import annotations

import math
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import pairwise
from statistics import median

import pytest

from autoscaler.clock import SystemClock
from collectors.nvml import Nvml
from collectors.nvml.rota import PROBATION, Rota
from collectors.nvml.turns import is_turn, next_turn
from tests.peers.nvml import models
from tests.peers.pages import until
from tests.peers.running import running

PERIOD_S, PATIENCE_S = 0.02, 0.05


class Reader:
    """A part that can be made to hang."""

    def __init__(self) -> None:
        self.clock = SystemClock()
        self.turns: list[float] = []
        self.threads: list[threading.Thread] = []
        self.free = threading.Event()
        self.free.set()
        self.hanging = False
        self._due = -math.inf

    def due(self, now: float) -> float:
        return self._due

    def turn(self, now: float) -> None:
        self.turns.append(now)
        self.threads.append(threading.current_thread())
        self.hanging = not self.free.is_set()
        self.free.wait(20.0)
        self.hanging = False
        self._due = next_turn(self.clock.now(), PERIOD_S)

    def stop(self) -> None:
        pass


@contextmanager
def rota_of(number: int) -> Iterator[tuple[Rota, list[Reader]]]:
    """A rota that is watched as the collector does it."""
    clock, over = SystemClock(), threading.Event()
    rota, readers = Rota("test", clock, PATIENCE_S), [Reader() for _ in range(number)]
    for reader in readers:
        rota.add(reader)

    def watch() -> None:
        while not over.is_set():
            rota.relieve()
            now = clock.now()
            clock.wait(min(now + 0.25, max(rota.look_at(now), now + 0.005)), over)

    watching = threading.Thread(target=watch, daemon=True)
    rota.start()
    watching.start()
    try:
        yield rota, readers
    finally:
        for reader in readers:
            reader.free.set()
        rota.stop()
        over.set()
        assert rota.ended(5.0)
        watching.join(5.0)


def test_while_nobody_hangs_one_thread_reads_all() -> None:
    with rota_of(8) as (rota, readers):
        until(lambda: all(len(reader.turns) > 10 for reader in readers), "turns")
        # A machine that stands still for a moment may look like a reader that hangs.
        until(lambda: rota.left_alone == 0, "nobody is left alone")
        until(lambda: len({reader.threads[-1] for reader in readers}) == 1, "one thread")


def test_one_that_hangs_is_left_alone_and_the_others_go_on() -> None:
    with rota_of(4) as (rota, readers):
        until(lambda: all(len(reader.turns) > 3 for reader in readers), "turns")
        hanging, others = readers[1], [readers[0], *readers[2:]]
        hanging.free.clear()
        until(lambda: hanging.hanging, "it hangs")
        since, turns = hanging.turns[-1], len(hanging.turns)
        until(lambda: all(reader.turns[-1] > since + 0.5 for reader in others), "the others go on")
        assert len(hanging.turns) == turns, "nobody else runs into the same hang"
        for reader in others:
            gaps = [after - before for before, after in pairwise([at for at in reader.turns if at > since - 0.1])]
            # One gap is about the patience, and a machine that stalls adds some; the hang lasts until it is ended.
            assert median(gaps) < 0.2, "held up once"
        alone = hanging.threads[-1]
        hanging.free.set()
        until(lambda: len(hanging.turns) > turns, "it is read again")
        assert hanging.threads[turns] is alone, "by the thread that was stuck with it"
        until(lambda: rota.left_alone == 0, "after some quick turns it is one of the others again")
        assert len(hanging.turns) >= turns + PROBATION


def test_all_may_hang_and_all_come_back() -> None:
    with rota_of(5) as (rota, readers):
        until(lambda: all(reader.turns for reader in readers), "turns")
        for reader in readers:
            reader.free.clear()
        until(lambda: all(reader.hanging for reader in readers), "each hangs on a thread of its own")
        for reader in readers:
            reader.free.set()
        before = [len(reader.turns) for reader in readers]
        until(lambda: all(len(r.turns) > n + 10 for r, n in zip(readers, before, strict=True)), "all are read")
        until(lambda: rota.left_alone == 0, "by one thread")


def test_rousing_reaches_those_that_are_alone_too() -> None:
    with rota_of(2) as (rota, readers):
        reader = readers[0]
        reader.free.clear()
        until(lambda: rota.left_alone == 1, "alone")
        reader._due = math.inf
        reader.free.set()
        rota.rouse()
        until(lambda: rota.left_alone == 0, "it has its quick turns at once")


def test_where_no_more_threads_are_to_be_had_the_others_wait_and_go_on(monkeypatch: pytest.MonkeyPatch) -> None:
    clock, free = SystemClock(), threading.Event()
    rota, turns = Rota("test", clock, 0.02), [0, 0]

    @dataclass(eq=False)
    class Part:
        number: int

        def due(self, now: float) -> float:
            return now

        def turn(self, now: float) -> None:
            turns[self.number] += 1
            if not self.number:
                free.wait(10.0)
            clock.wait(clock.now() + 0.001)

        def stop(self) -> None:
            free.set()

    def relieved() -> bool:
        rota.relieve()
        return True

    def refuse(self: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    rota.add(Part(0))
    rota.add(Part(1))
    with running(rota):
        until(lambda: turns[0] == 1, "the first hangs")
        with monkeypatch.context() as without_threads:
            without_threads.setattr(threading.Thread, "start", refuse)
            until(lambda: relieved() and rota._refused, "refused")
        assert rota.left_alone == 0
        until(lambda: relieved() and turns[1] > 3, "as soon as there are threads again")
    assert rota.ended(5.0)


def test_eight_gpus_with_every_lane_are_read_by_a_handful_of_threads() -> None:
    before = threading.active_count()
    with models.hgx_h100() as fleet, fleet.loaded():
        nvml = Nvml(SystemClock(), interval_s=0.25, fast=True, slow_s=0.5, stats=True, kernel_log=False)
        nvml.start()
        try:
            until(lambda: len({batch.source for batch in nvml.collect(0.0)}) >= 8, "every GPU")
            # On a busy machine a GPU may seem slow for a moment.
            until(lambda: threading.active_count() - before <= 4, "quick, slow, watch and events", 30.0)
        finally:
            nvml.stop()


@pytest.mark.parametrize(
    ("now", "expected"),
    [
        pytest.param(100.0, 101.0, id="from one to the next"),
        pytest.param(100.2, 101.0, id="a late one catches up"),
        pytest.param(100.7, 102.0, id="but not so soon after it was late"),
        pytest.param(100.9995, 102.0, id="a little early is in time"),
    ],
)
def test_turns_are_at_multiples_of_the_period(now: float, expected: float) -> None:
    assert next_turn(now, 1.0) == expected


def test_the_turns_of_a_tenth_of_a_second_lose_none_to_rounding() -> None:
    now, due, turns = 1_700_000_000.0, -math.inf, 0
    for _ in range(1000):
        if is_turn(now, due, 0.1):
            turns, due = turns + 1, next_turn(now, 0.1)
        now += 0.1
    assert turns == 1000


def test_a_turn_that_was_set_before_the_clock_went_back_is_now() -> None:
    assert is_turn(100.0, 3700.0, 1.0)
