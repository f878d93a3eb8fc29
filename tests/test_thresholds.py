"""Bands: equal to plain formulas, vectorised or not, with gaps, offsets, flat lines and physical limits."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from autoscaler.errors import InputError
from autoscaler.ports import Threshold
from autoscaler.thresholds.band import below
from autoscaler.thresholds.robust import SIGMA_PER_MAD, Robust
from autoscaler.thresholds.sigma import Sigma, moments
from autoscaler.thresholds.static import Static
from autoscaler.types import Bands, Frame

Rows = NDArray[Any]


def frame(values: Rows) -> Frame:
    series, points = values.shape
    return Frame(15.0, np.arange(points) * 15.0, values, np.zeros(series), ("fresh",) * series)


def noise(series: int, points: int, seed: int = 7) -> NDArray[np.float64]:
    return np.random.default_rng(seed).standard_normal((series, points))


def plain_sigma(row: Rows, k: float, min_points: int) -> tuple[float, float]:
    """The reference: numpy's own mean and standard deviation in float64, one row at a time."""
    finite = row[np.isfinite(row)].astype(np.float64)
    if finite.size < min_points:
        return math.nan, math.nan
    half = max(k * float(np.std(finite)), 2 * float(np.finfo(row.dtype).eps) * abs(float(np.mean(finite))))
    return float(np.mean(finite)) - half, float(np.mean(finite)) + half


def plain_robust(row: Rows, k: float, min_points: int) -> tuple[float, float]:
    finite = row[np.isfinite(row)].astype(np.float64)
    if finite.size < min_points:
        return math.nan, math.nan
    centre = float(np.median(finite))
    spread = SIGMA_PER_MAD * float(np.median(np.abs(finite - centre)))
    half = max(k * spread, 2 * float(np.finfo(row.dtype).eps) * abs(centre))
    return centre - half, centre + half


def same(bands: Bands, expected: list[tuple[float, float]], scale: float) -> None:
    np.testing.assert_allclose(bands.lower, [e[0] for e in expected], rtol=0, atol=scale)
    np.testing.assert_allclose(bands.upper, [e[1] for e in expected], rtol=0, atol=scale)


# --- sigma ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("layout", ["by series", "by time", "without its last column"])
def test_sigma_equals_the_plain_formula_in_every_layout(dtype: type, layout: str) -> None:
    values: Rows = (noise(700, 241) * 50 + 300).astype(dtype)
    if layout == "by time":
        values = np.asfortranarray(values)
    if layout == "without its last column":
        values = values[:, :-1]
    bands = Sigma(3.0).bands(frame(values))
    same(bands, [plain_sigma(row, 3.0, 20) for row in values], 50 * 1e-4)
    assert bands.lower.dtype == np.float64


@pytest.mark.parametrize(
    ("offset", "spread", "dtype"),
    [
        pytest.param(1e9, 1.0, np.float64, id="a ripple of 1 on 1e9"),
        pytest.param(1e9, 1e-3, np.float64, id="a ripple of a thousandth on 1e9"),
        pytest.param(-1e12, 5.0, np.float64, id="a ripple on a large negative value"),
        pytest.param(1e9, 3000.0, np.float32, id="a ripple of some float32 steps on 1e9"),
        pytest.param(0.0, 1e-9, np.float32, id="nanoseconds"),
        pytest.param(0.0, 1e18, np.float32, id="squares near the end of float32"),
        pytest.param(0.0, 1e30, np.float32, id="squares beyond float32"),
    ],
)
def test_sigma_keeps_its_digits_at_any_scale(offset: float, spread: float, dtype: type) -> None:
    values: Rows = (noise(40, 240) * spread + offset).astype(dtype)
    _, mean, deviation = moments(values)
    wide = values.astype(np.float64)
    np.testing.assert_allclose(deviation, wide.std(axis=1), rtol=1e-4 if dtype is np.float32 else 1e-6)
    np.testing.assert_allclose(mean, wide.mean(axis=1), rtol=1e-15, atol=1e-4 * spread)


def test_a_first_point_far_away_does_not_cost_digits() -> None:
    values = noise(30, 240).astype(np.float32)
    values[:, 0] = 1e6
    values[:, 1:] += 5.0
    _, _, deviation = moments(values)
    np.testing.assert_allclose(deviation, values.astype(np.float64).std(axis=1), rtol=1e-6)
    late = np.concatenate([np.full((1, 1), 0.0), np.full((1, 200), 1e5) + noise(1, 200)], axis=1).astype(np.float32)
    np.testing.assert_allclose(moments(late)[2], late.astype(np.float64).std(axis=1), rtol=1e-5)


@settings(max_examples=60, derandomize=True, deadline=None)
@given(data=st.data())
def test_gaps_are_left_out_wherever_they_are(data: st.DataObject) -> None:
    """Any mix of NaN, infinities and numbers gives what the plain formulas give for the finite values alone."""
    series, points = data.draw(st.integers(1, 6)), data.draw(st.integers(1, 40))
    number = st.floats(-1000, 1000, width=32)
    cell = st.one_of(number, number, st.sampled_from([math.nan, math.inf, -math.inf, 5.0]))
    dtype = data.draw(st.sampled_from([np.float32, np.float64]))
    values = np.array([data.draw(st.lists(cell, min_size=points, max_size=points)) for _ in range(series)], dtype=dtype)
    kept = values.copy()
    minimum = data.draw(st.integers(2, 25))
    same(Sigma(3.0, minimum).bands(frame(values)), [plain_sigma(r, 3.0, minimum) for r in values], 0.05)
    same(Robust(3.0, minimum).bands(frame(values)), [plain_robust(r, 3.0, minimum) for r in values], 0.01)
    np.testing.assert_array_equal(values, kept)


def test_a_series_does_not_depend_on_its_neighbours() -> None:
    """One call for many series says the same of each as a call of its own, across block borders too."""
    values: Rows = (noise(1200, 240) * 9 + 70).astype(np.float32)
    values[::7, 11] = np.nan
    values[5] = np.nan
    for threshold in (Sigma(3.0, clip_at=90.0), Robust(3.0, clip_at=90.0)):
        together = threshold.bands(frame(values))
        for row in (0, 1, 5, 7, 545, 546, 547, 1199):
            alone = threshold.bands(frame(values[row : row + 1]))
            np.testing.assert_allclose(alone.upper[0], together.upper[row], rtol=1e-5)
            assert alone.clipped is not None
            assert together.clipped is not None
            assert alone.clipped[0] == together.clipped[row]


# --- robust -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("points", [20, 21, 240, 241])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_robust_equals_the_plain_formula(points: int, dtype: type) -> None:
    values: Rows = (noise(300, points) * 50 + 300).astype(dtype)
    values[::3, points // 2] = np.nan
    same(Robust(3.0).bands(frame(values)), [plain_robust(row, 3.0, 20) for row in values], 1e-3)


def test_robust_does_not_move_while_an_overload_is_a_minority_and_sigma_does() -> None:
    calm = noise(1, 240) + 100
    overload = calm.copy()
    overload[:, -60:] += 500
    moved = Robust(3.0).bands(frame(overload)).upper[0] - Robust(3.0).bands(frame(calm)).upper[0]
    assert moved < 3
    assert Sigma(3.0).bands(frame(overload)).upper[0] > 600


def test_the_spread_of_normal_noise_is_estimated_alike() -> None:
    values = noise(200, 2000) * 4
    ratio = (Robust(1.0).bands(frame(values)).upper - np.median(values, axis=1)) / values.std(axis=1)
    assert abs(float(ratio.mean()) - 1) < 0.02


# --- both -------------------------------------------------------------------------------------------------------

LEARNED = [pytest.param(Sigma, id="sigma"), pytest.param(Robust, id="robust")]


@pytest.mark.parametrize("make", LEARNED)
@pytest.mark.parametrize("points", [0, 1, 19, 20])
def test_too_few_points_cannot_be_judged(make: type[Sigma], points: int) -> None:
    bands = make(3.0, min_points=20).bands(frame(noise(3, 30)[:, :points].astype(np.float32)))
    judged = points >= 20
    assert np.isfinite(bands.lower).tolist() == [judged] * 3
    assert np.isfinite(bands.upper).tolist() == [judged] * 3


@pytest.mark.parametrize("make", LEARNED)
def test_no_series_gives_empty_bands(make: type[Sigma]) -> None:
    bands = make(3.0, clip_at=1.0).bands(frame(np.empty((0, 240), dtype=np.float32)))
    assert bands.lower.shape == bands.upper.shape == (0,)


@pytest.mark.parametrize("make", LEARNED)
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("level", [0.0, 0.1, 1 / 3, 65.7, -12345.678, 1e9])
def test_a_flat_line_is_not_outside_its_own_band(make: type[Sigma], dtype: type, level: float) -> None:
    values: Rows = np.full((1, 240), level, dtype=dtype)
    bands = make(3.0).bands(frame(values))
    assert bands.lower[0] <= values[0, 0] <= bands.upper[0]
    assert bands.upper[0] - bands.lower[0] <= 1e-6 * abs(level)


@pytest.mark.parametrize("make", LEARNED)
@pytest.mark.parametrize(
    ("least", "expected"),
    [
        pytest.param((5.0, 0.0), (95.0, 105.0), id="at least 5 to either side"),
        pytest.param((0.0, 0.1), (90.0, 110.0), id="at least a tenth of the level to either side"),
        pytest.param((5.0, 0.1), (90.0, 110.0), id="the wider of both counts"),
    ],
)
def test_a_flat_line_gets_the_least_width(
    make: type[Sigma], least: tuple[float, float], expected: tuple[float, float]
) -> None:
    bands = make(3.0, 20, *least).bands(frame(np.full((1, 60), 100.0)))
    assert (bands.lower[0], bands.upper[0]) == pytest.approx(expected)


def test_a_band_wider_than_the_least_width_is_not_widened() -> None:
    values = noise(5, 240) * 10
    np.testing.assert_array_equal(
        Sigma(3.0, min_width=1.0).bands(frame(values)).upper, Sigma(3.0).bands(frame(values)).upper
    )


@pytest.mark.parametrize("make", LEARNED)
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("limit", [1.0, 0.1, 0.7, 100.0])
def test_a_value_at_the_physical_limit_is_above_every_band(make: type[Sigma], dtype: type, limit: float) -> None:
    rng = np.random.default_rng(3)
    values: Rows = np.minimum(limit * (0.6 + 0.3 * rng.standard_normal((50, 240))), limit).astype(dtype)
    bands = make(3.0, clip_at=limit).bands(frame(values))
    at_limit: Rows = np.array([limit], dtype=dtype)
    assert (at_limit > bands.upper).all()
    assert (bands.lower <= bands.upper).all()


@pytest.mark.parametrize("make", LEARNED)
@pytest.mark.parametrize(
    ("at_limit", "clipped"),
    [
        pytest.param(0, False, id="never at the limit"),
        pytest.param(11, False, id="just under one point in twenty"),
        pytest.param(12, True, id="one point in twenty"),
        pytest.param(240, True, id="always at the limit"),
    ],
)
def test_a_lookback_on_the_limit_is_marked(make: type[Sigma], at_limit: int, clipped: bool) -> None:
    values = np.full((1, 240), 0.5, dtype=np.float32)
    values[0, :at_limit] = 1.0
    bands = make(3.0, clip_at=1.0).bands(frame(values))
    assert bands.clipped is not None
    assert bool(bands.clipped[0]) is clipped
    assert bands.upper[0] < 1.0


def test_the_share_on_the_limit_is_of_the_points_that_exist() -> None:
    values = np.full((1, 240), np.nan, dtype=np.float32)
    values[0, :40] = 0.5
    values[0, :2] = 1.0
    clipped = Sigma(3.0, clip_at=1.0).bands(frame(values)).clipped
    assert clipped is not None
    assert clipped[0]


def test_without_a_limit_nothing_is_marked() -> None:
    assert Sigma(3.0).bands(frame(np.ones((1, 30)))).clipped is None
    assert 0.99999 < below(1.0) < 1.0


# --- static and faults ------------------------------------------------------------------------------------------


def test_static_bounds_need_no_history() -> None:
    bands = Static(10.0, 20.0).bands(frame(np.empty((3, 0))))
    assert bands.lower.tolist() == [10.0] * 3
    assert bands.upper.tolist() == [20.0] * 3


def test_every_threshold_fits_its_plug() -> None:
    assert all(isinstance(t, Threshold) for t in (Static(0.0, 1.0), Sigma(3.0), Robust(3.0)))
    assert Sigma(3.0) == Sigma(3.0)
    assert len({Sigma(3.0), Sigma(3.0), Robust(3.0)}) == 2


@pytest.mark.parametrize(
    ("make", "message"),
    [
        pytest.param(lambda: Static(2.0, 1.0), "lower 2.0 is above upper 1.0", id="static bounds swapped"),
        pytest.param(lambda: Static(math.nan, 1.0), "are not numbers", id="static bound that is no number"),
        pytest.param(lambda: Sigma(-1.0), "sigma threshold: k is -1.0", id="negative k"),
        pytest.param(lambda: Sigma(math.inf), "k is inf", id="endless k"),
        pytest.param(lambda: Robust(3.0, min_points=1), "robust threshold: min_points is 1", id="one point"),
        pytest.param(lambda: Sigma(3.0, min_width=math.nan), "min_width is nan", id="width that is no number"),
        pytest.param(lambda: Sigma(3.0, clip_at=math.inf), "clip_at is inf", id="endless limit"),
    ],
)
def test_faults_name_the_value_and_the_next_step(make: Any, message: str) -> None:
    with pytest.raises(InputError) as caught:
        make()
    assert message in str(caught.value)


def test_all_faults_are_reported_at_once() -> None:
    with pytest.raises(InputError) as caught:
        Sigma(-1.0, 0, -2.0)
    assert len(caught.value.faults) == 3
