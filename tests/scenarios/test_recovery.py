"""Closed loops in which something comes back: a provider, a clock, a shadow that goes live."""

from __future__ import annotations

from autoscaler import sim_demand as shape
from autoscaler.movement import Bounds
from autoscaler.sim import Fault
from autoscaler.simulation import START, Simulation
from collectors.sim import SimCollector
from providers.shadow import ShadowProvider
from providers.sim import SimProvider
from tests.scenarios.pools import pool, simulate

PEAK = shape.step(6.0, 30.0, START + 900)


def test_an_order_whose_time_ends_while_the_provider_is_down_is_judged_by_the_next_report() -> None:
    """Its answer was lost and it was carried out: nothing is bought in its place."""
    plain = simulate(PEAK)
    plain.run(2400)
    ordered_at = min(d.at for d in plain.journal.decisions("chat", since=START + 900) if d.want > d.current) - START
    cut_off = (Fault("lost_answer", ordered_at - 1, ordered_at + 1), Fault("provider_down", ordered_at + 1, 1700))
    sim = simulate(PEAK, cut_off)
    sim.run(ordered_at + 400)
    sim.restart()
    sim.run(2000 - ordered_at)
    outcomes = sim.journal.outcomes("chat", 1000)
    assert any(o.error == "expired" for o in outcomes), "after the restart its time was over"
    assert [o for o in outcomes if o.status == "failed" and o.action in sim.cluster.made] == []
    assert sim.cluster.report().ready >= 9


def test_a_pool_that_was_a_shadow_acts_when_it_goes_live_though_its_wish_did_not_change() -> None:
    live = simulate(shape.constant(30.0))
    shadow = Simulation(
        live.rules, live.cluster, lambda c, k: ShadowProvider(SimProvider(c, k)), SimCollector, live.clock
    )
    shadow.run(900)
    assert shadow.cluster.report().size == 0
    live.journal, live.store = shadow.journal, shadow.store
    live.restart()
    live.run(300)
    assert live.cluster.report().ready >= 9


def test_a_launch_that_is_listed_after_it_was_given_up_is_sent_away_and_harms_nobody() -> None:
    sim = simulate(PEAK, [Fault("invisible", 890, 1400)])
    sim.run(3000)
    decision = sim.loop.board.pools()["chat"].decision
    assert decision is not None
    assert sim.cluster.report().ready == sim.cluster.report().size == decision.want
    assert sim.score("chat").requests_aborted == 0


def test_a_pool_that_sleeps_at_zero_stays_there_without_data_and_wakes_when_they_are_back() -> None:
    demand = shape.step(0.0, 6.0, START + 2000)
    sim = simulate(demand, [Fault("dead_collector", 900, 2300)], ruled=pool(bounds=Bounds(0, 40)))
    sim.run(2290)
    assert sim.cluster.report().size == 0
    sim.run(400)
    assert sim.cluster.report().ready >= 2
