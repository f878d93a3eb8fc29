"""Rates and quantiles of the metrics store, and its readings against a slow reference."""

import math
from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from autoscaler.ruleset import Signal
from autoscaler.store import Store
from autoscaler.types import Batch, SeriesKey
from tests.batches import ARRIVED, LOAD, NAN, QUEUE, TTFT, WAITING, bounds, filled, labels_of, newest, read, rules, up


def test_a_rate_starts_with_the_second_sample() -> None:
    store = filled(up("a", 0.0, {ARRIVED: 1e9}))
    first = read(store, LOAD, 1.0)
    assert first.quality == ("missing",)
    text = (
        "0 of 1 targets gave the two samples that a rate or a window needs; a gave one so far, the next one is enough"
    )
    assert first.detail == (text,)
    assert read(store, LOAD, 20.0).detail == ("0 of 1 targets answer; a gave no value for 20 s",)
    store.add(up("a", 5.0, {ARRIVED: 1e9 + 50}))
    assert newest(read(store, LOAD, 6.0)) == 10.0


def test_a_restarted_counter_gives_no_negative_rate() -> None:
    store = filled(*(up("a", at, {ARRIVED: v}) for at, v in ((0.0, 1000.0), (5.0, 1050.0), (10.0, 30.0), (15.0, 80.0))))
    assert newest(read(store, LOAD, 16.0)) == pytest.approx((50 + 30 + 50) / 15)


def test_an_increment_covers_the_gap_before_it() -> None:
    batches = [up("a", at, {ARRIVED: at * 2.0}) for at in (0.0, 5.0, 10.0)]
    batches += [up("a", at, {ARRIVED: NAN}) for at in (15.0, 20.0)]
    assert newest(read(filled(*batches, up("a", 200.0, {ARRIVED: 400.0})), LOAD, 201.0)) == pytest.approx(2.0)


def test_a_rate_of_a_gauge_is_refused_with_a_reason() -> None:
    frame = read(filled(up("a", 0.0, {WAITING: 1.0})), replace(QUEUE, rate_s=60.0), 1.0)
    assert frame.detail == ("requests_waiting is not a counter: a rate needs one, leave `rate` out",)


def histogram(instance: str, at: float, counts: dict[str, float]) -> Batch:
    keys = tuple(SeriesKey(f"{TTFT}_bucket", labels_of(instance, le=le), True) for le in counts)
    return Batch(instance, at, 5.0, keys, np.array([*counts.values()]), labels_of(instance))


P90 = Signal("ttft", TTFT, quantile=0.9, over_s=60.0)


def test_a_quantile_is_read_from_the_buckets_of_all_replicas() -> None:
    store = Store(None)
    for at in (0.0, 5.0, 10.0):
        store.add(histogram("a", at, {"0.1": at, "0.5": at, "+Inf": at}))
        store.add(histogram("b", at, {"0.1": 0.0, "0.5": at, "+Inf": at}))
    frame = read(store, P90, 11.0)
    assert newest(frame) == pytest.approx(0.1 + 0.4 * 0.8)
    assert frame.quality == ("fresh",)
    assert bounds(frame) == (0.1, 0.5)


def test_an_interval_without_observations_is_no_data() -> None:
    store = filled(*(histogram("a", at, {"0.1": 7.0, "+Inf": 9.0}) for at in (0.0, 5.0)))
    frame = read(store, P90, 6.0)
    assert frame.quality == ("missing",)
    assert frame.detail == ("no observations of time_to_first_token_seconds in 60 s",)
    assert math.isnan(newest(frame))


def test_histograms_with_other_buckets_are_left_out_and_named() -> None:
    store = Store(None)
    for at in (0.0, 5.0):
        for name in "ab":
            store.add(histogram(name, at, {"0.1": at, "+Inf": at}))
        store.add(histogram("c", at, {"0.2": at, "+Inf": at}))
    frame = read(store, P90, 6.0)
    assert frame.quality == ("partial",)
    assert frame.detail == ("1 histograms have other buckets than the rest and are left out",)


SAMPLES = st.lists(
    st.tuples(
        st.sampled_from("abc"),
        st.floats(0.5, 14.0),
        st.one_of(st.just(NAN), st.integers(0, 50).map(float)),
        st.one_of(st.just(NAN), st.integers(0, 9).map(float), st.just(-1.0)),
    ),
    min_size=1,
    max_size=40,
)


def slow_reading(samples: list[tuple[str, float, float, float]], now: float) -> tuple[list[float], list[float]]:
    """Newest gauges and one-minute rates of the sources that answer, sample by sample."""
    gauges, found = [], []
    for name in sorted({s[0] for s in samples}):
        own = [s for s in samples if s[0] == name]
        known = [(at, value) for _, at, value, _ in own if not math.isnan(value)]
        if known and known[-1][0] >= now - 15.0:
            gauges.append(known[-1][1])
        counted = [(at, total) for _, at, _, total in own if not math.isnan(total)]
        steps = [
            (t0, t1, v1 if v1 < v0 else v1 - v0) for (t0, v0), (t1, v1) in pairwise(counted) if t1 > own[-1][1] - 60.0
        ]
        if steps and counted[-1][0] >= now - 15.0:
            found.append(sum(step for *_, step in steps) / (steps[-1][1] - steps[0][0]))
    return gauges, found


@settings(derandomize=True, max_examples=80, deadline=None)
@given(SAMPLES)
def test_readings_equal_a_slow_reference(drawn: list[tuple[str, float, float, float]]) -> None:
    """Any mix of sources, pauses, gaps and resets (-1 stands for one)."""
    store, at, totals = Store(None), 0.0, {"a": 0.0, "b": 0.0, "c": 0.0}
    samples, latest = [], {"a": 0.0, "b": 0.0, "c": 0.0}
    for name, pause, gauge, step in drawn:
        # A row of the ring holds one sample, so a source keeps at least its interval between two of them.
        at = max(at + pause / 3, latest[name] + 2.6)
        latest[name] = at
        total = step if math.isnan(step) else (0.0 if step < 0 else totals[name] + step)
        totals[name] = totals[name] if math.isnan(total) else total
        samples.append((name, at, gauge, total))
        store.add(up(name, at, {WAITING: gauge, ARRIVED: total}))
    frames = store.read(rules(QUEUE, LOAD), at)
    for frame, values in zip((frames["queue"], frames["load"]), slow_reading(samples, at), strict=True):
        if values:
            assert newest(frame) == pytest.approx(sum(values), rel=1e-5)
            assert frame.quality[0] in ("fresh", "partial")
        else:
            assert frame.quality[0] in ("missing", "stale")
