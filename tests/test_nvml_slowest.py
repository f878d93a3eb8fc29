"""What reading costs is told of the call that costs most, by name: one series a GPU and lane."""

from __future__ import annotations

import math
from itertools import pairwise

import pytest

from collectors.nvml.slowest import Slowest
from tests.nvmlworld import world
from tests.peers.nvml import models

SLOW_S = 0.1
MINUTE = 60


def test_a_call_that_the_driver_takes_long_over_is_named_with_its_time() -> None:
    with world(models.t4(), slow=False, events=False, kernel_log=False) as made:
        (gpu,) = made.fleet.gpus
        gpu.block("nvmlDeviceGetPowerUsage", seconds=SLOW_S, until_call=2)
        made.rounds(MINUTE + 1)
        found = {name: value for name, value in made.values(gpu).items() if "slowest" in name}
        told = found.pop("gpu_collect_slowest_call_seconds{call=nvmlDeviceGetPowerUsage,source=gauge}")
        assert told is not None
        assert told >= SLOW_S
        assert all("source=gauge" not in name for name in found), "one a lane"


def test_every_lane_that_runs_has_one() -> None:
    with world(models.hgx_h100(), events=False, kernel_log=False) as made:
        made.rounds(MINUTE + 12)
        values = made.values(made.fleet.gpus[0])

        def lanes(metric: str) -> list[str]:
            found = [name for name in values if name.startswith(metric)]
            return sorted(name.partition("source=")[2].rstrip("}") for name in found)

        assert lanes("gpu_collect_slowest_call_seconds") == lanes("gpu_collect_duration_seconds")
        assert set(lanes("gpu_collect_slowest_call_seconds")) >= {"gauge", "buffer", "slow"}


def test_the_keys_stay_the_same_object_for_a_minute() -> None:
    with world(models.t4(), slow=False, events=False, kernel_log=False) as made:
        made.rounds(MINUTE)
        (gpu,) = made.fleet.gpus
        keys = []
        for second in range(3 * MINUTE):
            slow = "nvmlDeviceGetPowerUsage" if second % 2 else "nvmlDeviceGetUtilizationRates"
            fault = gpu.block(slow, seconds=0.001)
            made.round()
            fault.clear()
            keys.append(made.batch(gpu).keys)
        changes = sum(one is not other for one, other in pairwise(keys))
        assert changes <= 2 * 3, "a name comes and the one before goes, once a minute"


@pytest.mark.parametrize(
    ("calls", "expected"),
    [
        pytest.param([], ("", math.nan), id="none yet"),
        pytest.param([(0, "a", 0.2), (59, "b", 0.3)], ("", math.nan), id="not before the minute is over"),
        pytest.param([(0, "a", 0.2), (1, "b", 0.3), (2, "c", 0.1), (60, "c", 0.1)], ("b", 0.3), id="the longest"),
        pytest.param([(0, "a", 0.2), (60, "b", 0.1), (119, "b", 0.9)], ("a", 0.2), id="for a minute"),
        pytest.param([(0, "a", 0.2), (60, "b", 0.1), (120, "c", 0.5)], ("b", 0.1), id="and no longer"),
        pytest.param([(600, "a", 0.2), (5, "b", 0.1), (60, "b", 0.1)], ("b", 0.1), id="a clock that goes back ends it"),
    ],
)
def test_the_slowest_of_late(calls: list[tuple[float, str, float]], expected: tuple[str, float]) -> None:
    slowest = Slowest()
    for at, call, took_s in calls:
        slowest.note(call, took_s, at)
    assert slowest.call == expected[0]
    assert slowest.took_s == pytest.approx(expected[1], nan_ok=True)
