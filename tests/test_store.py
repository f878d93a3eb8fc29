"""The metrics store: which series belong to a pool, histories, raw series, and what it tells about itself."""

from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from autoscaler.ruleset import Signal
from autoscaler.store import Store
from autoscaler.store.admission import Limits
from autoscaler.types import Batch, Labels, SeriesKey
from tests.batches import ARRIVED, NAN, QUEUE, WAITING, filled, labels_of, newest, read, rules, silent, up

# --- which series belong ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("labels", "match", "belongs"),
    [
        pytest.param({"pool": "chat"}, (), True, id="stamped with the pool"),
        pytest.param({"pool": "code"}, (), False, id="stamped with another pool"),
        pytest.param({}, (), False, id="not stamped and nothing to match"),
        pytest.param({"app": "chat"}, (("app", "chat"),), True, id="not stamped, but it matches"),
        pytest.param({"app": "code"}, (("app", "chat"),), False, id="not stamped and it does not match"),
        pytest.param(
            {"pool": "chat", "app": "code"}, (("app", "chat"),), False, id="stamped, but contradicts the match"
        ),
        pytest.param({"pool": "chat"}, (("app", "chat"),), True, id="stamped, and silent about what is matched"),
        pytest.param(
            {"pool": "code", "app": "chat"}, (("app", "chat"),), False, id="another pool's, though it matches"
        ),
    ],
)
def test_a_series_belongs_to_a_pool(labels: dict[str, str], match: Labels, belongs: bool) -> None:
    stamped = tuple(sorted(labels.items()))
    store = filled(Batch("a", 0.0, 5.0, (SeriesKey(WAITING, stamped),), np.array([3.0]), stamped))
    frame = store.read(rules(QUEUE, match=match), 1.0)["queue"]
    assert frame.quality == (("fresh",) if belongs else ("missing",))


def test_where_keeps_the_series_with_these_labels() -> None:
    ranks = tuple(SeriesKey(WAITING, labels_of("a", rank=str(rank))) for rank in range(3))
    store = filled(Batch("a", 0.0, 5.0, ranks, np.array([1.0, 10.0, 100.0])))
    assert newest(read(store, replace(QUEUE, where=(("rank", "1"),)), 1.0)) == 10.0


def test_sources_with_different_intervals_are_read_together() -> None:
    store = filled(up("a", 0.0, {WAITING: 1.0}), up("b", 0.0, {WAITING: 2.0}, interval_s=15.0))
    frame = read(store, QUEUE, 1.0)
    assert (newest(frame), frame.interval_s) == (3.0, 15.0)
    assert read(store, QUEUE, 20.0).quality == ("partial",)


# --- histories --------------------------------------------------------------------------------------------------


def test_a_point_is_added_once_for_each_new_sample_time() -> None:
    store = filled(up("a", 0.0, {WAITING: 1.0}))
    for now in (1.0, 2.0, 3.0):
        assert read(store, QUEUE, now).at.tolist() == [0.0]
    store.add(up("a", 5.0, {WAITING: 1.0}))
    assert read(store, QUEUE, 6.0).at.tolist() == [0.0, 5.0]


def test_a_frame_that_was_read_never_changes() -> None:
    store = filled(up("a", 5.0, {WAITING: 1.0}))
    frame = read(store, QUEUE, 6.0)
    store.add(up("b", 4.0, {WAITING: 2.0}))
    assert newest(read(store, QUEUE, 6.0)) == 3.0
    for at in range(10, 2000, 5):
        store.add(up("a", float(at), {WAITING: 9.0}))
        read(store, QUEUE, at + 1.0)
    assert (frame.at.tolist(), frame.values.tolist()) == ([5.0], [[1.0]])


def test_a_history_keeps_what_is_younger_than_its_length() -> None:
    store = Store(None, history_s=100.0)
    for at in range(0, 1000, 5):
        store.add(up("a", float(at), {WAITING: float(at)}))
        frame = read(store, QUEUE, at + 1.0)
    assert frame.at[0] == 895.0
    np.testing.assert_array_equal(frame.at, frame.values[0])


def test_a_clock_that_is_set_back_leaves_an_ascending_history() -> None:
    store = Store(None)
    for at in (*range(1000, 1100, 5), *range(400, 500, 5)):
        store.add(up("a", float(at), {WAITING: float(at)}))
        frame = read(store, QUEUE, at + 1.0)
    assert (np.diff(frame.at) > 0).all()
    assert (frame.quality, newest(frame), float(frame.at[-1])) == (("fresh",), 495.0, 495.0)


def test_a_source_with_a_clock_in_the_future_does_not_stop_the_history_when_it_leaves() -> None:
    store = filled(up("a", 4000.0, {WAITING: 1.0}), up("b", 400.0, {WAITING: 1.0}))
    read(store, QUEUE, 401.0)
    store.add(silent("a", 4005.0, "gone"))
    store.add(up("b", 405.0, {WAITING: 2.0}))
    assert read(store, QUEUE, 406.0).at.tolist() == [401.0, 405.0]


def test_a_forecast_is_not_the_stores() -> None:
    others = (Signal("orders", promql="up"), Signal("ahead", forecast="queue"))
    assert list(Store(None).read(rules(*others), 1.0)) == ["orders"]


# --- raw series and requests in flight --------------------------------------------------------------------------


def test_raw_series_stand_on_one_time_axis_with_gaps_and_the_newest_last() -> None:
    store = Store(None)
    for step in range(10):
        store.add(up("a", step * 5.0, {WAITING: float(step)}))
        if step != 7:
            store.add(up("b", step * 5.0 + 3.0, {WAITING: 10.0 + step}))
    frame = store.raw("chat", WAITING, (), 49.0, 20.0)
    assert frame.values.dtype == np.float32
    assert [key.label("instance") for key in frame.keys] == ["a", "b"]
    np.testing.assert_array_equal(frame.values, [[5, 6, 7, 8, 9], [15, 16, NAN, 18, 19]])
    assert frame.at.tolist() == [28.0, 33.0, 38.0, 43.0, 48.0]
    assert (frame.last_at.tolist(), frame.quality) == ([45.0, 48.0], ("fresh", "fresh"))


def test_a_raw_series_that_stopped_has_a_gap_at_the_end_and_ages() -> None:
    store = filled(*(up("a", at * 5.0, {WAITING: 1.0}) for at in range(4)))
    for at in range(100):
        store.add(up("b", at * 5.0, {WAITING: 2.0}))
    frame = store.raw("chat", WAITING, (), 200.0, 20.0)
    assert np.isnan(frame.values[0]).all()
    assert frame.quality == ("stale", "fresh")
    assert store.raw("chat", WAITING, (), 496.0, 20.0).quality[0] == "missing"


def test_raw_series_of_another_interval_stand_at_the_times_of_the_larger_group() -> None:
    store = Store(None)
    for step in range(7):
        for name in "ab":
            store.add(up(name, step * 5.0, {WAITING: float(step)}))
    for step in range(3):
        store.add(up("c", step * 15.0, {WAITING: 100.0 + step}, interval_s=15.0))
    frame = store.raw("chat", WAITING, (), 31.0, 30.0)
    np.testing.assert_array_equal(frame.values[2], [100, 100, 100, 101, 101, 101, 102])


def test_raw_series_of_nothing_are_an_empty_frame() -> None:
    frame = Store(None).raw("chat", WAITING, (), 0.0, 60.0)
    assert (frame.values.shape, frame.keys) == ((0, 0), ())


def test_an_instance_needs_both_numbers_to_say_what_is_in_flight() -> None:
    both = {WAITING: 3.0, "requests_running": 4.0}
    store = filled(up("a:80", 10.0, both), up("b:80", 10.0, {WAITING: 3.0}), up("c:80", 10.0, {**both, WAITING: NAN}))
    assert store.in_flight("chat", 11.0) == {"a:80": (7, 10.0)}


def test_ranks_of_one_instance_are_added() -> None:
    ranks = tuple(
        SeriesKey(metric, labels_of("a:80", engine=str(rank)))
        for metric in (WAITING, "requests_running")
        for rank in (0, 1)
    )
    store = filled(Batch("a:80", 10.0, 5.0, ranks, np.array([1.0, 2.0, 4.0, 8.0])))
    assert store.in_flight("chat", 11.0) == {"a:80": (15, 10.0)}


# --- what the store tells about itself --------------------------------------------------------------------------


def test_the_store_describes_what_it_has() -> None:
    store = filled(up("a", 10.0, {WAITING: 1.0}), up("b", 12.0, {WAITING: 1.0, ARRIVED: 5.0}))
    first, second = store.describe()
    assert (first.metric, first.series, first.newest_at, first.sources) == (ARRIVED, 1, 12.0, ("b",))
    assert (second.metric, second.series, second.interval_s, second.sources) == (WAITING, 2, 5.0, ("a", "b"))
    assert (store.stats().series, store.stats().sources, store.stats().stored) == (3, 2, 3)


def test_a_store_without_a_folder_has_nothing_to_flush(tmp_path: Path) -> None:
    store = filled(up("a", 10.0, {WAITING: 1.0}))
    read(store, QUEUE, 11.0)
    assert store.flush() == 0
    assert store.problems() == ()
    store.close()


def test_samples_beyond_the_limits_are_refused_and_reported() -> None:
    store = Store(None, limits=Limits(max_series=1))
    store.add(up("a", 0.0, {WAITING: 1.0, ARRIVED: 2.0}))
    (text,) = store.problems()
    assert text.startswith("1 samples were refused: the store holds 1 series and takes at most 1 in all")


def test_the_points_of_all_histories_together_are_bounded() -> None:
    store = Store(None, max_points=1)
    for at in range(3700):
        store.add(up("a", float(at), {WAITING: float(at)}, interval_s=1.0))
        frame = read(store, QUEUE, float(at))
    assert frame.at.size == 3600
    assert newest(frame) == 3699.0


def test_batches_readings_and_writes_of_different_threads_do_not_disturb_each_other(tmp_path: Path) -> None:
    store, steps = Store(tmp_path), 200
    two = (QUEUE, replace(QUEUE, name="most", aggregate="max"))

    def add(name: str) -> None:
        for at in range(steps):
            store.add(up(name, at * 5.0, {WAITING: float(at), f"metric_{at % 7}": 1.0}))

    def look() -> list[bool]:
        return [
            bool((np.diff(store.read(rules(*two), at * 5.0)["most"].at) > 0).all()) and store.flush() >= 0
            for at in range(steps)
        ]

    with ThreadPoolExecutor() as threads:
        added = [threads.submit(add, name) for name in "abc"]
        looked = threads.submit(look)
        assert all(looked.result())
        assert [future.result() for future in added] == [None] * 3
    assert newest(read(store, QUEUE, steps * 5.0)) == 3 * (steps - 1)
    assert store.stats().waiting <= 1
    store.close()
