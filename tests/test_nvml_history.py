"""The raw samples that are kept where they are measured, and what a second of them amounts to."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from collectors.nvml import aggregate
from collectors.nvml.history import KEPT_S, LIMIT_SAMPLES, History


def test_an_aggregate_is_what_numpy_says() -> None:
    values = np.random.default_rng(0).normal(size=60)
    found = aggregate(values.tolist())
    assert (found.count, found.last) == (60, values[-1])
    assert (found.min, found.max) == (values.min(), values.max())
    assert found.mean == pytest.approx(values.mean())
    assert found.p95 == np.percentile(values, 95, method="inverted_cdf")
    assert math.isnan(aggregate([]).mean)
    assert aggregate([]).count == 0


@settings(derandomize=True, max_examples=60, deadline=None)
@given(st.lists(st.integers(1, 400), min_size=1, max_size=120))
def test_a_history_keeps_two_minutes_in_order_and_takes_each_sample_once(sizes: list[int]) -> None:
    history, now, count, told = History(), 0.0, 0, 0
    for size in sizes:
        at = now + np.arange(1, size + 1) * 0.02
        history.extend(at, np.arange(count, count + size, dtype=float))
        now, count = float(at[-1]), count + size
        told += history.take().count
    assert told == count
    at, values = history.since(now - KEPT_S / 2)
    assert np.all(np.diff(at) > 0)
    wanted = min(count, int(KEPT_S / 2 / 0.02))
    assert len(values) >= wanted - 1
    assert values[-1] == count - 1
    assert len(history.since(-math.inf)[0]) <= LIMIT_SAMPLES


def one_by_one(history: History, at: float) -> None:
    history.append(at, at)


def all_at_once(history: History, at: float) -> None:
    history.extend(np.array([at]), np.array([at]))


@pytest.mark.parametrize("add", [one_by_one, all_at_once])
def test_a_history_that_is_too_fast_keeps_the_newest(add: Callable[[History, float], None]) -> None:
    history = History()
    for n in range(3 * LIMIT_SAMPLES):
        add(history, n * 0.001)
    at, _ = history.since(-math.inf)
    assert LIMIT_SAMPLES / 2 <= len(at) <= LIMIT_SAMPLES
    assert at[-1] == (3 * LIMIT_SAMPLES - 1) * 0.001
    assert history.take().count <= LIMIT_SAMPLES
