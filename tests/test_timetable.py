"""When pools tick, also under clocks that jump."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from autoscaler.timetable import Timetable
from tests.worlds import NOW, rules

POOLS = {"chat": replace(rules(), tick_s=15.0)}


def ticking() -> Timetable:
    table = Timetable()
    table.ticked("chat", 15.0, NOW)
    return table


@pytest.mark.parametrize(
    ("seconds", "touched", "due"),
    [
        pytest.param(1.0, {"chat"}, False, id="not a moment after the last tick, even for news"),
        pytest.param(3.0, {"chat"}, True, id="news may start a tick after a fifth of the period"),
        pytest.param(3.0, set(), False, id="nothing new waits for the period"),
        pytest.param(3.0, {"other"}, False, id="news of another pool too"),
        pytest.param(15.0, set(), True, id="a period later it is due"),
        pytest.param(-3600.0, set(), True, id="the clock went back an hour: nobody waits an hour"),
        pytest.param(-1.0, set(), True, id="nor a second"),
        pytest.param(3600.0, set(), True, id="the clock went ahead"),
    ],
)
def test_a_pool_ticks(seconds: float, touched: set[str], due: bool) -> None:
    assert ticking().due(NOW + seconds, POOLS, touched) == (["chat"] if due else [])


def test_news_that_come_right_after_a_tick_wait_for_a_fifth_of_the_period_only() -> None:
    table = ticking()
    assert table.due(NOW + 1.0, POOLS, {"chat"}) == []
    assert table.next_at(NOW + 1.0) == NOW + 3.0
    assert table.due(NOW + 3.0, POOLS, set()) == ["chat"]
    table.ticked("chat", 15.0, NOW + 3.0)
    assert table.due(NOW + 5.9, POOLS, set()) == []


def test_a_shorter_period_takes_effect_at_once() -> None:
    table = Timetable()
    table.ticked("chat", 3600.0, NOW)
    assert table.due(NOW + 20, POOLS, set()) == ["chat"]


def test_pools_that_are_gone_are_forgotten() -> None:
    table = ticking()
    assert table.forget_all_but(set()) == {"chat"}
    assert table.forget_all_but(set()) == set()
    assert table.next_at(NOW) == NOW + 1.0


def test_ticks_keep_their_rhythm_after_an_early_one() -> None:
    table = ticking()
    regular = table.next_at(NOW)
    table.ticked("chat", 15.0, regular - 5)
    assert table.next_at(NOW) == regular


def test_the_time_before_a_start_makes_no_pool_late() -> None:
    table = ticking()
    table.due(NOW + 3600, POOLS, set())
    assert table.late_s == 0.0
    table.due(NOW + 3602, POOLS, set())
    assert table.late_s == 2.0


@settings(derandomize=True, deadline=None, max_examples=300)
@given(st.floats(0.1, 3600.0), st.floats(1.6e9, 2.0e9), st.sampled_from(["chat", "backtest", "a", "pool-17"]))
def test_the_next_tick_is_always_later_than_the_last(tick_s: float, now: float, pool: str) -> None:
    """Rounding of odd periods never makes a pool due again at the time of its tick: a simulated clock would stand."""
    timetable = Timetable()
    for _ in range(5):
        timetable.ticked(pool, tick_s, now)
        assert now < timetable.next_at(now) <= now + tick_s * (1 + 1e-6)
        now = timetable.next_at(now)


def test_an_urgent_pool_ticks_at_once_however_near_its_last_tick_is() -> None:
    table = Timetable()
    table.ticked("chat", 15.0, 100.0)
    pool = {"chat": rules(tick_s=15.0)}
    assert table.due(100.1, pool, {"chat"}) == []
    assert table.due(100.1, pool, {"chat"}, {"chat"}) == ["chat"]
