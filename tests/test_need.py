"""The forecast of need: what it is, how its tail is measured live, and that nothing of it sees the future."""

from __future__ import annotations

import dataclasses
import pickle
from functools import cache

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from autoscaler.errors import InputError
from autoscaler.forecasters.grid import Grid, Values
from autoscaler.forecasters.need import Need
from autoscaler.forecasters.needed import Needed
from autoscaler.forecasters.tail import LEVELS, PRIOR, PRIOR_COUNT, scores, tail
from autoscaler.forecasters.target import PATIENCE_S, Target, outcomes
from autoscaler.forecasters.told import next_place
from autoscaler.rolling import Course, roll
from autoscaler.trace import Trace
from autoscaler.types import Frame

NAN = float("nan")
DAY = 1440
HORIZON_S = 540.0
QUANTILES = (0.5, 0.7, 0.95, 0.993, 0.9999)
SMALL = Need((HORIZON_S,), rows=500, trees=8)
FIRST, SECOND = 400, 460
"""Minutes at which the first model is made, and the one that follows it."""


def demand(minutes: int, seed: int = 7, noise: float = 0.05) -> Values:
    rng = np.random.default_rng(seed)
    minute = np.arange(minutes)
    wave = 100.0 + 60.0 * np.sin(2 * np.pi * minute / DAY) + 15.0 * (minute % 60 < 10)
    return np.asarray(wave * np.exp(noise * rng.standard_normal(minutes)))


def frame(values: Values, step_s: float = 60.0, start: float = 0.0) -> Frame:
    at = start + step_s * (1 + np.arange(len(values)))
    return Frame(step_s, at, np.asarray(values, dtype=np.float64)[None, :], at[-1:], ("fresh",))


def need(values: Values, horizon_s: float, step_s: float = 60.0) -> Values:
    """At every bucket."""
    one = Grid(np.asarray(values, dtype=np.float64), step_s, step_s * len(values))
    return outcomes(one, Target("need", horizon_s), np.arange(len(values)))


@cache
def first() -> Needed:
    return SMALL.fit(frame(demand(FIRST)))


@cache
def second() -> Needed:
    return SMALL.refit(frame(demand(SECOND)), first())


# --- what need is --------------------------------------------------------------------------------------------------


def longest_wait_s(values: Values, horizon_s: float, step_s: float, rate: float) -> float:
    """Of work that comes until the horizon, served in its order at a constant rate, from an empty queue on."""
    waiting, longest, left_s = 0.0, 0.0, horizon_s
    for value in values:
        waiting = max(0.0, waiting + (value - rate) * min(step_s, left_s))
        longest = max(longest, waiting / rate)
        left_s -= min(step_s, left_s)
    return longest


@settings(derandomize=True, max_examples=80, deadline=None)
@given(
    values=st.lists(st.floats(0.0, 1000.0), min_size=1, max_size=12),
    step_s=st.sampled_from([15.0, 60.0, 600.0]),
    share=st.floats(0.05, 1.0),
)
def test_at_the_rate_of_need_the_longest_wait_is_just_the_patience(
    values: list[float], step_s: float, share: float
) -> None:
    """Whatever comes, and also when the last bucket reaches beyond the horizon."""
    horizon_s = step_s * (len(values) - 1 + share)
    found = need(np.array([5.0, *values]), horizon_s, step_s)[0]
    assert found >= 0.0
    if found > 1e-3:
        assert longest_wait_s(np.array(values), horizon_s, step_s, found) == pytest.approx(PATIENCE_S, rel=1e-6)


@pytest.mark.parametrize(
    ("ahead", "expected"),
    [
        pytest.param([12.0, 12.0, 12.0], 12.0 * 180 / 185, id="three even minutes"),
        pytest.param([0.0, 13.0, 0.0], 13.0 * 60 / 65, id="one minute alone"),
        pytest.param([10.0, 0.0, 10.0], 10.0 * 60 / 65, id="minutes with rest between them"),
        pytest.param([0.0, 0.0, 0.0], 0.0, id="nothing"),
        pytest.param(
            [NAN, 13.0, 13.0, 13.0], 13.0 * 180 / 185, id="what a gap hides is not known to have been anything"
        ),
        pytest.param([NAN, NAN, 13.0, 13.0], NAN, id="half of the way unknown"),
    ],
)
def test_need_by_hand(ahead: list[float], expected: float) -> None:
    found = need(np.array([7.0, *ahead]), 60.0 * len(ahead))
    assert found[0] == pytest.approx(expected, nan_ok=True)
    assert np.isnan(found[1:]).all(), "their way is not over yet"


# --- the tail ------------------------------------------------------------------------------------------------------


def test_without_outcomes_the_tail_is_the_prior_and_heavier_than_normal() -> None:
    assert tail(np.full(50, NAN)) == pytest.approx(PRIOR)
    assert PRIOR[1] == pytest.approx(0.8416, abs=1e-4)
    assert PRIOR[-1] == pytest.approx(3.1559 * (1 + 0.25 * (np.log(1 / 0.0008) - 3)), rel=1e-4)


def test_the_tail_is_the_quantiles_of_what_forecasts_were_off_mixed_with_the_prior() -> None:
    """As many outcomes as the prior weighs, at 0, 1, ... 1199: half of each quantile."""
    off = np.concatenate([np.arange(PRIOR_COUNT), [NAN, NAN]])
    expected = 0.5 * (1.0 - LEVELS) * (PRIOR_COUNT - 1) + 0.5 * PRIOR
    np.testing.assert_allclose(tail(np.random.default_rng(1).permutation(off)), expected)


def test_between_levels_a_score_is_on_the_line_over_the_logarithm_of_the_chance() -> None:
    between = float(np.sqrt(LEVELS[3] * LEVELS[4]))
    found = scores(PRIOR[None], (1.0 - float(LEVELS[3]), 1.0 - between, 1.0 - float(LEVELS[4])))[:, 0]
    assert found[[0, 2]] == pytest.approx(PRIOR[3:5])
    assert found[1] == pytest.approx(PRIOR[3:5].mean())


def test_beyond_the_last_level_the_last_slope_goes_on() -> None:
    ramp = -np.log(LEVELS)[None] * 2.0
    assert scores(ramp, (1.0 - 1e-6,))[0, 0] == pytest.approx(2.0 * np.log(1e6))


@settings(derandomize=True, max_examples=60, deadline=None)
@given(off=st.lists(st.floats(-5.0, 50.0), max_size=40), weights=st.integers(1, 400))
def test_scores_never_fall_with_the_quantile(off: list[float], weights: int) -> None:
    quantiles = (0.01, 0.4, 0.5, 0.69, 0.7, 0.71, 0.9, 0.95, 0.99, 0.999, 0.9995, 0.99999)
    found = scores(tail(np.repeat(np.array(off, dtype=np.float64), weights))[None], quantiles)[:, 0]
    assert (np.diff(found) >= -1e-12).all()


# --- live ----------------------------------------------------------------------------------------------------------


def test_with_less_than_four_hours_there_is_no_forecast() -> None:
    values = demand(300)
    short = SMALL.fit(frame(values[:239])).outlook(frame(values[:250]), (HORIZON_S,), QUANTILES, "need")
    assert np.isnan(np.array(short.growth)).all()
    assert np.isnan(short.spread)
    long = SMALL.fit(frame(values[:240])).outlook(frame(values[:250]), (HORIZON_S,), QUANTILES, "need")
    assert np.isfinite(np.array(long.growth)).all()


def test_an_outlook_tells_the_level_that_growth_is_counted_on_and_its_spread() -> None:
    values = demand(FIRST + 30)
    outlook = first().outlook(frame(values), (HORIZON_S,), QUANTILES, "need")
    assert outlook.level == pytest.approx(values[-2:].mean())
    assert 0.05 <= outlook.spread < 0.5
    growth = np.array(outlook.growth)[:, 0]
    assert (np.diff(growth) > 0).all()
    # Two quantiles lie as far apart in logs as the spread times the distance of their scores.
    memory = first().watched[0].present(first().joined(frame(values)), HORIZON_S)
    distance = scores(memory.tail, QUANTILES)[:, 0]
    assert np.diff(np.log(growth)) == pytest.approx(outlook.spread * np.diff(distance))


def test_one_call_for_many_times_says_what_each_says_alone_across_full_hours_and_refits() -> None:
    values = demand(SECOND + 200)
    times = 60.0 * np.arange(SECOND, SECOND + 201, 7.0)
    together = second().outlooks(frame(values), times, (HORIZON_S, 600.0), QUANTILES)
    for at, one in zip(times, together, strict=True):
        alone = second().outlook(frame(values[: round(at / 60)]), (HORIZON_S, 600.0), QUANTILES, "need")
        assert (alone.at, alone.version, alone.floor) == (one.at, one.version, one.floor)
        np.testing.assert_allclose(np.array(alone.growth), np.array(one.growth), rtol=1e-9)
        assert (alone.spread, alone.level) == pytest.approx((one.spread, one.level), rel=1e-9)
    amounts = second().ahead(frame(values), times, Target("need", HORIZON_S), QUANTILES)
    assert amounts[2] == pytest.approx([one.growth[2][0] * one.level for one in together])


def test_a_future_that_is_shuffled_or_gone_changes_nothing() -> None:
    values = demand(SECOND + 300)
    until = SECOND + 150
    times = 60.0 * np.arange(SECOND, until + 1, 5.0)
    shuffled = np.array(values)
    np.random.default_rng(3).shuffle(shuffled[until:])
    gone = np.array(values)
    gone[until:] = NAN
    said = [
        second().ahead(frame(each), times, Target("need", HORIZON_S), QUANTILES)
        for each in (values, shuffled, gone, values[:until])
    ]
    assert np.isfinite(said[0]).all()
    for other in said[1:]:
        np.testing.assert_array_equal(other, said[0])


def test_what_was_remembered_of_another_past_is_not_used() -> None:
    """A copy that is asked for the first time says the same as a model that was asked about another day before."""
    values, other = demand(FIRST + 130), demand(FIRST + 130, noise=0.5)
    other[:FIRST] = values[:FIRST]
    model, fresh = pickle.loads(pickle.dumps(first())), pickle.loads(pickle.dumps(first()))
    before = model.outlook(frame(other), (HORIZON_S,), QUANTILES, "need")
    assert before != model.outlook(frame(values), (HORIZON_S,), QUANTILES, "need")
    assert model.outlook(frame(values), (HORIZON_S,), QUANTILES, "need") == fresh.outlook(
        frame(values), (HORIZON_S,), QUANTILES, "need"
    )


def test_a_model_that_follows_another_goes_on_with_what_that_was_off() -> None:
    """Both know the same tail at the moment of the change; one that was made from nothing has the prior's."""
    values = frame(demand(SECOND))
    old = first().watched[0].present(first().joined(values), HORIZON_S)
    new = second().watched[0].present(second().joined(values), HORIZON_S)
    alone = SMALL.fit(values)
    np.testing.assert_allclose(new.tail, old.tail)
    assert alone.watched[0].present(alone.joined(values), HORIZON_S).tail[0] == pytest.approx(PRIOR)
    assert np.abs(old.tail[0] - PRIOR).max() > 1e-3
    told = second().watched[0].told
    # One forecast each minute, from the first model's own end to just before the second's; the last are still open.
    assert len(told) == SECOND - FIRST
    assert np.isnan(told.off).sum() == Target("need", HORIZON_S).steps(second().history) - 1
    assert next_place(told, second().history) == SECOND - 1


def test_what_forecasts_were_off_is_counted_from_the_outcome_that_came() -> None:
    values = demand(SECOND)
    told = second().watched[0].told
    came = need(values, HORIZON_S)[FIRST - 1 : SECOND - 1]
    known = np.isfinite(told.off)
    np.testing.assert_allclose(told.middle[known] + told.off[known] * told.spread[known], np.log(came[known]))


def test_a_restart_keeps_what_was_told() -> None:
    again = pickle.loads(pickle.dumps(second()))
    recent = frame(demand(SECOND + 90))
    assert again.outlook(recent, (HORIZON_S,), QUANTILES, "need") == second().outlook(
        recent, (HORIZON_S,), QUANTILES, "need"
    )


def test_a_first_model_of_days_of_history_is_tried_on_the_newest_of_them() -> None:
    values = demand(2 * DAY + 60)
    told = SMALL.fit(frame(values)).watched[0].told
    assert len(told) == (2 * DAY + 60) // 4
    assert np.isfinite(told.off).mean() > 0.95


def test_after_days_of_silence_a_model_still_answers() -> None:
    values = np.concatenate([demand(FIRST), np.full(9 * DAY, NAN), demand(300)])
    outlook = first().outlook(frame(values), (HORIZON_S,), QUANTILES, "need")
    assert np.isfinite(np.array(outlook.growth)).all()
    again = SMALL.refit(frame(values), first())
    assert len(again.watched[0].told) <= 7 * DAY


def test_it_is_not_measured_as_if_it_forecast_means() -> None:
    trace = Trace(60.0 * np.arange(DAY, dtype=np.float64), demand(DAY), 60.0, np.zeros(DAY, dtype=np.bool_))
    with pytest.raises(InputError, match="need forecasts need, and what is measured here is the mean"):
        roll(trace, SMALL, Course(900.0, 300.0, 36000.0, (0.5,)))


def test_another_seed_gives_another_model() -> None:
    recent = frame(demand(FIRST + 20))
    other = dataclasses.replace(SMALL, seed=2).fit(frame(demand(FIRST)))
    assert other.outlook(recent, (HORIZON_S,), QUANTILES, "need") != first().outlook(
        recent, (HORIZON_S,), QUANTILES, "need"
    )


def test_about_as_much_lies_beyond_a_quantile_as_it_says() -> None:
    """Two days of a noisy wave after a first one, with one model and the tail that it measures live."""
    values = demand(3 * DAY, noise=0.2)
    model = SMALL.fit(frame(values[:DAY]))
    places = np.arange(DAY + 600, 3 * DAY - 20)
    said = model.ahead(
        frame(values), 60.0 * np.asarray(places + 1, dtype=np.float64), Target("need", HORIZON_S), (0.8, 0.95)
    )
    beyond = (need(values, HORIZON_S)[places] > said).mean(axis=1)
    assert beyond[0] == pytest.approx(0.2, abs=0.06)
    assert beyond[1] == pytest.approx(0.05, abs=0.025)
