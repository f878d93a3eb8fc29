"""Scores of back-tests, against numbers worked out by hand."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from autoscaler.backtest.fluid import Demand, FluidPool
from autoscaler.backtest.score import clairvoyant, hours_of, score, ticks_of, wait_quantiles, warmup_of
from autoscaler.trace import Trace


def trace(*amount: float, step_s: float = 60.0) -> Trace:
    values = np.array(amount, dtype=np.float64)
    return Trace(np.arange(len(values), dtype=np.float64) * step_s, values, step_s, np.isnan(values))


@pytest.mark.parametrize(
    ("rates", "boot_s", "low", "high", "expected"),
    [
        pytest.param((10, 10, 10, 10), 60, 1, 9, [1] * 8, id="one replica is enough for what it can serve"),
        pytest.param((10.0 * (1 + 1e-12), 10, 10, 10), 60, 1, 9, [1] * 8, id="a trifle of rounding needs no replica"),
        # Ticks of 30 s, boot 60 s: a tick sees 90 s ahead, the end included: the peak at 180 s from the one at 90 s on.
        pytest.param((5, 5, 5, 35), 60, 1, 9, [1, 1, 1, 4, 4, 4, 4, 4], id="what comes a boot and a tick ahead counts"),
        pytest.param((35, 5, 5, 5), 60, 1, 9, [4, 4, 1, 1, 1, 1, 1, 1], id="the size falls when the demand has fallen"),
        pytest.param((0, 0, 0, 0), 60, 1, 9, [1] * 8, id="never below the floor"),
        pytest.param((99, 99, 0, 0), 0, 0, 4, [4, 4, 4, 4, 0, 0, 0, 0], id="never above the ceiling"),
        pytest.param((5, 15, 5, 5), 0, 1, 9, [1, 2, 2, 2, 1, 1, 1, 1], id="without a boot it still sees the next tick"),
    ],
)
def test_the_clairvoyant_wants_the_most_of_what_comes_until_an_order_can_serve(
    rates: tuple[float, ...], boot_s: float, low: int, high: int, expected: list[int]
) -> None:
    demand = Demand((0, 60, 120, 180, 240), rates)
    assert clairvoyant(demand, 10.0, boot_s, 30.0, np.arange(0, 240, 30.0), low, high).tolist() == expected


@settings(derandomize=True, deadline=None, max_examples=100)
@given(st.lists(st.floats(0, 99), min_size=1, max_size=30), st.sampled_from([0.0, 7.0, 180.0, 600.0]))
def test_the_clairvoyant_agrees_with_the_definition_word_for_word(rates: list[float], boot_s: float) -> None:
    demand = Demand(tuple(60.0 * n for n in range(len(rates) + 1)), tuple(rates))
    at_s = np.arange(0, 60.0 * len(rates), 15.0)
    expected = [
        max(math.ceil(r / 10 - 1e-9) for n, r in enumerate(rates) if 60 * n <= t + boot_s + 15 and 60 * (n + 1) > t)
        for t in at_s
    ]
    assert clairvoyant(demand, 10.0, boot_s, 15.0, at_s, 0, 99).tolist() == expected


def test_a_clairvoyant_that_is_obeyed_lets_nothing_wait() -> None:
    rates = (20.0, 55.0, 0.0, 31.0, 80.0, 12.0)
    demand = Demand(tuple(600.0 * n for n in range(7)), rates)
    at_s = np.arange(0, 3600, 15.0)
    wanted = clairvoyant(demand, 10.0, 480.0, 15.0, at_s, 1, 99)
    pool = FluidPool(demand, 10.0, 480.0, int(wanted[0]))
    for at, size in zip(at_s.tolist(), wanted.tolist(), strict=True):
        pool.advance(at)
        pool.resize(size)
    pool.advance(3600.0)
    result = score(pool, hours_of(wanted, at_s, 0.0, 3600.0))
    assert result.violated == 0
    assert result.cost == pytest.approx(1.0)


def test_hours_count_from_the_end_of_the_warm_up_to_the_end_of_the_trace() -> None:
    """2 replicas from 0, 3 from 900, 4 from 1800 s; counted from 1200 to 2000 s: 600 s of 3 and 200 s of 4."""
    assert hours_of(np.array([2, 3, 4]), np.array([0.0, 900.0, 1800.0]), 1200.0, 2000.0) == pytest.approx(2600 / 3600)


@pytest.mark.parametrize(
    ("buckets", "expected"),
    [
        pytest.param(4 * 1440, 0.5 * 4 * 86_400, id="at most half of four days"),
        pytest.param(9 * 1440, 3 * 86_400, id="three of nine days"),
    ],
)
def test_the_warm_up_is_three_days_and_at_most_half_of_the_trace(buckets: int, expected: float) -> None:
    assert warmup_of(trace(*[1.0] * buckets)) == expected


def test_ticks_begin_with_the_trace_and_end_before_its_end() -> None:
    assert ticks_of(trace(1, 1), 15.0).tolist() == [0, 15, 30, 45, 60, 75, 90, 105]
    assert ticks_of(trace(1, 1), 50.0).tolist() == [0, 50, 100]


def test_quantiles_of_waits_are_exact() -> None:
    """20/s for 100 s on 10/s: the wait grows evenly from 0 to 100 s. Then as much work comes that waits for nothing."""
    pool = FluidPool(Demand((0, 100, 300, 700), (20, 0, 5)), 10.0, 0.0, 1)
    pool.advance(300.0)
    assert wait_quantiles(pool, (0.0, 0.5, 0.99, 1.0)) == pytest.approx((0, 50, 99, 100))
    pool.advance(700.0)
    assert wait_quantiles(pool, (0.5, 0.75, 1.0)) == pytest.approx((0, 50, 100))


def test_what_waits_at_the_end_is_unmet_and_counts_with_the_time_it_waited() -> None:
    pool = FluidPool(Demand((0, 100), (10,)), 10.0, 0.0, 0)
    pool.advance(100.0)
    result = score(pool, 0.0)
    assert (result.unmet, result.worst_wait_s) == (1000, 100)
    assert result.violated == pytest.approx(0.95)
    assert [result.wait_p50_s, result.wait_p99_s] == pytest.approx([50, 99])
    assert math.isnan(result.cost)


def test_without_work_nothing_is_violated_and_no_share_is_told() -> None:
    pool = FluidPool(Demand((0, 3600), (0,)), 10.0, 0.0, 1)
    pool.advance(3600.0)
    result = score(pool, 0.5)
    assert (result.replica_hours, result.cost) == (1.0, 2.0)
    assert math.isnan(result.violated)
