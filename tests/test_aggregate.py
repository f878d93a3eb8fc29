"""Aggregation of raw series: tables of worked cases, and what holds for every input."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from autoscaler.ruleset import Aggregate
from autoscaler.store.aggregate import aggregate, histogram_quantile, increments, partial_bounds, rates, window_totals

NAN, INF = math.nan, math.inf
KNOWN = st.lists(st.floats(0.0, 1e6), min_size=1, max_size=20).map(np.array)
HOW = st.sampled_from(("sum", "mean", "max", "min", "count", "quantile"))


@pytest.mark.parametrize(
    ("how", "quantile", "expected"),
    [
        pytest.param("sum", None, 10.0, id="sum"),
        pytest.param("mean", None, 2.5, id="mean"),
        pytest.param("max", None, 4.0, id="max"),
        pytest.param("min", None, 1.0, id="min"),
        pytest.param("count", None, 4.0, id="count"),
        pytest.param("quantile", 0.5, 2.5, id="the median lies between the middle two"),
        pytest.param("quantile", 1.0, 4.0, id="the highest quantile is the maximum"),
        pytest.param("quantile", None, 2.5, id="a quantile without a number is the median"),
    ],
)
def test_aggregate_of_four_values(how: Aggregate, quantile: float | None, expected: float) -> None:
    assert aggregate(np.array([4.0, 1.0, 3.0, 2.0]), how, quantile) == expected


@pytest.mark.parametrize("how", ["sum", "mean", "max", "min", "quantile"])
def test_an_aggregate_of_nothing_is_unknown_and_not_zero(how: Aggregate) -> None:
    assert math.isnan(aggregate(np.empty(0), how))


def test_the_count_of_nothing_is_zero() -> None:
    assert aggregate(np.empty(0), "count") == 0.0


@settings(derandomize=True, max_examples=60)
@given(values=KNOWN, quantile=st.floats(0.0, 1.0))
def test_a_quantile_across_series_is_that_of_numpy(values: np.ndarray, quantile: float) -> None:
    assert aggregate(values, "quantile", quantile) == pytest.approx(float(np.quantile(values, quantile)), rel=1e-9)


@pytest.mark.parametrize(
    ("how", "bounds"),
    [
        pytest.param("sum", (6.0, 12.0), id="a sum: the missing two idle, or at the mean of the known"),
        pytest.param("mean", (1.5, 3.0), id="a mean"),
        pytest.param("max", (4.0, 4.0), id="a maximum is not moved by either assumption"),
        pytest.param("min", (0.0, 2.0), id="a minimum falls to zero when the missing idle"),
        pytest.param("count", (2.0, 4.0), id="a count"),
    ],
)
def test_bounds_of_a_partially_known_aggregate(how: Aggregate, bounds: tuple[float, float]) -> None:
    assert partial_bounds(np.array([2.0, 4.0]), 2, how) == bounds


@settings(derandomize=True, max_examples=60)
@given(known=KNOWN, missing=st.integers(0, 5), how=HOW)
def test_bounds_enclose_the_value_of_the_known(known: np.ndarray, missing: int, how: Aggregate) -> None:
    lower, upper = partial_bounds(known, missing, how)
    assert lower <= aggregate(known, how) <= upper


@pytest.mark.parametrize(
    ("old", "new", "expected"),
    [
        pytest.param(5.0, 8.0, 3.0, id="a counter that rose grew by the difference"),
        pytest.param(5.0, 5.0, 0.0, id="a counter that stood still grew by nothing"),
        pytest.param(5.0, 2.0, 2.0, id="a counter that fell was reset and grew by what it shows"),
        pytest.param(NAN, 2.0, NAN, id="a first sample tells nothing"),
        pytest.param(5.0, NAN, NAN, id="a gap tells nothing"),
    ],
)
def test_increments(old: float, new: float, expected: float) -> None:
    np.testing.assert_array_equal(increments(np.array([old]), np.array([new])), [expected])


@settings(derandomize=True, max_examples=80)
@given(st.lists(st.floats(0.0, 1e9), min_size=2, max_size=30))
def test_increments_are_never_negative(counter: list[float]) -> None:
    values = np.array(counter)
    assert (increments(values[:-1], values[1:]) >= 0.0).all()


@settings(derandomize=True, max_examples=80)
@given(st.lists(st.floats(0.0, 1e6), min_size=2, max_size=30))
def test_increments_without_a_reset_add_up_to_last_minus_first(steps: list[float]) -> None:
    values = np.cumsum(steps)
    assert increments(values[:-1], values[1:]).sum() == pytest.approx(values[-1] - values[0])


def _column(*values: float) -> np.ndarray:
    return np.array(values)[:, None]


@pytest.mark.parametrize(
    ("times", "grown", "began", "expected"),
    [
        pytest.param((0, 5, 10, 15), (NAN, 10, 10, 10), 0, 2.0, id="thirty in fifteen seconds"),
        pytest.param((10, 15), (NAN, 10), 10, 2.0, id="a young series is divided by the time that it covers"),
        pytest.param((0, 10, 20, 30), (5, 10, 10, 10), -10, 1.0, id="rows before the window only say when it began"),
        pytest.param((0, 5, 10, 15), (NAN, NAN, NAN, 30), 0, 2.0, id="an increment after a gap covers the gap"),
        pytest.param((5, 10), (NAN, NAN), 10, NAN, id="a first sample is no rate"),
        pytest.param((0, 5, 10), (NAN, 0, 0), 0, 0.0, id="a counter that stands still is a true zero"),
    ],
)
def test_a_rate_is_the_growth_over_the_time_really_covered(
    times: tuple[float, ...], grown: tuple[float, ...], began: float, expected: float
) -> None:
    found, complete = rates(_column(*map(float, times)), _column(*grown), np.array([float(began)]), 20.0)
    np.testing.assert_allclose(found, [expected])
    assert complete


def test_a_rate_says_when_the_rows_do_not_reach_the_sample_before_a_gap() -> None:
    _, complete = rates(_column(10.0, 15.0), _column(NAN, 30.0), np.array([-100.0]), 20.0)
    assert not complete


def test_a_window_without_increments_has_no_total() -> None:
    times, grown = np.array([[0.0] * 2, [5.0] * 2]), np.array([[3.0, 3.0], [4.0, NAN]])
    np.testing.assert_array_equal(window_totals(times, grown, 5.0), [4.0, NAN])


BOUNDS = (0.1, 0.5, 1.0, INF)


@pytest.mark.parametrize(
    ("quantile", "cumulative", "expected"),
    [
        pytest.param(0.5, (10, 20, 20, 20), (0.1, 0.0, 0.1), id="the first bucket starts at zero"),
        pytest.param(0.75, (10, 20, 20, 20), (0.3, 0.1, 0.5), id="half way through the second bucket"),
        pytest.param(0.99, (0, 0, 10, 20), (1.0, 1.0, INF), id="beyond the last bound it is at least that bound"),
        pytest.param(0.9, (10, 8, 20, 20), (0.9, 0.5, 1.0), id="buckets out of order are put in order"),
        pytest.param(0.5, (0, 0, 0, 0), (NAN, NAN, NAN), id="no observations are no data"),
    ],
)
def test_quantile_of_a_histogram(
    quantile: float, cumulative: tuple[float, ...], expected: tuple[float, float, float]
) -> None:
    found = histogram_quantile(quantile, np.array(BOUNDS), np.array(cumulative, float))
    np.testing.assert_allclose(found, expected)


@pytest.mark.parametrize(
    "bounds",
    [pytest.param((0.1, 0.5), id="without a bucket for all"), pytest.param((INF,), id="with that bucket only")],
)
def test_a_histogram_that_cannot_be_read_has_no_quantile(bounds: tuple[float, ...]) -> None:
    assert math.isnan(histogram_quantile(0.5, np.array(bounds), np.ones(len(bounds)))[0])


def test_a_lowest_bucket_below_zero_has_no_lower_bound() -> None:
    assert histogram_quantile(0.5, np.array([-1.0, INF]), np.array([4.0, 4.0])) == (-1.0, -INF, -1.0)


@settings(derandomize=True, max_examples=80)
@given(
    counts=st.lists(st.integers(0, 50), min_size=4, max_size=4).filter(any),
    quantiles=st.tuples(st.floats(0.0, 1.0), st.floats(0.0, 1.0)),
)
def test_a_quantile_lies_in_its_bucket_and_rises_with_its_number(
    counts: list[int], quantiles: tuple[float, float]
) -> None:
    cumulative = np.cumsum(counts).astype(float)
    (low, *_), (value, lower, upper) = (histogram_quantile(q, np.array(BOUNDS), cumulative) for q in sorted(quantiles))
    assert lower <= value <= upper
    assert low <= value
