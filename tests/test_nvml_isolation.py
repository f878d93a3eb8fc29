"""A GPU that hangs in the driver holds up its own threads only: neither other GPUs, nor the caller, nor the end."""

from __future__ import annotations

import pytest

from autoscaler.clock import SystemClock
from autoscaler.types import Batch
from collectors.nvml import Nvml
from tests.nvmlworld import Value, told
from tests.peers.nvml import Gpu, Scenario, models
from tests.peers.pages import until, without_waiting

QUIET = {"slow": False, "events": False, "kernel_log": False}
OTHERS = "the other GPUs are read as before"


class Running:
    """A collector on its own threads over a fleet, and what it gave so far; stopped at the end whatever happens, since
    threads left behind would call into the fleets of later tests."""

    def __init__(self, fleet: Scenario, **settings: object) -> None:
        self.fleet = fleet
        self.nvml = Nvml(SystemClock(), **{**QUIET, **settings})  # type: ignore[arg-type]
        self.batches: list[Batch] = []
        self.nvml.start()

    def __enter__(self) -> Running:
        return self

    def __exit__(self, *_: object) -> None:
        self.fleet.clear_faults()
        self.nvml.stop()

    def last(self, gpu: Gpu) -> Value:
        self.gather()
        return told([batch for batch in self.batches if batch.source == f"nvml:{gpu.uuid}"][-1])

    def gather(self) -> None:
        self.batches += self.nvml.collect(0.0)

    def seen(self, gpu: Gpu, since: float) -> list[float]:
        """When batches of a GPU were made."""
        self.gather()
        return [b.at for b in self.batches if b.source == f"nvml:{gpu.uuid}" and b.at > since]

    def up(self) -> bool:
        self.gather()
        return {b.source for b in self.batches} >= {f"nvml:{gpu.uuid}" for gpu in self.fleet.gpus}


def test_a_call_that_blocks_makes_its_gpu_unknown_and_delays_no_other() -> None:
    with models.dgx_a100() as fleet, fleet.loaded(), Running(fleet, interval_s=0.05, deadline_s=0.2) as running:
        until(running.up, "every GPU")
        gpu, began = fleet.gpus[2], running.nvml.clock.now()
        fault = gpu.block("nvmlDeviceGetMemoryInfo_v2", seconds=5.0)
        until(lambda: running.last(gpu)["gpu_up"] == 0.0, "the GPU that hangs is not up")
        assert running.last(gpu)["gpu_power_watts"] is None
        status = {one.uuid: one for one in running.nvml.status().gpus}
        assert status[gpu.uuid].state == "hung"
        assert "nvmlDeviceGetMemoryInfo has not returned" in status[gpu.uuid].detail
        until(lambda: len(running.seen(fleet.gpus[0], began)) >= 20, "others")
        for other in (one for one in fleet.gpus if one is not gpu):
            late = {one.uuid: one.lateness_p99_s for one in running.nvml.status().gpus}[other.uuid]
            # Machines that run tests are shared and stall for tenths of a second; waiting for the call takes five.
            assert late < 2.0, OTHERS
            assert len(running.seen(other, began)) > 10
        fault.clear()
        until(lambda: running.last(gpu)["gpu_up"] == 1.0, "it answers again")
        stuck = "gpu_collect_errors_total{call=nvmlDeviceGetMemoryInfo,code=stuck}"
        until(lambda: running.last(gpu).get(stuck) == 1.0, "the hang is counted")


def test_a_slow_call_that_blocks_leaves_the_gauges_alone() -> None:
    with models.t4() as fleet, fleet.loaded():
        fault = fleet.gpus[0].block("nvmlDeviceGetRemappedRows", seconds=5.0)
        with Running(fleet, interval_s=0.05, deadline_s=0.2, slow=True) as running:
            gpu = fleet.gpus[0]
            until(lambda: running.up() and running.last(gpu)["gpu_up"] == 0.0, "the hang is seen")
            assert running.last(gpu)["gpu_power_watts"] == pytest.approx(65.0)
            fault.clear()
            until(lambda: running.last(gpu)["gpu_up"] == 1.0, "it is over")


def test_it_stops_though_a_gpu_hangs() -> None:
    settings = {"interval_s": 0.05, "deadline_s": 0.1, "slow": True, "events": True}
    with models.dgx_a100() as fleet, fleet.loaded(), Running(fleet, **settings) as running:
        until(running.up, "every GPU")
        fault = fleet.gpus[0].block("nvmlDeviceGetPerformanceState", seconds=20.0)
        until(lambda: running.last(fleet.gpus[0])["gpu_up"] == 0.0, "it hangs")
        with without_waiting(20.0):
            running.nvml.stop()
        fault.clear()
        quick = running.nvml.quick_rota
        until(lambda: quick.ended(0.0), "the thread that was left behind")


def test_a_gpu_that_hangs_at_the_start_leaves_the_others_alone() -> None:
    with models.dgx_a100() as fleet, fleet.loaded():
        fault = fleet.gpus[4].block("nvmlDeviceGetUUID", seconds=20.0)
        with Running(fleet, interval_s=0.05, deadline_s=0.2) as running:
            until(lambda: len(running.nvml.describe()) == 7, "the others")
            with without_waiting(20.0):
                running.nvml.stop()
            fault.clear()


def test_without_a_driver_it_starts_and_stops_at_once() -> None:
    with models.t4() as fleet, fleet.loaded():
        fleet.fail("nvmlInitWithFlags", 12)
        nvml = Nvml(SystemClock())
        try:
            with without_waiting(20.0):
                nvml.start(wait_s=20.0)
            assert nvml.status().state == "idle"
        finally:
            nvml.stop()
        assert nvml.collect(0.0) == ()
