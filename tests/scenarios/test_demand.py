"""Closed loops under demand that real fleets see: what the users and the bill notice."""

from __future__ import annotations

from dataclasses import replace

from autoscaler import sim_demand as shape
from autoscaler.movement import Bounds
from autoscaler.policies.schedule import Schedule
from autoscaler.ruleset import Rule
from autoscaler.simulation import START, Simulation
from autoscaler.types import Override
from tests.scenarios.pools import pool, simulate


def changes(sim: Simulation, since: float) -> int:
    """How often the wanted number changed."""
    decisions = sim.journal.decisions("chat", since=since, limit=10_000)
    return sum(d.want != d.current for d in decisions)


def test_steady_demand_is_served_by_a_steady_fleet() -> None:
    sim = simulate(shape.constant(20.0))
    sim.run(1800)
    before = sim.score("chat")
    sim.run(7200)
    after = sim.score("chat")
    assert after.requests_lost == before.requests_lost
    assert after.launches - before.launches <= 1
    assert sim.cluster.report().size == 7


def test_a_peak_steeper_than_the_boot_time_is_met_one_boot_later_without_overshoot() -> None:
    sim = simulate(shape.step(8.0, 60.0, START + 1800, START + 3600), boot_s=120.0)
    sim.run(1800 + 300)
    need = 60 / 3.2
    assert sim.cluster.report().ready >= need / 1.1, "as many as the demand needs, up to the dead band"
    assert sim.score("chat").peak_replicas <= 1.4 * need
    sim.run(3600)
    assert sim.cluster.report().size <= 5, "and given back afterwards"
    assert sim.score("chat").requests_aborted == 0


def test_flapping_load_does_not_make_a_flapping_fleet() -> None:
    sim = simulate(shape.flapping(5.0, 40.0, 240.0))
    sim.run(1800)
    settled = sim.score("chat")
    sim.run(3600)
    moved = sim.score("chat").launches + sim.score("chat").removals - settled.launches - settled.removals
    assert moved <= 6, "thirty swings of demand"


def test_a_daily_ramp_loses_nothing() -> None:
    sim = simulate(shape.ramp(10.0, 60.0, START + 1800, START + 9000))
    sim.run(1800)
    before = sim.score("chat").requests_lost
    sim.run(9000)
    assert sim.score("chat").requests_lost == before
    assert sim.score("chat").requests_aborted == 0


def test_scale_in_loses_no_request_in_flight() -> None:
    sim = simulate(shape.step(60.0, 4.0, START + 2400, START + 9000))
    sim.run(6000)
    assert sim.score("chat").removals >= 10
    assert sim.score("chat").requests_aborted == 0


def test_a_pool_sleeps_at_zero_and_wakes_on_demand() -> None:
    asleep = shape.step(6.0, 0.0, START + 1200, START + 5400)
    sim = simulate(asleep, ruled=pool(bounds=Bounds(0, 40)), boot_s=15.0)
    sim.run(4800)
    assert sim.cluster.report().size == 0
    sim.run(900)
    assert sim.cluster.report().ready >= 2
    lost_at_wake = sim.score("chat").requests_lost
    sim.run(1200)
    assert sim.score("chat").requests_lost == lost_at_wake


def test_a_pin_holds_until_its_end_and_the_law_takes_over_slowly() -> None:
    sim = simulate(shape.constant(8.0))
    sim.run(1200)
    now = sim.clock.now()
    sim.journal.put_override(Override("show", "chat", "pin", now + 900, "ada", "demo day", 12, created_at=now))
    sim.run(600)
    assert sim.cluster.report().ready == 12
    sim.run(330)
    assert sim.cluster.report().ready >= 10, "one minute after the pin ended"
    sim.run(1800)
    assert sim.cluster.report().size == 3


def test_a_schedule_raises_the_floor_before_anybody_comes() -> None:
    # The simulation starts on a Monday at 14:13 UTC; the window opens at 15:00.
    day = Rule("afternoon", Schedule("0 15 * * mon", 3600.0, "UTC", min=9, max=None))
    ruled = pool(rules=(*pool().rules, day))
    sim = simulate(shape.constant(4.0), ruled=ruled)
    sim.run(2700)
    assert sim.cluster.report().size == 2
    sim.run(600)
    assert sim.cluster.report().ready == 9


def test_a_recorded_day_is_served_with_less_than_a_fleet_sized_for_the_peak() -> None:
    swing = shape.daily(30.0, 0.6)
    sim = simulate(swing, ruled=replace(pool(), scale_in=replace(pool().scale_in, stabilization_s=600)), seed=3)
    sim.run(43_200)
    score = sim.score("chat")
    assert score.requests_lost <= 0.005 * score.requests_sent
    static_peak = 15 * 43_200
    assert score.replica_seconds < 0.85 * static_peak
