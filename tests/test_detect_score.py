"""The scorer of alerts: silence is 0, perfection 100, and each alert is worth what was promised."""

from __future__ import annotations

import numpy as np
import pytest

from benchmarks.detect import three_sigma, three_sigma_alerts
from benchmarks.drawn import FAMILIES, drawn
from benchmarks.labelled import NOTHING, Labelled, counted, published, widened

SERIES = Labelled("f", "n", np.arange(1000.0), np.zeros(1000), ((300, 399), (600, 649)))


@pytest.mark.parametrize(
    ("alerts", "score"),
    [
        pytest.param([], 0.0, id="silence"),
        pytest.param([300, 600], 100.0, id="the first row of each window"),
        pytest.param([300, 310, 399, 600, 601], 100.0, id="more alerts in a window that is found"),
        pytest.param([300], 50.0, id="half of the windows"),
        pytest.param([10, 149, 300, 600], 100.0, id="what comes in the first 15 % is not judged"),
        pytest.param([200, 300, 600], 100.0 - 100 * 0.11 / 4, id="a false alarm before all windows costs 0.11 of 4"),
        pytest.param([300, 600, 990], 100.0 - 100 * 0.11 / 4, id="so does one far behind a window"),
    ],
)
def test_alerts_are_worth(alerts: list[int], score: float) -> None:
    assert counted(SERIES, alerts).score == pytest.approx(score)


def test_earlier_is_worth_more_and_the_end_of_a_window_still_half() -> None:
    worth = [counted(SERIES, [row, 600]).score for row in (300, 350, 380, 399)]
    assert worth == sorted(worth, reverse=True)
    assert 75.0 < worth[-1] < 77.0


def test_a_false_alarm_right_after_a_window_costs_less_than_a_later_one() -> None:
    costs = [100.0 - counted(SERIES, [300, row, 600]).score for row in (400, 420, 599)]
    assert costs == sorted(costs)
    assert 0.0 < costs[0] < 0.3


def test_sums_count_windows_and_not_series() -> None:
    empty = Labelled("f", "n", np.arange(1000.0), np.zeros(1000), ())
    total = counted(SERIES, [300, 600]) + counted(empty, [500]) + NOTHING
    assert (total.windows, total.found, total.false_alarms) == (2, 2, 1)
    assert total.score == pytest.approx(100.0 - 100 * 0.11 / 4)


def test_the_published_series_are_there_with_their_windows() -> None:
    found = published()
    assert len(found) == 28
    assert sum(len(one.windows) for one in found) == 137
    for one in found:
        for first, last in one.windows:
            assert 0 <= first <= last < len(one.values) == len(one.at_s)
        wide = [range(first, last + 1) for first, last in widened(one).windows]
        assert all(any(first in rows and last in rows for rows in wide) for first, last in one.windows)
        assert all(len(rows) >= 0.03 * len(one.values) / max(len(wide), 1) for rows in wide)


def test_a_seed_draws_the_same_series_again() -> None:
    first, again = drawn((5,)), drawn((5,))
    assert len(first) == len(FAMILIES)
    for one, other in zip(first, again, strict=True):
        np.testing.assert_array_equal(one.values, other.values)
        assert one.windows == other.windows
        assert np.isfinite(one.values).all()


def test_three_sigma_is_the_plain_formula_and_its_alerts_are_edges_apart() -> None:
    values = np.random.default_rng(6).normal(50.0, 1.0, 400).astype(np.float64)
    values[200:205] += 20
    values[10] = np.nan
    series = Labelled("f", "n", 3600.0 * np.arange(400, dtype=np.float64), values, ())
    plain = [n for n in range(400) if np.isfinite(values[:n]).sum() >= 20
             and abs(values[n] - np.nanmean(values[:n])) > 3 * np.nanstd(values[:n])]  # fmt: skip
    assert three_sigma(series) == plain
    alerts = three_sigma_alerts(series)
    assert 200 in alerts
    assert np.diff(alerts).min() >= 9
