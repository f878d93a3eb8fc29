"""What follows from a GPU's own values, where its source does not give it itself."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from autoscaler.types import Labels, SeriesKey
from collectors.derived import Derived

GPU: Labels = (("gpu", "0"), ("pool", "chat"), ("uuid", "GPU-1"))


def derived(told: dict[str, float], labels: Labels = GPU) -> dict[str, float]:
    """What is added to these values of one GPU."""
    keys = tuple(SeriesKey(metric, labels) for metric in told)
    found, values = Derived().extend(keys, np.array(list(told.values())), 0.0)
    assert found[: len(keys)] == keys
    assert all(key.labels[: len(GPU)] == GPU for key in found[len(keys) :] if key.metric != "gpu_saturation_ratio")
    return {key.metric: value for key, value in zip(found, values.tolist(), strict=True)} | {
        "": float(len(found) - len({(key.metric, key.labels) for key in found}))
    }


@pytest.mark.parametrize(
    ("told", "total", "ratio"),
    [
        pytest.param({"used": 30.0, "free": 60.0, "reserved": 10.0}, 100.0, 30.0 / 90.0, id="with what is reserved"),
        pytest.param({"used": 30.0, "free": 60.0}, 90.0, 30.0 / 90.0, id="older driver: reserved counts as used"),
        pytest.param({"used": 30.0, "total": 100.0, "reserved": 10.0}, 100.0, 30.0 / 90.0, id="total given, free not"),
        pytest.param({"used": 0.0, "free": 0.0}, 0.0, math.nan, id="no memory at all is no share"),
        pytest.param({"used": math.nan, "free": 60.0, "reserved": 10.0}, math.nan, math.nan, id="not told this time"),
    ],
)
def test_the_memory_s_total_and_share(told: dict[str, float], total: float, ratio: float) -> None:
    found = derived({f"gpu_memory_{part}_bytes": value for part, value in told.items()})
    assert found["gpu_memory_total_bytes"] == pytest.approx(total, nan_ok=True)
    assert found["gpu_memory_used_ratio"] == pytest.approx(ratio, nan_ok=True)


def test_used_memory_alone_has_neither_a_total_nor_a_share() -> None:
    found = derived({"gpu_memory_used_bytes": 30.0})
    assert {"gpu_memory_total_bytes", "gpu_memory_used_ratio"}.isdisjoint(found)


def test_nothing_is_derived_that_the_source_gives_itself() -> None:
    told = {
        "gpu_memory_used_bytes": 30.0,
        "gpu_memory_free_bytes": 60.0,
        "gpu_memory_total_bytes": 7.0,
        "gpu_memory_used_ratio": 0.7,
        "gpu_nvlink_tx_bytes_per_second": 1.0,
        "gpu_nvlink_rx_bytes_per_second": 2.0,
        "gpu_nvlink_bytes_per_second": 9.0,
        "gpu_saturation_ratio": 0.4,
        "gpu_sm_active_ratio": 0.9,
        "gpu_up": 0.0,
        "gpu_lost": 0.0,
    }
    assert derived(told) == {**told, "": 0.0}


def test_the_sum_of_both_directions_stands_in_for_the_links_throughput() -> None:
    found = derived({"gpu_nvlink_tx_bytes_per_second": 5e9, "gpu_nvlink_rx_bytes_per_second": 6e9})
    assert found["gpu_nvlink_bytes_per_second"] == 11e9
    assert "gpu_nvlink_bytes_per_second" not in derived({"gpu_nvlink_tx_bytes_per_second": 5e9})


def test_a_source_without_gpus_gets_back_what_it_gave() -> None:
    keys, values = (SeriesKey("requests_running"),), np.array([3.0])
    found, told = Derived().extend(keys, values, 0.0)
    assert found is keys
    assert told is values


def test_instances_have_totals_of_their_own() -> None:
    parts = [tuple(sorted((*GPU, ("gi_id", n)))) for n in ("7", "8")]
    keys = tuple(SeriesKey(f"gpu_memory_{what}_bytes", part) for part in parts for what in ("used", "free"))
    found, values = Derived().extend(keys, np.array([1.0, 2.0, 10.0, 20.0]), 0.0)
    totals = {
        key.label("gi_id"): value
        for key, value in zip(found, values.tolist(), strict=True)
        if key.metric == "gpu_memory_total_bytes"
    }
    assert totals == {"7": 3.0, "8": 30.0}


METRICS = (
    "gpu_sm_active_ratio",
    "gpu_dram_active_ratio",
    "gpu_power_watts",
    "gpu_power_limit_watts",
    "gpu_memory_used_bytes",
    "gpu_memory_free_bytes",
)


@settings(derandomize=True)
@given(st.lists(st.tuples(*[st.one_of(st.just(math.nan), st.floats(0.0, 1.0))] * len(METRICS)), max_size=8))
def test_what_is_missing_never_becomes_idle(rounds: list[tuple[float, ...]]) -> None:
    """A derived share of 0 needs an input that says 0: absence, blanks and pauses give no value, or a higher one."""
    made = Derived()
    keys = tuple(SeriesKey(metric, GPU) for metric in METRICS)
    for n, told in enumerate(rounds):
        found, values = made.extend(keys, np.array(told), float(n))
        for key, value in zip(found[len(keys) :], values[len(keys) :].tolist(), strict=True):
            if key.metric in ("gpu_saturation_ratio", "gpu_memory_used_ratio") and value == 0.0:
                assert 0.0 in told
