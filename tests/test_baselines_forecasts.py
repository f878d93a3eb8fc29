"""Peers that look ahead: AWS predictive, Crane, PHPA, Dynamo, and the last value times its growth."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from autoscaler.baselines import crane
from autoscaler.baselines.aws import AwsPredictive, AwsTracking, same_hours
from autoscaler.baselines.bounds import Planned
from autoscaler.baselines.dynamo import Dynamo, next_of
from autoscaler.baselines.growth import Growth
from autoscaler.baselines.phpa import PhpaHoltWinters, PhpaLinear
from autoscaler.baselines.seen import Past, Values
from tests.peerworld import TICK_S, Pool, seen

DAY = crane.DAY


# --- AWS ------------------------------------------------------------------------------------------------------------


def test_aws_tracking_acts_on_the_third_minute_above_the_target() -> None:
    policy = AwsTracking()
    sizes = [policy.want(seen(ready=10, busy=0.8, now=60.0 * n)) for n in range(4)]
    assert sizes == [10, 10, 12, 12]


@pytest.mark.parametrize(
    ("pending", "expected"),
    [pytest.param(0, 6, id="the fifteenth minute below shrinks"), pytest.param(1, 11, id="not while one warms up")],
)
def test_aws_tracking_shrinks_on_the_fifteenth_minute_below(pending: int, expected: int) -> None:
    policy = AwsTracking()
    sizes = [policy.want(seen(ready=10, pending=pending, busy=0.4, now=60.0 * n)) for n in range(15)]
    assert sizes[:14] == [10 + pending] * 14
    assert sizes[14] == expected


def test_a_minute_without_data_breaks_the_row() -> None:
    policy = AwsTracking()
    assert [policy.want(seen(ready=10, busy=busy)) for busy in (0.8, 0.8, math.nan, 0.8, 0.8)] == [10] * 5


def test_aws_tracking_clips_on_utilisation_and_not_on_demand() -> None:
    used, asked = AwsTracking(), AwsTracking(on="demand")
    assert [used.want(seen(40.0, ready=15, busy=1.0)) for _ in range(3)][-1] == 22
    assert [asked.want(seen(40.0, ready=15, busy=1.0)) for _ in range(3)][-1] == 58


def test_the_same_hour_is_that_of_one_and_two_weeks_ago_or_of_the_day_before() -> None:
    one_day = same_hours(0, np.arange(24.0), 48)
    assert (one_day[24], one_day[47], one_day[48]) == (0.0, 23.0, 0.0)
    two_weeks = same_hours(100, np.arange(336.0), 48)
    assert two_weeks[436] == pytest.approx((168.0 + 0.0) / 2)
    assert same_hours(0, np.arange(23.0), 1) == {}


@pytest.mark.parametrize(
    ("before_s", "expected"),
    [
        pytest.param(301.0, 10, id="301 s before the hour only the present counts"),
        pytest.param(300.0, 20, id="from 300 s before the hour its forecast is a floor"),
        pytest.param(-3599.0, 20, id="until its end"),
    ],
)
def test_a_forecast_is_a_floor_of_its_hour(before_s: float, expected: int) -> None:
    past = Past(TICK_S)
    for tick in range(24 * 240):
        past.add(14.0 if tick // 240 == 5 else 1.0)
    policy = AwsPredictive()
    made = policy.want(seen(7.0, ready=10, busy=0.7, now=24 * 3600.0, past=past))
    assert made == 10
    assert policy.want(seen(7.0, ready=10, busy=0.7, now=29 * 3600.0 - before_s, past=past)) == expected


# --- Crane ----------------------------------------------------------------------------------------------------------


def daily(days: int) -> Values:
    return np.asarray(10.0 + 5.0 * np.sin(2 * np.pi * np.arange(days * DAY) / DAY))


def weekly(weeks: int) -> Values:
    workday = (np.arange(weeks * 7 * DAY) // DAY % 7) < 5
    return np.where(workday, 20.0, 2.0).astype(np.float64)


@pytest.mark.parametrize(
    ("loads", "expected"),
    [
        pytest.param(daily(4), DAY, id="a day"),
        pytest.param(weekly(2), 7 * DAY, id="a week, seen twice"),
        pytest.param(daily(1), None, id="one day is not two periods"),
        pytest.param(np.random.default_rng(3).normal(10.0, 1.0, 4 * DAY), None, id="noise has no period"),
        pytest.param(np.full(4 * DAY, 7.0), None, id="nor has what never moves"),
    ],
)
def test_crane_accepts_only_a_day_or_a_week(loads: Values, expected: int | None) -> None:
    assert crane.period_of(loads) == expected


def test_crane_repeats_the_last_period_with_a_margin() -> None:
    ahead = crane.forecast(daily(4).tobytes())
    assert ahead is not None
    assert np.allclose(ahead, daily(1) * (1 + crane.MARGINS[0]), rtol=1e-3)


@pytest.mark.parametrize(
    ("said", "expected"),
    [
        pytest.param(8.0, 1.0, id="20 % too little costs 1"),
        pytest.param(5.0, 3.106, id="half costs 3.1"),
        pytest.param(12.0, 0.2, id="20 % too much costs 0.2"),
    ],
)
def test_crane_weighs_too_little_more_than_too_much(said: float, expected: float) -> None:
    assert crane.loss(np.array([said]), np.array([10.0])) == pytest.approx(expected, abs=1e-3)


def test_crane_sizes_for_the_most_of_the_next_hour() -> None:
    past = Past(TICK_S)
    for load in np.repeat(daily(4), 4).tolist():
        past.add(load)
    policy = crane.Crane(target=1.0)
    # At the start of the day the load is 10; an hour on it is 11.3.
    assert policy.want(seen(10.0, ready=10, now=4 * 86_400.0, past=past)) == 12


# --- PHPA -----------------------------------------------------------------------------------------------------------


@settings(derandomize=True, max_examples=30, deadline=None)
@given(st.lists(st.integers(0, 200), min_size=3, max_size=60), st.integers(0, 50))
def test_the_line_is_that_of_least_squares(results: list[int], ahead: int) -> None:
    policy = PhpaLinear(results=20)
    for result in results:
        said = policy._line(result, ahead)
    kept = results[-20:]
    slope, level = np.polyfit(np.arange(len(kept)), kept, 1)
    assert said == pytest.approx(level + slope * (len(kept) - 1 + ahead), abs=1e-6)


def test_phpa_orders_one_boot_ahead_of_a_ramp() -> None:
    policy = PhpaLinear(target=1.0, tolerance=0.0)
    sizes = [policy.want(seen(float(n), ready=200, now=TICK_S * n)) for n in range(1, 61)]
    assert sizes[0] == 200, "what is there is held for 300 s"
    assert sizes[-1] == 100, "60 now, one more each tick, and 600 s are 40 ticks"
    pool = Pool(PhpaLinear(target=1.0, tolerance=0.0), ready=10)
    pool.looks([10.0] * 40)
    ramp = pool.looks([10.0 + n for n in range(1, 41)])
    # One more each tick; the minute's mean lags by 1.5 of them, and 600 s are 40 ticks.
    assert ramp[-1] == pytest.approx(50 - 1.5 + 40, abs=1.0)


def test_holt_winters_waits_for_two_seasons_and_then_knows_the_next_step() -> None:
    season = [10, 20, 40, 20]
    policy = PhpaHoltWinters(target=1.0, tolerance=0.0, season=4, sample_s=TICK_S)
    sizes = []
    for n in range(40):
        load = float(season[n % 4])
        sizes.append(policy.want(seen(load, ready=1, now=1000.0 * n)))
    # Rates allow five from one; so the forecast is looked at itself.
    assert sizes[-1] == 5
    assert policy._ahead == pytest.approx(season[40 % 4], abs=1)


# --- Dynamo, growth, and what is known beforehand -------------------------------------------------------------------


@pytest.mark.parametrize(
    ("load", "ready", "expected"),
    [
        pytest.param(30.0, 10, 18, id="at most eight more at a time"),
        pytest.param(12.2, 10, 13, id="rounded up"),
        pytest.param(3.0, 10, 3, id="down at once"),
        pytest.param(0.0, 10, 1, id="at least one"),
    ],
)
def test_dynamo_sizes_for_the_interval_that_ended(load: float, ready: int, expected: int) -> None:
    assert Dynamo().want(seen(load, ready=ready)) == expected


@pytest.mark.parametrize(
    ("rates", "expected"),
    [
        pytest.param([3.0, 9.0], 9.0, id="too few to learn from: the last"),
        pytest.param([float(n) for n in range(10)], 10.0, id="a ramp goes on"),
        pytest.param([5.0] * 10, 5.0, id="what stands stays"),
        pytest.param([10.0, 8.0, 6.0, 4.0, 2.0, 0.5], 0.0, id="never below nothing"),
    ],
)
def test_the_next_rate_is_the_last_and_its_expected_change(rates: list[float], expected: float) -> None:
    assert next_of(rates) == pytest.approx(expected, abs=1e-6)


def test_growth_stands_in_with_1_3_and_learns_from_half_a_day_on() -> None:
    assert Growth().want(seen(10.0, ready=5)) == 13
    past = Past(TICK_S)
    for _ in range(4 * 720):
        past.add(10.0)
    assert Growth().want(seen(10.0, ready=5, past=past)) == 10, "it never grew"
    for _ in range(2):
        for tick in range(4 * 360):
            past.add(10.0 if tick % 240 < 200 else 20.0)
    # The next ten minutes bring twice the level in a sixth of the minutes and more.
    assert Growth(quantile=0.95).want(seen(10.0, ready=5, past=past)) == 20


def test_growth_holds_what_it_asked_for_one_boot() -> None:
    policy = Growth()
    sizes = [policy.want(seen(load, ready=1, boot_s=60.0, now=15.0 * n)) for n, load in enumerate([10.0] + [5.0] * 5)]
    assert sizes == [13, 13, 13, 13, 7, 7]


def test_a_plan_is_in_force_until_its_next_size() -> None:
    plan = Planned((0.0, 60.0), (3, 8))
    assert [plan.want(seen(now=at, ready=1)) for at in (-15.0, 0.0, 45.0, 60.0, 600.0)] == [1, 3, 3, 8, 8]
