"""The saturation of a GPU: the highest of what its source can tell, with that source named."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from autoscaler.types import SeriesKey
from collectors.derived import Derived
from collectors.derived.arithmetic import FORGOTTEN, PATIENCE
from collectors.derived.saturation import Saturation, saturation, saturations, source_of

NAN = math.nan


@pytest.mark.parametrize(
    ("inputs", "expected"),
    [
        pytest.param((0.3, 0.8, 200.0, 400.0), Saturation(0.8, "sm_active+dram_active+power"), id="the highest counts"),
        pytest.param((0.3, 0.4, 380.0, 400.0), Saturation(0.95, "sm_active+dram_active+power"), id="power over limit"),
        pytest.param((None, None, 300.0, 400.0), Saturation(0.75, "power"), id="an A100 over the driver alone"),
        pytest.param((None, 0.5, None, None), Saturation(0.5, "dram_active"), id="a default page of dcgm-exporter"),
        pytest.param((0.0, 0.0, 0.0, 400.0), Saturation(0.0, "sm_active+dram_active+power"), id="idle is a value"),
        pytest.param((1.294, 0.2, None, None), Saturation(1.0, "sm_active+dram_active", 1), id="above 1 is clamped"),
        pytest.param((NAN, 0.5, 300.0, NAN), Saturation(0.5, "dram_active"), id="NaN is not available"),
        pytest.param((None, None, 300.0, 0.0), None, id="a limit of 0 W limits nothing"),
        pytest.param((None, None, 300.0, None), None, id="power without a limit says nothing"),
        pytest.param((None, None, None, None), None, id="nothing is no value, and not 0"),
    ],
)
def test_the_saturation_of_one_gpu(inputs: tuple[float | None, ...], expected: Saturation | None) -> None:
    assert saturation(*inputs) == expected


SHARE = st.one_of(st.just(NAN), st.floats(0.0, 1.5))


@settings(derandomize=True)
@given(st.lists(st.tuples(SHARE, SHARE, SHARE), min_size=1, max_size=6))
def test_many_devices_at_once_are_judged_like_each_of_them(rows: list[tuple[float, float, float]]) -> None:
    shares = np.array(rows).T
    available = np.isfinite(shares)
    ratios, clamped = saturations(shares, available)
    for n, (sm, dram, power) in enumerate(rows):
        one = saturation(sm, dram, power * 100.0, 100.0)
        if one is None:
            assert math.isnan(ratios[n])
        else:
            assert ratios[n] == pytest.approx(one.ratio)
            assert (source_of(available[:, n]), clamped[n]) == (one.source, one.clamped)


def test_an_available_input_without_a_value_makes_the_ratio_unknown() -> None:
    """The others could look idle while that one is the full one."""
    ratios, _ = saturations(np.array([[NAN], [0.1], [0.2]]), np.array([[True], [True], [False]]))
    assert math.isnan(ratios[0])


# --- over time ------------------------------------------------------------------------------------------------------

METRICS = ("gpu_sm_active_ratio", "gpu_dram_active_ratio", "gpu_power_watts", "gpu_power_limit_watts")
KEYS = tuple(SeriesKey(metric, (("uuid", "GPU-1"),)) for metric in METRICS)


def told(derived: Derived, *values: float, keys: tuple[SeriesKey, ...] = KEYS) -> dict[str, float]:
    """The saturations by source."""
    found, numbers = derived.extend(keys, np.array(values), 0.0)
    named = zip(found, numbers.tolist(), strict=True)
    return {key.label("source") or "": value for key, value in named if key.metric == "gpu_saturation_ratio"}


def test_a_paused_profiler_leaves_power_as_the_source_after_some_patience() -> None:
    """Before, the ratio is unknown: one blank between two readings is no change of the source. What was known with the
    profiler is still missed afterwards, for a day."""
    derived = Derived()
    full = "sm_active+dram_active+power"
    assert told(derived, 0.9, 0.2, 100.0, 400.0) == {full: 0.9}
    for _ in range(PATIENCE - 1):
        assert math.isnan(told(derived, NAN, NAN, 100.0, 400.0)[full])
    paused = told(derived, NAN, NAN, 100.0, 400.0)
    assert paused["power"] == 0.25
    assert paused.keys() == {"power", full}
    assert math.isnan(paused[full])
    assert told(derived, 0.8, 0.1, 100.0, 400.0) == {full: 0.8}


def test_an_input_that_was_taken_out_is_missed_for_a_day() -> None:
    derived = Derived()
    told(derived, 0.9, 0.2, 100.0, 400.0)
    left = KEYS[2:]
    for _ in range(FORGOTTEN - 1):
        missed = told(derived, 100.0, 400.0, keys=left)
    assert missed.keys() == {"power", "sm_active+dram_active+power"}
    assert told(derived, 100.0, 400.0, keys=left) == {"power": 0.25}


def test_a_board_is_judged_again_as_soon_as_its_instances_are_silent() -> None:
    """The series of instances that were taken apart are known for a while, without a value."""
    instance = (("gi_id", "7"), ("uuid", "GPU-1"))
    keys = (SeriesKey("gpu_sm_active_ratio", instance), *KEYS)
    derived = Derived()
    assert told(derived, 0.4, NAN, NAN, 390.0, 400.0, keys=keys) == {"sm_active": 0.4}
    for _ in range(PATIENCE):
        found = told(derived, NAN, 0.7, 0.1, 200.0, 400.0, keys=keys)
    assert found["sm_active+dram_active+power"] == 0.7


def test_a_board_that_is_cut_into_instances_is_not_missed() -> None:
    instance = (("gi_id", "7"), ("uuid", "GPU-1"))
    derived = Derived()
    assert told(derived, 0.7, 0.1, 200.0, 400.0) == {"sm_active+dram_active+power": 0.7}
    keys = (SeriesKey("gpu_sm_active_ratio", instance), *KEYS[2:])
    for _ in range(PATIENCE):
        assert told(derived, 0.4, 390.0, 400.0, keys=keys) == {"sm_active": 0.4}


def test_the_series_keep_their_identity_while_the_source_is_the_same() -> None:
    derived = Derived()
    first, _ = derived.extend(KEYS, np.array([0.9, 0.2, 100.0, 400.0]), 0.0)
    again, _ = derived.extend(KEYS, np.array([0.1, 0.3, 200.0, 400.0]), 1.0)
    assert again is first


def test_values_above_1_stay_as_they_are_and_are_counted_where_they_are_clamped() -> None:
    derived = Derived()
    _, numbers = derived.extend(KEYS, np.array([1.294, 0.2, 100.0, 400.0]), 0.0)
    assert numbers[0] == 1.294
    assert derived.clamped == 1


def test_an_instance_is_judged_by_its_own_activity_and_its_board_is_left_out() -> None:
    instance = (("gi_id", "7"), ("uuid", "GPU-1"))
    keys = (SeriesKey("gpu_sm_active_ratio", instance), *KEYS[2:])
    assert told(Derived(), 0.4, 390.0, 400.0, keys=keys) == {"sm_active": 0.4}


def test_a_cut_board_whose_instances_tell_nothing_is_judged_by_power() -> None:
    keys = (SeriesKey("gpu_memory_used_bytes", (("gi_id", "7"), ("uuid", "GPU-1"))), *KEYS[2:])
    assert told(Derived(), 1e9, 300.0, 400.0, keys=keys) == {"power": 0.75}


def test_a_source_that_gives_the_ratio_itself_is_believed() -> None:
    keys = (SeriesKey("gpu_saturation_ratio", (("source", "power"), ("uuid", "GPU-1"))), *KEYS)
    assert told(Derived(), 0.5, 0.9, 0.9, 400.0, 400.0, keys=keys) == {"power": 0.5}
