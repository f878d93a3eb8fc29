"""A pool over two providers of which one fell silent: the other may grow, nothing shrinks, nothing is bought twice."""

from __future__ import annotations

from dataclasses import replace

import pytest

from autoscaler import sim_demand as shape
from autoscaler.engine import decide
from autoscaler.intents import settle, unite
from autoscaler.planner import plan
from autoscaler.sim import Fault
from autoscaler.simulation import START
from autoscaler.types import Fleet, Launch, Offer, Operate, Override, World
from tests.scenarios.pools import pool, simulate
from tests.worlds import NOW, instance, rules, settled, sources, world

HERE = Offer("sim", "small", usd_per_hour=2.0)
THERE = Offer("aux", "small", usd_per_hour=1.0)
RULES = rules(offers=(HERE, THERE))
LATE = NOW - 300


def both(load: float, *, heard: float = LATE, **changes: object) -> World:
    """Two machines here, and two at the cheaper provider, which was last heard at `heard`."""
    some = (
        *(instance(n) for n in range(2)),
        *(instance(10 + n, offer=THERE.key, in_flight=None) for n in range(2)),
    )
    there = Fleet(NOW, some, (("aux", heard), ("sim", NOW)))
    return replace(world(load, there=there), **changes)  # type: ignore[arg-type]


def test_growth_goes_to_the_provider_that_answers() -> None:
    w = both(95.0)
    decision = decide(RULES, w, settled(4))
    made = plan(RULES, decision, w, settled(4))
    assert decision.want == 10
    assert {a.offer.provider for a in made.actions if isinstance(a, Launch)} == {"sim"}
    assert len(made.actions) == 6


def test_nothing_shrinks_and_the_decision_says_why() -> None:
    decision = decide(RULES, both(12.0), settled(4))
    assert decision.want == 4
    assert "aux has not reported for 300 s" in " ".join(r.text for r in decision.reasons)
    assert "provider" in sources(decision.reasons)
    assert decide(RULES, both(12.0, heard=NOW), settled(4)).want == 2


def test_a_person_may_shrink_what_can_be_reached() -> None:
    w = both(12.0, overrides=(Override("o", "chat", "pin", NOW + 60, "ada", "night", 1),))
    decision = decide(RULES, w, settled(4))
    made = plan(RULES, decision, w, settled(4))
    assert decision.want == 1
    assert {a.instance for a in made.actions if isinstance(a, Operate)} == {"chat-0", "chat-1"}


def test_only_silence_of_both_makes_the_pool_blind() -> None:
    w = both(95.0)
    assert w.fleet is not None
    silent = replace(w.fleet, observed_at=LATE, reported=(("aux", LATE), ("sim", LATE)))
    assert decide(RULES, replace(w, fleet=silent), settled(4)).blind


def test_an_order_is_given_up_only_by_a_report_of_its_own_provider() -> None:
    orders = [Launch(name, "chat", NOW - 400, NOW - 100, offer) for name, offer in (("a", THERE), ("b", HERE))]
    w = both(95.0)
    assert w.fleet is not None
    assert [(o.action, o.status) for o in settle(orders, w.fleet, NOW)] == [("b", "failed")]
    assert unite(w.fleet, orders[:1]).pending == 1


@pytest.mark.parametrize("down", ["sim", "aux"])
def test_while_one_of_two_clouds_is_down_the_peak_is_met_by_the_other(down: str) -> None:
    ruled = pool(offers=(HERE, THERE))
    fault = Fault("provider_down", 800, 4000, provider=down)
    sim = simulate(shape.step(6.0, 30.0, START + 1000), [fault], ruled=ruled)
    sim.run(790)
    before = sim.cluster.report()
    sim.run(1200)
    after = sim.cluster.report()
    assert after.ready >= 9
    assert {i.id for i in before.instances} <= {i.id for i in after.instances}
    sim.run(5000)
    decision = sim.loop.board.pools()["chat"].decision
    assert decision is not None
    assert sim.cluster.report().size == decision.want


def test_instances_of_a_provider_that_the_rules_left_still_count_and_leave_in_order() -> None:
    sim = simulate(shape.constant(20.0), ruled=pool(offers=(THERE, HERE)))
    sim.run(1500)
    assert {i.offer for i in sim.cluster.report().instances} == {THERE.key}
    launched = sim.score("chat").launches
    hands = sim.loop.hands
    sim.rules = {"chat": pool(offers=(HERE,), hash="moved")}
    sim.run(600)
    assert sim.loop.hands is hands
    assert sim.score("chat").launches == launched, "they serve, so nothing is bought in their place"
