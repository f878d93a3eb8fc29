"""What a tick leaves to the next one, and what must not be left."""

from __future__ import annotations

from dataclasses import replace

import pytest

from autoscaler.engine import decide
from autoscaler.intents import settle
from autoscaler.memory import awake, learn, remember
from autoscaler.movement import LaunchLimits, ScaleIn, ScaleOut
from autoscaler.types import Fleet, Memory, Operate, Outcome, Plan, Shortage
from tests.worlds import NOW, OFFER, fleet, instance, queue_step, rules, settled, world


def test_a_blind_tick_empties_the_windows_so_that_one_low_sample_after_it_proves_nothing() -> None:
    r = rules(scale_in=ScaleIn(stabilization_s=300, cool_off_s=0, rate_replicas=100))
    memory = settled(8)
    for tick in range(80):
        now = NOW + 15 * tick
        blind = decide(r, replace(world(80.0, there=fleet(8, at=NOW - 300)), now=now), memory)
        assert blind.blind
        memory = remember(r, memory, blind, Plan("chat", blind.number))
    again = replace(world(10.0, there=fleet(8, at=now + 15)), now=now + 15)
    decision = decide(r, again, memory)
    assert decision.want == 8
    assert decision.next_change_at == now + 300


def test_what_a_rule_asked_for_and_limits_held_back_comes_while_it_cools_down() -> None:
    r = rules(rules=(queue_step(by=4),), scale_out=ScaleOut(burst=None, rate_replicas=1, rate_ratio=0.0, rate_per_s=15))
    memory, size, wants = settled(4), 4, []
    for tick in range(8):
        now = NOW + 15 * tick
        w = replace(world(queue=80.0, there=fleet(size, at=now)), now=now)
        decision = decide(r, w, memory)
        memory = remember(r, memory, decision, Plan("chat", decision.number))
        size = decision.want
        wants.append(size)
    assert wants == [5, 6, 7, 8, 8, 8, 8, 8]
    assert memory.cooldown_until == {"queue": NOW + 300}, "it began once"
    assert memory.asked == {}


def test_a_rule_that_got_what_it_asked_for_asks_for_nothing_more_while_it_cools_down() -> None:
    r = rules(rules=(queue_step(by=4),))
    first = decide(r, world(queue=80.0), settled(4))
    memory = remember(r, settled(4), first, Plan("chat", first.number))
    assert (first.want, memory.asked) == (8, {})
    smaller = replace(memory, want=5)
    assert decide(r, world(queue=80.0, there=fleet(5)), smaller).want == 5


def test_an_offer_whose_machines_die_young_is_retried_once_and_then_left_alone() -> None:
    r = rules(launch=LaunchLimits(shortage_s=180))
    dead = instance(1, "failed", since=NOW, requested_at=NOW - 30)
    once = learn(r, settled(2), [], Fleet(NOW, (dead, replace(dead, id="chat-2"))), NOW)
    assert once.shortages[OFFER.key] == Shortage(OFFER.key, NOW, 1, NOW, never_served=True)
    later = replace(once, last_at=NOW + 30)
    next_one = replace(dead, id="chat-3", since=NOW + 40, requested_at=NOW + 1)
    twice = learn(r, later, [], Fleet(NOW + 45, (next_one,)), NOW + 45)
    assert twice.shortages[OFFER.key].until == NOW + 45 + 360
    serving = instance(4, requested_at=NOW + 410, since=NOW + 440)
    served = learn(r, replace(twice, last_at=NOW + 440), [], Fleet(NOW + 450, (serving,)), NOW + 450)
    assert served.shortages == {}


def test_an_old_machine_that_dies_teaches_nothing_about_its_offer() -> None:
    old = instance(1, "failed", since=NOW, requested_at=NOW - 86_400)
    assert learn(rules(), settled(2), [], Fleet(NOW, (old,)), NOW).shortages == {}


def test_a_shortage_is_forgotten_after_its_reset_so_that_its_offer_is_ordered_in_full_again() -> None:
    old = {OFFER.key: Shortage(OFFER.key, NOW - 10_000, 3, NOW - 10_801)}
    assert learn(rules(), replace(settled(2), shortages=old), [], fleet(2), NOW).shortages == {}


def test_after_a_clock_that_went_back_no_shortage_outlasts_its_longest_wait() -> None:
    ahead = {OFFER.key: Shortage(OFFER.key, NOW + 90_000, 3, NOW + 89_000)}
    memory = awake(rules(), NOW, Memory(number=3, want=4, last_at=NOW + 89_000, shortages=ahead))
    assert memory.shortages[OFFER.key] == Shortage(OFFER.key, NOW + 1800, 3, NOW)


@pytest.mark.parametrize(
    ("gap_s", "window_s", "watched"),
    [
        pytest.param(45.0, 300.0, True, id="some missed ticks in a long window"),
        pytest.param(75.0, 300.0, False, id="more than four"),
        pytest.param(30.0, 60.0, True, id="a missed tick in a short one"),
        pytest.param(45.0, 60.0, False, id="most of a short one"),
        pytest.param(-1.0, 300.0, False, id="a clock that went back"),
    ],
)
def test_a_window_spans_only_gaps_that_leave_it_something_to_prove(
    gap_s: float, window_s: float, watched: bool
) -> None:
    r = rules(scale_in=ScaleIn(stabilization_s=window_s))
    memory = replace(settled(4), last_at=NOW - gap_s)
    assert (awake(r, NOW, memory).watched_since == memory.watched_since) is watched


def test_a_refusal_is_remembered_with_a_growing_rest_until_the_instance_obeys_or_is_gone() -> None:
    drain = Operate("d1", "chat", NOW, NOW + 60, "drain", "chat-1", "sim")
    failed, done = (Outcome("d1", "chat", status, NOW, "chat-1") for status in ("failed", "done"))
    memory = settled(2)
    rests = []
    for _ in range(9):
        memory = learn(rules(), memory, [(drain, failed)], fleet(2), NOW)
        rests.append(memory.refusals["chat-1"].until - NOW)
    assert rests == [15.0, 30.0, 60.0, 120.0, 240.0, 480.0, 960.0, 1800.0, 1800.0]
    assert learn(rules(), memory, [(drain, done)], fleet(2), NOW).refusals == {}
    assert learn(rules(), memory, [], fleet(1), NOW).refusals == {}
    assert learn(rules(), memory, [], None, NOW).refusals == memory.refusals


def test_an_operation_that_a_later_one_replaced_was_refused_by_nobody() -> None:
    drain = Operate("d1", "chat", NOW, NOW + 60, "drain", "chat-1", "sim")
    resume = Operate("r1", "chat", NOW + 1, NOW + 61, "resume", "chat-1", "sim")
    seen = settle([drain, resume], fleet(2, at=NOW + 2), NOW + 2)
    assert [(o.action, o.status) for o in seen] == [("d1", "failed"), ("r1", "done")]
    by_id = {a.id: a for a in (drain, resume)}
    assert learn(rules(), settled(2), [(by_id[o.action], o) for o in seen[:1]], fleet(2), NOW + 2).refusals == {}
