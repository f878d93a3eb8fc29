"""What a pool costs in a day, and how much dearer it may get."""

from __future__ import annotations

from dataclasses import replace

import pytest

from autoscaler import limits, spending
from autoscaler.movement import Bounds
from autoscaler.planner.room import money_left
from autoscaler.spending import DAY_S, of_day, rate_left, spent
from autoscaler.types import Decision, Fleet, Memory, Spending
from tests.worlds import instance, rules, world

DAY = 20_000
MIDNIGHT = DAY * DAY_S
NOON = MIDNIGHT + DAY_S / 2


@pytest.mark.parametrize(
    ("before", "usd_per_hour", "now", "expected"),
    [
        pytest.param(None, 10.0, NOON, Spending(DAY, 0.0, NOON, 10.0), id="before the first look nothing is known"),
        pytest.param(
            Spending(DAY, 5.0, NOON, 10.0), 10.0, NOON + 3600, Spending(DAY, 15.0, NOON + 3600, 10.0), id="an hour"
        ),
        pytest.param(
            Spending(DAY, 5.0, NOON, 10.0),
            30.0,
            NOON + 3600,
            Spending(DAY, 35.0, NOON + 3600, 30.0),
            id="a gap costs the higher of both ends, the later one",
        ),
        pytest.param(
            Spending(DAY, 5.0, NOON, 30.0),
            0.0,
            NOON + 3600,
            Spending(DAY, 35.0, NOON + 3600, 0.0),
            id="a gap costs the higher of both ends, the earlier one",
        ),
        pytest.param(
            Spending(DAY - 1, 99.0, MIDNIGHT - 1800, 10.0),
            10.0,
            MIDNIGHT + 1800,
            Spending(DAY, 5.0, MIDNIGHT + 1800, 10.0),
            id="midnight begins a new account with its own half of the gap",
        ),
        pytest.param(
            Spending(DAY - 40, 99.0, MIDNIGHT - 40 * DAY_S, 10.0),
            2.0,
            NOON,
            Spending(DAY, 120.0, NOON, 2.0),
            id="a gap of weeks costs no more than this day",
        ),
        pytest.param(
            Spending(DAY, 50.0, NOON, 10.0),
            4.0,
            NOON - 3600,
            Spending(DAY, 50.0, NOON - 3600, 10.0),
            id="a clock that went back adds nothing and forgets nothing",
        ),
    ],
)
def test_the_account_of_a_day(before: Spending | None, usd_per_hour: float, now: float, expected: Spending) -> None:
    assert spent(before, usd_per_hour, now) == expected


def test_a_clock_that_went_back_over_midnight_keeps_what_was_spent() -> None:
    back = spent(Spending(DAY, 50.0, MIDNIGHT + 60, 10.0), 10.0, MIDNIGHT - 3600)
    assert of_day(back, MIDNIGHT - 3600) == 50.0
    assert of_day(spent(back, 10.0, MIDNIGHT + 120), MIDNIGHT + 120) >= 50.0


def test_yesterdays_account_is_nothing_today() -> None:
    assert of_day(Spending(DAY - 1, 99.0, MIDNIGHT - 60, 10.0), NOON) == 0.0
    assert of_day(None, NOON) == 0.0


@pytest.mark.parametrize(
    ("per_day", "used", "now", "left"),
    [
        pytest.param(None, 0.0, NOON, float("inf"), id="no budget"),
        pytest.param(240.0, 0.0, MIDNIGHT, 10.0, id="a whole day"),
        pytest.param(240.0, 120.0, NOON, 10.0, id="half of both"),
        pytest.param(240.0, 0.0, NOON, 20.0, id="what was saved may be spent"),
        pytest.param(240.0, 300.0, NOON, 0.0, id="a day that is over its budget bears nothing"),
        pytest.param(240.0, 140.0, MIDNIGHT + DAY_S - 60, 100.0, id="the last minute is planned as an hour"),
    ],
)
def test_what_the_rest_of_the_day_bears(per_day: float | None, used: float, now: float, left: float) -> None:
    bounds = Bounds(0, 10, usd_per_day=per_day)
    assert rate_left(bounds, Spending(DAY, used, now, 0.0), now) == pytest.approx(left)


@pytest.mark.parametrize(
    ("per_hour", "per_day", "left", "words"),
    [
        pytest.param(None, None, float("inf"), "", id="no budget at all"),
        pytest.param(8.0, None, 4.0, "8 USD/h", id="of an hour"),
        pytest.param(8.0, 240.0, 4.0, "8 USD/h", id="the lower of both"),
        pytest.param(50.0, 240.0, 6.0, "10 USD/h, what 120.00 spent of 240 USD/d leave", id="the other way round"),
        pytest.param(3.0, None, 0.0, "3 USD/h", id="a pool above its budget may add nothing"),
    ],
)
def test_what_may_be_added(per_hour: float | None, per_day: float | None, left: float, words: str) -> None:
    ruled = rules(bounds=Bounds(0, 10, per_hour, per_day))
    memory = Memory(spending=Spending(DAY, 120.0, NOON, 4.0))
    there = Fleet(NOON, (instance(1), instance(2)))
    found, cap = money_left(ruled, memory, there, NOON)
    assert found == pytest.approx(left)
    assert cap == words


def decided(want: int) -> Decision:
    return Decision("chat", 8, NOON, 4, want, 4, 0, ())


@pytest.mark.parametrize(
    ("changes", "want", "expected"),
    [
        pytest.param({"on_exceeded": "shrink"}, 4, 2, id="a pool that may be shrunk has what is paid for"),
        pytest.param({}, 4, 4, id="others only stop growing"),
        pytest.param({"on_exceeded": "shrink"}, 1, 1, id="it is not grown to what is paid for"),
        pytest.param({"on_exceeded": "shrink", "usd_per_hour": 8.0}, 4, 4, id="nothing is over its budget"),
    ],
)
def test_a_pool_above_its_budget(changes: dict[str, object], want: int, expected: int) -> None:
    bounds = replace(Bounds(0, 10, usd_per_hour=5.0), **changes)  # type: ignore[arg-type]
    there = Fleet(NOON, tuple(instance(n) for n in range(4)))
    now = world(there=there, now=NOON)
    assert limits.money(decided(want), rules(bounds=bounds), now, Memory()).want == expected


def test_nothing_is_given_back_for_money_on_the_word_of_a_silent_provider_or_against_a_persons() -> None:
    bounds = Bounds(0, 10, usd_per_hour=5.0, on_exceeded="shrink")
    some = tuple(instance(n) for n in range(4))
    silent = Fleet(NOON, some, (("sim", NOON - 3600), ("aws", NOON)))
    assert limits.money(decided(4), rules(bounds=bounds), world(there=silent, now=NOON), Memory()).want == 4
    pinned = replace(decided(4), commanded=True)
    assert limits.money(pinned, rules(bounds=bounds), world(there=Fleet(NOON, some), now=NOON), Memory()).want == 4


def test_what_leaves_already_is_not_given_back_twice() -> None:
    bounds = Bounds(0, 10, usd_per_hour=4.0, on_exceeded="shrink")
    there = Fleet(NOON, (instance(1), instance(2), instance(3, "draining"), instance(4, "draining")))
    assert there.usd_per_hour == 8.0
    now = world(there=there, now=NOON)
    assert limits.money(decided(2), rules(bounds=bounds), now, Memory()).want == 2
    assert spending.most(bounds, None, NOON)[0] == 4.0
