"""What dashboards draw of a pool: bands, demand and capacity, GPUs, money, offers, alerts by name."""

from __future__ import annotations

from dataclasses import replace

import pytest

from autoscaler import poolmetrics
from autoscaler.board import PoolView
from autoscaler.commit import Stats
from autoscaler.policies.target import Target
from autoscaler.ruleset import Rule, RuleSet, Signal
from autoscaler.types import (
    Alert,
    Decision,
    Fleet,
    Judged,
    LeadTime,
    Learned,
    Memory,
    Offer,
    Reading,
    Reason,
    Shortage,
    Standing,
)
from tests.worlds import NOW, instance, rules

ON_DEMAND = Offer("aws", "p4d", "us-east-1", replicas=2, usd_per_hour=20.0, gpus=8)
SPOT = Offer("aws", "p4d", "us-east-1", purchase="spot", replicas=2, usd_per_hour=8.0, gpus=8)
LISTED_SPOT = Offer("azure", "nc", "eastus", purchase="spot", usd_per_hour=3.0, gpus=4, priced="taken as 0.5")
LOAD = {
    "load": Reading(NOW, 30.0, "fresh"),
    "queue": Reading(NOW, 7.0, "fresh"),
    "capacity": Reading(NOW, 8.0, "fresh"),
}
Numbers = dict[tuple[str, tuple[str, ...]], float]


def decision(*reasons: Reason, want: int = 4, current: int = 4, judged: tuple[Judged, ...] = ()) -> Decision:
    said = reasons or (Reason("current", current, ""),)
    return Decision("chat", 1, NOW, current, want, 4, 0, said, readings=LOAD, judged=judged)


def told(ruled: RuleSet, fleet: Fleet | None = None, **changes: object) -> Numbers:
    learned = changes.pop("learned", Learned())
    assert isinstance(learned, Learned)
    view = replace(PoolView(ruled, NOW, decision(), None, fleet), **changes)  # type: ignore[arg-type]
    return {(name, labels): value for name, labels, value in poolmetrics.numbers("chat", view, learned, NOW)}


def pool(found: Numbers) -> dict[str, float]:
    return {name: value for (name, labels), value in found.items() if labels == ("chat",)}


def with_target(target: Target, *signals: Signal) -> RuleSet:
    return rules(rules=(Rule("load", target),), signals=(*rules().signals, *signals))


# --- bands ------------------------------------------------------------------------------------------------------


def test_of_several_conditions_on_a_signal_the_tightest_bounds_are_drawn() -> None:
    wide = Judged("a", "load", False, 30.0, 5.0, 90.0, "")
    tight = Judged("b", "load", False, 30.0, 20.0, 50.0, "")
    fixed = Judged("c", "gpu", False, 0.5, None, 0.85, "")
    found = told(rules(), decision=decision(judged=(wide, tight, fixed)))
    assert (found["signal_lower", ("chat", "load")], found["signal_upper", ("chat", "load")]) == (20.0, 50.0)
    assert found["signal_upper", ("chat", "gpu")] == 0.85
    assert ("signal_lower", ("chat", "gpu")) not in found


# --- demand and capacity ----------------------------------------------------------------------------------------


def test_utilisation_is_demand_over_what_ready_replicas_serve() -> None:
    found = pool(told(with_target(Target("load", backlog="queue")), Fleet(NOW, (instance(1), instance(2)))))
    assert found["pool_demand"] == 30.0
    assert found["pool_capacity"] == 16.0
    assert found["pool_utilisation_ratio"] == 30.0 / 16.0
    assert found["pool_queue"] == 7.0


def test_a_target_on_a_forecast_is_measured_by_what_it_looks_ahead_on() -> None:
    ahead = with_target(Target("ahead", backlog="queue"), Signal("ahead", forecast="load"))
    assert pool(told(ahead))["pool_demand"] == 30.0


def test_a_target_on_a_measured_signal_comes_before_one_on_a_forecast() -> None:
    both = rules(
        signals=(*rules().signals, Signal("ahead", forecast="load")),
        rules=(Rule("ahead", Target("ahead")), Rule("now", Target("load", backlog="queue"))),
    )
    assert "pool_queue" in pool(told(both))


def test_a_pool_without_a_target_or_a_decision_tells_no_demand() -> None:
    for found in (told(rules(rules=())), told(rules(), decision=None)):
        assert "pool_demand" not in pool(found)
        assert pool(found)["pool_utilisation_target_ratio"] == 0.8


def test_without_a_ready_replica_there_is_no_utilisation_but_a_demand() -> None:
    found = pool(told(with_target(Target("load")), Fleet(NOW)))
    assert (found["pool_demand"], found["pool_capacity"]) == (30.0, 0.0)
    assert "pool_utilisation_ratio" not in found


# --- machines and money -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("offers", "offer", "paid", "on_demand"),
    [
        pytest.param((ON_DEMAND, SPOT), SPOT, 8.0, 20.0, id="spot beside the same on demand"),
        pytest.param((ON_DEMAND, SPOT), ON_DEMAND, 20.0, 20.0, id="on demand saves nothing"),
        pytest.param((LISTED_SPOT,), LISTED_SPOT, 3.0, 6.0, id="spot alone, whose price is a share of the list's"),
        pytest.param((SPOT,), SPOT, 8.0, 8.0, id="spot alone at a stated price: nothing is known to be saved"),
        pytest.param((), SPOT, 8.0, 8.0, id="an offer that the rules no longer have"),
    ],
)
def test_what_is_saved_is_against_the_same_machines_on_demand(
    offers: tuple[Offer, ...], offer: Offer, paid: float, on_demand: float
) -> None:
    fleet = Fleet(NOW, (instance(1, offer=offer.key, usd_per_hour=paid),))
    found = pool(told(rules(offers=offers), fleet))
    assert found["pool_on_demand_usd_per_hour"] == on_demand
    assert found["pool_saved_usd_per_hour"] == on_demand - paid


def test_a_stopped_machine_costs_and_saves_nothing_and_its_gpus_are_told_apart() -> None:
    some = (instance(1, offer=SPOT.key, usd_per_hour=8.0), instance(2, "warm", offer=SPOT.key, usd_per_hour=8.0))
    found = told(rules(offers=(ON_DEMAND, SPOT)), Fleet(NOW, some))
    assert pool(found)["pool_saved_usd_per_hour"] == 12.0
    assert found["pool_gpus", ("chat", "ready")] == found["pool_gpus", ("chat", "warm")] == 8.0


def test_providers_are_summed_over_pools_and_nothing_imagined_counts() -> None:
    some = Fleet(NOW, (instance(1, offer=SPOT.key, usd_per_hour=8.0), instance(2, "pending", offer=SPOT.key)))
    views = {
        "chat": PoolView(rules(), NOW, fleet=some),
        "code": PoolView(rules(pool="code"), NOW, fleet=some),
        "chat~shadow": PoolView(rules(pool="chat~shadow", shadow_of="chat"), NOW, fleet=some),
    }
    found = {(name, labels): value for name, labels, value in poolmetrics.providers(views)}
    assert found["provider_instances", ("aws", "ready")] == 2
    assert found["provider_instances", ("aws", "pending")] == 2
    assert found["provider_usd_per_hour", ("aws",)] == 2 * (8.0 + 2.0)


# --- offers -----------------------------------------------------------------------------------------------------


def test_an_offer_tells_its_price_lead_time_room_and_what_stands_in_its_way() -> None:
    standing = Standing("chat", LISTED_SPOT.key, NOW, problem="not sold here", units=3, usd_per_hour=2.5)
    found = told(
        rules(offers=(LISTED_SPOT, ON_DEMAND)),
        Fleet(NOW, standings=(standing,)),
        memory=Memory(shortages={LISTED_SPOT.key: Shortage(LISTED_SPOT.key, NOW + 9, 1, NOW)}),
        learned=Learned(lead_times={LISTED_SPOT.key: LeadTime(42.0, 60.0)}),
    )
    of = {name: value for (name, labels), value in found.items() if labels == ("chat", LISTED_SPOT.key)}
    assert of == {
        "offer_usd_per_hour": 2.5,
        "offer_lead_time_seconds": 42.0,
        "offer_short": 1.0,
        "offer_problem": 1.0,
        "offer_quota_units": 3,
    }
    other = {name: value for (name, labels), value in found.items() if labels == ("chat", ON_DEMAND.key)}
    assert other["offer_lead_time_seconds"] == ON_DEMAND.lead_time_s
    assert (other["offer_short"], other["offer_problem"]) == (0.0, 0.0)
    assert "offer_quota_units" not in other


def test_an_unknown_price_is_not_told() -> None:
    found = told(rules(offers=(replace(ON_DEMAND, price_known=False),)))
    assert not [name for name, _ in found if name == "offer_usd_per_hour"]


# --- alerts and decisions ---------------------------------------------------------------------------------------


def test_a_thousand_series_of_one_alert_are_one_number() -> None:
    some = tuple(Alert(f"hot{n}", "chat", "hot", "critical", "firing", NOW, "") for n in range(1000))
    found = told(rules(), alerts=(*some, Alert("slow", "chat", "slow", "warning", "resolved", NOW, "")))
    assert {key: value for key, value in found.items() if key[0] == "alert_state"} == {
        ("alert_state", ("chat", "hot", "critical", "firing")): 1000
    }


@pytest.mark.parametrize(
    ("made", "changes", "sources"),
    [
        pytest.param(
            decision(Reason("current", 4, ""), Reason("rule:load", 9, ""), Reason("bounds", 6, ""), want=6),
            {("chat", "out"): 1},
            {("chat", "bounds"): 1},
            id="who moved the number last set it",
        ),
        pytest.param(
            decision(Reason("current", 4, ""), Reason("rule:load", 2, ""), Reason("pause", 2, ""), want=2),
            {("chat", "in"): 1},
            {("chat", "rule:load"): 1},
            id="a step that leaves it as it is set nothing",
        ),
        pytest.param(decision(), {}, {}, id="a decision that keeps the size is no change"),
    ],
)
def test_changes_are_counted_by_direction_and_by_who_set_the_size(
    made: Decision, changes: dict[tuple[str, str], int], sources: dict[tuple[str, str], int]
) -> None:
    stats = Stats()
    stats.note(made)
    assert (stats.changes, stats.sources) == (changes, sources)
