"""The quality of every reading of the metrics store, row by row of the table of qualities."""

import math
from dataclasses import replace

import numpy as np
import pytest

from autoscaler.store import Store
from autoscaler.store.admission import Limits
from autoscaler.types import Batch, SeriesKey
from tests.batches import ACTIVE, BUSY, NAN, QUEUE, WAITING, bounds, filled, labels_of, newest, read, silent, up


@pytest.mark.parametrize(
    ("batches", "now", "quality", "value", "detail"),
    [
        pytest.param([], 100.0, "missing", None, "no source gives requests_waiting", id="nothing was ever said"),
        pytest.param([up("a", 100.0, {WAITING: 7.0})], 101.0, "fresh", 7.0, "", id="a recent value is fresh"),
        pytest.param([up("a", 100.0, {WAITING: 0.0})], 101.0, "fresh", 0.0, "", id="a true zero is data"),
        pytest.param([up("a", 100.0, {WAITING: 7.0})], 115.0, "fresh", 7.0, "", id="three intervals are fresh still"),
        pytest.param(
            [up("a", 100.0, {WAITING: 7.0})],
            116.0,
            "stale",
            7.0,
            "0 of 1 targets answer; a gave no value for 16 s",
            id="beyond three intervals the last value is held",
        ),
        pytest.param(
            [up("a", 100.0, {WAITING: 7.0})],
            401.0,
            "missing",
            None,
            "0 of 1 targets answer; a gave no value for 301 s",
            id="beyond the longest hold there is no value",
        ),
        pytest.param(
            [up("a", 100.0, {WAITING: 7.0}), silent("a", 105.0)],
            106.0,
            "stale",
            7.0,
            "0 of 1 targets answer; a is down since 1 s",
            id="the only source is down: its value is held at once",
        ),
        pytest.param(
            [up("a", 100.0, {WAITING: 7.0}), up("b", 100.0, {WAITING: 2.0}), silent("a", 105.0)],
            106.0,
            "partial",
            2.0,
            "1 of 2 targets answer; a is down since 1 s",
            id="one of two sources is down",
        ),
        pytest.param(
            [up("a", 100.0, {WAITING: 7.0}), up("b", 120.0, {WAITING: 2.0})],
            121.0,
            "partial",
            2.0,
            "1 of 2 targets answer; a gave no value for 21 s",
            id="one of two sources is too old",
        ),
        pytest.param(
            [up("a", 100.0, {WAITING: 7.0}), silent("b", 100.0)],
            142.0 - 30.0,
            "partial",
            7.0,
            "1 of 2 targets answer; b is down since 12 s",
            id="a source that never said anything is down",
        ),
        pytest.param(
            [up("a", 100.0, {WAITING: NAN})],
            101.0,
            "missing",
            None,
            "0 of 1 targets answer; a gave no value for 1 s",
            id="a value that is not a number is no value",
        ),
        pytest.param(
            [silent("a", 100.0)],
            101.0,
            "missing",
            None,
            "no source gives requests_waiting; a is down since 1 s",
            id="the only source never said anything",
        ),
        pytest.param([up("a", 500.0, {WAITING: 7.0})], 101.0, "fresh", 7.0, "", id="a batch from the future is used"),
    ],
)
def test_quality_of_a_gauge(batches: list[Batch], now: float, quality: str, value: float | None, detail: str) -> None:
    frame = read(filled(*batches), QUEUE, now)
    assert frame.quality == (quality,)
    assert frame.detail == (detail,)
    if value is not None:
        assert newest(frame) == value


def test_a_partial_sum_is_bounded_by_the_missing_idle_and_the_missing_like_the_rest() -> None:
    store = filled(*(up(name, 100.0, {WAITING: 4.0}) for name in "abc"), silent("c", 101.0), silent("d", 101.0))
    frame = read(store, QUEUE, 102.0)
    assert newest(frame) == 8.0
    assert bounds(frame) == (8.0, 16.0)
    assert frame.detail == ("2 of 4 targets answer; c is down since 1 s, and 1 more",)


def test_a_signal_says_itself_how_old_it_may_be() -> None:
    store = filled(up("a", 100.0, {WAITING: 7.0}))
    assert read(store, replace(QUEUE, max_age_s=60.0), 160.0).quality == ("fresh",)
    assert read(store, replace(QUEUE, max_age_s=2.0), 103.0).quality == ("stale",)


def test_a_source_that_comes_back_is_fresh_again() -> None:
    store = filled(up("a", 100.0, {WAITING: 7.0}), silent("a", 105.0), up("a", 110.0, {WAITING: 3.0}))
    frame = read(store, QUEUE, 111.0)
    assert (frame.quality, newest(frame)) == (("fresh",), 3.0)


def test_a_source_that_is_gone_is_not_missed() -> None:
    store = filled(up("a", 100.0, {WAITING: 7.0}), up("b", 100.0, {WAITING: 2.0}), silent("a", 101.0, "gone"))
    frame = read(store, QUEUE, 102.0)
    assert (frame.quality, newest(frame)) == (("fresh",), 2.0)


def test_a_series_that_vanishes_from_a_living_source_is_missed_until_the_longest_hold() -> None:
    gpus = tuple(SeriesKey(ACTIVE, labels_of("a", gpu=str(gpu))) for gpu in range(4))
    store = Store(None)
    store.add(Batch("a", 100.0, 5.0, gpus, np.full(4, 0.5), labels_of("a")))
    for at in range(105, 500, 5):
        store.add(Batch("a", float(at), 5.0, gpus[:3], np.full(3, at / 1000), labels_of("a")))
        if at == 120:
            frame = read(store, replace(BUSY, aggregate="sum"), 121.0)
            assert frame.quality == ("partial",)
            assert frame.detail == ("3 of 4 series have a recent value",)
            assert bounds(frame) == pytest.approx((3 * 0.12, 4 * 0.12))
    assert read(store, BUSY, 496.0).quality == ("fresh",)


def test_a_metric_that_a_living_source_gives_no_more_is_missed_for_a_day() -> None:
    """An empty page is no idle replica, however long it stays empty."""
    store = filled(up("a", 100.0, {WAITING: 7.0}), up("b", 100.0, {WAITING: 2.0}))
    empty = up("a", 0.0, {"other": 1.0}).keys
    for at in (*range(105, 1000, 5), 50_000, 86_000, 87_000):
        store.add(up("b", float(at), {WAITING: 2.0}))
        # Its keys change at times, which is when a source's past is thinned out.
        keys = empty if at % 10 else ()
        store.add(Batch("a", float(at), 5.0, keys, np.ones(len(keys)), labels_of("a")))
        frame = read(store, QUEUE, at + 1.0)
        if at > 115:
            assert (at, frame.quality) == (at, ("partial",) if at <= 86_000 else ("fresh",))
            assert newest(frame) == 2.0


def test_series_for_which_there_is_no_room_are_missing_not_idle() -> None:
    """The store is full with three series; of four replicas one cannot be told."""
    store = Store(None, limits=Limits(max_series=3))
    for name in "abcd":
        store.add(up(name, 100.0, {WAITING: 5.0}))
    frame = read(store, QUEUE, 101.0)
    assert (frame.quality, newest(frame), bounds(frame)) == (("partial",), 15.0, (15.0, 20.0))
    assert frame.detail == (f"1 series of {WAITING} found no room; scrape fewer, or raise max_series",)
    store.add(silent("a", 102.0, "gone"))
    for at in (140.0, 145.0):
        for name in "bcd":
            store.add(up(name, at, {WAITING: 5.0}))
        frame = read(store, QUEUE, at + 1.0)
    assert (frame.quality, newest(frame)) == (("fresh",), 15.0)


def fed_for(seconds: int, active: float, work_step: float) -> Store:
    store = Store(None)
    for at in range(0, seconds, 5):
        store.add(up("a", float(at), {ACTIVE: active, "generation_tokens_total": at * work_step}))
    return store


@pytest.mark.parametrize(
    ("active", "work_step", "quality"),
    [
        pytest.param(0.35, 10.0, "frozen", id="unchanged while tokens flow is frozen"),
        pytest.param(0.35, 0.0, "fresh", id="unchanged while nothing flows is plausible"),
        pytest.param(0.0, 10.0, "frozen", id="an average of zero while tokens flow is frozen"),
        pytest.param(0.0, 0.0, "fresh", id="a true zero with counters standing still is data"),
        pytest.param(1.0, 10.0, "fresh", id="a saturated ratio sits at its limit"),
    ],
)
def test_a_profiling_ratio_that_does_not_change(active: float, work_step: float, quality: str) -> None:
    frame = read(fed_for(200, active, work_step), BUSY, 196.0)
    assert frame.quality == (quality,)
    assert math.isnan(newest(frame)) == (quality == "frozen")


def test_a_frozen_signal_says_what_it_shows() -> None:
    (detail,) = read(fed_for(200, 0.35, 10.0), BUSY, 196.0).detail
    assert detail == "gpu_sm_active_ratio has shown exactly 0.35 for over 90 s while requests are being served"


def test_a_repeated_value_is_not_frozen_before_it_is_implausible() -> None:
    assert read(fed_for(90, 0.35, 10.0), BUSY, 86.0).quality == ("fresh",)


def test_one_stuck_series_among_living_ones_is_one_that_does_not_answer() -> None:
    store = Store(None)
    for at in range(0, 200, 5):
        store.add(up("a", float(at), {ACTIVE: 0.35, "generation_tokens_total": at * 10.0}))
        store.add(up("b", float(at), {ACTIVE: at / 1000}))
    frame = read(store, BUSY, 196.0)
    assert (frame.quality, newest(frame)) == (("partial",), 0.195)


def test_an_idle_gpu_beside_working_ones_is_no_stuck_one() -> None:
    store = Store(None)
    for at in range(0, 300, 5):
        store.add(up("a", float(at), {ACTIVE: at / 1000, "generation_tokens_total": at * 10.0}))
        store.add(up("b", float(at), {ACTIVE: 0.0}))
    assert read(store, BUSY, 296.0).quality == ("fresh",)


def test_work_that_a_wrong_clock_dates_into_the_future_makes_nothing_frozen() -> None:
    store = filled(*(up("wrong", 9000.0 + at, {"generation_tokens_total": at}) for at in (0.0, 5.0)))
    store.add(silent("wrong", 9010.0, "gone"))
    for at in range(0, 300, 5):
        store.add(up("a", float(at), {ACTIVE: 0.35}))
        read(store, BUSY, float(at))
    assert read(store, BUSY, 296.0).quality == ("fresh",)


def test_a_queue_may_stand_at_one_number() -> None:
    store = Store(None)
    for at in range(0, 200, 5):
        store.add(up("a", float(at), {WAITING: 3.0, "generation_tokens_total": at * 10.0}))
    assert read(store, QUEUE, 196.0).quality == ("fresh",)
