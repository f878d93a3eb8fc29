"""What the worker does for a signal of need: what it asks for, how a model follows another, what a restart keeps."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from pathlib import Path
from typing import ClassVar

import numpy as np
import pytest

from autoscaler.forecasters.need import Need
from autoscaler.foresight.modeller import Bench, Question
from autoscaler.foresight.rows import outlook_of, outlook_row
from autoscaler.foresight.shelf import Shelf
from autoscaler.foresight.wishes import wishes
from autoscaler.foresight.worker import Foresight
from autoscaler.journal import Journal
from autoscaler.ports import Model
from autoscaler.ruleset import RuleSet
from autoscaler.store import Store
from autoscaler.types import Frame
from tests.foresightworld import DAY_S, Always, foreseeing, past, store_with
from tests.worlds import NOW

HOUR_S = 3600.0


def needing(forecaster: object) -> RuleSet:
    """The small pool, sized by what it needs ten minutes ahead."""
    ruled = foreseeing(forecaster)
    return replace(ruled, signals=tuple(replace(s, of="need") if s.forecast else s for s in ruled.signals))


def load(at: float) -> float:
    return 40.0 + 10.0 * math.sin(at / 3000.0) + 3.0 * math.sin(at * 7.7)


def frame(minutes: int) -> Frame:
    at = 60.0 * (1 + np.arange(minutes))
    return Frame(60.0, at, np.array([[load(a) for a in at.tolist()]]), at[-1:], ("fresh",))


@dataclass(frozen=True, slots=True)
class Following:
    """A forecaster whose model counts those before it."""

    least_s: ClassVar[float] = 4 * HOUR_S

    def fit(self, history: Frame) -> Always:
        return Always(1.0)

    def refit(self, history: Frame, before: Model) -> Always:
        assert isinstance(before, Always)
        return Always(before.growth + 1.0)


def test_a_signal_of_need_asks_for_need_alone_and_no_further_than_it_looks() -> None:
    (wish,) = wishes(needing(Need()), {})
    assert (wish.of, wish.horizons_s, wish.name_of("need")) == (("need",), (600.0,), "ahead")
    assert wish.forecaster == Need((600.0,)), "it learns what is asked"


def test_a_forecaster_that_wants_hours_of_history_is_left_alone_before() -> None:
    """Nothing fails meanwhile, and with enough history the first look makes a model."""
    ruled, store = needing(Following()), store_with(lambda _: 40.0, 3.5 / 24)
    foresight = Foresight(lambda: {"chat": ruled}, store, Journal())
    foresight.work(NOW)
    foresight.work(NOW + 120)
    assert (foresight.counts().fits, sum(foresight.counts().failures.values())) == (0, 0)
    assert not foresight.learned("chat").outlooks
    store.fill(past(lambda _: 40.0, 1.0 / 24, until=NOW + HOUR_S))
    foresight.work(NOW + HOUR_S)
    assert foresight.counts().fits == 1
    assert foresight.learned("chat").outlooks["ahead"].of == "need"


def test_a_new_model_is_given_the_one_before_it() -> None:
    bench = Bench()
    for fits in (1, 2, 3):
        assert bench.fit("chat/ahead", Following(), frame(300)) is None
        answer = bench.outlooks("chat/ahead", Question(frame(300), (600.0,), (0.5,), ("need",)))
        assert isinstance(answer, tuple)
        assert answer[0].growth == ((float(fits),),)


def test_what_was_told_live_outlives_a_restart_and_the_next_model(tmp_path: Path) -> None:
    small = Need((600.0,), rows=500, trees=8)
    question = Question(frame(600), (600.0,), (0.5, 0.95), ("need",))
    kept, lost = Bench(Shelf(tmp_path)), Bench()
    assert kept.fit("chat/ahead", small, frame(300)) is None
    again = Bench(Shelf(tmp_path))
    for bench in (kept, again, lost):
        assert bench.fit("chat/ahead", small, frame(600)) is None
    assert again.outlooks("chat/ahead", question) == kept.outlooks("chat/ahead", question)
    assert again.outlooks("chat/ahead", question) != lost.outlooks("chat/ahead", question)


def test_a_worker_forecasts_need_and_tells_level_and_spread() -> None:
    store = Store(None, history_s=30 * DAY_S)
    store.fill(past(load, 0.25))
    ruled = needing(Need(rows=500, trees=8))
    foresight = Foresight(lambda: {"chat": ruled}, store, Journal())
    foresight.work(NOW)
    known = foresight.learned("chat").outlooks
    assert set(known) == {"ahead"}
    assert known["ahead"].level == pytest.approx(40.0, abs=15.0)
    assert 0.05 <= known["ahead"].spread < 1.0
    assert outlook_of(outlook_row("chat", "ahead", known["ahead"])) == known["ahead"]
