"""Which offers are bought: the planner's choice, its reasons, and the next offer at once when the first is short."""

from __future__ import annotations

import threading
from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Any

import pytest

from autoscaler import sim_demand as shape
from autoscaler.dispatch import Calls, Inline
from autoscaler.movement import Bounds, LaunchLimits
from autoscaler.planner import plan
from autoscaler.planner.ordering import P90_OF_MEDIAN, places_of
from autoscaler.ruleset import RuleSet
from autoscaler.sim import Fault
from autoscaler.types import (
    Action,
    Decision,
    Fleet,
    Launch,
    LeadTime,
    Memory,
    Offer,
    Outcome,
    Plan,
    Reason,
    Shortage,
    Standing,
)
from tests.scenarios.pools import pool, simulate
from tests.worlds import NOW, OFFER, fleet, instance, rules, settled, world

P4D = Offer("aws", "p4d.24xlarge", "us-east-1", replicas=8, usd_per_hour=21.958, gpus=8)
NC24 = Offer("azure", "NC24ads_A100_v4", "eastus", usd_per_hour=3.673, gpus=1)


def planned(missing: int, r: RuleSet, memory: Memory | None = None, there: Fleet | None = None, **more: Any) -> Plan:
    here = there if there is not None else fleet(0)
    want = here.size + missing
    decision = Decision("chat", 8, NOW, here.size, want, 0, 0, (Reason("test", want, "as the test says"),))
    return plan(r, decision, world(0.0, there=here, **more), memory or settled(want))


def bought(made: Plan) -> dict[str, int]:
    keys = [a.offer.key for a in made.actions if isinstance(a, Launch)]
    return {key: keys.count(key) for key in dict.fromkeys(keys)}


def reason(made: Plan, source: str) -> str:
    return next((r.text for r in made.reasons if r.source == source), "")


def test_the_plan_says_what_is_bought_and_why_the_other_is_not() -> None:
    made = planned(5, rules(offers=(P4D, NC24)))
    assert bought(made) == {NC24.key: 5}
    assert reason(made, "choice") == (
        "5 replicas for 18.37 USD/h: 5 x azure/NC24ads_A100_v4/eastus/on_demand (18.37 USD/h, 3.67 USD per "
        "replica-hour); left: aws/p4d.24xlarge/us-east-1/on_demand: too big: 3 GPUs would stand idle, 21.96 USD/h "
        "against 18.37"
    )
    assert bought(planned(6, rules(offers=(P4D, NC24)))) == {P4D.key: 1}


def test_one_offer_is_no_choice_and_needs_no_reason() -> None:
    assert reason(planned(2, rules()), "choice") == ""


def test_listed_offers_are_taken_in_their_order_and_the_reason_says_so() -> None:
    made = planned(2, rules(offers=(P4D, NC24), choose="listed"))
    assert bought(made) == {P4D.key: 1}
    assert reason(made, "choice").startswith("8 replicas for 21.96 USD/h, in the order of the file: 1 x aws/")


def test_of_many_offers_the_reason_names_those_that_look_cheaper_and_counts_the_rest() -> None:
    some = [replace(OFFER, type=f"t{n}", usd_per_hour=2.0 + n) for n in range(12)]
    text = reason(planned(3, rules(offers=tuple(some))), "choice")
    assert text.endswith("sim/t6/on_demand: dearer: 3 would be 24.00 USD/h, 8.00 USD per replica-hour; and 5 more")


def test_a_lead_time_that_was_learned_counts_and_a_stated_one_is_a_median() -> None:
    slow = replace(OFFER, type="slow", usd_per_hour=1.9, lead_time_s=360.0)
    assert bought(planned(3, rules(offers=(OFFER, slow)))) == {slow.key: 3}, "both are as fast until they are known"
    learned = {slow.key: LeadTime(1500.0, 3000.0), OFFER.key: LeadTime(100.0, 200.0)}
    made = planned(3, rules(offers=(OFFER, slow), launch=LaunchLimits(register_s=1800.0)), lead_times=learned)
    assert bought(made) == {OFFER.key: 3}
    assert "serves within 3000 s (p90), 2800 s too late" in reason(made, "choice")
    assert pytest.approx(1.935, abs=1e-3) == P90_OF_MEDIAN, "of a log-normal distribution with sigma 0.515"


def test_what_would_be_given_up_before_it_serves_is_left_unless_there_is_nothing_else() -> None:
    slow = replace(OFFER, type="slow", usd_per_hour=0.1)
    learned = {slow.key: LeadTime(1000.0, 2000.0)}
    made = planned(2, rules(offers=(OFFER, slow)), lead_times=learned)
    assert bought(made) == {OFFER.key: 2}
    assert "too late: half of them take longer than the 900 s after which" in reason(made, "choice")
    assert bought(planned(2, rules(offers=(slow,)), lead_times=learned)) == {slow.key: 2}


def test_spot_is_bought_while_it_is_cheap_and_less_so_after_it_was_refused() -> None:
    spot = replace(OFFER, purchase="spot", usd_per_hour=1.8)
    r = rules(offers=(OFFER, spot))
    assert bought(planned(2, r)) == {spot.key: 2}
    refused = Shortage(spot.key, NOW - 1, 4, NOW - 400)
    made = planned(2, r, replace(settled(2), shortages={spot.key: refused}))
    assert bought(made) == {OFFER.key: 2}
    assert "0.25 interruptions an hour" in reason(made, "choice")


def test_zones_get_even_shares_of_what_costs_the_same() -> None:
    zones = tuple(replace(OFFER, region="r", zone=z) for z in "abc")
    there = Fleet(NOW, tuple(instance(n, offer=zones[0].key) for n in range(2)))
    made = planned(4, rules(offers=zones), there=there)
    assert bought(made) == {zones[1].key: 2, zones[2].key: 2}
    assert places_of(zones, there) == {"sim/r/a": 2}


def test_what_the_cloud_asks_now_counts_instead_of_a_list_price_and_not_of_a_stated_one() -> None:
    listed = replace(OFFER, type="listed", usd_per_hour=3.0, priced="list price of 2026-07-20")
    told = tuple(Standing("chat", o.key, NOW, usd_per_hour=1.0) for o in (listed, OFFER))
    there = replace(fleet(0), standings=told)
    made = planned(2, rules(offers=(OFFER, listed)), there=there)
    assert bought(made) == {listed.key: 2}
    assert "2.00 USD/h, 1.00 USD per replica-hour, the cloud's price now" in reason(made, "choice")
    assert {a.offer.usd_per_hour for a in made.actions if isinstance(a, Launch)} == {1.0}
    stated = planned(2, rules(offers=(OFFER, replace(listed, priced=""))), there=there)
    assert bought(stated) == {OFFER.key: 2}


def test_what_does_not_fit_and_what_is_silent_is_left_with_the_reason() -> None:
    small = replace(OFFER, type="small2", usd_per_hour=0.5, unfit="70 GiB of weights leave no room on 16 GiB")
    away = replace(OFFER, provider="aux", usd_per_hour=0.1)
    there = replace(fleet(0), reported=(("aux", NOW - 300), ("sim", NOW)))
    made = planned(2, rules(offers=(OFFER, small, away)), there=there)
    assert bought(made) == {OFFER.key: 2}
    text = reason(made, "choice")
    assert "left: aux/small/on_demand: aux is silent, so nothing is asked of it; sim/small2/on_demand: 70 GiB" in text
    alone = planned(2, rules(offers=(small,)))
    assert alone.actions == ()
    assert alone.reasons[-1].text.endswith("no offer can be had now; sim/small2/on_demand: 70 GiB of weights leave no "
                                           "room on 16 GiB")  # fmt: skip


def test_money_that_is_left_buys_what_it_can_and_the_reason_names_the_cheapest_that_it_cannot() -> None:
    r = rules(offers=(P4D, NC24), bounds=Bounds(0, 40, usd_per_hour=20.0))
    made = planned(9, r)
    assert bought(made) == {NC24.key: 5}
    assert reason(made, "budget") == (
        "4 replicas short: azure/NC24ads_A100_v4/eastus/on_demand at 3.673 USD/h would pass 20 USD/h"
    )


# --- the next offer at once ---------------------------------------------------------------------------------------


@dataclass
class Waking:
    """Hands that wake the loop when there is an answer, as `Threaded` does."""

    inner: Inline
    wake: threading.Event

    def fleet(self) -> Fleet | None:
        return self.inner.fleet()

    def submit(self, actions: Iterable[Action]) -> None:
        asked = list(actions)
        self.inner.submit(asked)
        if asked:
            self.wake.set()

    def outcomes(self) -> tuple[Outcome, ...]:
        return self.inner.outcomes()

    def calls(self) -> Calls:
        return self.inner.calls()

    def stop(self) -> None:
        self.inner.stop()


def test_a_refused_offer_sends_the_next_tick_to_the_next_one_and_that_tick_comes_early() -> None:
    cheap, dear = Offer("aux", "small", usd_per_hour=1.0), Offer("sim", "small", usd_per_hour=2.0)
    ruled = pool(offers=(cheap, dear), bounds=Bounds(6, 40))
    sim = simulate(shape.constant(4.0), [Fault("shortage", 0, 3000, provider="aux")], ruled=ruled)
    hands = sim.loop.hands
    assert isinstance(hands, dict)
    for name, hand in hands.items():
        hands[name] = Waking(hand, sim.loop.board.wake)
    sim.run(600)
    asked = [i for i in sim.journal.outcomes("chat", 1000) if i.status == "failed"]
    assert {o.error for o in asked} == {"capacity"}
    rows = list(reversed(sim.journal.decisions("chat", limit=1000)))
    launches = [
        (d.at, a.offer.provider)
        for d in rows
        for p in [sim.journal.plan("chat", d.number)]
        if p is not None
        for a in p.actions
        if isinstance(a, Launch)
    ]
    first, second = launches[0][0], next(at for at, provider in launches if provider == "sim")
    assert {provider for at, provider in launches if at == first} == {"aux"}
    assert 0 < second - first <= 0.2 * ruled.tick_s + 0.1, "at once, not at the next period"
    assert [provider for at, provider in launches if at == second] == ["sim"] * 6, "all of them, none asked for twice"
    assert sim.cluster.report().ready == 6
