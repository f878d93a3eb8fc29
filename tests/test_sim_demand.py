"""Shapes of demand, each a function of time alone."""

from __future__ import annotations

import pytest

from autoscaler import sim_demand as shape
from autoscaler.sim import Demand
from autoscaler.trace import Trace, parse_trace

DAY_S = 86_400.0


@pytest.mark.parametrize(
    ("demand", "expected"),
    [
        pytest.param(shape.constant(3.0), {0.0: 3.0, 1e9: 3.0}, id="constant"),
        pytest.param(
            shape.step(1.0, 9.0, 100.0, 200.0), {99.9: 1.0, 100.0: 9.0, 199.9: 9.0, 200.0: 1.0}, id="a step and back"
        ),
        pytest.param(shape.step(1.0, 9.0, 100.0), {0.0: 1.0, 1e9: 9.0}, id="a step that stays"),
        pytest.param(
            shape.ramp(10.0, 30.0, 100.0, 200.0),
            {0.0: 10.0, 100.0: 10.0, 150.0: 20.0, 200.0: 30.0, 900.0: 30.0},
            id="a ramp is flat outside",
        ),
        pytest.param(shape.ramp(30.0, 10.0, 0.0, 100.0), {50.0: 20.0, 75.0: 15.0}, id="a ramp down"),
        pytest.param(
            shape.flapping(1.0, 5.0, 60.0),
            {0.0: 1.0, 29.9: 1.0, 30.0: 5.0, 59.9: 5.0, 60.0: 1.0, 90.0: 5.0},
            id="flaps",
        ),
        pytest.param(
            shape.daily(100.0, 0.5),
            {14 * 3600.0: 150.0, 2 * 3600.0: 50.0, 8 * 3600.0: 100.0, DAY_S + 14 * 3600.0: 150.0},
            id="a day is highest at two in the afternoon",
        ),
    ],
)
def test_it_is(demand: Demand, expected: dict[float, float]) -> None:
    assert {at: demand(at) for at in expected} == pytest.approx(expected)


@pytest.fixture
def trace() -> Trace:
    """1, 2, nothing known, and 4 requests a second, a minute each."""
    return parse_trace("t_s,requests,missing\n0,60,0\n60,120,0\n120,0,1\n180,240,0\n", "t.csv", "requests")


def test_a_trace_is_replayed_from_the_start_on_and_scaled(trace: Trace) -> None:
    demand = shape.replayed(trace, 1000.0, scale=10.0)
    assert [demand(1000.0 + t) for t in (0, 59, 60, 180, 239)] == pytest.approx([10, 10, 20, 40, 40])


def test_a_gap_of_a_trace_is_not_a_time_without_demand(trace: Trace) -> None:
    assert 2.0 <= shape.replayed(trace, 0.0)(150.0) <= 4.0


def test_before_and_after_a_trace_its_first_and_last_rate_hold(trace: Trace) -> None:
    demand = shape.replayed(trace, 1000.0)
    assert demand(0.0) == pytest.approx(1.0)
    assert demand(1e6) == pytest.approx(4.0)
