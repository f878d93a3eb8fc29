"""What the stand-in for the driver's library does wrong when a test wants it to, through the real bindings."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from autoscaler.clock import monotonic
from tests.peers.nvml import Scenario, models
from tests.peers.nvml.gpu import RESET_REQUIRED
from tests.peers.nvml.running import NOW_US, Read, Running, run
from tests.peers.pages import until


@pytest.fixture
def h100() -> Iterator[Running]:
    yield from run(models.hgx_h100())


@pytest.fixture
def a100() -> Iterator[Running]:
    yield from run(models.dgx_a100())


def power(nvml: Any, gpu: Any) -> Any:
    return nvml.nvmlDeviceGetPowerUsage(gpu)


def samples(nvml: Any, gpu: Any, kind: int = 0, last_us: int = 0) -> list[tuple[int, int]]:
    return [(s.timeStamp - NOW_US, s.sampleValue.uiVal) for s in nvml.nvmlDeviceGetSamples(gpu, kind, last_us)[1]]


def test_a_gpu_is_found_by_index_uuid_and_bus_id(a100: Running) -> None:
    nvml, third = a100.nvml, a100.fleet.gpus[2]
    found = [
        nvml.nvmlDeviceGetHandleByIndex(2),
        nvml.nvmlDeviceGetHandleByUUID(third.uuid),
        nvml.nvmlDeviceGetHandleByPciBusId(third.bus_id),
        nvml.nvmlDeviceGetHandleByPciBusId("0000:47:00.0"),
    ]
    assert [nvml.nvmlDeviceGetUUID(handle) for handle in found] == [third.uuid] * 4
    assert a100.code(lambda n, g: n.nvmlDeviceGetHandleByIndex(8)) == 2
    assert a100.code(lambda n, g: n.nvmlDeviceGetHandleByUUID("GPU-none")) == 6
    assert a100.code(lambda n, g: n.nvmlDeviceGetHandleByPciBusId("00000000:FE:00.0")) == 6


def test_a_lost_gpu_stays_listed_and_comes_back_under_another_index(a100: Running) -> None:
    nvml, uuid, old = a100.nvml, a100.gpu.uuid, a100.handle
    a100.gpu.lose()
    assert (a100.code(power, old), nvml.nvmlDeviceGetCount()) == (15, 8)
    assert a100.code(lambda n, g: n.nvmlDeviceGetHandleByIndex(0), old) == 15
    a100.gpu.unlist()
    assert nvml.nvmlDeviceGetCount() == 7
    assert a100.code(lambda n, g: n.nvmlDeviceGetHandleByUUID(uuid), old) == 6
    a100.gpu.come_back(index=3)
    assert a100.code(power, old) == 15, "a handle from before does not come back to life"
    found = nvml.nvmlDeviceGetHandleByUUID(uuid)
    assert (nvml.nvmlDeviceGetIndex(found), power(nvml, found)) == (3, 250_000)


def test_a_gpu_can_be_lost_on_its_20th_call(a100: Running) -> None:
    handle, other = a100.handle, a100.nvml.nvmlDeviceGetHandleByIndex(1)
    a100.gpu.lose(from_call=20)
    assert [a100.code(power, handle) for _ in range(21)] == [-1] * 19 + [15, 15]
    assert a100.code(power, other) == -1


def test_a_gpu_that_needs_a_reset_answers_so(a100: Running) -> None:
    handle = a100.handle
    a100.gpu.state = RESET_REQUIRED
    assert a100.code(power, handle) == 16


def test_any_call_can_fail_from_one_call_on_until_another(a100: Running) -> None:
    handle = a100.handle
    fault = a100.gpu.fail("nvmlDeviceGetPowerUsage", 999, from_call=3, until_call=5)
    assert [a100.code(power, handle) for _ in range(6)] == [-1, -1, 999, 999, -1, -1]
    assert fault.seen == 6
    assert a100.fleet.calls("nvmlDeviceGetPowerUsage", gpu=0) == 6
    assert a100.fleet.calls("nvmlDeviceGetPowerUsage", gpu=1) == 0


@pytest.mark.parametrize(
    ("call", "code"),
    [
        pytest.param("nvmlInitWithFlags", 9, id="driver not loaded"),
        pytest.param("nvmlInitWithFlags", 12, id="library not found"),
        pytest.param("*", 18, id="library and driver differ"),
    ],
)
def test_the_library_may_refuse_to_start(a100: Running, call: str, code: int) -> None:
    a100.nvml.nvmlShutdown()
    fault = a100.fleet.fail(call, code)
    assert a100.code(lambda n, g: n.nvmlInit(), 0) == code
    fault.clear()
    a100.nvml.nvmlInit()
    assert a100.nvml.nvmlDeviceGetCount() == 8


def test_a_call_before_the_start_is_refused_with_1(a100: Running) -> None:
    handle = a100.handle
    a100.nvml.nvmlShutdown()
    assert a100.code(power, handle) == 1
    assert a100.code(lambda n, g: n.nvmlShutdown(), handle) == 1


def test_after_a_driver_reload_counters_start_anew_and_handles_are_stale(a100: Running) -> None:
    nvml, handle = a100.nvml, a100.handle
    a100.gpu.energy_mj.set(10**9)
    a100.gpu.count_ecc(uncorrected=1)
    a100.fleet.reload_driver(driver_version="580.1")
    assert a100.code(power, handle) == 1
    nvml.nvmlShutdown()
    nvml.nvmlInit()
    assert a100.code(power, handle) == 15
    assert nvml.nvmlDeviceGetTotalEnergyConsumption(a100.handle) == 0
    assert [nvml.nvmlDeviceGetTotalEccErrors(a100.handle, 1, kind) for kind in (0, 1)] == [0, 1]
    assert nvml.nvmlSystemGetDriverVersion() == "580.1"


def test_a_reload_that_nobody_notices_shows_in_the_counters_alone(a100: Running) -> None:
    handle = a100.handle
    a100.gpu.energy_mj.set(10**9)
    a100.fleet.reload_driver(code=0)
    assert a100.nvml.nvmlDeviceGetTotalEnergyConsumption(handle) == 0


@pytest.mark.parametrize(
    ("fleet", "read"),
    [
        pytest.param(models.dgx_a100, lambda n, g: n.nvmlGpmSampleGet(g, n.nvmlGpmSampleAlloc()), id="A100: GPM"),
        pytest.param(models.dgx_a100, lambda n, g: n.nvmlDeviceGetMarginTemperature(g), id="A100: margin"),
        pytest.param(models.g5_a10g, lambda n, g: n.nvmlDeviceGetTotalEccErrors(g, 0, 0), id="A10G: ECC"),
        pytest.param(models.g5_a10g, lambda n, g: n.nvmlDeviceGetNvLinkState(g, 0), id="A10G: NVLink"),
        pytest.param(models.t4, lambda n, g: n.nvmlDeviceGetRemappedRows(g), id="T4: row remapping"),
        pytest.param(models.t4, lambda n, g: n.nvmlDeviceGetMigMode(g), id="T4: MIG"),
        pytest.param(models.azure_nc_a100, lambda n, g: n.nvmlDeviceGetNumaNodeId(g), id="x86: no memory of its own"),
        pytest.param(models.a100_mig, lambda n, g: n.nvmlDeviceGetUtilizationRates(g), id="MIG: busy"),
        pytest.param(models.a100_mig, lambda n, g: samples(n, g, 1), id="MIG: samples of busy"),
        pytest.param(models.a100_mig, lambda n, g: n.nvmlDeviceGetProcessUtilization(g, 0), id="MIG: per process"),
    ],
)
def test_a_board_does_not_support_what_it_lacks(fleet: Callable[[], Scenario], read: Read) -> None:
    for running in run(fleet()):
        assert running.code(read) == 3


def test_a_symbol_can_be_left_out() -> None:
    for running in run(models.dgx_a100(), ["nvmlDeviceGetMemoryInfo_v2"]):
        assert running.code(lambda n, g: n.nvmlDeviceGetMemoryInfo(g, n.nvmlMemory_v2)) == 13
        assert running.code(lambda n, g: n.nvmlDeviceGetMemoryInfo(g)) == -1
    for running in run(models.dgx_a100()):
        assert running.code(lambda n, g: n.nvmlDeviceGetMemoryInfo(g, n.nvmlMemory_v2)) == -1, "and is back afterwards"


@pytest.mark.parametrize(
    "read",
    [
        pytest.param(lambda n, g: n.nvmlDeviceGetMemoryInfo(g, 0x03000028), id="memory"),
        pytest.param(lambda n, g: n.nvmlGpmMetricsGet(n.c_nvmlGpmMetricsGet_t(version=2)), id="GPM metrics"),
    ],
)
def test_an_unknown_version_of_a_structure_is_refused_with_25(h100: Running, read: Read) -> None:
    assert h100.code(read) == 25


def test_a_call_that_blocks_holds_up_nobody_else(a100: Running) -> None:
    nvml, stuck, other = a100.nvml, a100.handle, a100.nvml.nvmlDeviceGetHandleByIndex(1)
    fault = a100.gpu.block("nvmlDeviceGetMemoryInfo_v2", seconds=60)
    thread = threading.Thread(target=nvml.nvmlDeviceGetMemoryInfo, args=(stuck, nvml.nvmlMemory_v2), daemon=True)
    thread.start()
    until(lambda: fault.seen == 1, "the call to arrive")
    nvml.nvmlDeviceGetMemoryInfo(other, nvml.nvmlMemory_v2)
    assert thread.is_alive()
    fault.clear()
    thread.join(5)
    assert not thread.is_alive()


def test_a_call_blocks_for_as_long_as_it_is_told(a100: Running) -> None:
    handle, began = a100.handle, monotonic()
    a100.gpu.block("nvmlDeviceGetPowerUsage", seconds=0.05)
    power(a100.nvml, handle)
    assert monotonic() - began >= 0.05


def test_pcie_throughput_measures_for_20_ms(a100: Running) -> None:
    handle, began = a100.handle, monotonic()
    a100.nvml.nvmlDeviceGetPcieThroughput(handle, 0)
    assert monotonic() - began >= 0.02
