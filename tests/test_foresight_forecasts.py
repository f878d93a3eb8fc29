"""Forecasts in the worker: when models are made and asked, and what happens when they fail."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path

import pytest
import structlog

from autoscaler.engine import decide
from autoscaler.errors import StorageError
from autoscaler.forecasters.drift import Drift
from autoscaler.forecasters.select import Select
from autoscaler.foresight.apart import Apart
from autoscaler.foresight.modeller import Bench, Modeller
from autoscaler.foresight.shelf import Shelf
from autoscaler.foresight.worker import Foresight
from autoscaler.journal import Journal, Lesson
from autoscaler.measure import OUTLOOK_MAX_AGE_S, measure
from autoscaler.ruleset import RuleSet
from autoscaler.store import Store
from autoscaler.types import LeadTime
from tests.foresightworld import (
    DAY_S,
    Breaking,
    Dying,
    Endless,
    Steady,
    Terse,
    foreseeing,
    past,
    store_with,
)
from tests.peers.pages import until
from tests.worlds import NOW, fleet, frame, settled, world


def worker(ruled: RuleSet, store: Store | None = None, **more: object) -> Foresight:
    """A worker of one pool whose load was 40/s for six hours."""
    known = store or store_with(lambda _: 40.0, 0.25)
    return Foresight(lambda: {"chat": ruled}, known, Journal(), **more)  # type: ignore[arg-type]


def test_both_kinds_of_outlook_are_known_after_the_first_pass_at_the_horizons_that_the_rules_ask_for() -> None:
    foresight = worker(foreseeing(Steady()))
    foresight.work(NOW)
    known = foresight.learned("chat").outlooks
    assert {name: o.of for name, o in known.items()} == {"ahead": "peak", "ahead:mean": "mean"}
    # Ten minutes as the signal says; the lead time (p90 of the prior), the drain and the window in whole minutes.
    assert known["ahead"].horizons_s == (600.0, 1080.0)
    assert {0.5, 0.9, 0.95, 0.99} <= set(known["ahead"].quantiles)


def test_a_forecast_sizes_the_pool_by_its_growth_on_the_mean_of_two_minutes() -> None:
    ruled = foreseeing(Steady(2.0))
    foresight = worker(ruled)
    foresight.work(NOW)
    outlooks = foresight.learned("chat").outlooks
    load = frame(*[10.0] * 8, *[35.0] * 4, *[45.0] * 4)
    reading = measure(ruled, world(load=load, there=fleet(4), outlooks=outlooks))["ahead"]
    assert reading.value == pytest.approx(80.0)
    assert "peak 600 s ahead, x2.00" in reading.detail
    assert "by always/" in reading.detail


@pytest.mark.parametrize(
    ("forecaster", "failed", "text"),
    [
        pytest.param(Breaking(), "fit", "Breaking cannot learn: RuntimeError: no idea", id="it raises"),
        pytest.param(Steady(math.nan), "outlook", "no finite growth", id="it says NaN"),
        pytest.param(Steady(math.inf), "outlook", "no finite growth", id="it says infinity"),
        pytest.param(Steady(-1.0), "outlook", "no finite growth", id="it says less than nothing"),
        pytest.param(Terse(), "outlook", "another question", id="it answers something else"),
    ],
)
def test_what_fails_is_no_forecast_never_zero_and_is_told_once(forecaster: object, failed: str, text: str) -> None:
    ruled = foreseeing(forecaster)
    with structlog.testing.capture_logs() as logs:
        foresight = worker(ruled)
        for minute in range(10):
            foresight.work(NOW + 60 * minute)
    assert foresight.learned("chat").outlooks == {}
    assert foresight.counts().failures[failed] >= 3
    (told,) = [entry for entry in logs if entry["event"] == "no forecast"]
    assert text in told["problem"]
    decision = decide(ruled, world(load=90.0, there=fleet(4)), settled(4))
    assert (decision.want, decision.readings["ahead"].value) == (4, None)


def test_a_forecaster_that_fails_later_leaves_the_last_outlook_until_it_is_too_old() -> None:
    in_force = {"chat": foreseeing(Steady(2.0))}
    foresight = Foresight(lambda: in_force, store_with(lambda _: 40.0, 0.25), Journal())
    foresight.work(NOW)
    in_force["chat"] = foreseeing(Breaking())
    foresight.work(NOW + 60)
    outlooks = foresight.learned("chat").outlooks
    assert outlooks["ahead"].growth[0][0] == 2.0
    ruled = in_force["chat"]
    seen = [
        measure(ruled, replace(world(load=frame(40.0, at=at), there=fleet(4), outlooks=outlooks), now=at))["ahead"]
        for at in (NOW + OUTLOOK_MAX_AGE_S - 90, NOW + OUTLOOK_MAX_AGE_S + 90)
    ]
    assert [r.value for r in seen] == [80.0, None]
    assert "which is too long" in seen[1].detail


@pytest.mark.parametrize(
    ("days", "hours"),
    [
        pytest.param(0.25, 1.0, id="a tenth of six hours is less than the hour"),
        pytest.param(0.9, 2.2, id="a tenth on the first day"),
        pytest.param(2.0, 12.0, id="a quarter after it"),
        pytest.param(6.0, 24.0, id="a day at most"),
    ],
)
def test_a_model_is_made_anew_when_its_history_grew_by_a_part(days: float, hours: float) -> None:
    foresight = worker(foreseeing(Steady()), store_with(lambda _: 40.0, days))
    fits = []
    for minute in range(0, round(hours * 1.3 * 60), 10):
        before = foresight.counts().fits
        foresight.store.fill(past(lambda _: 40.0, 0.01, NOW + 60 * minute))
        foresight.work(NOW + 60 * minute)
        fits += [minute / 60] if foresight.counts().fits > before else []
    # Pools are spread by a tenth.
    assert fits[:2] == [0.0, pytest.approx(hours, rel=0.12, abs=0.2)]
    assert foresight.counts().outlooks == len(range(0, round(hours * 1.3 * 60), 10))


def test_another_forecaster_or_a_much_longer_horizon_makes_the_model_anew_at_once() -> None:
    in_force = {"chat": foreseeing(Steady(2.0))}
    foresight = Foresight(lambda: in_force, store_with(lambda _: 40.0, 0.25), Journal())
    foresight.work(NOW)
    in_force["chat"] = foreseeing(Steady(3.0))
    foresight.work(NOW + 1)
    assert foresight.learned("chat").outlooks["ahead"].growth[0][0] == 3.0
    slow = replace(in_force["chat"].offers[0], lead_time_s=1800.0)
    in_force["chat"] = replace(in_force["chat"], offers=(slow,))
    foresight.work(NOW + 2)
    assert foresight.counts().fits == 3


def test_without_history_there_is_no_forecast_and_it_comes_by_itself() -> None:
    foresight = worker(foreseeing(Steady()), Store(None))
    foresight.work(NOW)
    assert (foresight.learned("chat").outlooks, foresight.counts().fits) == ({}, 0)
    foresight.store.fill(past(lambda _: 40.0, 0.01, NOW + 90))
    foresight.work(NOW + 90)
    assert "ahead" in foresight.learned("chat").outlooks


@pytest.mark.parametrize("forecaster", [Drift(), Select(rows=500, trees=5)], ids=["drift", "select"])
def test_our_own_forecasters_work_from_ten_minutes_of_history_on(forecaster: object) -> None:
    foresight = worker(foreseeing(forecaster), store_with(lambda _: 40.0, 600 / DAY_S))
    foresight.work(NOW)
    growth = foresight.learned("chat").outlooks["ahead"].growth
    assert 0.9 < growth[0][0] < 1.2
    assert all(math.isfinite(cell) for row in growth for cell in row)


def test_what_a_tick_may_read_is_in_the_journal_and_a_restart_goes_on_with_it() -> None:
    ruled = foreseeing(Steady())
    journal = Journal()
    foresight = Foresight(lambda: {"chat": ruled}, store_with(lambda _: 40.0, 0.25), journal)
    for minute in range(5):
        foresight.store.fill(past(lambda _: 40.0, 0.01, NOW + 60 * minute))
        foresight.work(NOW + 60 * minute)
        again = Foresight(lambda: {"chat": ruled}, foresight.store, foresight.journal)
        known = foresight.learned("chat")
        assert again.learned("chat") == replace(known, moved=None), "only whether it moved is judged anew"
    version = foresight.learned("chat").outlooks["ahead"].version
    assert version in [lesson.version for lesson in journal.versions("chat", "outlook", "ahead")]
    assert again.work(NOW + 241), "there is something left to do"
    again.work(NOW + 241)
    assert again.counts().fits == 1, "a model in memory is gone with its process"
    third = Foresight(lambda: {"chat": ruled}, foresight.store, foresight.journal, foresight.modeller)
    third.work(NOW + 300)
    assert (third.counts().fits, third.counts().outlooks) == (0, 1), "one on the shelf is asked, not made again"


class Refusing(Journal):
    """A journal on a disk that is full at times."""

    full = False

    def teach(self, lessons: object) -> None:
        if self.full:
            raise StorageError("journal: cannot write: disk full")
        super().teach(lessons)  # type: ignore[arg-type]


def test_what_the_journal_refuses_is_not_made_known_and_is_written_when_it_can_be() -> None:
    journal = Refusing()
    ruled = foreseeing(Steady())
    foresight = Foresight(lambda: {"chat": ruled}, store_with(lambda _: 40.0, 0.25), journal)
    journal.full = True
    with structlog.testing.capture_logs() as logs:
        for second in range(3):
            foresight.work(NOW + second)
    assert foresight.learned("chat").lead_times == {}
    assert len([entry for entry in logs if "not written" in entry["event"]]) == 1
    journal.full = False
    foresight.work(NOW + 3)
    assert foresight.learned("chat").lead_times
    assert {lesson.kind for lesson in journal.lessons()} == {"model", "outlook", "lead_time"}


def test_what_another_release_wrote_and_nobody_understands_is_begun_anew() -> None:
    journal = Journal()
    kinds = ("outlook", "capacity", "lead_time", "launches", "model", "dreams")
    journal.teach([Lesson("chat", kind, "ahead", "1", NOW, body) for kind in kinds for body in ('{"a": 1}', "half a")])
    ruled = foreseeing(Steady())
    foresight = Foresight(lambda: {"chat": ruled}, store_with(lambda _: 40.0, 0.25), journal)
    foresight.work(NOW)
    assert foresight.learned("chat").outlooks["ahead"].growth[0][0] == 2.0


def test_signals_and_pools_that_nobody_rules_any_more_are_forgotten() -> None:
    in_force = {"chat": foreseeing(Steady())}
    foresight = Foresight(lambda: in_force, store_with(lambda _: 40.0, 0.25), Journal())
    foresight.work(NOW)
    in_force["chat"] = replace(in_force["chat"], signals=in_force["chat"].signals[:1])
    foresight.work(NOW + 60)
    assert foresight.learned("chat").outlooks == {}
    in_force.clear()
    foresight.work(NOW + 120)
    assert foresight.learned("chat").lead_times == {}


def test_a_process_of_its_own_says_what_the_bench_says_and_ends_when_it_is_told(tmp_path: Path) -> None:
    modeller = Apart(tmp_path)
    try:
        here, there = worker(foreseeing(Drift())), worker(foreseeing(Drift()), modeller=modeller)
        here.work(NOW)
        there.work(NOW)
        assert str(there.learned("chat").outlooks) == str(here.learned("chat").outlooks)
        pid = modeller.pid
        assert pid is not None
    finally:
        modeller.close()
    assert modeller.pid is None
    there.work(NOW + 3600 * 30)
    assert there.counts().failures["fit"] == 1
    # Its models are on the shelf: the next service asks without making them anew.
    shelf = Shelf(tmp_path)
    assert shelf.get("chat/ahead") is not None
    assert shelf.get("chat/other") is None


@pytest.mark.parametrize(
    ("forecaster", "limit_s", "text"),
    [
        pytest.param(Dying(), 60.0, "the process of the forecasts ended", id="a forecaster that kills its process"),
        pytest.param(Endless(), 1.0, "no answer within 1 s", id="a forecaster that never ends"),
    ],
)
def test_a_process_that_dies_or_hangs_is_replaced_and_the_pool_has_no_forecast(
    forecaster: object, limit_s: float, text: str
) -> None:
    modeller = Apart(fit_limit_s=limit_s)
    try:
        with structlog.testing.capture_logs() as logs:
            foresight = worker(foreseeing(forecaster), modeller=modeller)
            foresight.work(NOW)
        assert text in logs[0]["problem"]
        assert foresight.learned("chat").outlooks == {}
        modeller._started_at = None  # as if the wait between two starts were over
        modeller.fit_limit_s = 60.0
        good = worker(foreseeing(Drift()), modeller=modeller)
        good.work(NOW)
        assert "ahead" in good.learned("chat").outlooks
        assert modeller.starts >= 2
    finally:
        modeller.close()
    until(lambda: modeller.pid is None, "the end of the process")


def test_half_a_model_on_the_shelf_is_no_model(tmp_path: Path) -> None:
    bench: Modeller = Bench(Shelf(tmp_path))
    foresight = worker(foreseeing(Drift()), modeller=bench)
    foresight.work(NOW)
    (file,) = tmp_path.glob("*.model")
    file.write_bytes(file.read_bytes()[:100])
    assert Shelf(tmp_path).get("chat/ahead") is None
    assert not file.exists()


def test_a_longer_learned_lead_time_moves_the_horizon_of_a_forecast() -> None:
    load, ahead = foreseeing(Steady()).signals
    ruled = replace(foreseeing(Steady()), signals=(load, replace(ahead, ahead_s=None)))
    foresight = worker(ruled)
    foresight.work(NOW)
    outlooks = foresight.learned("chat").outlooks
    key = ruled.offers[0].key
    there = world(load=40.0, there=fleet(4), outlooks=outlooks, lead_times={key: LeadTime(300.0, 500.0)})
    assert "peak 560 s ahead" in measure(ruled, there)["ahead"].detail
