"""Limits on movement, one table each."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from autoscaler.engine import decide
from autoscaler.limits import push
from autoscaler.memory import remember
from autoscaler.movement import Bounds, Flap, ScaleIn, ScaleOut
from autoscaler.policies.schedule import Schedule
from autoscaler.ruleset import Rule
from autoscaler.types import Memory, Offer, Override, Plan
from tests.worlds import NOW, fleet, rules, settled, world

SLOW_IN = ScaleIn(stabilization_s=300, cool_off_s=0, rate_replicas=100)


def test_scale_in_takes_the_largest_recommendation_of_its_window() -> None:
    r = rules(scale_in=SLOW_IN)
    memory = replace(settled(8), highs=((NOW - 200, 6), (NOW - 100, 3)))
    decision = decide(r, world(20.0, there=fleet(8)), memory)
    assert decision.want == 6
    assert decision.next_change_at == NOW - 200 + 300


def test_one_low_sample_does_not_drop_the_fleet() -> None:
    memory = replace(settled(8), highs=((NOW - 15, 8),))
    assert decide(rules(scale_in=SLOW_IN), world(10.0, there=fleet(8)), memory).want == 8


def test_a_scale_in_window_must_have_been_watched() -> None:
    decision = decide(rules(scale_in=SLOW_IN), world(10.0, there=fleet(8)), settled(8, watched_s=100))
    assert decision.want == 8
    assert decision.next_change_at == NOW - 100 + 300


def test_scale_out_takes_the_smallest_recommendation_of_its_window() -> None:
    r = rules(scale_out=ScaleOut(window_s=60, rate_replicas=100, max_move=100, burst=None))
    memory = replace(settled(4), lows=((NOW - 45, 5), (NOW - 30, 9)))
    assert decide(r, world(150.0), memory).want == 5


@pytest.mark.parametrize(
    ("have", "load", "changes", "expected"),
    [
        pytest.param(2, 200.0, (), 6, id="at most four more in a period for a small pool"),
        pytest.param(6, 200.0, (), 12, id="or twice the size"),
        pytest.param(15, 400.0, (), 23, id="never more than max_move at once"),
        pytest.param(6, 200.0, ((NOW - 10, 3, 6),), 7, id="what was moved in the period counts"),
        pytest.param(6, 200.0, ((NOW - 20, 3, 6),), 12, id="what was moved before it does not"),
        pytest.param(10, 10.0, (), 9, id="one fewer in a minute for a small pool"),
        pytest.param(40, 10.0, (), 36, id="or a tenth of a large one"),
        pytest.param(10, 10.0, ((NOW - 30, 11, 10),), 10, id="and none when that one is gone already"),
    ],
)
def test_rates(have: int, load: float, changes: tuple[tuple[float, int, int], ...], expected: int) -> None:
    r = rules(
        bounds=Bounds(0, 100),
        scale_out=ScaleOut(burst=None),
        scale_in=replace(ScaleIn(), stabilization_s=0, cool_off_s=0),
    )
    memory = replace(settled(have), changes=changes)
    assert decide(r, world(load, there=fleet(have)), memory).want == expected


def test_an_instance_of_eight_replicas_may_leave_as_a_whole() -> None:
    r = rules(scale_in=replace(ScaleIn(), stabilization_s=0, cool_off_s=0), offers=(Offer("sim", "big", replicas=8),))
    assert decide(r, world(80.0, there=fleet(16)), settled(16)).want == 8


def test_after_a_launch_ready_replicas_stay_for_the_cool_off() -> None:
    r = rules(scale_in=replace(rules().scale_in, cool_off_s=600))
    memory = replace(settled(6), launched_at=NOW - 100)
    decision = decide(r, world(10.0, there=fleet(6)), memory)
    assert decision.want == 6
    assert decision.next_change_at == NOW + 500


def test_surplus_pending_replicas_may_go_before_they_arrive() -> None:
    memory = replace(settled(9), launched_at=NOW - 10)
    assert decide(rules(), world(10.0, there=fleet(4, pending=5)), memory).want == 4


def test_a_pool_that_changed_too_often_keeps_its_larger_size_and_may_still_grow() -> None:
    r = rules(flap=Flap(moves=4, per_s=3600))
    changes = tuple((NOW - 1000 + 100 * n, 4 + n % 2, 5 - n % 2) for n in range(4))
    memory = replace(settled(5), changes=changes)
    assert decide(r, world(20.0, there=fleet(5)), memory).want == 5
    assert decide(r, world(100.0, there=fleet(5)), memory).want == 10


def test_the_last_replica_leaves_only_after_a_true_zero_of_some_length() -> None:
    r, memory = rules(), replace(settled(1), idle_since=NOW - 30)
    decision = decide(r, world(0.0, there=fleet(1)), memory)
    assert decision.want == 1
    assert decision.next_change_at == NOW + 30
    assert decide(r, world(0.0, there=fleet(1)), replace(memory, idle_since=NOW - 61)).want == 0


def test_from_zero_the_first_demand_brings_a_replica_back_at_once() -> None:
    assert decide(rules(), world(0.1, there=fleet(0)), settled(0)).want == 1


def test_at_zero_missing_data_stay_at_zero() -> None:
    assert decide(rules(), world(None, there=fleet(0)), settled(0)).want == 0


def test_a_schedule_moves_the_bounds_while_it_lasts() -> None:
    # NOW is a Monday, 14:13 UTC.
    day = Rule("day", Schedule("0 8 * * mon-fri", 12 * 3600, "UTC", min=6, max=8))
    night = Rule("night", Schedule("0 20 * * *", 3600, "UTC", min=9, max=None))
    r = rules(rules=(*rules().rules, day, night))
    assert decide(r, world(10.0), settled(4)).want == 6
    assert decide(r, world(200.0), settled(4)).want == 8


def test_an_override_ends_and_the_limits_hold_again() -> None:
    r = rules(scale_in=SLOW_IN)
    pin = Override("o", "chat", "pin", NOW + 10, "ada", "test", 12)
    memory, there = settled(4), fleet(4)
    pinned = decide(r, world(42.0, there=there, overrides=(pin,)), memory)
    assert (pinned.want, pinned.commanded) == (12, True)
    memory = remember(r, memory, pinned, Plan("chat", pinned.number))
    after = replace(world(42.0, there=fleet(12, at=NOW + 15), overrides=(pin,)), now=NOW + 15)
    memory = replace(memory, highs=((NOW, 12),))
    assert decide(r, after, memory).want == 12, "the way back is as slow as any scale-in"


@settings(max_examples=200, deadline=None, derandomize=True)
@given(st.lists(st.tuples(st.integers(1, 40), st.integers(0, 30)), min_size=1, max_size=60), st.booleans())
def test_a_monotone_queue_knows_the_extreme_of_its_window(steps: list[tuple[int, int]], high: bool) -> None:
    queue: tuple[tuple[float, int], ...] = ()
    everything: list[tuple[float, int]] = []
    now = 0.0
    for gap, n in steps:
        now += gap
        queue = push(queue, now, n, 100.0, keep_high=high)
        everything.append((now, n))
        inside = [m for at, m in everything if at > now - 100.0]
        assert queue[0][1] == (max(inside) if high else min(inside))
        assert len(queue) <= 31


def test_memory_stays_small_over_a_day_of_changes() -> None:
    r, memory = rules(), Memory()
    size = 4
    for tick in range(2000):
        now = NOW + 15 * tick
        load = 10.0 * (1 + tick % 17)
        w = replace(world(load, there=fleet(size, at=now)), now=now)
        decision = decide(r, w, memory)
        memory = remember(r, memory, decision, Plan("chat", decision.number))
        size = decision.want
    assert len(memory.highs) + len(memory.lows) < 40
    assert len(memory.changes) <= 3600 / 15
