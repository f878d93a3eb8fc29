"""The loop on real threads and broken surroundings; its closed-loop behaviour is in tests/scenarios."""

from __future__ import annotations

import threading
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from itertools import cycle

import numpy as np
import structlog

from autoscaler import sim_demand as shape
from autoscaler.board import Board
from autoscaler.clock import SimClock, SystemClock, monotonic
from autoscaler.dispatch import Inline, Threaded, Unavailable
from autoscaler.errors import StorageError
from autoscaler.journal import Entry, Journal
from autoscaler.loop import Loop, Stats
from autoscaler.movement import Bounds
from autoscaler.ruleset import Rule, RuleSet
from autoscaler.sim import SimCluster, Workload
from autoscaler.simulation import START
from autoscaler.store import Store
from autoscaler.types import Action, Batch, Fleet, Outcome, SeriesKey
from autoscaler.watchdog import Watchdog
from collectors.sim import SimCollector
from providers.sim import SimProvider
from tests.scenarios.pools import pool, simulate
from tests.test_dispatch import Scripted, wait_for
from tests.worlds import condition, instance


@dataclass
class FullJournal(Journal):
    """A journal whose disk is full while `full` is set."""

    full: bool = False

    def __init__(self) -> None:
        super().__init__()

    def record(self, entries: Sequence[Entry]) -> None:
        if self.full:
            raise StorageError("journal: no space left; make some")
        super().record(entries)


def test_while_the_journal_cannot_be_written_nothing_is_done_and_then_it_goes_on() -> None:
    sim = simulate(shape.step(6.0, 30.0, START + 600))
    journal = FullJournal()
    sim.journal = journal
    sim.restart()
    sim.run(590)
    launched = sim.score("chat").launches
    journal.full = True
    sim.run(300)
    assert sim.score("chat").launches == launched
    assert "make some" in sim.loop.board.pools()["chat"].error
    assert sim.loop.stats.journal_failures >= 20
    journal.full = False
    sim.run(300)
    assert sim.cluster.report().ready >= 9
    assert sim.loop.board.pools()["chat"].error == ""


def test_a_collector_that_breaks_is_counted_and_the_others_are_heard() -> None:
    @dataclass
    class Broken:
        def collect(self, now: float) -> Iterable[Batch]:
            raise ValueError("a bug in a plug-in")

    sim = simulate(shape.constant(20.0))
    sim.loop.collectors = (Broken(), *sim.loop.collectors)
    sim.run(600)
    assert sim.loop.stats.failures > 10
    assert sim.cluster.report().size >= 6


def test_a_pool_whose_provider_is_missing_says_so_and_the_others_go_on() -> None:
    sim = simulate(shape.constant(20.0))
    there = dict(sim.loop.hands) | {"aws": Unavailable("no plug-in 'aws' in sigmascale.providers")}
    lost = replace(pool("lost"), offers=(replace(pool().offers[0], provider="aws"),))
    both = {"chat": pool(), "lost": lost}
    sim.loop = Loop(sim.clock, lambda: both, sim.loop.collectors, sim.store, Journal(), there)
    sim.loop.run(until=sim.clock.now() + 600)
    assert "no plug-in 'aws'" in sim.loop.board.pools()["lost"].error
    assert sim.cluster.report().size >= 6


def test_a_pool_without_offers_is_judged_and_says_that_nothing_can_be_launched() -> None:
    clock, board = SimClock(START), Board()
    demand = SimCluster({"chat": Workload(shape.constant(8.0))}, start=START)
    ruled = replace(pool(), offers=(), bounds=Bounds(2, 20))
    loop = Loop(clock, lambda: {"chat": ruled}, (SimCollector(demand),), Store(None), Journal(), {}, board)
    loop.run(until=START + 300.0)
    view = board.pools()["chat"]
    assert view.error == ""
    assert view.decision is not None
    assert (view.decision.blind, view.decision.want >= 2) == (False, True)
    assert view.plan is not None
    assert view.plan.actions == ()
    assert [r.text for r in view.plan.reasons] == [
        f"{view.decision.want} replicas short: the rules have no offers, so nothing can be launched"
    ]


def test_rules_that_change_in_the_middle_of_a_pass_count_from_the_next_one() -> None:
    sim = simulate(shape.constant(20.0))
    there_and_gone = cycle([{"chat": pool()}, {}])
    sim.loop.rules = lambda: next(there_and_gone)
    sim.run(600)
    assert sim.loop.stats.failures == 0
    assert sim.loop.stats.ticks > 10


def test_a_rule_file_that_is_removed_leaves_its_instances_alone() -> None:
    sim = simulate(shape.constant(20.0))
    sim.run(900)
    size = sim.cluster.report().size
    sim.rules = {}
    sim.run(600)
    assert sim.loop.board.pools() == {}
    assert sim.cluster.report().size == size


def test_a_provider_that_refuses_to_act_on_an_instance_is_asked_ever_more_rarely() -> None:
    clock = SimClock(START)
    there = tuple(instance(n, since=START - 3600, requested_at=START - 4000) for n in range(2))

    def refuse(action: Action) -> Outcome:
        return Outcome(action.id, action.pool, "failed", clock.now(), error="credentials", text="not allowed")

    provider = Scripted(act=refuse, look=lambda: Fleet(clock.now(), there))
    ruled = replace(pool(), bounds=Bounds(0, 1), rules=())
    loop = Loop(clock, lambda: {"chat": ruled}, (), Store(None), Journal(), {"sim": Inline(provider, clock)})
    loop.run(until=START + 1800)
    assert loop.stats.ticks >= 120
    assert 8 <= len(provider.applied) <= 20, "each of two is asked some eight times in half an hour"
    decision = loop.board.pools()["chat"]
    assert decision.plan is not None
    assert any("its provider refused" in r.text for r in decision.plan.reasons)


class Stuck(Scripted):
    """A provider that never answers."""

    def __init__(self, gate: threading.Event) -> None:
        super().__init__()
        self.gate = gate

    def observe(self) -> Fleet:
        self.gate.wait(30)
        return Fleet(0.0)

    def apply(self, action: Action) -> Outcome:
        self.gate.wait(30)
        return Outcome(action.id, action.pool, "accepted", 0.0)


def test_a_provider_that_hangs_delays_no_other_pools_tick() -> None:
    clock, board, gate, stop = SystemClock(), Board(), threading.Event(), threading.Event()
    cluster = SimCluster({"chat": Workload(shape.constant(8.0))}, start=clock.now(), boot_s=0.2)
    good = Threaded(SimProvider(cluster, clock), clock, 0.05, board.wake)
    bad = Threaded(Stuck(gate), clock, 0.05, board.wake)
    fast = replace(pool(), tick_s=0.1)
    slow = replace(pool("slow"), tick_s=0.1, offers=(replace(pool().offers[0], provider="stuck"),))
    hands = {"sim": good, "stuck": bad}
    loop = Loop(
        clock, lambda: {"chat": fast, "slow": slow}, (SimCollector(cluster, 0.1),), Store(None), Journal(), hands, board
    )
    good.start()
    bad.start()
    thread = threading.Thread(target=loop.run, kwargs={"stop": stop})
    thread.start()
    try:
        wait_for(lambda: loop.stats.ticks > 30)
        assert loop.stats.slowest_pass_s < 10.0, "the provider hangs for 30 s"
        assert cluster.report().size >= 1
        assert "not reported" in board.pools()["slow"].error
    finally:
        stop.set()
        gate.set()
        thread.join(5)
        good.stop()
        bad.stop()
    assert not thread.is_alive()


def test_an_arriving_page_starts_a_tick_early() -> None:
    @dataclass
    class Pushed:
        """Holds batches until somebody collects."""

        waiting: list[Batch] = field(default_factory=list)

        def collect(self, now: float) -> list[Batch]:
            here, self.waiting = self.waiting, []
            return here

    clock, board, stop = SystemClock(), Board(), threading.Event()
    provider = Scripted(look=lambda: Fleet(clock.now(), ()))
    source = Pushed()
    rule = Rule("queue", pool().rules[1].policy, condition("queue", 50))
    ruled: RuleSet = replace(pool(), tick_s=2.0, bounds=Bounds(0, 5), rules=(rule,))
    loop = Loop(
        clock, lambda: {"chat": ruled}, (source,), Store(None), Journal(), {"sim": Inline(provider, clock)}, board
    )
    thread = threading.Thread(target=loop.run, kwargs={"stop": stop})
    thread.start()
    try:
        wait_for(lambda: loop.stats.ticks >= 2)
        clock.wait(clock.now() + 0.5)
        labels = (("instance", "gw"), ("pool", "chat"))
        keys = (SeriesKey("requests_waiting", labels),)
        began = monotonic()
        source.waiting.append(Batch("gw", clock.now(), 1.0, keys, np.array([90.0]), labels))
        board.wake.set()
        wait_for(lambda: provider.applied)
        assert monotonic() - began < 1.0
    finally:
        stop.set()
        board.wake.set()
        thread.join(5)


def test_the_watchdog_tells_of_a_stuck_pass_once_and_of_its_end() -> None:
    stats, clock = Stats(), SimClock(1000.0)
    dog = Watchdog(stats, clock, stuck_s=30.0)
    with structlog.testing.capture_logs() as lines:
        assert dog.look() == ""
        stats.pass_began_at = 1000.0
        clock.at = 1031.0
        assert dog.look() == "a pass of the loop is stuck"
        assert dog.look() == "a pass of the loop is stuck"
        stats.pass_began_at = None
        stats.late_s = 4.0
        assert dog.look() == "ticks are late"
        stats.late_s = 0.0
        assert dog.look() == ""
    assert [line["event"] for line in lines] == [
        "a pass of the loop is stuck",
        "ticks are late",
        "ticks are on time again",
    ]
