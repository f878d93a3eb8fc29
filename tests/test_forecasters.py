"""Forecasters as they are built: nothing sees the future, errors are counted right, the best one is chosen."""

from __future__ import annotations

import dataclasses
from functools import cache
from typing import Protocol

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from autoscaler.forecasters.conformal import shifts, uncrossed
from autoscaler.forecasters.contest import Contest, Entrant
from autoscaler.forecasters.drift import Change, Drift
from autoscaler.forecasters.ema import Ema
from autoscaler.forecasters.fitted import Fitted
from autoscaler.forecasters.grid import Grid, Indices, Values, grid_of, joined
from autoscaler.forecasters.last import Last
from autoscaler.forecasters.mean10 import Mean10
from autoscaler.forecasters.quantile import Quantile
from autoscaler.forecasters.record import Record, Seen
from autoscaler.forecasters.seasonal import Seasonal
from autoscaler.forecasters.select import Select
from autoscaler.forecasters.spread import error_quantiles, spread_of
from autoscaler.forecasters.target import Target, outcomes, season_before
from autoscaler.forecasters.trial import Trial
from autoscaler.types import Frame, Of

NAN = float("nan")
DAY = 1440
MEAN = Target("mean", 600.0)
QUANTILES = (0.5, 0.95)


class Ours(Protocol):
    """A forecaster whose model answers for many origins in one call."""

    def fit(self, history: Frame) -> Fitted: ...


FORECASTERS: dict[str, Ours] = {
    "last": Last(),
    "mean10": Mean10(),
    "drift": Drift(),
    "seasonal": Seasonal(),
    "ema": Ema(),
    "quantile": Quantile((600.0,), rows=500, trees=8),
    "select": Select((600.0,), rows=500, trees=8),
}
FIT = 2 * DAY


def demand(minutes: int, seed: int = 7, noise: float = 0.05) -> Values:
    rng = np.random.default_rng(seed)
    minute = np.arange(minutes)
    wave = 100.0 + 60.0 * np.sin(2 * np.pi * minute / DAY) + 15.0 * (minute % 60 < 10)
    return np.asarray(wave * np.exp(noise * rng.standard_normal(minutes)))


def frame(values: Values, step_s: float = 60.0) -> Frame:
    at = step_s * (1 + np.arange(len(values)))
    return Frame(step_s, at, values[None, :], at[-1:], ("fresh",))


def grid(values: Values, step_s: float = 60.0, end_at: float | None = None) -> Grid:
    return Grid(np.asarray(values, dtype=np.float64), step_s, step_s * len(values) if end_at is None else end_at)


@cache
def fitted(name: str) -> Fitted:
    return FORECASTERS[name].fit(frame(demand(FIT)))


# --- the future ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("of", ["mean", "peak"])
@pytest.mark.parametrize("name", sorted(FORECASTERS))
def test_a_future_that_is_shuffled_changes_nothing(name: str, of: Of) -> None:
    """Forecasts at many origins in one call, beside a future that is there, one that is shuffled, and none at all."""
    target = Target(of, 600.0)
    values = demand(FIT + 400)
    at = 60.0 * np.arange(FIT, FIT + 201, 5.0)
    until = FIT + 200
    shuffled = np.array(values)
    np.random.default_rng(3).shuffle(shuffled[until:])
    gone = np.array(values)
    gone[until:] = NAN
    said = [fitted(name).ahead(frame(each), at, target, QUANTILES) for each in (values, shuffled, gone, values[:until])]
    assert np.isfinite(said[0]).all()
    for other in said[1:]:
        np.testing.assert_array_equal(other, said[0])


@pytest.mark.parametrize("name", sorted(FORECASTERS))
def test_many_origins_in_one_call_say_what_each_says_alone(name: str) -> None:
    values = demand(FIT + 400)
    minutes = (FIT, FIT + 7, FIT + 199)
    at = 60.0 * np.array(minutes)
    together = fitted(name).ahead(frame(values), at, MEAN, QUANTILES)
    for place, minute in enumerate(minutes):
        outlook = fitted(name).outlook(frame(values[:minute]), (600.0,), QUANTILES, "mean")
        level = values[minute - 2 : minute].mean()
        np.testing.assert_allclose(level * np.array(outlook.growth)[:, 0], together[:, place], rtol=1e-9)


@settings(derandomize=True, max_examples=60, deadline=None)
@given(
    step_s=st.sampled_from([60.0, 90.0, 420.0, 600.0, 3600.0]),
    horizon_s=st.floats(60.0, 100_000.0),
    of=st.sampled_from(["mean", "peak"]),
    period_s=st.sampled_from([1800.0, 86400.0, 604800.0]),
)
def test_the_outcome_of_a_season_ago_is_known_by_now(step_s: float, horizon_s: float, of: Of, period_s: float) -> None:
    """Whatever the bucket and the horizon: setting everything after the origin to another value changes nothing."""
    target = Target(of, horizon_s)
    values = demand(int(900_000 / step_s) + 5)
    origin = np.array([len(values) // 2])
    other = np.array(values)
    other[origin[0] + 1 :] = 1e6
    first, second = (season_before(grid(each, step_s), target, origin, period_s) for each in (values, other))
    np.testing.assert_array_equal(first[1], second[1])
    assert (first[0] < origin).all()


# --- outcomes ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("step_s", "horizon_s", "expected"),
    [
        pytest.param(60.0, 600.0, (6 + 7 + 8 + 9 + 10) / 5, id="five minutes that end ten minutes ahead"),
        pytest.param(60.0, 300.0, (1 + 2 + 3 + 4 + 5) / 5, id="the next five minutes"),
        pytest.param(600.0, 900.0, 2.0, id="the last third of the second bucket of ten minutes"),
        pytest.param(600.0, 660.0, (4 * 1 + 1 * 2) / 5, id="buckets count by their share"),
        pytest.param(3600.0, 3600.0, 1.0, id="an hour is its own mean"),
    ],
)
def test_the_mean_is_over_the_five_minutes_that_end_at_the_horizon(
    step_s: float, horizon_s: float, expected: float
) -> None:
    ramp = grid(np.arange(-10.0, 30.0) + 10.0, step_s)
    found = outcomes(ramp, Target("mean", horizon_s), np.array([10]))
    assert found[0] == pytest.approx(expected + 10.0)


def test_the_peak_is_the_highest_mean_of_two_minutes_on_the_way() -> None:
    values = np.array([50.0, 50, 50, 1, 2, 30, 10, 4, 5, 6])
    found = outcomes(grid(values), Target("peak", 300.0), np.array([2, 3, 4, 5]))
    np.testing.assert_array_equal(found[:3], [20.0, 20.0, 20.0])
    assert np.isnan(found[3]), "its way is not over yet"


def test_a_gap_makes_an_outcome_unknown_and_not_smaller() -> None:
    values = demand(60)
    values[30] = NAN
    found = outcomes(grid(values), MEAN, np.arange(60))
    assert np.flatnonzero(np.isnan(found[:50])).tolist() == [20, 21, 22, 23, 24]


# --- the past ------------------------------------------------------------------------------------------------------


def test_fine_samples_become_minutes_that_end_with_the_newest() -> None:
    found = grid_of(frame(np.arange(10.0), step_s=15.0))
    assert found.values.tolist() == [0.5, 3.5, 7.5]
    assert (found.step_s, found.end_at) == (60.0, 150.0)


def test_several_series_are_refused() -> None:
    one = frame(demand(5))
    with pytest.raises(ValueError, match=r"one series.*\(2, 5\)"):
        grid_of(dataclasses.replace(one, values=np.ones((2, 5))))


@settings(derandomize=True, max_examples=100)
@given(cut=st.integers(0, 40), overlap=st.integers(0, 40), skip=st.integers(0, 20))
def test_a_history_goes_on_with_what_came_since(cut: int, overlap: int, skip: int) -> None:
    """Joined in any way it is the whole again, with a gap where neither part knows anything."""
    values = np.arange(100.0)
    since = min(cut + skip, 99) if skip else max(0, cut - overlap)
    older, newer = grid(values[:cut], end_at=60.0 * cut), grid(values[since:], end_at=6000.0)
    found = joined(older, newer)
    expected = np.array(values)
    expected[cut:since] = NAN
    np.testing.assert_array_equal(found.values, expected[len(expected) - len(found) :])
    assert found.end_at == 6000.0


# --- naive ones ----------------------------------------------------------------------------------------------------


def test_drift_adds_what_yesterday_added() -> None:
    values = np.concatenate([np.linspace(100.0, 200.0, DAY), np.full(30, 500.0)])
    origin = np.array([DAY + 20])
    earlier, came = season_before(grid(values), MEAN, origin, 86400.0)
    change = came - values[earlier[0] - 4 : earlier[0] + 1].mean()
    assert Change(1.0)(grid(values), origin, MEAN) == pytest.approx(500.0 + change)
    assert Change(0.25)(grid(values), origin, MEAN) == pytest.approx(500.0 + change / 4)


@pytest.mark.parametrize(
    ("repeats", "weight"),
    [
        pytest.param(True, 1.0, id="a day like the others"),
        pytest.param(False, 0.0, id="days that have nothing in common"),
    ],
)
def test_the_weight_of_yesterday_is_what_it_was_worth_of_late(repeats: bool, weight: float) -> None:
    rng = np.random.default_rng(5)
    day = 100.0 + np.cumsum(rng.standard_normal(DAY))
    other = [100.0 + np.cumsum(rng.standard_normal(DAY)) for _ in range(4)]
    values = np.abs(np.concatenate([day] * 4 if repeats else other))
    weights = (0.0, 0.25, 0.5, 0.75, 1.0)
    chosen = Trial(tuple(Change(w) for w in weights), grid(values)).chosen(MEAN)
    assert weights[chosen] == weight


def test_a_season_that_went_stale_loses_its_weight() -> None:
    """Five days that repeat and two that do not: the last ones count more."""
    rng = np.random.default_rng(5)
    day = 100.0 + 40.0 * np.sin(np.arange(DAY) / 20.0)
    stale = [100.0 + 20.0 * np.cumsum(rng.standard_normal(DAY)) / 20.0 for _ in range(3)]
    points = (Change(0.0), Change(1.0))
    assert Trial(points, grid(np.concatenate([day] * 5))).chosen(MEAN) == 1
    assert Trial(points, grid(np.abs(np.concatenate([*[day] * 2, *stale])))).chosen(MEAN) == 0


def test_without_errors_the_spread_is_the_prior_and_it_fades() -> None:
    assert np.exp(error_quantiles(np.empty(0), QUANTILES)) == pytest.approx([1.0, 1.3])
    many = error_quantiles(np.full(100_000, 0.01), QUANTILES)
    assert many == pytest.approx([0.01, 0.01], abs=1e-3)


# --- calibration ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("quantile", [0.1, 0.8, 0.95, 0.99])
@pytest.mark.parametrize("wrong", [0.5, 1.0, 3.0])
def test_a_quantile_that_is_wrong_by_any_factor_is_made_right(quantile: float, wrong: float) -> None:
    """Said is always `wrong` times the median; the share of outcomes below what is shifted is what was promised."""
    count = 6000
    came = np.exp(0.2 * np.random.default_rng(2).standard_normal(count))
    origins = np.arange(count)
    said = np.stack([np.full(count, wrong), np.ones(count)])
    shift = shifts(Seen(origins, origins + 2, said, came), 0, 1, quantile, 0.0, origins)
    covered = came[1000:] <= wrong * np.exp(shift[1000:])
    assert np.mean(covered) == pytest.approx(quantile, abs=0.012)


def test_a_change_of_regime_is_followed() -> None:
    count = 4000
    spread = np.where(np.arange(count) < 2000, 0.05, 0.4)
    came = np.exp(spread * np.random.default_rng(2).standard_normal(count))
    origins = np.arange(count)
    shift = shifts(Seen(origins, origins + 2, np.ones((1, count)), came), 0, 0, 0.95, 0.0, origins)
    assert np.mean(came[2200:] <= np.exp(shift[2200:])) == pytest.approx(0.95, abs=0.015)


def test_an_outcome_counts_from_when_it_is_known() -> None:
    origins = np.arange(10)
    came = np.where(origins == 3, 5.0, 0.5)
    shift = shifts(Seen(origins, origins + 4, np.ones((1, 10)), came), 0, 0, 0.9, 0.0, origins)
    assert (np.diff(shift)[:3] == 0.0).all(), "nothing is known yet"
    assert np.flatnonzero(np.diff(shift) > 0.0).tolist() == [6], "what came of the fourth is known at the eighth"


def test_quantiles_that_cross_are_put_in_order_and_the_median_stays() -> None:
    said = np.array([[5.0], [12.0], [10.0], [8.0], [9.0]])
    assert uncrossed(said, (0.1, 0.2, 0.5, 0.9, 0.95))[:, 0].tolist() == [5.0, 10.0, 10.0, 10.0, 10.0]
    assert uncrossed(said[:2][::-1], (0.1, 0.2))[:, 0].tolist() == [12.0, 12.0]


# --- selection -----------------------------------------------------------------------------------------------------


@dataclasses.dataclass(frozen=True)
class Said:
    """A law that knows what comes and is off by a factor, another one from some origin on."""

    off: float
    later: float = 0.0
    since: int = 10**9

    def ahead(self, grid: Grid, origins: Indices, target: Target, quantiles: tuple[float, ...]) -> Values:
        factor = np.where(origins >= self.since, self.later or self.off, self.off)
        return np.tile(100.0 * factor, (len(quantiles), 1))


LEVEL = grid(np.full(5 * DAY, 100.0))
HISTORY = LEVEL.until(60.0 * 3 * DAY)


def contest(*laws: tuple[str, bool, Said]) -> Contest:
    since = 60.0 * DAY
    return Contest(tuple(Entrant(n, naive, Record(law, HISTORY, since)) for n, naive, law in laws), HISTORY, 0.95)


@pytest.mark.parametrize(
    ("challenger", "chosen"),
    [
        pytest.param(Said(1.15), "learned", id="a challenger that wins by 25 %"),
        pytest.param(Said(1.192), "last", id="one that wins by 4 %"),
        pytest.param(Said(1.05, 1.25, 2 * DAY), "last", id="one that wins one window only"),
        pytest.param(Said(NAN), "last", id="one that has nothing to say"),
        pytest.param(Said(1.05, NAN, 2 * DAY + 700), "last", id="one that fell silent"),
    ],
)
def test_a_challenger_has_to_win_by_5_percent_twice(challenger: Said, chosen: str) -> None:
    found = contest(("last", True, Said(1.2)), ("mean10", True, Said(1.3)), ("learned", False, challenger))
    assert found.names(MEAN) == (chosen, chosen)


def test_the_best_naive_one_is_what_has_to_be_beaten() -> None:
    found = contest(("last", True, Said(1.2)), ("mean10", True, Said(1.1)), ("learned", False, Said(1.12)))
    assert found.names(MEAN) == ("mean10", "mean10")


def test_one_that_got_worse_is_demoted_and_not_before_it_shows() -> None:
    """It is perfect until the middle of the fourth day. What came of that is known ten minutes later."""
    turn = 3 * DAY + 720
    found = contest(("last", True, Said(1.2)), ("learned", False, Said(1.01, 3.0, turn)))
    origins = np.arange(3 * DAY, 5 * DAY)
    said = found.ahead(LEVEL, origins, MEAN, QUANTILES)[0]
    demoted = origins[np.isclose(said, 120.0)]
    assert np.isclose(said[: turn - 3 * DAY], 101.0).all()
    assert turn + 10 <= demoted[0] < turn + 300
    assert (np.diff(demoted) == 1).all()
    assert demoted[-1] == 5 * DAY - 1, "until the next fit"


def test_select_is_on_a_noisy_level_no_worse_than_the_best_naive_one() -> None:
    """Independent noise around one level: nothing can be foreseen, and means win over the last value."""
    values = 100.0 * np.exp(0.3 * np.random.default_rng(9).standard_normal(FIT + 600))
    at = 60.0 * np.arange(FIT, FIT + 560, 5.0)
    came = outcomes(grid(values), MEAN, (at / 60.0 - 1).astype(np.int64))
    errors = {
        name: np.abs(
            FORECASTERS[name].fit(frame(values[:FIT])).ahead(frame(values), at, MEAN, QUANTILES)[0] - came
        ).mean()
        for name in ("last", "mean10", "ema", "select")
    }
    assert errors["select"] <= 1.05 * min(errors.values())
    assert errors["select"] < 0.85 * errors["last"]


def test_select_finds_what_naive_ones_cannot() -> None:
    """A load that leaps by the clock: known to the minute, and the last value is wrong at every leap."""
    minute = np.arange(FIT + 600)
    values = np.where(minute % 60 < 20, 300.0, 100.0) * np.exp(
        0.02 * np.random.default_rng(4).standard_normal(len(minute))
    )
    at = 60.0 * np.arange(FIT, FIT + 560, 5.0)
    came = outcomes(grid(values), MEAN, (at / 60.0 - 1).astype(np.int64))
    said = fitted_on(values).ahead(frame(values), at, MEAN, QUANTILES)
    last = spread_of(Change(0.0), grid(values[:FIT])).ahead(
        grid(values), (at / 60.0 - 1).astype(np.int64), MEAN, (0.5,)
    )
    assert np.abs(said[0] - came).mean() < 0.3 * np.abs(last[0] - came).mean()


def fitted_on(values: Values) -> Fitted:
    return FORECASTERS["select"].fit(frame(values[:FIT]))
