"""Who is started from the warm pool first, and who stays there for surprises."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from autoscaler.explain import explain
from autoscaler.memory import learn
from autoscaler.types import (
    Burst,
    Decision,
    LeadTime,
    Operate,
    Outcome,
    Plan,
    Proposal,
    Refusal,
    Shortage,
)
from tests.test_warmsize import MEAN, PEAK, decided, ruled
from tests.warmworld import EAST, TWO, WEST, planned, serving, warm
from tests.worlds import NOW, OFFER, instance, settled


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
