"""The newest value of every series, and until when it is one."""

from __future__ import annotations

import math

import numpy as np
import pytest

from autoscaler.agent import canonical, current
from autoscaler.agent.current import SERIES_LIMIT, Current
from autoscaler.agent.families import render
from autoscaler.types import Batch
from tests.agentpages import batch, key, shown


@pytest.mark.parametrize(
    ("age_s", "served"),
    [
        pytest.param(0.0, True, id="a new value"),
        pytest.param(2.9, True, id="within three intervals"),
        pytest.param(3.1, False, id="too old"),
        pytest.param(-4.0, True, id="a little ahead of our clock"),
        pytest.param(-60.0, False, id="from before the clock was set back"),
    ],
)
def test_a_value_is_served_for_three_intervals(age_s: float, served: bool) -> None:
    now = Current(0.0)
    now.add([batch({key("gpu_power_watts"): 300.0})], 100.0)
    assert shown(now.snapshot(100.0 + age_s)) == ({"gpu_power_watts": 300.0} if served else {})


def test_a_source_faster_than_we_look_is_served_until_we_look_again() -> None:
    now = Current(3.0)
    now.add([batch({key("gpu_power_watts"): 300.0}, interval_s=0.05)], 100.0)
    assert shown(now.snapshot(102.9)) == {"gpu_power_watts": 300.0}


def test_what_a_slow_lane_tells_in_each_tenth_batch_stays_in_between() -> None:
    now, keys = Current(3.0), (key("gpu_power_watts"), key("gpu_ecc_corrected_total"))
    for second in range(35):
        slow = float(second) if second % 10 == 0 else math.nan
        now.add([batch(zip(keys, (300.0, slow), strict=True), 100.0 + second, keys=keys)], 100.0 + second)  # type: ignore[arg-type]
        if second > 10:
            assert shown(now.snapshot(100.0 + second))["gpu_ecc_corrected_total"] == second // 10 * 10


def test_a_value_that_is_missing_once_does_not_read_zero_and_ages() -> None:
    now, keys = Current(0.0), (key("gpu_power_watts"), key("gpu_temperature_celsius"))
    for at, power in ((100.0, 300.0), (101.0, math.nan), (102.0, math.nan), (103.5, math.nan)):
        now.add([batch(zip(keys, (power, 60.0), strict=True), at, keys=keys)], at)  # type: ignore[arg-type]
    assert shown(now.snapshot(103.5)) == {"gpu_temperature_celsius": 60.0}


def test_a_lost_gpu_has_no_last_values() -> None:
    now, keys = Current(3.0), (key("gpu_power_watts"), key("gpu_up"))
    now.add([batch(zip(keys, (300.0, 1.0), strict=True), 100.0, keys=keys)], 100.0)  # type: ignore[arg-type]
    now.add([batch(zip(keys, (math.nan, 0.0), strict=True), 101.0, keys=keys)], 101.0)  # type: ignore[arg-type]
    assert shown(now.snapshot(101.0)) == {"gpu_up": 0.0}


@pytest.mark.parametrize("state", ["down", "gone"])
def test_a_source_that_does_not_answer_is_left_out_at_once(state: str) -> None:
    now = Current(3.0)
    now.add([batch({key("gpu_power_watts"): 1.0}), batch({key("host_load1"): 2.0}, source="host")], 100.0)
    now.add([Batch("nvml:1", 100.5, 1.0, (), np.zeros(0), state=state)], 100.5)  # type: ignore[arg-type]
    assert shown(now.snapshot(100.5)) == {"host_load1": 2.0}


def test_a_drained_history_does_not_overtake_what_was_said_since() -> None:
    now, power = Current(3.0), key("gpu_power_watts")
    now.add([batch({power: 2.0}, 100.0), batch({power: 1.0}, 99.5, keys=(power,))], 100.0)
    assert shown(now.snapshot(100.0)) == {"gpu_power_watts": 2.0}


def test_a_clock_that_goes_back_does_not_silence_a_source() -> None:
    now, keys = Current(3.0), (key("gpu_power_watts"),)
    now.add([batch({keys[0]: 1.0}, 4000.0, keys=keys)], 4000.0)
    now.add([batch({keys[0]: 2.0}, 400.0, keys=keys)], 400.0)
    assert shown(now.snapshot(400.0)) == {"gpu_power_watts": 2.0}


def test_layouts_and_series_that_are_gone_are_forgotten() -> None:
    """A day in which pods come and go each minute leaves no more than the last minutes."""
    now = Current(3.0)
    for minute in range(1440):
        at = 60.0 * minute
        now.add([batch({key("gpu_process_sm_ratio", pid=str(minute)): 0.5}, at)], at)
        assert len(now.snapshot(at).keys) <= current.FORGET_S / 60 + 1


def test_series_beyond_the_limit_are_refused_and_counted() -> None:
    now = Current(3.0)
    now.add([batch({key("host_load1"): 1.0})], 100.0)
    now.add([batch({key("gpu_process_sm_ratio", pid=str(n)): 0.0 for n in range(SERIES_LIMIT)}, source="b")], 100.0)
    assert shown(now.snapshot(100.0)) == {"host_load1": 1.0}
    assert now.refused == SERIES_LIMIT


def test_keys_stay_the_same_object_while_nothing_comes_or_goes() -> None:
    now, keys = Current(3.0), (key("gpu_power_watts"),)
    now.add([batch({keys[0]: 1.0}, keys=keys)], 100.0)
    first = now.snapshot(100.0)
    now.add([batch({keys[0]: 2.0}, 101.0, keys=keys)], 101.0)
    second = now.snapshot(101.0)
    assert first.keys is second.keys
    assert first.values.tolist() == [1.0], "a snapshot does not change any more"


def test_an_aggregate_stands_behind_its_metric_under_a_name_of_its_own() -> None:
    last, plain, highest = key("gpu_up"), key("gpu_power_watts"), key("gpu_power_watts_max")
    text = render(canonical.families((last, highest, plain)), [1.0, 420.0, 300.0])
    assert "# HELP gpu_power_watts_max The highest value of gpu_power_watts within one interval (watts)" in text
    assert text.index("gpu_power_watts{") < text.index("gpu_power_watts_max{") < text.index("gpu_up{")
