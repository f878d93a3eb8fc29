"""Closed loops with a broken world: providers, collectors and clocks that fail, and a service that dies."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import pytest

from autoscaler import sim_demand as shape
from autoscaler.clock import SimClock
from autoscaler.conditions import Condition, Test
from autoscaler.journal import Entry, Journal
from autoscaler.movement import LaunchLimits
from autoscaler.policies.step import Step
from autoscaler.ports import Clock, Collector, Provider
from autoscaler.ruleset import Rule
from autoscaler.sim import Fault, SimCluster
from autoscaler.simulation import START, Simulation
from autoscaler.types import Action, Bands, Batch, Fleet, Frame, Launch, Outcome
from collectors.sim import SimCollector
from providers.shadow import ShadowProvider
from providers.sim import SimProvider
from tests.scenarios.pools import pool, several, simulate

PEAK = shape.step(6.0, 30.0, START + 120)


def test_a_dead_collector_is_not_an_idle_fleet() -> None:
    sim = simulate(shape.constant(30.0), [Fault("dead_collector", 1800, 5400)])
    sim.run(1820)
    size = sim.cluster.report().size
    sim.run(3500)
    assert sim.cluster.report().size == size
    told = sim.loop.board.pools()["chat"].decision
    assert told is not None
    assert "missing" in told.reasons[-1].text
    sim.run(1800)
    assert sim.cluster.report().size == pytest.approx(10, abs=1)


def test_a_provider_that_is_down_changes_nothing_and_is_caught_up_with() -> None:
    sim = simulate(shape.step(6.0, 30.0, START + 1900), [Fault("provider_down", 1800, 3000)])
    sim.run(2900)
    assert sim.score("chat").launches <= 6
    sim.run(600)
    assert sim.cluster.report().ready >= 10


def test_a_provider_that_accepts_and_never_delivers_is_not_flooded_with_orders() -> None:
    ruled = pool(launch=LaunchLimits(limit_s=300, shortage_s=180))
    sim = simulate(shape.step(6.0, 30.0, START + 900), [Fault("silent", 890, 4500)], ruled=ruled)
    sim.run(890)
    before = sim.score("chat").launches
    sim.run(3600)
    need = 10
    assert sim.score("chat").launches - before <= 3 * need, "an hour of nothing: a first order and a few probes"
    sim.run(3600)
    assert sim.cluster.report().ready >= need


def test_a_launch_that_is_invisible_for_a_minute_is_not_ordered_twice() -> None:
    plain = simulate(PEAK)
    plain.run(600)
    hidden = simulate(PEAK, [Fault("invisible", 0, 180)])
    hidden.run(600)
    assert hidden.score("chat").launches == plain.score("chat").launches


def test_lost_answers_make_no_second_machine() -> None:
    plain = simulate(PEAK)
    plain.run(900)
    lossy = simulate(PEAK, [Fault("lost_answer", 0, 400)])
    lossy.run(900)
    assert lossy.score("chat").launches == plain.score("chat").launches
    assert lossy.cluster.report().ready == plain.cluster.report().ready


def test_a_shortage_is_waited_out_with_growing_patience() -> None:
    sim = simulate(shape.step(6.0, 30.0, START + 900), [Fault("shortage", 890, 3600)])
    sim.run(3590)
    assert sim.cluster.report().size < 10
    failed = [o for o in sim.journal.outcomes("chat", 10_000) if o.error == "capacity"]
    assert 2 <= len(failed) <= 30
    sim.run(2400)
    assert sim.cluster.report().ready >= 10


def test_a_replica_that_dies_is_replaced() -> None:
    sim = simulate(shape.constant(20.0), [Fault("crash", 2000)], ruled=pool(rules=pool().rules[:1]))
    sim.run(1990)
    assert sim.cluster.report().ready == 7
    sim.run(30)
    assert sim.cluster.report().size == 7
    sim.run(120)
    assert sim.cluster.report().ready == 7


def test_equal_seeds_give_equal_journals_and_other_seeds_do_not() -> None:
    def journal(seed: int) -> list[str]:
        sim = simulate(shape.flapping(5.0, 40.0, 400.0), [Fault("crash", 500)], seed=seed, boot_sigma=0.5)
        sim.run(1500)
        return list(sim.journal.dump())

    assert journal(1) == journal(1)
    assert journal(1) != journal(2)


# --- the service dies -------------------------------------------------------------------------------------------


class Killed(BaseException):
    """The process is gone."""


class DyingJournal(Journal):
    """Dies right after its n-th write."""

    def __init__(self, dies_after: int) -> None:
        super().__init__()
        self.left = dies_after

    def record(self, entries: Sequence[Entry]) -> None:
        super().record(entries)
        self.left -= 1
        if self.left == 0:
            raise Killed


def dying(writes: int) -> Simulation:
    sim = simulate(PEAK, boot_s=30.0)
    sim.journal = DyingJournal(writes)
    sim.restart()
    return sim


def test_a_kill_after_any_journal_write_changes_nothing_that_follows() -> None:
    whole = dying(0)
    whole.run(480)
    expected = list(whole.journal.dump())
    assert whole.score("chat").launches >= 9
    for writes in range(1, 33):
        sim = dying(writes)
        end = sim.clock.now() + 480
        with pytest.raises(Killed):
            sim.run(480)
        sim.restart()
        sim.run(end - sim.clock.now())
        assert list(sim.journal.dump()) == expected, f"killed after write {writes}"


def test_whichever_provider_call_fails_the_fleet_converges() -> None:
    plain = simulate(PEAK, boot_s=30.0)
    plain.run(900)
    calls = plain.cluster.calls
    assert calls >= 9
    for n in range(1, calls + 1):
        sim = simulate(PEAK, boot_s=30.0, fail_call=n)
        sim.run(900)
        decision = sim.loop.board.pools()["chat"].decision
        assert decision is not None
        there = sim.cluster.report()
        assert there.ready == there.size == decision.want, f"call {n} failed"
        assert there.ready == pytest.approx(plain.cluster.report().ready, abs=1), f"call {n} failed"


# --- the clock jumps --------------------------------------------------------------------------------------------


@dataclass
class JumpingClock(SimClock):
    """True time plus an offset that a test changes."""

    offset: float = 0.0

    def now(self) -> float:
        return self.at + self.offset

    def wait(self, until: float, wake: object = None) -> bool:
        # Like the system's clock it is never waited for longer than a minute.
        self.at = max(self.at, min(until, self.now() + 60.0) - self.offset)
        return False


@dataclass
class DatedByClock:
    """The world seen through a clock that is off: both windows on the cluster, their dates shifted."""

    cluster: SimCluster
    clock: JumpingClock
    inner: SimCollector = field(init=False)

    def __post_init__(self) -> None:
        self.inner = SimCollector(self.cluster)

    def collect(self, now: float) -> list[Batch]:
        return [replace(b, at=b.at + self.clock.offset) for b in self.inner.collect(self.clock.at)]

    def observe(self) -> Fleet:
        self.cluster.advance(self.clock.at)
        seen = self.cluster.report()
        moved = self.clock.offset
        instances = tuple(
            replace(i, since=i.since + moved, requested_at=i.requested_at + moved) for i in seen.instances
        )
        return Fleet(seen.observed_at + moved, instances)

    def apply(self, action: Action) -> Outcome:
        self.cluster.advance(self.clock.at)
        self.cluster.launch(action) if isinstance(action, Launch) else self.cluster.operate(action)
        return Outcome(action.id, action.pool, "accepted", self.clock.now())


@pytest.mark.parametrize("jump_s", [3600.0, -3600.0, 86_400.0, -30.0])
def test_a_clock_that_jumps_neither_shrinks_nor_floods_the_fleet(jump_s: float) -> None:
    steady = simulate(shape.constant(30.0))
    clock = JumpingClock(START)
    window = DatedByClock(steady.cluster, clock)

    def provider(_: SimCluster, __: Clock) -> Provider:
        return window

    def collector(_: SimCluster) -> Collector:
        return window

    sim = Simulation(steady.rules, steady.cluster, provider, collector, clock)
    sim.run(2400)
    size, launches = sim.cluster.report().size, sim.score("chat").launches
    clock.offset = jump_s
    for _ in range(60):
        sim.run(30)
        assert sim.cluster.report().size >= size - 1
        assert abs(sim.loop.board.pools()["chat"].at - clock.now()) < 61, "it ticks on"
    assert sim.score("chat").launches - launches <= 2
    assert sim.loop.stats.failures == 0
    decision = sim.loop.board.pools()["chat"].decision
    assert decision is not None
    assert "load" in decision.reasons[-1].text, "it sees and decides again"


# --- neighbours -------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Broken:
    """A threshold with a bug."""

    def bands(self, history: Frame) -> Bands:
        raise ZeroDivisionError("a bug in a plug-in")


def test_of_two_pools_one_breaks_and_the_other_never_notices() -> None:
    broken = pool("broken", rules=(Rule("bad", Step(1), Condition(Test("queue", "above", Broken()))),))
    both = several({"chat": (pool(), PEAK), "broken": (broken, PEAK)})
    alone = several({"chat": (pool(), PEAK)})
    both.run(1200)
    alone.run(1200)
    assert both.loop.stats.failures > 0
    assert "a bug in a plug-in" in both.loop.board.pools()["broken"].error
    assert [d.want for d in both.journal.decisions("chat")] == [d.want for d in alone.journal.decisions("chat")]
    assert both.score("chat") == alone.score("chat")


def test_a_shadow_decides_the_same_and_does_nothing() -> None:
    sim = simulate(shape.constant(30.0))
    sim.run(1800)
    real = sim.cluster.report().size
    shadow = Simulation(sim.rules, sim.cluster, lambda c, k: ShadowProvider(SimProvider(c, k)), SimCollector, sim.clock)
    sim.cluster.pools["chat"].load = replace(sim.cluster.pools["chat"].load, demand=shape.constant(60.0))
    shadow.run(1200)
    assert sim.cluster.report().size == real
    decisions = shadow.journal.decisions("chat", limit=1000)
    assert decisions[0].want == pytest.approx(19, abs=2)
    withheld = [o for o in shadow.journal.outcomes("chat", 1000) if o.status == "withheld"]
    assert 9 <= len(withheld) <= 80, "each wish is withheld once, not at every tick"
    assert shadow.journal.load()["chat"].shortages == {}
