"""Outlooks of a back-test that are asked in advance: the same as those that are asked one by one."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from numpy.typing import NDArray

from autoscaler.backtest import foretold, run
from autoscaler.backtest.foretold import Coming, Foretold
from autoscaler.backtest.run import Setting, backtest
from autoscaler.forecasters.need import Need
from autoscaler.foresight.forecasts import even
from autoscaler.foresight.modeller import Bench, Failure, Question
from autoscaler.rulefile.reader import read_rules
from autoscaler.trace import Trace
from autoscaler.types import Frame, Outlook

RULES = b"""\
pool: chat
replica: {capacity: 4 requests/s}
limits: {min: 1, max: 60}
offers:
  from:
    - aws: {region: us-east-1, type: g5.xlarge, price: 2 USD/h, lead_time: 6m}
signals:
  load:  {metric: requests_arrived_total, rate: 15s}
  ahead: {forecast: load, of: need, quantile: 0.95, forecaster: {use: need, rows: 500, trees: 8}}
rules:
  - {name: ahead, target: {signal: ahead, per_replica: auto}}
scale_in: {stabilization: 2m, cool_off: 2m}
"""
MINUTES = 440
SMALL = Need((420.0,), rows=500, trees=8)
MODEL = "chat/ahead"


def rate(minutes: int) -> NDArray[np.float64]:
    minute = np.arange(minutes)
    return np.asarray(40 + 20 * np.sin(minute / 60) + np.random.default_rng(1).gamma(2.0, 4.0, minutes))


def trace() -> Trace:
    return Trace(
        60.0 * np.arange(MINUTES, dtype=np.float64), 60.0 * rate(MINUTES), 60.0, np.zeros(MINUTES, dtype=np.bool_)
    )


@pytest.fixture
def play(monkeypatch: pytest.MonkeyPatch) -> Callable[[bool], tuple[run.Tested, list[Outlook], int]]:
    """A back-test of that trace, with every outlook that it was given and how many of them were asked in advance."""

    def playing(in_advance: bool) -> tuple[run.Tested, list[Outlook], int]:
        said: list[Outlook] = []
        made: list[Foretold] = []
        ask = Foretold.outlooks

        def asked(self: Foretold, key: str, question: Question) -> tuple[Outlook, ...] | Failure | None:
            found = ask(self, key, question)
            assert not isinstance(found, Failure), found
            said.extend(found or ())
            made.append(self)
            return found

        with monkeypatch.context() as patched:
            patched.setattr(Foretold, "outlooks", asked)
            if not in_advance:
                patched.setattr(run, "coming_of", lambda *_: {})
            tested = backtest(trace(), read_rules(RULES), Setting(4.0, 360.0, 12, 1, 60, 15.0, 3600.0))
        return tested, said, made[-1].asked_at_once

    return playing


def test_outlooks_in_advance_are_those_that_are_asked_one_by_one(
    play: Callable[[bool], tuple[run.Tested, list[Outlook], int]],
) -> None:
    """Across several models, each of which goes on with what those before it were off."""
    (ahead, said, in_advance), (live, expected, one_by_one) = play(True), play(False)
    assert len(said) == len(expected)
    assert len({one.version for one in said}) >= 3
    assert (one_by_one, in_advance) == (0, len(said))
    for one, other in zip(said, expected, strict=True):
        assert (one.at, one.version, one.quantiles) == (other.at, other.version, other.quantiles)
        # A counter that has grown large gives increments back with its own precision.
        np.testing.assert_allclose(np.array(one.growth), np.array(other.growth), rtol=1e-6)
        assert (one.level, one.spread) == pytest.approx((other.level, other.spread), rel=1e-6)
    assert ahead.score == live.score
    np.testing.assert_array_equal(ahead.timeline.wanted, live.timeline.wanted)


# --- when the future turns out to be another one ----------------------------------------------------------------


def points(minutes: int, since: float = 0.0) -> Coming:
    """Four points a minute."""
    at = since + 15.0 * np.arange(1, 4 * minutes + 1, dtype=np.float64)
    return Coming(at, np.repeat(rate(minutes), 4))


def question(coming: Coming, until: float, horizon_s: float = 420.0) -> Question:
    seen = coming.between(0.0, until)
    return Question(even(seen.at, seen.values), (horizon_s,), (0.5, 0.95), ("need",))


def history(coming: Coming, until: float) -> Frame:
    return question(coming, until).recent


@pytest.mark.parametrize(
    ("moved_s", "factor", "in_advance"),
    [
        pytest.param(0.0, 1.0, 1, id="it came as it was to come"),
        pytest.param(0.0, 1.01, 0, id="one per cent more came"),
        pytest.param(15.0, 1.0, 0, id="asked between the buckets of its history"),
    ],
)
def test_what_came_otherwise_is_asked_live(moved_s: float, factor: float, in_advance: int) -> None:
    expected = points(400)
    came = Coming(expected.at, expected.values * np.where(expected.at > 60.0 * 310, factor, 1.0))
    ahead, bench = Foretold({MODEL: expected}), Bench()
    for modeller in (ahead, bench):
        assert modeller.fit(MODEL, SMALL, history(came, 60.0 * 300)) is None
    asked = question(came, 60.0 * 320 + moved_s)
    found, live = ahead.outlooks(MODEL, asked), bench.outlooks(MODEL, asked)
    assert ahead.asked_at_once == in_advance
    assert isinstance(found, tuple)
    assert isinstance(live, tuple)
    np.testing.assert_allclose(np.array(found[0].growth), np.array(live[0].growth), rtol=1e-9)


def test_a_new_model_or_another_question_is_asked_anew() -> None:
    coming = points(500)
    ahead, bench = Foretold({MODEL: coming}), Bench()
    for end in (300, 400):
        for modeller in (ahead, bench):
            assert modeller.fit(MODEL, SMALL, history(coming, 60.0 * end)) is None
        for minutes, horizon_s in ((1, 420.0), (5, 420.0), (5, 600.0), (2, 420.0), (99, 420.0)):
            asked = question(coming, 60.0 * (end + minutes), horizon_s)
            found, live = ahead.outlooks(MODEL, asked), bench.outlooks(MODEL, asked)
            assert isinstance(found, tuple)
            assert isinstance(live, tuple)
            assert (found[0].version, found[0].horizons_s) == (live[0].version, live[0].horizons_s)
            np.testing.assert_allclose(np.array(found[0].growth), np.array(live[0].growth), rtol=1e-9)
    assert ahead.asked_at_once == 10


def test_a_key_without_a_known_future_and_one_without_a_model_are_answered_as_live() -> None:
    coming = points(330)
    ahead = Foretold({})
    assert ahead.outlooks(MODEL, question(coming, 60.0 * 310)) is None
    assert ahead.fit(MODEL, SMALL, history(coming, 60.0 * 300)) is None
    assert isinstance(ahead.outlooks(MODEL, question(coming, 60.0 * 310)), tuple)
    assert ahead.asked_at_once == 0


def test_the_default_wait_of_the_worker_asks_at_every_full_minute_of_a_trace() -> None:
    assert foretold.ASK_S * 0.9 > 45.0
    assert foretold.ASK_S * 1.1 <= 60.0
