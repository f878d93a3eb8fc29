"""Closed loops against clouds that have nothing left, allow no more, are called too often or sell broken machines."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace

import pytest

from autoscaler import sim_demand as shape
from autoscaler.alerts import QUOTA, SICK
from autoscaler.clock import SimClock
from autoscaler.dispatch import Inline
from autoscaler.gate import Gate
from autoscaler.movement import Bounds, LaunchLimits, ScaleOut
from autoscaler.pacing import Pace
from autoscaler.policies.target import Target
from autoscaler.ruleset import Rule, RuleSet
from autoscaler.sim import Fault, SimCluster, Workload
from autoscaler.simulation import START, Simulation
from autoscaler.spending import DAY_S
from autoscaler.types import Launch
from collectors.sim import SimCollector
from providers.sim import SimProvider
from tests.scenarios.pools import pool, simulate

HOUR_S = 3600.0


def demand_only(**changes: object) -> RuleSet:
    """A pool whose size follows the demand alone, one replica for 0.4 requests/s, and that may grow at once."""
    rules = (Rule("demand", Target("load", 0.4)),)
    return replace(pool(rules=rules, scale_out=ScaleOut(max_move=40, rate_replicas=40)), **changes)  # type: ignore[arg-type]


def gated(sim: Simulation, pace: Pace | None = None) -> Gate:
    """Puts a gate in front of the simulated provider, as a service has it."""
    hand = sim.loop.hands["sim"]
    assert isinstance(hand, Inline)
    hand.gate = Gate(pace or Pace(), sim.clock, "sim")
    return hand.gate


def launches(sim: Simulation, since: float) -> dict[float, int]:
    """When, from the start, and how many were ordered."""
    plans = [sim.journal.plan("chat", d.number) for d in sim.journal.decisions("chat", limit=100_000)]
    made = [a for p in plans if p is not None for a in p.actions if isinstance(a, Launch)]
    return dict(sorted(Counter(round(a.at - START) for a in made if a.at >= START + since).items()))


def told(sim: Simulation) -> list[tuple[str, str]]:
    return [(a.name, a.state) for a in sim.alerts]


def test_after_a_shortage_orders_grow_from_one_to_what_is_needed() -> None:
    sim = simulate(shape.step(0.8, 8.0, START + 900), [Fault("shortage", 890, 1200)], ruled=demand_only())
    sim.run(2400)
    (first, asked), *probes = launches(sim, 900).items()
    assert asked > 1, "all that is missing"
    assert probes[0][0] - first >= 180, "the first wait"
    came = [count for at, count in probes if at >= 1200]
    assert came[:2] == [1, 2]
    assert max(came) >= 4, "as the demand was known better, more was asked for and had"
    assert sim.cluster.report().ready >= 18


def test_a_shortage_of_hours_is_asked_for_a_few_times_an_hour() -> None:
    sim = simulate(shape.step(0.8, 8.0, START + 900), [Fault("shortage", 890, 890 + 2 * HOUR_S)], ruled=demand_only())
    sim.run(2 * HOUR_S)
    orders = launches(sim, 901)
    assert set(list(orders.values())[1:]) == {1}, "after the first only probes"
    assert len(orders) <= 8, "waits of 180 s that double to half an hour"


def test_a_quota_never_makes_a_storm_and_is_told_once() -> None:
    ruled = demand_only(launch=LaunchLimits(quota_s=600))
    sim = simulate(shape.step(0.8, 8.0, START + 900), ruled=ruled, quota=6)
    sim.run(1 * HOUR_S)
    refused = [o for o in sim.journal.outcomes("chat", 100_000) if o.error == "quota"]
    assert sim.cluster.report().size == 6
    first = sum(1 for o in refused if o.at < START + 1000)
    assert len(refused) - first <= 5, "one probe in ten minutes"
    assert told(sim) == [(QUOTA, "firing")] * len(told(sim))
    assert 1 <= len(told(sim)) <= 2
    decision = sim.loop.board.pools()["chat"]
    assert decision.plan is not None
    assert any(r.source == "quota" and "ask for more" in r.text for r in decision.plan.reasons)
    sim.cluster.quota = None
    sim.run(0.5 * HOUR_S)
    assert sim.cluster.report().ready >= 18
    assert told(sim)[-1] == (QUOTA, "resolved")


def test_a_quota_does_not_keep_a_dead_machine_from_being_replaced() -> None:
    sim = simulate(shape.step(0.8, 8.0, START + 900), [Fault("crash", 3000)], ruled=demand_only(), quota=6)
    sim.run(2990)
    assert sim.cluster.report().ready == 6
    sim.run(300)
    assert sim.cluster.report().ready == 6


@pytest.mark.parametrize("kind", ["throttled", "provider_down"])
def test_a_provider_in_trouble_gets_few_calls_and_is_caught_up_with(kind: str) -> None:
    fault = Fault(kind, 890, 1790)  # type: ignore[arg-type]
    sim = simulate(shape.step(0.8, 8.0, START + 880), [fault], ruled=demand_only())
    gate = gated(sim)
    hand = sim.loop.hands["sim"]
    sim.run(890)
    before = hand.calls()
    sim.run(890)
    during = hand.calls()
    calls = during.observed + during.applied - before.observed - before.applied
    assert calls <= 890 / 15 + 8, "fewer than a report a tick, and no call for each of the orders at each tick"
    assert gate.held > 0
    assert not sim.loop.stats.failures
    sim.run(900)
    assert sim.cluster.report().ready >= 18
    assert len(sim.cluster.made) == sim.score("chat").launches == sim.cluster.report().size, "nothing was bought twice"


def test_a_broken_image_buys_a_few_machines_an_hour_and_people_are_told() -> None:
    ruled = demand_only(launch=LaunchLimits(register_s=300))
    sim = simulate(shape.step(0.8, 8.0, START + 900), [Fault("broken", 890, 890 + 2 * HOUR_S)], ruled=ruled)
    sim.run(890)
    serve = sim.cluster.report().ready
    sim.run(1200)
    first = sum(launches(sim, 890).values())
    sim.run(1.5 * HOUR_S)
    later = sum(launches(sim, 2090).values())
    assert later <= 1.5 * 6, "probes: each takes 300 s and a wait that doubles"
    assert sim.cluster.report().ready == serve, "who serves goes on"
    assert len(sim.cluster.machines) <= serve + first + 1, "what came to nothing is not kept beside each other"
    assert (SICK, "firing") in told(sim)
    sim.run(2 * HOUR_S)
    assert sim.cluster.report().ready >= 18
    assert told(sim)[-1] == (SICK, "resolved")


# --- money ------------------------------------------------------------------------------------------------------


EVENING_S = 4 * HOUR_S
"""From the start of an evening to midnight UTC."""


def evening(bounds: Bounds) -> Simulation:
    """A pool that wants twenty machines at 2 USD/h, from four hours before midnight on."""
    at = (START // DAY_S + 1) * DAY_S - EVENING_S
    cluster = SimCluster({"chat": Workload(shape.constant(8.0))}, seed=1, start=at, boot_s=60.0)
    ruled = demand_only(bounds=bounds, tick_s=60.0)
    return Simulation({"chat": ruled}, cluster, SimProvider, SimCollector, clock=SimClock(at))


def test_a_day_that_is_over_its_budget_grows_no_more_until_midnight() -> None:
    """96 USD for the four hours that are left bear 24 USD/h, twelve machines."""
    sim = evening(Bounds(1, 40, usd_per_day=96.0))
    sim.run(HOUR_S)
    assert sim.cluster.report().size == 12
    plan = sim.loop.board.pools()["chat"].plan
    assert plan is not None
    assert any(r.source == "budget" and "of 96 USD/d leave" in r.text for r in plan.reasons)
    sim.run(EVENING_S - HOUR_S - 120)
    spent = sim.score("chat").usd
    assert 85.0 < spent <= 96.0
    size = sim.cluster.report().size
    assert size >= 12, "nothing is removed for money unless the rules say so; what was saved may be spent"
    memory = sim.journal.load()["chat"].spending
    assert memory is not None
    assert memory.usd == pytest.approx(spent, rel=0.05)
    sim.run(600)
    fresh = sim.journal.load()["chat"].spending
    assert fresh is not None
    assert fresh.usd < 6.0
    assert sim.cluster.report().size == size, "the new day bears 4 USD/h, which is less than there is"


def test_a_pool_that_may_be_shrunk_goes_down_to_what_the_new_day_bears() -> None:
    sim = evening(Bounds(1, 40, usd_per_day=96.0, on_exceeded="shrink"))
    sim.run(EVENING_S - 60)
    assert sim.cluster.report().size >= 12, "not a minute too early"
    assert sim.score("chat").usd <= 96.0
    sim.run(0.5 * HOUR_S)
    assert sim.cluster.report().size == 2
    decision = sim.loop.board.pools()["chat"].decision
    assert decision is not None
    assert "budget" in {r.source for r in decision.reasons}


# --- one pass ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("most", "of_provider", "expected"),
    [
        pytest.param(50, {}, [50, 5], id="fifty at once"),
        pytest.param(30, {}, [30, 25], id="as many as the service may order in one pass"),
        pytest.param(50, {"sim": 20}, [20, 20, 15], id="or as many of one provider"),
        pytest.param(50, {"aws": 1}, [50, 5], id="and the bound of another is not this one's"),
    ],
)
def test_launches_of_one_pass(most: int, of_provider: dict[str, int], expected: list[int]) -> None:
    sim = simulate(shape.constant(0.1), ruled=demand_only(bounds=Bounds(55, 60)))
    sim.loop.max_launches, sim.loop.launches_of = most, of_provider
    sim.run(100)
    assert list(launches(sim, 0).values()) == expected
    assert sim.cluster.report().size == 55
