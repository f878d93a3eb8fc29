"""The warm pool in the planner: who comes to rest in it, and who is launched for it."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from autoscaler.memory import remember
from autoscaler.movement import Bounds, Refill, WarmPool
from autoscaler.ruleset import RuleSet
from autoscaler.types import (
    Burst,
    Decision,
    Fleet,
    Instance,
    Mark,
    Memory,
    Offer,
    Override,
    Refusal,
    Shortage,
)
from autoscaler.windows import window
from tests.test_warmsize import MEAN, PEAK, decided, ruled
from tests.warmworld import EAST, FILL, SPOT, TWO, WEST, notes, planned, said, serving, warm
from tests.worlds import NOW, OFFER, instance, settled


def test_what_drained_comes_to_rest_while_there_is_a_place() -> None:
    drained = [instance(n, "draining", since=NOW - 20, in_flight_at=NOW - 1) for n in (7, 8, 9)]
    made = planned(ruled(TWO), serving(4, *drained))
    assert said(made) == ["stop chat-7", "stop chat-8", "terminate chat-9"]
    assert made.reasons[0].text == "stop chat-7: drained, nothing is in flight; the warm pool has a place for it"


@pytest.mark.parametrize(
    ("warm_pool", "changes", "more"),
    [
        pytest.param(WarmPool(), {}, {}, id="nobody asked for a warm pool"),
        pytest.param(WarmPool(min=1), {"offer": "sim/small/spot"}, {}, id="spot machines cannot be stopped"),
        pytest.param(WarmPool(min=1, max_age_s=3600), {}, {}, id="it is old"),
        pytest.param(WarmPool(max=0), {}, {}, id="nothing may be warm"),
        pytest.param(
            WarmPool(min=1),
            {},
            {"marks": {"chat-9": Mark("chat-9", "chat", "replace", NOW + 9, "me", "old")}},
            id="a person replaces it",
        ),
    ],
)
def test_what_drained_leaves_for_good_when(warm_pool: WarmPool, changes: dict[str, Any], more: dict[str, Any]) -> None:
    drained = instance(9, "draining", **{"since": NOW - 20, "in_flight_at": NOW - 1, **changes})
    made = planned(ruled(warm_pool), serving(4, drained), **more)
    assert said(made)[0] == "terminate chat-9"


def test_what_is_cut_off_by_the_drain_deadline_does_not_come_to_rest() -> None:
    late = instance(9, "draining", since=NOW - 301, in_flight=3)
    assert said(planned(ruled(WarmPool(min=1)), serving(4, late))) == ["terminate chat-9"]


def test_where_nothing_tells_what_is_in_flight_the_drain_deadline_leads_to_rest() -> None:
    silent = instance(9, "draining", since=NOW - 301, in_flight=None, in_flight_at=None)
    assert said(planned(ruled(WarmPool(min=1)), serving(4, silent))) == ["stop chat-9"]


def test_one_that_could_not_be_stopped_is_terminated_and_does_not_drain_for_ever() -> None:
    drained = instance(9, "draining", since=NOW - 20, in_flight_at=NOW - 1)
    memory = replace(settled(4), refusals={"chat-9": Refusal(NOW - 1, 1)})
    assert said(planned(ruled(TWO), serving(4, drained), memory=memory))[0] == "terminate chat-9"


def test_a_quiet_pool_launches_what_is_missing_at_its_pace() -> None:
    made = planned(ruled(replace(TWO, refill=Refill(2))), serving(4))
    assert said(made) == [FILL, FILL]
    assert made.warm == 2
    assert notes(made) == "0 of 2 replicas warm: as the rules say"
    assert said(planned(ruled(TWO), serving(4))) == [FILL], "one in ten minutes unless the rules say else"


def test_a_launch_of_the_last_minutes_delays_the_next() -> None:
    memory = replace(settled(4), launches=((NOW - 100, 1),))
    made = planned(ruled(TWO), serving(4), memory=memory)
    assert said(made) == []
    assert "not refilled yet: 1 in 10m is the pace, next in 500 s" in notes(made)
    assert said(planned(ruled(TWO), serving(4), memory=replace(memory, launches=((NOW - 600, 1),)))) == [FILL]


@pytest.mark.parametrize(
    "coming",
    [
        pytest.param(warm(9), id="warm"),
        pytest.param(warm(9, id="ordered:abc", requested_at=NOW - 5), id="ordered and not listed"),
        pytest.param(instance(9, "stopping", rests=True, since=NOW - 30), id="on its way to rest"),
    ],
)
def test_what_is_or_will_be_warm_is_not_launched_again(coming: Instance) -> None:
    assert said(planned(ruled(WarmPool(min=1)), serving(4, coming))) == []


@pytest.mark.parametrize(
    "other",
    [
        pytest.param(instance(9, "stopping", since=NOW - 30), id="leaves for good"),
        pytest.param(instance(9, "warm"), id="was stopped by somebody else"),
    ],
)
def test_what_is_not_kept_for_the_warm_pool_does_not_count(other: Instance) -> None:
    assert said(planned(ruled(WarmPool(min=1)), serving(4, other))) == [FILL]


@pytest.mark.parametrize(
    ("there", "d", "more", "why"),
    [
        pytest.param(
            serving(4, instance(9, "pending", requested_at=NOW - 9, since=NOW - 9)),
            decided(5),
            {},
            "machines are on their way",
            id="machines boot",
        ),
        pytest.param(serving(4), replace(decided(4), burst=Burst(NOW, 4, NOW)), {}, "a burst", id="a burst"),
        pytest.param(
            serving(4),
            decided(4),
            {"outlooks": {"ahead": PEAK, "ahead:mean": MEAN}},
            "demand is expected to rise, 11 replicas",
            id="demand is about to rise",
        ),
        pytest.param(
            serving(4, instance(9, "draining", since=NOW - 2)),
            decided(4),
            {},
            "what drains",
            id="one drains that may come to rest",
        ),
        pytest.param(
            serving(4),
            decided(4),
            {"overrides": (Override("o", "chat", "pause", NOW + 60, "me", "why", direction="out"),)},
            "growth is paused",
            id="a person paused growth",
        ),
    ],
)
def test_it_is_not_refilled_while(there: Fleet, d: Decision, more: dict[str, Any], why: str) -> None:
    made = planned(ruled(TWO), there, d=d, **more)
    assert said(made) == []
    assert why in notes(made)


def test_it_is_not_refilled_soon_after_the_pool_grew() -> None:
    grew = replace(settled(4), changes=((NOW - 400, 3, 4), (NOW - 100, 5, 4)))
    made = planned(ruled(TWO), serving(4), memory=grew)
    assert said(made) == []
    assert "the pool grew 400 s ago" in notes(made)
    assert said(planned(ruled(TWO), serving(4), memory=replace(grew, changes=((NOW - 600, 3, 4),)))) == [FILL]


def test_a_pool_that_is_short_buys_for_itself_first() -> None:
    made = planned(ruled(TWO), serving(4), d=decided(5))
    assert said(made) == [f"launch {OFFER.key}"]
    assert "the pool itself is 1 replica short" in notes(made)


def test_a_frozen_pool_and_one_with_a_silent_provider_are_left_alone() -> None:
    frozen = Override("o", "chat", "freeze", NOW + 60, "me", "why")
    assert said(planned(ruled(TWO), serving(4), overrides=(frozen,))) == []
    there = replace(serving(4), reported=(("sim", NOW), ("aws", NOW - 3600)))
    made = planned(ruled(TWO), there)
    assert said(made) == []
    assert "a provider is silent" in notes(made)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        # NOW is 2026-09-21 14:13 in UTC.
        pytest.param("22:00-06:00", [], id="not by day"),
        pytest.param("22:00-06:00 Asia/Shanghai", [FILL], id="22:13 in Shanghai"),
        pytest.param("sat,sun 00:00-24:00", [], id="not on a Monday"),
    ],
)
def test_windows_say_when_it_is_refilled_whatever_is_expected(text: str, expected: list[str]) -> None:
    r = ruled(replace(TWO, refill=Refill(between=(window(text),))))
    made = planned(r, serving(4), outlooks={"ahead": PEAK, "ahead:mean": MEAN})
    assert said(made) == expected
    assert (f"its time is {text}" in notes(made)) is (not expected)


@pytest.mark.parametrize(
    ("offers", "memory", "expected"),
    [
        pytest.param((SPOT, WEST), settled(4), WEST, id="spot offers are passed over"),
        pytest.param((EAST, WEST), settled(4), EAST, id="the cheapest"),
        pytest.param(
            (EAST, replace(WEST, usd_per_hour=2.0)),
            settled(4),
            replace(WEST, usd_per_hour=2.0),
            id="of equal prices where the fewest rest",
        ),
        pytest.param(
            (EAST, WEST),
            replace(settled(4), shortages={EAST.key: Shortage(EAST.key, NOW + 9, 1, NOW)}),
            WEST,
            id="what can be had",
        ),
    ],
)
def test_it_is_refilled_from(offers: tuple[Offer, ...], memory: Memory, expected: Offer) -> None:
    there = serving(4, warm(8, offer=EAST.key))
    assert said(planned(ruled(TWO, offers=offers), there, memory=memory)) == [f"warm {expected.key}"]


@pytest.mark.parametrize(
    ("r", "there", "why"),
    [
        pytest.param(ruled(TWO, offers=(SPOT,)), serving(4), "spot machines cannot be stopped", id="spot alone"),
        pytest.param(
            ruled(TWO, bounds=Bounds(0, 20, 9.0)), serving(4), "at 2 USD/h would pass 9 USD/h", id="the budget"
        ),
        pytest.param(
            ruled(replace(TWO, state="running"), bounds=Bounds(0, 20, 11.0)),
            serving(4, warm(8)),
            "would pass 11 USD/h",
            id="running machines are paid for",
        ),
        pytest.param(
            ruled(WarmPool(min=2, max=3), offers=(replace(OFFER, replicas=4),)),
            serving(4),
            "no more than 3 may be warm",
            id="a machine that is too large",
        ),
        pytest.param(ruled(TWO, offers=()), serving(4), "the rules have no offers", id="no offers"),
    ],
)
def test_what_keeps_it_from_being_refilled_is_said(r: RuleSet, there: Fleet, why: str) -> None:
    made = planned(r, there)
    assert said(made) == []
    assert why in notes(made)


def test_a_stopped_machine_costs_nothing_that_counts() -> None:
    r = ruled(TWO, bounds=Bounds(0, 20, 10.0))
    assert said(planned(r, serving(4, warm(8)))) == [FILL]


def test_a_warm_launch_delays_no_shrinking() -> None:
    r = ruled(TWO)
    made = planned(r, serving(4))
    after = remember(r, settled(4), decided(4), made)
    assert (after.launched_at, after.launches) == (None, ((NOW, 1),))


def test_a_machine_that_the_model_does_not_fit_is_not_kept_warm_either() -> None:
    small = replace(OFFER, type="small", usd_per_hour=0.1, unfit="40 GiB where 80 are needed")
    made = planned(ruled(TWO, offers=(small,)), serving(4))
    assert said(made) == []
    assert "never launched: 40 GiB where 80 are needed" in notes(made)
    assert said(planned(ruled(TWO, offers=(small, OFFER)), serving(4))) == [FILL]
