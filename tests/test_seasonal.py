"""Seasonal and likelihood thresholds: what they take for normal, and what they fall back on."""

from __future__ import annotations

import numpy as np
import pytest

from autoscaler.thresholds.likelihood import SMOOTHING, Likelihood
from autoscaler.thresholds.robust import SIGMA_PER_MAD, Robust
from autoscaler.thresholds.seasonal import Seasonal
from autoscaler.types import FloatArray, Frame

NAN = float("nan")
DAY_S = 86400.0
STEP_S = 300.0


def frame(at: FloatArray, values: FloatArray) -> Frame:
    series = values.shape[0]
    return Frame(STEP_S, at, values, np.full(series, at[-1]), ("fresh",) * series, ("",) * series)


def wave(days: float, series: int = 1) -> Frame:
    """20 at night, 80 from nine to six, with noise of 1; the next row is `days` after the start."""
    at = np.arange(int(days * DAY_S / STEP_S)) * STEP_S
    level = np.where((at % DAY_S > 32400) & (at % DAY_S < 64800), 80.0, 20.0)
    return frame(at, level + np.random.default_rng(5).normal(0.0, 1.0, (series, at.size)))


@pytest.mark.parametrize(
    ("hour", "normal", "odd"),
    [
        pytest.param(12, 80.0, 20.0, id="at noon the night's load is out of its band"),
        pytest.param(3, 20.0, 80.0, id="at night the load of noon is out of its band"),
    ],
)
def test_a_seasonal_band_is_that_of_the_time_of_day(hour: int, normal: float, odd: float) -> None:
    history = wave(5 + hour / 24)
    seasonal, robust = Seasonal(5.0).bands(history), Robust(5.0).bands(history)
    assert seasonal.lower[0] < normal < seasonal.upper[0]
    assert not seasonal.lower[0] < odd < seasonal.upper[0]
    assert seasonal.upper[0] - seasonal.lower[0] == pytest.approx(10.0, rel=0.3)
    # All hours together cannot tell the two apart.
    assert not robust.lower[0] < 80.0 < robust.upper[0]


def test_a_seasonal_band_is_the_plain_formula_over_the_same_time_of_earlier_days() -> None:
    history = wave(4.5)
    next_s = 4.5 * DAY_S
    apart = np.abs((next_s - history.at + DAY_S / 2) % DAY_S - DAY_S / 2)
    alike = history.values[0, (apart <= 1800.0) & (next_s - history.at > DAY_S / 2)]
    middle = np.median(alike)
    half = 3.0 * SIGMA_PER_MAD * np.median(np.abs(alike - middle))
    bands = Seasonal(3.0).bands(history)
    np.testing.assert_allclose([bands.lower[0], bands.upper[0]], [middle - half, middle + half], rtol=1e-12)


@pytest.mark.parametrize(
    "known",
    [
        pytest.param(wave(2.4), id="two days and a half"),
        pytest.param(wave(0.5), id="half a day"),
    ],
)
def test_without_three_days_a_seasonal_band_is_the_robust_one(known: Frame) -> None:
    seasonal, robust = Seasonal(3.0).bands(known), Robust(3.0).bands(known)
    assert (seasonal.lower[0], seasonal.upper[0]) == (robust.lower[0], robust.upper[0])


def test_each_series_falls_back_on_its_own() -> None:
    history = wave(5.5, series=2)
    history.values[1, : int(3 * DAY_S / STEP_S)] = NAN
    seasonal, robust = Seasonal(3.0).bands(history), Robust(3.0).bands(history)
    assert seasonal.lower[0] > robust.upper[0]
    assert seasonal.upper[1] == robust.upper[1]


def test_where_three_weeks_are_known_only_the_same_day_of_the_week_counts() -> None:
    at = np.arange(int(22.5 * DAY_S / STEP_S)) * STEP_S
    rest_day = (at // DAY_S) % 7 == 1
    values = np.where(rest_day, 10.0, 50.0) + np.random.default_rng(5).normal(0.0, 1.0, at.size)
    bands = Seasonal(5.0).bands(frame(at, values[None]))
    assert bands.lower[0] < 10.0 < bands.upper[0] < 30.0


def plain_likelihood(row: FloatArray, k: float, recent: int) -> tuple[float, float]:
    """The band of one series in plain loops."""
    forecast, errors = row[0], []
    for value in row[1:]:
        errors.append(value - forecast)
        forecast += SMOOTHING * errors[-1]
    means = [np.mean(errors[n : n + recent]) for n in range(len(errors) - recent + 1)]
    usual = np.median(means)
    half = k * SIGMA_PER_MAD * np.median(np.abs(means - usual))
    # The next value whose error brings the mean of the newest `recent` errors to its bound.
    open_ = sum(errors[len(errors) - recent + 1 :])
    return forecast + recent * (usual - half) - open_, forecast + recent * (usual + half) - open_


@pytest.mark.parametrize("recent", [1, 2, 5])
def test_a_likelihood_band_is_the_plain_formula(recent: int) -> None:
    values = 50.0 + np.random.default_rng(7).normal(0.0, 3.0, (4, 200))
    bands = Likelihood(3.0, recent=recent).bands(frame(np.arange(200) * STEP_S, values))
    expected = np.array([plain_likelihood(row, 3.0, recent) for row in values])
    np.testing.assert_allclose(np.column_stack([bands.lower, bands.upper]), expected, rtol=1e-9)


def test_a_small_error_that_stays_leaves_a_likelihood_band_and_one_that_passes_does_not() -> None:
    calm = np.random.default_rng(9).normal(50.0, 1.0, 300)
    lasting = np.concatenate((calm, np.full(3, 53.0)))[None]
    threshold = Likelihood(4.0)
    first = threshold.bands(frame(np.arange(300) * STEP_S, calm[None]))
    fourth = threshold.bands(frame(np.arange(303) * STEP_S, lasting))
    assert first.upper[0] > 53.0
    assert fourth.upper[0] < 53.0


def test_a_likelihood_band_follows_a_series_to_its_new_level() -> None:
    moved = np.concatenate((np.full(200, 50.0), np.full(200, 90.0)))[None]
    moved = moved + np.random.default_rng(9).normal(0.0, 1.0, moved.shape)
    bands = Likelihood(5.0).bands(frame(np.arange(400) * STEP_S, moved))
    assert bands.lower[0] < 90.0 < bands.upper[0]
    assert not bands.lower[0] < 50.0
