"""The canary of growth: settings that never served get one machine first, and present demand is never held back."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from autoscaler.planner import plan
from autoscaler.planner.canary import canary, prove
from autoscaler.policies.target import Target
from autoscaler.ruleset import Rule, RuleSet, Signal
from autoscaler.types import Decision, Fleet, Instance, Kinds, Launch, Memory, Offer, Proposal, Reading, Reason
from tests.worlds import NOW, OFFER, fleet, instance, rules, settled, world

NEW = replace(OFFER, settings=(("image", "new"),))
SIGNALS = (Signal("load", metric="requests_arrived_total", rate_s=60), Signal("ahead", forecast="load"))
FORESEEN = (Rule("ahead", Target("ahead", 10.0)),)


def ruled(offer: Offer = NEW, **changes: object) -> RuleSet:
    return rules(offers=(offer,), signals=SIGNALS, rules=FORESEEN, hash="new", **changes)


def grown(want: int, load: float = 40.0, **changes: object) -> Decision:
    """A forecast asks for so many; present demand is `load`, 10 for each replica."""
    asked = Proposal("ahead", "size", want, "the forecast")
    readings = {"load": Reading(NOW, load, "fresh"), "ahead": Reading(NOW, want * 10.0, "fresh")}
    d = Decision("chat", 8, NOW, 4, want, 4, 0, (Reason("rule:ahead", want, ""),), (asked,), readings)
    return replace(d, **changes)  # type: ignore[arg-type]


UNPROVEN = Kinds("new", {NEW.key: NEW.made_of}, {NEW.key: NOW - 100})


def launches(decision: Decision, there: Fleet, memory: Memory) -> int:
    made = plan(ruled(), decision, world(40.0, there=there), memory)
    return sum(isinstance(a, Launch) for a in made.actions)


def test_growth_that_only_a_forecast_asks_for_starts_with_one() -> None:
    memory = replace(settled(4), kinds=UNPROVEN)
    assert launches(grown(9), fleet(4), memory) == 1
    made = plan(ruled(), grown(9), world(40.0, there=fleet(4)), memory)
    assert "has settings of which nothing has served yet: one first" in " ".join(r.text for r in made.reasons)
    coming = Fleet(NOW, (*fleet(4).instances, instance(9, "pending", made_of=NEW.made_of, requested_at=NOW - 60)))
    assert launches(grown(9), coming, memory) == 0, "it is on its way"


@pytest.mark.parametrize(
    ("decision", "there", "memory", "units"),
    [
        pytest.param(grown(9, load=70.0), fleet(4), UNPROVEN, 3, id="present demand is served at once"),
        pytest.param(grown(9, commanded=True), fleet(4), UNPROVEN, None, id="a person's word is not held back"),
        pytest.param(grown(9), fleet(0, pending=1), UNPROVEN, None, id="nobody is served at all"),
        pytest.param(grown(9), fleet(4), replace(UNPROVEN, unproven={}), None, id="it has served"),
        pytest.param(grown(9), fleet(4), None, None, id="nothing is known"),
    ],
)
def test_there_is_room_for(decision: Decision, there: Fleet, memory: Kinds | None, units: int | None) -> None:
    found = canary(ruled(), decision, replace(settled(4), kinds=memory), there, NEW)
    assert found.units == units


def test_present_demand_by_another_rule_is_served_at_once() -> None:
    queue = Proposal("queue", "raise", 8, "60 wait")
    found = canary(ruled(), replace(grown(9), proposals=(queue,)), replace(settled(4), kinds=UNPROVEN), fleet(4), NEW)
    assert found.units == 4


def kinds_after(r: RuleSet, before: Kinds | None, there: Fleet | None = None) -> Kinds:
    found = prove(r, replace(settled(4), kinds=before), there, NOW).kinds
    assert found is not None
    return found


def served(**changes: Any) -> Fleet:
    one: Instance = instance(1, **changes)
    return Fleet(NOW, (one,))


def test_at_first_sight_everything_is_taken_as_proven() -> None:
    assert kinds_after(ruled(), None).unproven == {}


def test_other_settings_of_an_offer_are_unproven_until_one_of_them_serves() -> None:
    before = kinds_after(
        ruled(
            OFFER,
        ),
        None,
    )
    before = replace(before, rules="old")
    changed = kinds_after(ruled(), before, served())
    assert changed.unproven == {NEW.key: NOW}, "what serves is of the settings of before"
    assert kinds_after(ruled(), changed, served(made_of=OFFER.made_of)).unproven == {NEW.key: NOW}
    assert kinds_after(ruled(), changed, served(made_of=NEW.made_of, state="pending")).unproven == {NEW.key: NOW}
    assert kinds_after(ruled(), changed, served(made_of=NEW.made_of)).unproven == {}
    assert kinds_after(ruled(), changed, served(requested_at=NOW)).unproven == {}, (
        "ordered since, where no more is known"
    )


def test_an_offer_that_is_new_in_a_pool_is_unproven_and_one_that_is_gone_is_forgotten() -> None:
    before = replace(kinds_after(ruled(), None), rules="old")
    more = replace(ruled(), offers=(NEW, replace(NEW, zone="b")), hash="more")
    assert set(kinds_after(more, before).unproven) == {replace(NEW, zone="b").key}
    assert set(kinds_after(replace(more, offers=(NEW,), hash="less"), kinds_after(more, before)).unproven) == set()
