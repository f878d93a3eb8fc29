"""Closed loops with a warm pool: what comes by surprise is served after a warm start, and the pool is whole again."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from autoscaler import sim_demand as shape
from autoscaler.forecasters.drift import Drift
from autoscaler.movement import Refill, WarmPool
from autoscaler.policies.target import Target
from autoscaler.ruleset import Rule, RuleSet, Signal
from autoscaler.sim import Fault
from autoscaler.simulation import START, Simulation
from autoscaler.types import Launch, Past
from autoscaler.windows import window
from tests.scenarios.pools import OFFER, pool, simulate

BOOT_S, WARM_START_S = 480.0, 10.0
STEP_AT = 1800.0
THREE = WarmPool(min=3, refill=Refill(1, 300.0))


def stepped(warm: WarmPool, high: float = 16.0, until: float = 1e9) -> Simulation:
    """Two replicas serve 6 requests/s; half an hour later it is more, which nothing foretold."""
    demand = shape.step(6.0, high, START + STEP_AT, START + until)
    sim = simulate(demand, boot_s=BOOT_S, ruled=pool(warm_pool=warm), warm_start_s=WARM_START_S)
    sim.cluster.serve_from_start("chat", OFFER, 2)
    return sim


def done(sim: Simulation, kind: str) -> list[tuple[float, str]]:
    """(seconds since the start, instance or where a launch went) of what was planned of a kind, oldest first."""
    found: list[tuple[float, str]] = []
    for d in reversed(sim.journal.decisions("chat", limit=5000)):
        planned = sim.journal.plan("chat", d.number)
        of_kind = [a for a in planned.actions if a.kind == kind] if planned is not None else []
        found += [(d.at - START, a.into if isinstance(a, Launch) else a.instance) for a in of_kind]
    return found


def states(sim: Simulation) -> dict[str, int]:
    view = sim.loop.board.pools()["chat"]
    assert view.fleet is not None
    return {state: view.fleet.count(state) for state in ("ready", "pending", "warm")}


def test_the_pool_is_filled_one_by_one_at_its_pace_in_a_quiet_hour() -> None:
    sim = stepped(THREE)
    sim.run(STEP_AT)
    filled = done(sim, "launch")
    assert [into for _, into in filled] == ["warm", "warm", "warm"]
    apart = np.diff([at for at, _ in filled])
    assert ((apart >= 300.0) & (apart <= 330.0)).all()
    assert states(sim) == {"ready": 2, "pending": 0, "warm": 3}
    assert sim.loop.board.pools()["chat"].plan.warm == 3  # type: ignore[union-attr]
    assert done(sim, "terminate") == done(sim, "stop") == []


def test_a_step_is_served_after_the_warm_start_instead_of_the_boot() -> None:
    sim, cold = stepped(THREE), stepped(WarmPool())
    sim.run(STEP_AT)
    warm = {m.id for m in sim.cluster.machines.values() if m.role == "warm"}
    sim.run(150.0)
    started = done(sim, "start")
    assert {name for _, name in started} == warm
    assert all(STEP_AT < at <= STEP_AT + 75.0 for at, _ in started), "as soon as a minute's rate shows it"
    serves = [sim.cluster.machines[name].ready_at - START for name in warm]
    assert max(serves) <= started[-1][0] + WARM_START_S + 1.0
    assert states(sim)["ready"] == 5
    sim.run(1000.0)
    cold.run(STEP_AT + 1150.0)
    assert sim.score("chat").requests_lost < 0.1 * cold.score("chat").requests_lost


def test_it_is_whole_again_in_the_quiet_after_the_step_and_not_before() -> None:
    sim = stepped(THREE, until=STEP_AT + 1500.0)
    sim.run(STEP_AT + 1400.0)
    launches = [(at, into) for at, into in done(sim, "launch") if at > STEP_AT]
    assert launches[0][0] > max(at for at, _ in done(sim, "start"))
    serving = [at for at, into in launches if into == "serving"]
    refilled = [at for at, into in launches if into == "warm"]
    assert min(refilled, default=1e9) >= max(serving, default=0.0) + THREE.refill.per_s
    assert min(refilled) >= max(m.ready_at - START for m in sim.cluster.machines.values() if m.role == "serving")
    sim.run(3000.0)
    assert states(sim) == {"ready": 2, "pending": 0, "warm": 3}
    assert sim.score("chat").launches == len(launches) + 3


def test_what_came_to_rest_serves_the_next_step_and_nothing_is_bought() -> None:
    sim = stepped(WarmPool(min=3, refill=Refill(1, 3600.0)), until=STEP_AT + 600.0)
    sim.run(STEP_AT + 2400.0)
    launched, rested = len(done(sim, "launch")), {name for _, name in done(sim, "stop")}
    before = len(done(sim, "start"))
    sim.cluster.pools["chat"].load = replace(sim.cluster.pools["chat"].load, demand=shape.constant(14.0))
    sim.run(120.0)
    started = {name for _, name in done(sim, "start")[before:]}
    assert len(started) == 3
    assert rested & started, "what had served before and came to rest"
    assert len(done(sim, "launch")) == launched


@pytest.fixture(scope="module")
def whole() -> Simulation:
    sim = stepped(THREE)
    sim.run(STEP_AT + 1500.0)
    return sim


@pytest.mark.parametrize("at", [15.0, 320.0, STEP_AT + 50.0, STEP_AT + 700.0])
def test_a_restart_in_the_middle_changes_neither_what_is_filled_nor_who_is_started(
    at: float, whole: Simulation
) -> None:
    broken = stepped(THREE)
    broken.run(at)
    broken.restart()
    broken.run(STEP_AT + 1500.0 - at)
    assert states(broken) == states(whole)
    assert broken.score("chat").launches == whole.score("chat").launches
    assert [into for _, into in done(broken, "launch")] == [into for _, into in done(whole, "launch")]


def test_a_service_that_loses_its_answers_fills_the_pool_once() -> None:
    sim = stepped(THREE)
    sim.cluster.faults = [Fault("lost_answer", START, START + 900.0)]
    sim.run(STEP_AT)
    assert states(sim) == {"ready": 2, "pending": 0, "warm": 3}
    assert sim.score("chat").launches == 3


def test_windows_hold_the_refill_until_they_open() -> None:
    # It starts at 14:13:20 in UTC.
    sim = stepped(WarmPool(min=1, refill=Refill(1, 300.0, (window("14:30-15:00"),))))
    sim.run(900.0)
    assert done(sim, "launch") == []
    sim.run(300.0)
    ((at, into),) = done(sim, "launch")
    assert (into, 1000.0 <= at <= 1015.0) == ("warm", True)


# --- sized by the forecast ------------------------------------------------------------------------------------------


def rise(at: float) -> float:
    """From 8 to 40 requests/s within ten minutes, at the same time of every day."""
    return 8.0 + 32.0 * min(1.0, max(0.0, ((at - START) % 86400.0 - 3000.0) / 600.0))


def forecast_sized() -> RuleSet:
    base = pool(warm_pool=WarmPool(size="forecast", max=8, refill=Refill(2, 60.0)))
    signal = Signal("ahead", forecast="load", quantile=0.5, forecaster=Drift())
    rules = (*base.rules, Rule("ahead", Target("ahead")))
    return replace(base, signals=(*base.signals, signal), rules=rules)


def test_by_forecast_the_pool_grows_before_a_rise_and_not_into_it() -> None:
    sim = simulate(rise, boot_s=BOOT_S, ruled=forecast_sized(), warm_start_s=WARM_START_S)
    sim.foreseeing = True
    sim.restart()
    sim.cluster.serve_from_start("chat", OFFER, 3)
    at = np.arange(START - 3 * 86400.0, START, 60.0)
    sim.store.fill(Past("chat", "load", at, np.array([rise(a) for a in at.tolist()])))
    sim.run(2250.0)
    assert states(sim) == {"ready": 3, "pending": 0, "warm": 1}
    sim.run(2250.0)
    there = states(sim)
    assert (there["ready"], there["pending"], 1 <= there["warm"] <= 8) == (13, 0, True)
    wanted = []
    for d in sim.journal.decisions("chat", limit=5000):
        planned = sim.journal.plan("chat", d.number)
        assert planned is not None
        wanted.append(planned.warm or 0)
        if any(isinstance(a, Launch) and a.into == "warm" for a in planned.actions):
            assert (d.pending, d.ready >= d.want) == (0, True), "only while nothing is short and nothing is on its way"
    assert 5 <= max(wanted) <= 8, "as the rise comes near the pool is told to hold more"
    assert len(done(sim, "terminate")) == 0
