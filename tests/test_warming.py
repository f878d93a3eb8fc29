"""The warm pool in the planner: who comes to rest, who is launched for it, who leaves it, and who is started first."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest

from autoscaler.explain import explain
from autoscaler.intents import settle, unite
from autoscaler.journal import MEMORY, PLAN
from autoscaler.memory import learn, remember
from autoscaler.movement import Bounds, Refill, WarmPool
from autoscaler.planner import plan
from autoscaler.ruleset import RuleSet
from autoscaler.types import (
    Burst,
    Decision,
    Fleet,
    Instance,
    Launch,
    LeadTime,
    Mark,
    Memory,
    Offer,
    Operate,
    Outcome,
    Override,
    Plan,
    Proposal,
    Refusal,
    Shortage,
    World,
)
from autoscaler.windows import window
from tests.test_warmsize import MEAN, PEAK, decided, ruled
from tests.worlds import NOW, OFFER, fleet, instance, settled

EAST = replace(OFFER, zone="east")
WEST = replace(OFFER, zone="west", usd_per_hour=3.0)
SPOT = replace(OFFER, purchase="spot", usd_per_hour=1.0)
TWO = WarmPool(min=2)


def warm(number: int, **changes: Any) -> Instance:
    return instance(number, "warm", **{"rests": True, "in_flight": None, "in_flight_at": None, **changes})


def serving(ready: int, *others: Instance) -> Fleet:
    return Fleet(NOW, (*fleet(ready).instances, *others))


def planned(
    r: RuleSet, there: Fleet, want: int = 4, memory: Memory | None = None, d: Decision | None = None, **more: Any
) -> Plan:
    w = World(NOW, {}, there, **more)
    return plan(r, d or decided(want), w, memory or settled(want, watched_s=7200.0))


def said(made: Plan) -> list[str]:
    """Actions in words: `launch`, `warm` for a launch into the warm pool, `stop chat-1`."""
    return [
        ("warm" if a.into == "warm" else "launch") + f" {a.offer.key}"
        if isinstance(a, Launch)
        else f"{a.kind} {a.instance}"
        for a in made.actions
    ]


def notes(made: Plan) -> str:
    return "\n".join(r.text for r in made.reasons if r.source == "warm_pool")


FILL = f"warm {OFFER.key}"


# --- filling --------------------------------------------------------------------------------------------------------


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


# --- emptying -------------------------------------------------------------------------------------------------------


def test_too_many_leave_one_at_a_time_the_oldest_first() -> None:
    some = [warm(n, requested_at=NOW - 9000 + n) for n in (7, 6, 8)]
    made = planned(ruled(WarmPool(min=1)), serving(4, *some))
    assert said(made) == ["terminate chat-6"]
    assert "3 replicas are warm, no more than 1 were wanted for 1h" in made.reasons[-1].text
    leaving = instance(6, "stopping", since=NOW - 3)
    assert said(planned(ruled(WarmPool(min=1)), serving(4, some[0], some[2], leaving))) == []


@pytest.mark.parametrize(
    ("r", "memory", "more"),
    [
        pytest.param(
            ruled(WarmPool(min=1)),
            replace(settled(4), warm_highs=((NOW - 3500, 2),)),
            {},
            id="more were wanted less than an hour ago",
        ),
        pytest.param(ruled(WarmPool(min=1)), settled(4, watched_s=3500.0), {}, id="nobody watched for an hour"),
        pytest.param(ruled(WarmPool(size="forecast", min=1)), settled(4), {}, id="the size is not known"),
        pytest.param(
            ruled(WarmPool(min=1)),
            settled(4),
            {"overrides": (Override("o", "chat", "pause", NOW + 60, "me", "why", direction="in"),)},
            id="a person paused shrinking",
        ),
        pytest.param(ruled(WarmPool()), settled(4), {}, id="nobody asked for a warm pool"),
    ],
)
def test_nothing_leaves_while(r: RuleSet, memory: Memory, more: dict[str, Any]) -> None:
    assert said(planned(r, serving(4, warm(7), warm(8)), memory=memory, **more)) == []


def test_what_somebody_else_stopped_is_not_ours_to_end() -> None:
    assert said(planned(ruled(WarmPool(max=0)), serving(4, instance(7, "warm")))) == []


def test_the_highest_size_of_the_window_is_remembered_and_a_gap_forgets_it() -> None:
    r = ruled(WarmPool(min=1))
    memory = remember(r, replace(settled(4), warm_highs=((NOW - 100, 5),)), decided(4), Plan("chat", 8, warm=1))
    assert memory.warm_highs == ((NOW - 100, 5), (NOW, 1))
    assert learn(r, memory, (), None, NOW + 900).warm_highs == ()


def test_a_machine_that_is_too_old_is_renewed_in_a_quiet_hour() -> None:
    r = ruled(WarmPool(min=2, max_age_s=86400.0))
    there = serving(4, warm(7, requested_at=NOW - 90000), warm(8, requested_at=NOW - 95000))
    made = planned(r, there)
    assert said(made) == ["terminate chat-8"]
    assert "ordered 1d2h23m20s ago, the warm pool renews what is older than 1d" in made.reasons[-1].text
    assert said(planned(r, there, outlooks={"ahead": PEAK, "ahead:mean": MEAN})) == [], "demand is about to rise"
    assert said(planned(r, serving(4, there.instances[-1]))) == [FILL], "an old one is better than none"


def test_what_never_comes_to_rest_is_given_up_and_replaced_later() -> None:
    stuck = instance(9, "stopping", rests=True, since=NOW - 1201)
    assert said(planned(ruled(WarmPool(min=1)), serving(4, stuck))) == ["terminate chat-9"]
    assert said(planned(ruled(WarmPool(min=1)), serving(4, replace(stuck, since=NOW - 1199)))) == []


def test_a_warm_machine_that_failed_is_replaced() -> None:
    failed = instance(9, "failed", requested_at=NOW - 90000)
    assert said(planned(ruled(WarmPool(min=1)), serving(4, failed)))[0] == "terminate chat-9"
    assert said(planned(ruled(WarmPool(min=1)), serving(4))) == [FILL]


# --- starting -------------------------------------------------------------------------------------------------------


def starts(made: Plan) -> list[str]:
    return [f"{a.kind} {a.instance}" if isinstance(a, Operate) else a.kind for a in made.actions]


def test_the_fastest_start_comes_first() -> None:
    learned = {f"{EAST.key}/warm": LeadTime(60.0, 90.0), f"{WEST.key}/warm": LeadTime(20.0, 40.0)}
    there = serving(2, warm(5, offer=EAST.key), warm(6, offer=WEST.key), warm(7, offer=WEST.key, since=NOW - 9999))
    assert starts(planned(ruled(TWO), there, want=4, lead_times=learned)) == ["start chat-7", "start chat-6"]


def test_of_a_scarce_offer_one_is_tried_after_all_others_and_the_rest_is_bought() -> None:
    r = ruled(TWO, offers=(WEST,))
    there = serving(1, warm(5, offer=EAST.key), warm(6, offer=EAST.key), warm(7, offer=WEST.key))
    memory = replace(settled(5), shortages={EAST.key: Shortage(EAST.key, NOW + 60, 1, NOW)})
    made = planned(r, there, want=4, memory=memory)
    assert starts(made) == ["start chat-7", "start chat-5", "launch"]


def test_a_refused_start_sends_the_next_tick_to_another_zone_and_then_to_new_machines() -> None:
    r = ruled(TWO, offers=(WEST,))
    there = serving(2, warm(5, offer=EAST.key), warm(6, offer=EAST.key), warm(7, offer=WEST.key))
    first = planned(r, there, want=3)
    (start,) = first.actions
    assert isinstance(start, Operate)
    refused = Outcome(start.id, "chat", "failed", NOW, start.instance, "capacity", "no capacity")
    memory = learn(r, settled(3), [(start, refused)], there, NOW)
    assert start.instance == "chat-5"
    assert starts(planned(r, there, want=3, memory=memory)) == ["start chat-7"]
    last = serving(2, *there.instances[2:4])
    memory = replace(memory, refusals={i.id: Refusal(NOW + 15, 1) for i in last.instances[2:]})
    assert starts(planned(r, last, want=3, memory=memory)) == ["launch"]


def ahead_of(want: int, *others: Proposal, **changes: Any) -> Decision:
    asked = (Proposal("ahead", "raise", want, "the forecast"), *others)
    return replace(decided(want, load=100.0), proposals=asked, **changes)


FORESEEN: dict[str, Any] = {"outlooks": {"ahead": PEAK, "ahead:mean": MEAN}}
"""At 0.9, 14 replicas until a new machine serves."""

FAR = ruled(TWO, signals=(*ruled().signals[:-1], replace(ruled().signals[-1], ahead_s=1200.0)))
"""The forecast looks 20 minutes ahead, much further than the 7 that a new machine takes."""


def test_what_is_short_only_after_a_new_machine_serves_is_bought_so_that_the_warm_ones_stay() -> None:
    there = serving(12, *(warm(20 + n) for n in range(4)))
    made = planned(FAR, there, d=ahead_of(17), **FORESEEN)
    assert sorted(starts(made)) == ["launch", "launch", "launch", "start chat-20", "start chat-21"]


@pytest.mark.parametrize(
    "d",
    [
        pytest.param(ahead_of(17, Proposal("queue", "raise", 17, "a queue")), id="another rule wants it now"),
        pytest.param(ahead_of(17, burst=Burst(NOW, 17, NOW)), id="a burst"),
        pytest.param(ahead_of(17, commanded=True), id="a person"),
        pytest.param(
            replace(decided(17), proposals=(Proposal("queue", "raise", 17, "q"),)), id="the forecast does not ask"
        ),
    ],
)
def test_what_may_be_short_now_is_started(d: Decision) -> None:
    there = serving(12, *(warm(20 + n) for n in range(5)))
    assert starts(planned(FAR, there, d=d, **FORESEEN)) == [f"start chat-{20 + n}" for n in range(5)]


def test_when_no_new_machine_can_be_had_the_warm_ones_are_started_after_all() -> None:
    memory = replace(settled(12), shortages={OFFER.key: Shortage(OFFER.key, NOW + 60, 1, NOW)})
    there = serving(12, *(warm(20 + n, offer=WEST.key) for n in range(4)))
    made = planned(FAR, there, d=ahead_of(17), memory=memory, **FORESEEN)
    assert starts(made) == [f"start chat-{20 + n}" for n in range(4)]


def test_a_signal_that_looks_one_lead_time_ahead_asks_for_what_is_short_before_a_new_machine_serves() -> None:
    there = serving(12, *(warm(20 + n) for n in range(5)))
    made = planned(ruled(TWO), there, d=ahead_of(17), **FORESEEN)
    assert starts(made) == [f"start chat-{20 + n}" for n in range(5)]


@pytest.mark.parametrize(
    ("load", "expected"),
    [
        # 1.1 times as much is usual when a warm machine serves: 12 replicas, of which 10 serve.
        pytest.param(108.0, ["start chat-20", "start chat-21"], id="demand comes earlier than was foreseen"),
        pytest.param(90.0, [], id="what is on its way comes in time"),
        pytest.param(900.0, ["start chat-20", "start chat-21", "start chat-22"], id="never more than is wanted"),
    ],
)
def test_warm_ones_stand_in_until_what_is_on_its_way_serves(load: float, expected: list[str]) -> None:
    coming = [
        instance(30 + n, "pending", requested_at=NOW - 9, since=NOW - 9, expected_at=NOW + 300) for n in (0, 1, 2)
    ]
    there = serving(10, *coming, *(warm(20 + n) for n in range(4)))
    assert starts(planned(ruled(TWO), there, d=decided(13, load=load), **FORESEEN)) == expected
    soon = [replace(i, expected_at=NOW + 60) for i in coming]
    there = serving(10, *soon, *(warm(20 + n) for n in range(4)))
    assert starts(planned(ruled(TWO), there, d=decided(13, load=load), **FORESEEN)) == []


def test_explain_names_the_size_the_launch_and_why_the_rest_waits() -> None:
    d, made = decided(4), planned(ruled(TWO), serving(4))
    text = explain(d, made)
    assert f"launch {OFFER.key} into the warm pool (1 replica)" in text
    assert "warm_pool: 0 of 2 replicas warm: as the rules say" in text
    assert "warm_pool: not refilled yet: 1 in 10m is the pace" in text


# --- what is on its way ---------------------------------------------------------------------------------------------


def operation(kind: str, at: float = NOW - 5) -> Operate:
    return Operate("op", "chat", at, at + 60, kind, "chat-9", "sim")  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("intent", "there", "expected"),
    [
        pytest.param(operation("stop"), instance(9, "draining"), ("stopping", True), id="told to stop"),
        pytest.param(operation("terminate"), warm(9), ("stopping", False), id="ended while it rests"),
        pytest.param(
            operation("terminate"),
            instance(9, "stopping", rests=True),
            ("stopping", False),
            id="ended on its way to rest",
        ),
        pytest.param(operation("start"), warm(9), ("pending", False), id="started"),
        pytest.param(operation("drain"), instance(9), ("draining", False), id="drained"),
    ],
)
def test_an_open_intent_tells_who_will_rest(intent: Operate, there: Instance, expected: tuple[str, bool]) -> None:
    (seen,) = unite(Fleet(NOW, (there,)), [intent]).instances
    assert (seen.state, seen.rests) == expected


def test_an_ordered_machine_of_the_warm_pool_will_rest() -> None:
    order = Launch("a", "chat", NOW, NOW + 60, OFFER, into="warm")
    (seen,) = unite(Fleet(NOW), [order]).instances
    assert (seen.state, seen.rests) == ("warm", True)


@pytest.mark.parametrize(
    ("there", "ended"),
    [
        pytest.param(warm(9), True, id="it rests"),
        pytest.param(instance(9, "stopping", rests=True), True, id="its provider stops it, which may take minutes"),
        pytest.param(instance(9, "stopping"), False, id="it stops for another reason"),
        pytest.param(instance(9, "draining"), False, id="nothing happened yet"),
    ],
)
def test_a_stop_has_ended_when(there: Instance, ended: bool) -> None:
    assert bool(settle([operation("stop")], Fleet(NOW, (there,)), NOW)) is ended


def test_what_is_remembered_survives_the_journal_and_rows_from_before_it_are_read() -> None:
    memory = replace(settled(4), warm_highs=((NOW, 3),))
    body = MEMORY.dump_json(memory)
    assert MEMORY.validate_json(body) == memory
    old = {k: v for k, v in json.loads(body).items() if k != "warm_highs"}
    assert MEMORY.validate_json(json.dumps(old)).warm_highs == ()
    assert PLAN.validate_json('{"pool": "chat", "decision": 1}').warm is None
