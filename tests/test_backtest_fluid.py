"""The fluid pool agrees with numbers worked out by hand, and with what must hold of every queue."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from autoscaler.backtest.fluid import Demand, FluidPool, demand_of
from autoscaler.trace import parse_trace


def steady(rate: float, seconds: float, then: float = 0.0) -> Demand:
    return Demand((0.0, seconds, 10_000.0), (rate, then))


def pool(demand: Demand, start: int = 1, boot_s: float = 20.0, count_from_s: float = -math.inf) -> FluidPool:
    """A pool whose replicas serve 10 a second each."""
    return FluidPool(demand, 10.0, boot_s, start, count_from_s)


@pytest.mark.parametrize(
    ("demand", "start", "to_s", "queue", "violated", "worst_s"),
    [
        pytest.param(steady(10, 100), 1, 100, 0, 0, 0, id="as much as one replica serves never waits"),
        # The queue grows by 10/s, so what comes at s waits s seconds: all after 5 s is late.
        pytest.param(steady(20, 100), 1, 200, 0, 95 * 20, 100, id="what comes at s waits s when twice too much comes"),
        # At 60 s what came until 30 s is served; what came until 55 s waited more than 5 s, and 1100 - 5 * 20 did.
        pytest.param(steady(20, 100), 1, 60, 600, 50 * 20, 30, id="what waits over 5 s is late before it is served"),
        pytest.param(steady(20, 100), 0, 8, 160, 3 * 20, 8, id="without replicas everything waits"),
        # 5/s, then 15/s from 10 to 20 s: the queue is 50 at 20 s, so the longest wait is exactly 5 s.
        pytest.param(Demand((0, 10, 20, 99), (5, 15, 0)), 1, 60, 0, 0, 5, id="a wait of exactly 5 s is none too long"),
        # 20/s from 10 to 20 s: what comes at 10 + s waits s, the second half of it too long.
        pytest.param(Demand((0, 10, 20, 99), (5, 20, 0)), 1, 60, 0, 100, 10, id="half of a short burst waits too long"),
        # 30/s for 10 s leave 200, then 5/s come: gone at 50 s. What comes at 10 + u has 200 - 5u before it and waits
        # 20 - u/2, more than 5 s while u < 30. Of the burst, s waits 2s: 7.5 s of it are late.
        pytest.param(Demand((0, 10, 99), (30, 5)), 1, 99, 0, 7.5 * 30 + 30 * 5, 20, id="what follows a queue is late"),
    ],
)  # fmt: skip
def test_waits_of_a_pool_that_keeps_its_size(
    demand: Demand, start: int, to_s: float, queue: float, violated: float, worst_s: float
) -> None:
    one = pool(demand, start)
    one.advance(to_s)
    assert one.queue == pytest.approx(queue, abs=1e-9)
    assert one.violated == pytest.approx(violated, abs=1e-9)
    assert one.worst_wait_s == pytest.approx(worst_s, abs=1e-9)


def test_a_replica_serves_from_the_moment_at_which_it_has_booted_within_a_tick() -> None:
    """20/s on one replica of 10/s; the second serves from 20 s on. Then 200 wait, 10 s each."""
    one = pool(steady(20, 100))
    one.order()
    for tick in range(15, 105, 15):
        one.advance(float(tick))
        assert (one.ready, one.pending) == ((1, 1) if tick < 20 else (2, 0))
    assert one.queue == pytest.approx(200)
    one.advance(120.0)
    assert one.queue == 0
    assert one.violated == pytest.approx(95 * 20)
    assert one.worst_wait_s == pytest.approx(10)


def test_booting_replicas_are_paid_and_the_newest_are_cancelled_first() -> None:
    one = pool(steady(5, 1000), start=2, boot_s=60.0)
    one.resize(3)
    one.advance(15.0)
    one.resize(5)
    assert one.serves_at() == (60.0, 75.0, 75.0)
    one.resize(3)
    assert one.serves_at() == (60.0,)
    one.resize(1)
    assert (one.ready, one.pending) == (1, 0)
    one.advance(25.0)
    assert one.paid_s == pytest.approx(15 * 3 + 10 * 1)


def test_only_what_arrives_after_the_warm_up_counts() -> None:
    """20/s on 10/s: what comes at s waits s. Counted from 60 s on, which lies within a bucket and within a step."""
    one = pool(steady(20, 100), count_from_s=60.0)
    one.advance(90.0)
    one.advance(300.0)
    assert one.arrived == pytest.approx(40 * 20)
    assert one.violated == pytest.approx(40 * 20)
    assert one.paid_s == pytest.approx(240.0)
    work, first, last = one.waits
    assert work.sum() == pytest.approx(800)
    assert (first.min(), last.max()) == (pytest.approx(60), pytest.approx(100))


def test_a_gap_of_a_trace_is_bridged_by_a_straight_line() -> None:
    text = "t_s,requests,missing\n0,600,0\n60,0,1\n120,1800,0\n"
    demand = demand_of(parse_trace(text, "trace.csv", "requests"))
    assert demand == Demand((0, 60, 120, 180), (10, 20, 30))
    assert [demand.at(t) for t in (-1, 0, 59.9, 60, 179, 180)] == [0, 10, 10, 20, 30, 0]


RATES = st.lists(st.one_of(st.just(0.0), st.floats(0.01, 60.0)), min_size=1, max_size=12)
SIZES = st.lists(st.integers(0, 6), min_size=1, max_size=30)


def played(rates: list[float], sizes: list[int], extra: int = 0, cuts: int = 1) -> FluidPool:
    """A pool with buckets of 37 s that gets a new size every 15 s; each step is made in `cuts` parts."""
    edges = tuple(37.0 * n for n in range(len(rates) + 1))
    one = FluidPool(Demand(edges, tuple(rates)), 10.0, 20.0, 1 + extra)
    for n, size in enumerate(sizes):
        one.resize(size + extra)
        for cut in range(1, cuts + 1):
            one.advance(15.0 * n + 15.0 * cut / cuts)
    return one


@settings(derandomize=True, deadline=None, max_examples=200)
@given(RATES, SIZES)
def test_work_is_conserved(rates: list[float], sizes: list[int]) -> None:
    one = played(rates, sizes)
    assert one.came == pytest.approx(one.served + one.queue, abs=1e-6)
    assert 0 <= one.violated <= one.arrived + 1e-6
    work, first, last = one.waits
    assert work.sum() <= one.arrived + 1e-6
    assert (np.minimum(first, last) >= 0).all()
    late = np.clip((np.maximum(first, last) - 5) / np.maximum(abs(first - last), 1e-12), 0, 1)
    assert one.violated == pytest.approx(float((work * late)[np.maximum(first, last) > 5].sum()), rel=1e-6, abs=1e-6)


@settings(derandomize=True, deadline=None, max_examples=100)
@given(RATES, SIZES)
def test_results_do_not_depend_on_how_time_is_cut(rates: list[float], sizes: list[int]) -> None:
    coarse, fine = played(rates, sizes), played(rates, sizes, cuts=7)
    for name in ("queue", "served", "violated", "worst_wait_s", "paid_s"):
        assert getattr(coarse, name) == pytest.approx(getattr(fine, name), rel=1e-6, abs=1e-6), name


@settings(derandomize=True, deadline=None, max_examples=100)
@given(RATES, SIZES, st.integers(1, 3))
def test_more_replicas_never_wait_longer(rates: list[float], sizes: list[int], extra: int) -> None:
    few, many = played(rates, sizes), played(rates, sizes, extra)
    assert many.queue <= few.queue + 1e-6
    assert many.violated <= few.violated + 1e-6
    assert many.worst_wait_s <= few.worst_wait_s + 1e-6


@settings(derandomize=True, deadline=None, max_examples=50)
@given(RATES, st.integers(1, 4))
def test_lateness_agrees_with_the_arrival_and_service_curves(rates: list[float], size: int) -> None:
    """Work that came by s and is not served by s + 5 is late: of a pool of one size the curves are easily had."""
    edges = np.arange(len(rates) + 1) * 37.0
    one = FluidPool(Demand(tuple(edges.tolist()), tuple(rates)), 10.0, 0.0, size)
    one.advance(float(edges[-1]) + 5000.0)
    came_s = (np.arange(37 * len(rates) * 200) + 0.5) / 200
    rate = np.repeat(rates, 37 * 200)
    before = np.concatenate([[0.0], np.cumsum(rate / 200)[:-1]]) + rate / 400
    # Lindley: the queue is what came less what could be served, above its lowest point so far.
    surplus = before - 10.0 * size * came_s
    queue = surplus - np.minimum(np.minimum.accumulate(surplus), 0.0)
    late = float((rate / 200)[queue / (10.0 * size) > 5].sum())
    assert one.violated == pytest.approx(late, abs=60.0 * 0.05 * len(rates))
