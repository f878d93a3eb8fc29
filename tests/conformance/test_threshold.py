"""What every threshold must do. A new one adds one line to SUBJECTS: one of it, and what it refuses."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest

from autoscaler import plugins
from autoscaler.errors import InputError
from autoscaler.ports import Threshold
from autoscaler.thresholds.likelihood import Likelihood
from autoscaler.thresholds.robust import Robust
from autoscaler.thresholds.seasonal import Seasonal
from autoscaler.thresholds.sigma import Sigma
from autoscaler.thresholds.static import Static
from autoscaler.types import Bands, FloatArray, Frame

NAN = float("nan")


@dataclass(frozen=True, slots=True)
class Subject:
    """A threshold under test. nonsense: settings that it must refuse. learns: its bounds come from the history."""

    threshold: Threshold
    nonsense: tuple[dict[str, Any], ...]
    learns: bool = True


SPREAD = ({"k": -1.0}, {"k": NAN}, {"min_points": 1}, {"min_width": -0.1}, {"min_width_ratio": NAN}, {"clip_at": NAN})
SUBJECTS = {
    "static": Subject(Static(10.0, 20.0), ({"upper": 1.0}, {"lower": NAN}), learns=False),
    "sigma": Subject(Sigma(3.0), SPREAD),
    "robust": Subject(Robust(3.0), SPREAD),
    "seasonal": Subject(Seasonal(3.0), (*SPREAD, {"window_s": 0.0}, {"window_s": NAN}, {"window_s": 1e5})),
    "likelihood": Subject(Likelihood(3.0), (*SPREAD, {"recent": 0})),
}
LEARNING = sorted(name for name, subject in SUBJECTS.items() if subject.learns)


@pytest.fixture(params=sorted(SUBJECTS))
def threshold(request: pytest.FixtureRequest) -> Threshold:
    return SUBJECTS[request.param].threshold


@pytest.fixture(params=LEARNING)
def learning(request: pytest.FixtureRequest) -> Threshold:
    return SUBJECTS[request.param].threshold


def history(values: FloatArray) -> Frame:
    """A frame of (series, time) values whose arrays cannot be written to."""
    series, points = values.shape
    at = 1000.0 + 15.0 * np.arange(points)
    for array in (values, at):
        array.setflags(write=False)
    return Frame(15.0, at, values, np.full(series, at[-1] if points else NAN), ("fresh",) * series, ("",) * series)


def noise(series: int = 8, points: int = 120) -> FloatArray:
    """Series of different levels and spreads."""
    rng = np.random.default_rng(7)
    level = 10.0 ** np.arange(series)[:, None]
    return np.asarray(level * (1.0 + 0.1 * rng.standard_normal((series, points))))


def same(a: Bands, b: Bands, rtol: float = 1e-9) -> None:
    np.testing.assert_allclose(a.lower, b.lower, rtol=rtol)
    np.testing.assert_allclose(a.upper, b.upper, rtol=rtol)


def test_every_installed_threshold_is_tried_here() -> None:
    assert set(plugins.names("thresholds")) == set(SUBJECTS)


@pytest.mark.parametrize("name", sorted(SUBJECTS))
def test_what_is_installed_under_its_name_is_what_is_tried(name: str) -> None:
    assert isinstance(SUBJECTS[name].threshold, plugins.load("thresholds", name))


def test_it_fits_its_plug_and_is_a_value(threshold: Threshold) -> None:
    assert isinstance(threshold, Threshold)
    assert dataclasses.is_dataclass(threshold)
    assert hash(threshold) == hash(dataclasses.replace(threshold))
    with pytest.raises(dataclasses.FrozenInstanceError):
        setattr(threshold, dataclasses.fields(threshold)[0].name, 1.0)


@pytest.mark.parametrize("points", [0, 1, 2, 240])
@pytest.mark.parametrize("series", [0, 1, 7])
def test_it_gives_one_lower_and_one_upper_bound_for_each_series(threshold: Threshold, series: int, points: int) -> None:
    bands = threshold.bands(history(noise(series, points)))
    for bounds in (bands.lower, bands.upper):
        assert bounds.shape == (series,)
        assert np.issubdtype(bounds.dtype, np.floating)
    assert bands.clipped is None or (bands.clipped.shape == (series,) and bands.clipped.dtype == np.bool_)
    judged = ~np.isnan(bands.lower)
    assert (judged == ~np.isnan(bands.upper)).all(), "judged on both sides or on none"
    assert (bands.lower[judged] <= bands.upper[judged]).all()


def test_without_history_nothing_can_be_judged(learning: Threshold) -> None:
    bands = learning.bands(history(np.empty((3, 0))))
    assert np.isnan([bands.lower, bands.upper]).all()


def test_a_series_that_was_never_seen_cannot_be_judged_and_its_neighbours_can(learning: Threshold) -> None:
    values = noise()
    values[3] = NAN
    bands = learning.bands(history(values))
    assert np.flatnonzero(np.isnan(bands.lower)).tolist() == [3]


@pytest.mark.parametrize("gap", [NAN, np.inf, -np.inf])
def test_gaps_are_left_out(learning: Threshold, gap: float) -> None:
    values = noise()
    wide = np.full((len(values), 2 * values.shape[1]), gap)
    wide[:, ::2] = values
    same(learning.bands(history(wide)), learning.bands(history(values)))


def test_it_keeps_nothing_from_one_call_to_the_next(threshold: Threshold) -> None:
    first = threshold.bands(history(noise()))
    threshold.bands(history(1e6 * noise(3, 50)))
    again = threshold.bands(history(noise()))
    assert np.array_equal(first.lower, again.lower, equal_nan=True)
    assert np.array_equal(first.upper, again.upper, equal_nan=True)


def test_it_does_not_change_what_it_is_given(threshold: Threshold) -> None:
    values = noise()
    values[2, 5:9] = NAN
    before = values.copy()
    threshold.bands(history(values))
    assert np.array_equal(values, before, equal_nan=True)


def test_single_precision_gives_the_same_bands(threshold: Threshold) -> None:
    narrow = noise().astype(np.float32)
    same(threshold.bands(history(narrow)), threshold.bands(history(narrow.astype(np.float64))), rtol=1e-4)


def test_one_series_gets_the_bands_that_it_gets_among_many(threshold: Threshold) -> None:
    values: FloatArray = np.tile(noise(), (250, 1)).astype(np.float64)
    values[::17, 3] = NAN
    many = threshold.bands(history(values))
    for n in (0, 1, 17, 1023, 1999):
        alone = threshold.bands(history(values[n : n + 1].copy()))
        np.testing.assert_allclose(alone.lower[0], many.lower[n], rtol=1e-9)
        np.testing.assert_allclose(alone.upper[0], many.upper[n], rtol=1e-9)


def test_the_order_of_the_series_does_not_matter(threshold: Threshold) -> None:
    values = noise()
    values[1, :110] = NAN
    order = np.random.default_rng(3).permutation(len(values))
    straight, mixed = threshold.bands(history(values)), threshold.bands(history(values[order]))
    same(Bands(straight.lower[order], straight.upper[order]), mixed)


NONSENSE = [
    pytest.param(name, settings, id=f"{name} {settings}")
    for name, subject in SUBJECTS.items()
    for settings in subject.nonsense
]


@pytest.mark.parametrize(("name", "settings"), NONSENSE)
def test_it_refuses_settings_that_make_no_sense(name: str, settings: dict[str, Any]) -> None:
    with pytest.raises(InputError):
        dataclasses.replace(SUBJECTS[name].threshold, **settings)  # type: ignore[type-var]
