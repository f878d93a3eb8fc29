"""How the collector of GPUs begins: with settings that make sense, and a driver that may refuse."""

from __future__ import annotations

import ctypes
import math

import pytest

from autoscaler.clock import SimClock
from autoscaler.errors import InputError
from autoscaler.ports import Collector
from collectors.nvml import GpuInfo, Nvml
from tests.nvmlworld import START, world
from tests.peers.nvml import models


@pytest.mark.parametrize(
    ("settings", "text"),
    [
        pytest.param({"interval_s": 0.0}, "interval_s is 0.0, but must be above 0", id="no interval"),
        pytest.param({"deadline_s": math.nan}, "deadline_s is nan, but must be above 0", id="no number"),
        pytest.param({"gpm_s": math.inf}, "gpm_s is inf, but must be above 0", id="without an end"),
        pytest.param({"fast_s": 0.01}, "fast_s is 0.01, but must be 50ms to 1s", id="faster than sense"),
    ],
)
def test_a_period_that_is_none_is_refused(settings: dict[str, float], text: str) -> None:
    with pytest.raises(InputError, match=text):
        Nvml(SimClock(), **settings)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("code", "state", "words"),
    [
        pytest.param(12, "idle", "there is no libnvidia-ml.so.1", id="no library"),
        pytest.param(9, "idle", "the NVIDIA driver is not loaded", id="driver not loaded"),
        pytest.param(18, "failed", "driver and library differ since an update; restart this process", id="mismatch"),
        pytest.param(4, "failed", "NVML refuses to start: ", id="no permission"),
    ],
)
def test_a_driver_that_refuses_is_asked_again_after_a_minute(code: int, state: str, words: str) -> None:
    with world(models.t4()) as made:
        fault = made.fleet.fail("nvmlInitWithFlags", code)
        made.round(59.0)
        assert (made.batches, made.nvml.status().state) == ((), state)
        assert made.nvml.status().detail.startswith(words)
        fault.clear()
        made.round()
        assert made.nvml.describe() == ()
        made.round()
        assert (made.nvml.status().state, len(made.nvml.describe())) == ("reading", 1)


def test_a_gpu_without_a_uuid_is_left_out_and_the_others_are_read() -> None:
    with world(models.dgx_a100()) as made:
        made.fleet.gpus[2].fail("nvmlDeviceGetUUID", 15)
        made.round()
        known = {info.uuid for info in made.nvml.describe()}
        assert known == {gpu.uuid for gpu in made.fleet.gpus} - {made.fleet.gpus[2].uuid}


def test_gpus_that_are_added_are_found_within_a_minute() -> None:
    with world(models.dgx_a100()) as made:
        every = made.fleet.gpus
        made.fleet.list_gpus(every[:4])
        made.round(60.0)
        assert len(made.nvml.describe()) == 4
        made.fleet.list_gpus(every)
        made.round()
        assert len(made.nvml.describe()) == 8


@pytest.mark.parametrize(
    ("name", "model"),
    [
        pytest.param("NVIDIA A100-SXM4-80GB", "A100", id="data center"),
        pytest.param("Tesla T4", "T4", id="older brand"),
        pytest.param("NVIDIA H100 80GB HBM3", "H100", id="with memory"),
        pytest.param("", "", id="nothing"),
    ],
)
def test_a_model_has_a_short_name(name: str, model: str) -> None:
    assert GpuInfo("GPU-0", name, 0).model == model


def test_it_fits_its_plug() -> None:
    assert isinstance(Nvml(SimClock()), Collector)


def has_driver() -> bool:
    try:
        ctypes.CDLL("libnvidia-ml.so.1")
    except OSError:
        return False
    return True


@pytest.mark.skipif(not has_driver(), reason="this machine has no NVIDIA driver")
def test_a_real_driver_names_its_gpus_and_their_memory() -> None:
    nvml = Nvml(SimClock(START))
    batches = nvml.read()
    assert nvml.status().state == "reading", nvml.status().detail
    assert {batch.source.split("/")[0] for batch in batches} == {f"nvml:{info.uuid}" for info in nvml.describe()}
    assert all(info.uuid and info.memory_bytes > 0 for info in nvml.describe())
    nvml.stop()
