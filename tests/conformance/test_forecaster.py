"""What every forecaster must do. A new one adds one line to SUBJECTS: one of it, and what it refuses."""

from __future__ import annotations

import dataclasses
import math
from dataclasses import dataclass
from functools import cache
from importlib.util import find_spec
from typing import Any

import numpy as np
import pytest

from autoscaler import plugins
from autoscaler.errors import InputError
from autoscaler.forecasters.drift import Drift
from autoscaler.forecasters.ema import Ema
from autoscaler.forecasters.grid import LEVEL_S, grid_of, window_level
from autoscaler.forecasters.last import Last
from autoscaler.forecasters.lstm import Lstm
from autoscaler.forecasters.mean10 import Mean10
from autoscaler.forecasters.need import Need
from autoscaler.forecasters.needed import Needed
from autoscaler.forecasters.quantile import Quantile
from autoscaler.forecasters.seasonal import Seasonal
from autoscaler.forecasters.select import Select
from autoscaler.ports import Forecaster, Model
from autoscaler.types import FloatArray, Frame, Of

NAN = float("nan")
DAY = 1440
QUANTILES = (0.1, 0.5, 0.95)
HORIZONS_S = (300.0, 600.0, 900.0)


@dataclass(frozen=True, slots=True)
class Subject:
    """A forecaster under test, small where it can be.

    nonsense: settings that it must refuse. kinds: what it forecasts. steady: how far it may be from 1 where demand
    never changes.
    """

    forecaster: Forecaster
    nonsense: tuple[dict[str, Any], ...] = ()
    kinds: tuple[Of, ...] = ("mean", "peak", "need")
    steady: float = 0.03


LEARNED = (
    {"horizons_s": ()},
    {"horizons_s": (-1.0,)},
    {"horizons_s": (NAN,)},
    {"of": ()},
    {"rows": 3},
    {"trees": 0},
    {"seed": -1},
)
NEEDS = tuple(settings for settings in LEARNED if "of" not in settings)
SUBJECTS = {
    "last": Subject(Last()),
    "mean10": Subject(Mean10()),
    "drift": Subject(Drift()),
    "seasonal": Subject(Seasonal()),
    "ema": Subject(Ema()),
    "quantile": Subject(Quantile((600.0,), rows=500, trees=8), LEARNED, ("mean", "peak")),
    "select": Subject(Select((600.0,), rows=500, trees=8), (*LEARNED, {"risk": 0.5}, {"risk": 1.0}, {"risk": NAN})),
    # It never takes demand to be quite sure: a log spread of 0.05 is its least.
    "need": Subject(Need((600.0,), rows=500, trees=8), NEEDS, ("need",), 0.12),
}
ABSENT: tuple[str, ...] = () if find_spec("torch") else ("lstm",)
if not ABSENT:
    SUBJECTS["lstm"] = Subject(Lstm(passes=5, rows=400), ({"passes": -1}, {"rows": 3}, {"seed": -1}), ("mean", "peak"))
without_torch = pytest.mark.skip(reason="lstm needs torch; make lstm runs it")
each_name = pytest.mark.parametrize(
    "name", [*sorted(SUBJECTS), *(pytest.param(name, marks=without_torch) for name in ABSENT)]
)


def demand(minutes: int, seed: int = 7) -> FloatArray:
    """A daily wave with noise and a jump at every full hour."""
    rng = np.random.default_rng(seed)
    minute = np.arange(minutes)
    wave = 100.0 + 60.0 * np.sin(2 * np.pi * minute / DAY) + 15.0 * (minute % 60 < 10)
    return np.asarray(wave * np.exp(0.05 * rng.standard_normal(minutes)))


def frame(values: FloatArray, start: float = 0.0, step_s: float = 60.0) -> Frame:
    """One series whose arrays cannot be written to."""
    at = start + step_s * (1 + np.arange(len(values)))
    rows = np.array(values, dtype=np.float64)[None, :]
    for array in (at, rows):
        array.setflags(write=False)
    return Frame(step_s, at, rows, at[-1:], ("fresh",) if len(values) else ("missing",))


def part(whole: Frame, since: int, until: int) -> Frame:
    return dataclasses.replace(whole, at=whole.at[since:until], values=whole.values[:, since:until])


@cache
def wave() -> Frame:
    return frame(demand(3 * DAY))


@cache
def model_of(name: str) -> Model:
    """Fitted to the first two and a half days of the wave."""
    return SUBJECTS[name].forecaster.fit(part(wave(), 0, 2 * DAY + 720))


def kind(model: Model) -> Of:
    return "need" if isinstance(model, Needed) else "mean"


def growth(
    model: Model,
    recent: Frame,
    horizons_s: tuple[float, ...] = HORIZONS_S,
    quantiles: tuple[float, ...] = QUANTILES,
    of: Of | None = None,
) -> FloatArray:
    """Growth factors (quantile, horizon), after the checks that hold for every outlook; of the mean where it can."""
    of = of or kind(model)
    outlook = model.outlook(recent, horizons_s, quantiles, of)
    assert (outlook.horizons_s, outlook.quantiles, outlook.of) == (horizons_s, quantiles, of)
    assert outlook.version
    assert outlook.floor >= 0.0
    found = np.array(outlook.growth, dtype=np.float64)
    assert found.shape == (len(quantiles), len(horizons_s))
    assert not np.isinf(found).any(), "a forecast that is not finite is no forecast"
    assert not (found < 0.0).any()
    return found


def test_every_installed_forecaster_is_tried_here() -> None:
    assert set(plugins.names("forecasters")) == {*SUBJECTS, *ABSENT}


@each_name
def test_what_is_installed_under_its_name_is_what_is_tried(name: str) -> None:
    assert isinstance(SUBJECTS[name].forecaster, plugins.load("forecasters", name))


@each_name
def test_it_is_a_value_and_can_be_built_from_nothing(name: str) -> None:
    forecaster: Any = SUBJECTS[name].forecaster
    assert dataclasses.is_dataclass(type(forecaster))
    again = dataclasses.replace(SUBJECTS[name].forecaster)  # type: ignore[type-var]
    assert hash(forecaster) == hash(again)
    assert plugins.build("forecasters", name, {}) == plugins.load("forecasters", name)()


@each_name
@pytest.mark.parametrize("of", ["mean", "peak", "need"])
def test_it_gives_a_factor_for_every_quantile_and_horizon_of_what_it_forecasts(name: str, of: Of) -> None:
    found = growth(model_of(name), part(wave(), 0, 2 * DAY + 730), of=of)
    if of not in SUBJECTS[name].kinds:
        assert np.isnan(found).all()
        return
    assert np.isfinite(found).all()
    assert (np.diff(found, axis=0) >= 0.0).all(), "higher quantiles are no lower"
    assert (found > 0.5).all()
    assert (found < 2.0).all()


@each_name
def test_the_order_in_which_quantiles_are_asked_does_not_matter(name: str) -> None:
    recent = part(wave(), 0, 2 * DAY + 730)
    straight = growth(model_of(name), recent)
    turned = growth(model_of(name), recent, quantiles=QUANTILES[::-1])
    assert np.array_equal(straight, turned[::-1])


@each_name
def test_an_hour_of_recent_values_is_enough(name: str) -> None:
    whole = growth(model_of(name), part(wave(), 0, 2 * DAY + 750))
    assert np.array_equal(growth(model_of(name), part(wave(), 2 * DAY + 690, 2 * DAY + 750)), whole)


@each_name
def test_it_keeps_nothing_from_one_call_to_the_next(name: str) -> None:
    recent = part(wave(), 0, 2 * DAY + 800)
    first = growth(model_of(name), recent)
    growth(model_of(name), part(wave(), 0, 3 * DAY), (60.0, 3600.0), (0.99,))
    assert np.array_equal(growth(model_of(name), recent), first)


@each_name
def test_equal_histories_give_equal_models(name: str) -> None:
    history, recent = part(wave(), 0, DAY + 300), part(wave(), 0, DAY + 310)
    first, again = (growth(SUBJECTS[name].forecaster.fit(history), recent) for _ in range(2))
    assert np.array_equal(first, again)


@each_name
def test_without_history_it_gives_a_spread_or_nothing_but_never_a_fault(name: str) -> None:
    model = SUBJECTS[name].forecaster.fit(frame(np.empty(0)))
    assert np.isnan(growth(model, frame(np.empty(0)))).all()
    found = growth(model, frame(demand(3)))
    assert (np.isnan(found) | (found > 0.0)).all()


@each_name
def test_what_is_unknown_everywhere_gives_no_forecast(name: str) -> None:
    nothing = frame(np.full(600, NAN))
    assert np.isnan(growth(SUBJECTS[name].forecaster.fit(nothing), nothing)).all()


@each_name
@pytest.mark.parametrize("gap", [NAN, np.inf, -np.inf, -5.0])
def test_gaps_are_neither_zeros_nor_faults(name: str, gap: float) -> None:
    values = demand(2 * DAY).astype(np.float64)
    values[500:760] = gap
    values[::97] = gap
    found = growth(SUBJECTS[name].forecaster.fit(frame(values)), frame(values))
    assert np.isfinite(found).all()
    assert (found[1] > 0.7).all()
    assert (found[1] < 1.4).all()


@each_name
def test_a_pool_that_never_had_any_demand_is_forecast_none(name: str) -> None:
    idle = frame(np.zeros(DAY))
    model = SUBJECTS[name].forecaster.fit(idle)
    outlook = model.outlook(idle, HORIZONS_S, QUANTILES, kind(model))
    assert (np.array(outlook.growth) * outlook.floor < 1e-3).all()


@each_name
def test_growth_from_nothing_stands_on_the_floor(name: str) -> None:
    """After an hour without demand the factors are finite, and floor times factor stays within what was ever seen."""
    values = demand(2 * DAY).astype(np.float64)
    values[-60:] = 0.0
    model = SUBJECTS[name].forecaster.fit(frame(values))
    outlook = model.outlook(frame(values), HORIZONS_S, QUANTILES, kind(model))
    amounts = np.array(outlook.growth) * outlook.floor
    assert outlook.floor > 0.0
    assert np.isfinite(amounts).all()
    assert (amounts <= values.max() * 1.5).all()


@each_name
@pytest.mark.parametrize(
    ("step_s", "points"),
    [
        pytest.param(15.0, 4 * 600, id="samples of 15 s"),
        pytest.param(45.0, 800, id="samples that do not divide a minute"),
        pytest.param(600.0, 432, id="buckets of 10 minutes"),
        pytest.param(3600.0, 240, id="hourly buckets"),
    ],
)
def test_any_interval_will_do(name: str, step_s: float, points: int) -> None:
    minute = np.arange(points) * step_s / 60.0
    values = 100.0 + 60.0 * np.sin(2 * np.pi * minute / DAY)
    recent = frame(values, step_s=step_s)
    found = growth(SUBJECTS[name].forecaster.fit(recent), recent, (max(600.0, step_s),))
    assert np.isfinite(found).all()
    assert (found > 0.3).all()
    assert (found < 3.0).all()


@each_name
def test_the_unit_of_the_demand_does_not_matter(name: str) -> None:
    values = demand(2 * DAY)
    small, large = frame(values), frame(1024.0 * values)
    found = [growth(SUBJECTS[name].forecaster.fit(one), one) for one in (small, large)]
    np.testing.assert_allclose(found[0], found[1], rtol=0.02)


@each_name
def test_a_steady_demand_stays_as_it_is(name: str) -> None:
    steady = frame(np.full(2 * DAY, 40.0))
    found = growth(SUBJECTS[name].forecaster.fit(steady), steady)
    np.testing.assert_allclose(found, 1.0, atol=SUBJECTS[name].steady)


@each_name
def test_an_amount_is_growth_times_the_level_of_two_minutes(name: str) -> None:
    """After a doubling within the last minutes the factor is smaller, since it multiplies what doubled already."""
    values = np.array(wave().values[0][: 2 * DAY + 730])
    values[-2:] *= 2.0
    recent = frame(values)
    level = float(window_level(grid_of(recent), np.array([len(values) - 1]), LEVEL_S)[0])
    assert level == pytest.approx(values[-2:].mean())
    assert (growth(model_of(name), recent)[1] < 1.0).all()


@each_name
@pytest.mark.parametrize(
    ("horizons_s", "quantiles"),
    [
        pytest.param((0.0,), (0.5,), id="the present is no horizon"),
        pytest.param((-60.0,), (0.5,), id="the past is none"),
        pytest.param((math.inf,), (0.5,), id="nor is the end of time"),
        pytest.param((600.0,), (0.0,), id="no quantile is 0"),
        pytest.param((600.0,), (1.0,), id="none is 1"),
        pytest.param((600.0,), (NAN,), id="a quantile is a number"),
    ],
)
def test_questions_that_make_no_sense_are_refused(
    name: str, horizons_s: tuple[float, ...], quantiles: tuple[float, ...]
) -> None:
    with pytest.raises(InputError):
        model_of(name).outlook(wave(), horizons_s, quantiles, "mean")


NONSENSE = [
    pytest.param(name, settings, id=f"{name} {settings}")
    for name, subject in SUBJECTS.items()
    for settings in subject.nonsense
]


@pytest.mark.parametrize(("name", "settings"), NONSENSE)
def test_it_refuses_settings_that_make_no_sense(name: str, settings: dict[str, Any]) -> None:
    forecaster: Any = SUBJECTS[name].forecaster
    with pytest.raises(InputError):
        dataclasses.replace(forecaster, **settings)
