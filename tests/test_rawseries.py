"""The door of the metrics store: what is refused, how much is kept, what is forgotten."""

import math

import numpy as np
import pytest

from autoscaler.store.admission import Limits
from autoscaler.store.rawseries import RawSeries
from autoscaler.store.selection import Selections
from autoscaler.types import Batch, SeriesKey
from tests.batches import ARRIVED, NAN, WAITING, keys_of, labels_of, silent, up


def filled(*batches: Batch, limits: Limits | None = None) -> RawSeries:
    raw = RawSeries(1200.0, limits or Limits())
    for batch in batches:
        raw.add(batch)
    return raw


def latest(raw: RawSeries, metric: str = WAITING, pool: str = "chat") -> dict[str, float]:
    """Newest value of a metric by instance."""
    parts = Selections(raw).get(pool, metric).parts
    return {
        str(key.label("instance")): float(value)
        for part in parts
        for key, value in zip(part.keys, part.ring.raw[part.columns], strict=True)
    }


@pytest.mark.parametrize(
    "value",
    [
        pytest.param(math.inf, id="infinite"),
        pytest.param(-math.inf, id="minus infinite"),
        pytest.param(1e39, id="too large for a float32"),
    ],
)
def test_a_value_that_would_poison_every_mean_is_refused_and_counted(value: float) -> None:
    raw = filled(up("a", 0.0, {WAITING: 3.0}), up("a", 5.0, {WAITING: value}))
    assert latest(raw) == {"a": 3.0}
    assert (raw.counts.unusable, raw.counts.stored) == (1, 1)


def test_a_counter_below_zero_is_refused() -> None:
    raw = filled(up("a", 0.0, {ARRIVED: 3.0}), up("a", 5.0, {ARRIVED: -1.0}))
    assert (latest(raw, ARRIVED), raw.counts.unusable) == ({"a": 3.0}, 1)


def test_a_gauge_below_zero_is_taken() -> None:
    assert latest(filled(up("a", 0.0, {"gpu_temperature_margin_celsius": -2.0})), "gpu_temperature_margin_celsius")


def test_nan_is_a_gap_and_not_a_refusal() -> None:
    raw = filled(up("a", 0.0, {WAITING: 3.0}), up("a", 5.0, {WAITING: NAN}))
    assert (latest(raw), raw.counts.unusable) == ({"a": 3.0}, 0)


@pytest.mark.parametrize(
    "batch",
    [
        pytest.param(Batch("a", NAN, 5.0, keys_of("a", WAITING), np.ones(1)), id="a time that is not a number"),
        pytest.param(Batch("a", 1.0, 0.0, keys_of("a", WAITING), np.ones(1)), id="no sampling interval"),
        pytest.param(Batch("a", 1.0, 5.0, keys_of("a", WAITING), np.ones(2)), id="more values than keys"),
    ],
)
def test_a_malformed_batch_is_refused_whole(batch: Batch) -> None:
    raw = filled(batch)
    assert (raw.counts.malformed, raw.series) == (1, 0)


def test_a_batch_that_is_not_newer_than_the_last_is_refused() -> None:
    raw = filled(up("a", 10.0, {WAITING: 3.0}), up("a", 10.0, {WAITING: 4.0}), up("a", 5.0, {WAITING: 5.0}))
    assert (latest(raw), raw.counts.late) == ({"a": 3.0}, 2)


def test_a_source_whose_clock_was_set_back_starts_again_with_the_third_batch() -> None:
    raw = filled(*(up("a", at, {ARRIVED: at}) for at in (1000.0, 1005.0, 1010.0)))
    for at, expected in ((400.0, 1010.0), (405.0, 1010.0), (410.0, 410.0), (415.0, 415.0)):
        raw.add(up("a", at, {ARRIVED: at}))
        assert latest(raw, ARRIVED) == {"a": expected}
    (part,) = Selections(raw).get("chat", ARRIVED).parts
    assert np.nansum(part.ring.values[:, part.columns]) == 5.0


def test_old_batches_that_do_not_ascend_never_take_over() -> None:
    raw = filled(up("a", 1000.0, {WAITING: 3.0}), *(up("a", 900.0 - at, {WAITING: 9.0}) for at in range(20)))
    assert latest(raw) == {"a": 3.0}


def test_one_source_with_a_clock_in_the_future_harms_no_other() -> None:
    batches = [up("a", float(at), {WAITING: float(at)}) for at in range(0, 100, 5)]
    raw = filled(*batches, up("b", 0.0, {WAITING: 1.0}), up("b", 1e9, {WAITING: 2.0}), up("a", 100.0, {WAITING: 100.0}))
    (part,) = Selections(raw).get("chat", WAITING).parts
    mine = part.columns[[key.label("instance") == "a" for key in part.keys]]
    assert np.count_nonzero(~np.isnan(part.ring.values[:, mine])) == 21


def test_samples_that_come_faster_than_the_interval_share_a_row() -> None:
    raw = filled(*(up("a", at, {ARRIVED: at, WAITING: at}) for at in (0.0, 5.0, 6.0, 7.0)))
    rows = {}
    for metric in (ARRIVED, WAITING):
        (part,) = Selections(raw).get("chat", metric).parts
        slots, _ = part.ring.rows(part.owners, 2)
        rows[metric] = part.ring.values[slots[:, 0], part.columns[0]].tolist()
    assert rows[WAITING] == [0.0, 7.0]
    assert rows[ARRIVED][1] == 7.0


def test_series_keep_their_past_when_the_layout_changes() -> None:
    first, second = keys_of("a", WAITING, ARRIVED), keys_of("a", ARRIVED, "requests_running")
    raw = filled(
        Batch("a", 0.0, 5.0, first, np.array([1.0, 10.0])),
        Batch("a", 5.0, 5.0, second, np.array([14.0, 2.0])),
        Batch("a", 10.0, 5.0, (*second, *first[:1]), np.array([20.0, 2.0, 7.0])),
    )
    (part,) = Selections(raw).get("chat", ARRIVED).parts
    slots, _ = part.ring.rows(part.owners, 3)
    np.testing.assert_array_equal(part.ring.values[slots[:, 0], part.columns[0]], [NAN, 4.0, 6.0])
    assert latest(raw) == {"a": 7.0}


def test_an_equal_layout_in_another_object_is_no_change() -> None:
    raw = filled(up("a", 0.0, {WAITING: 1.0}))
    before = raw.version("chat")
    raw.add(up("a", 5.0, {WAITING: 2.0}))
    assert raw.version("chat") == before


def test_a_key_that_occurs_twice_counts_once() -> None:
    keys = keys_of("a", WAITING) * 2
    raw = filled(Batch("a", 0.0, 5.0, keys, np.array([1.0, 2.0])))
    assert (raw.series, latest(raw)) == (1, {"a": 1.0})


def test_one_pool_cannot_take_the_room_of_another() -> None:
    limits = Limits(max_series_per_pool=1)
    raw = filled(up("a", 0.0, {WAITING: 1.0, ARRIVED: 1.0}), up("b", 0.0, {WAITING: 1.0}, pool="code"), limits=limits)
    assert (raw.series, raw.counts.over_limit) == (2, 1)
    assert latest(raw, pool="code") == {"b": 1.0}


def test_the_number_of_sources_is_bounded() -> None:
    raw = filled(*(up(f"s{i}", 0.0, {WAITING: 1.0}) for i in range(5)), limits=Limits(max_sources=3))
    assert (len(raw.sources), raw.counts.over_limit) == (3, 2)


def test_a_silent_source_is_forgotten_and_one_that_is_known_to_be_down_is_not() -> None:
    raw = filled(up("a", 0.0, {WAITING: 1.0}), up("b", 0.0, {WAITING: 1.0}))
    for at in range(0, 2000, 50):
        raw.add(silent("b", float(at)))
    raw.forget(2000.0)
    assert [source.name for source in raw.sources] == ["b"]


def test_a_source_that_is_gone_frees_its_series() -> None:
    raw = filled(up("a", 0.0, {WAITING: 1.0}), silent("a", 1.0, "gone"))
    assert (raw.series, raw.sources, raw.names) == (0, (), {})


def test_churn_of_sources_leaves_memory_bounded() -> None:
    raw, largest = RawSeries(1200.0, Limits()), 0
    for generation in range(300):
        for member in range(3):
            name = f"{generation}-{member}"
            raw.add(up(name, generation * 5.0, {f"m{i}": 1.0 for i in range(20)}))
        if generation:
            for member in range(3):
                raw.add(silent(f"{generation - 1}-{member}", generation * 5.0, "gone"))
        largest = max(largest, raw.nbytes)
    assert raw.series == 60
    assert largest < 1_500_000


def test_churn_of_labels_within_a_source_leaves_memory_bounded() -> None:
    raw = filled(limits=Limits(vanished_s=60.0))
    for step in range(400):
        keys = tuple(SeriesKey(WAITING, labels_of("a", request=str(step * 5 + i))) for i in range(5))
        raw.add(Batch("a", step * 5.0, 5.0, keys, np.ones(5)))
    assert raw.series <= 5 * (60 / 5 + 1)
    assert raw.nbytes < 1_000_000


def test_compaction_moves_series_with_their_past() -> None:
    raw = filled(*(up("keep", at * 5.0, {ARRIVED: at * 2.0}) for at in range(5)))
    for index in range(200):
        raw.add(up(f"s{index}", 0.0, {f"m{i}": 1.0 for i in range(20)}))
    for index in range(200):
        raw.add(silent(f"s{index}", 1.0, "gone"))
    (part,) = Selections(raw).get("chat", ARRIVED).parts
    slots, _ = part.ring.rows(part.owners, 5)
    np.testing.assert_array_equal(part.ring.values[slots[:, 0], part.columns[0]], [NAN, 2, 2, 2, 2])
