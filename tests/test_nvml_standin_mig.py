"""MIG and GPM of the stand-in for the driver's library, through the real bindings."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from tests.peers.nvml import models
from tests.peers.nvml.running import Running, run

GIB = 2**30


@pytest.fixture
def h100() -> Iterator[Running]:
    yield from run(models.hgx_h100())


@pytest.fixture
def a100_mig() -> Iterator[Running]:
    yield from run(models.a100_mig())


@pytest.fixture
def h100_mig() -> Iterator[Running]:
    yield from run(models.h100_mig())


def power(nvml: Any, gpu: Any) -> Any:
    return nvml.nvmlDeviceGetPowerUsage(gpu)


def instance(running: Running, index: int) -> Any:
    return running.nvml.nvmlDeviceGetMigDeviceHandleByIndex(running.handle, index)


def test_mig_devices_have_ids_memory_and_a_parent(a100_mig: Running) -> None:
    nvml, handle = a100_mig.nvml, a100_mig.handle
    devices = [instance(a100_mig, index) for index in range(4)]
    assert a100_mig.code(lambda n, g: instance(a100_mig, 4)) == 6, "an empty slot"
    assert [nvml.nvmlDeviceGetGpuInstanceId(d) for d in devices] == [1, 3, 7, 8]
    assert [nvml.nvmlDeviceGetComputeInstanceId(d) for d in devices] == [0, 0, 0, 0]
    assert [nvml.nvmlDeviceGetAttributes(d).gpuInstanceSliceCount for d in devices] == [3, 2, 1, 1]
    assert nvml.nvmlDeviceGetMemoryInfo(devices[2], nvml.nvmlMemory_v2).total == 4864 * 2**20
    assert nvml.nvmlDeviceGetName(devices[2]) == "NVIDIA A100-SXM4-40GB MIG 1g.5gb"
    assert nvml.nvmlDeviceIsMigDeviceHandle(devices[0]).value == 1
    parent = nvml.nvmlDeviceGetDeviceHandleFromMigDeviceHandle(devices[3])
    assert nvml.nvmlDeviceGetUUID(parent) == a100_mig.gpu.uuid
    assert a100_mig.code(power, devices[0]) == 3, "power belongs to the board"
    found = nvml.nvmlDeviceGetHandleByUUID(nvml.nvmlDeviceGetUUID(devices[1]))
    assert nvml.nvmlDeviceGetGpuInstanceId(found) == 3
    profiles = [nvml.nvmlDeviceGetGpuInstanceProfileInfo(handle, 0, version) for version in (1, 2)]
    assert [(p.id, p.sliceCount, p.memorySizeMB) for p in profiles] == [(19, 1, 4864)] * 2
    assert profiles[1].name == "MIG 1g.5gb"


def test_a_mig_device_made_anew_has_the_same_ids_and_another_uuid(a100_mig: Running) -> None:
    nvml, gpu, old = a100_mig.nvml, a100_mig.gpu, instance(a100_mig, 3)
    uuid = nvml.nvmlDeviceGetUUID(old)
    gpu.mig.destroy(list(gpu.mig)[3])
    assert a100_mig.code(lambda n, g: n.nvmlDeviceGetUUID(g), old) == 2
    second = gpu.mig.create("1g.5gb")
    assert a100_mig.code(lambda n, g: n.nvmlDeviceGetUUID(g), old) == 2
    new = instance(a100_mig, 3)
    assert (nvml.nvmlDeviceGetGpuInstanceId(new), nvml.nvmlDeviceGetUUID(new)) == (8, second.uuid)
    assert second.uuid != uuid
    inside = gpu.mig.create("1g.5gb", inside=second)
    assert (inside.gi, inside.ci) == (8, 1)


def test_processes_in_a_mig_device_are_shown_there_and_on_the_board(a100_mig: Running) -> None:
    a100_mig.gpu.processes.start(11, GIB, gi=7, ci=0)
    listed = a100_mig.nvml.nvmlDeviceGetComputeRunningProcesses
    seen = [
        [p.pid for p in listed(handle)] for handle in (a100_mig.handle, instance(a100_mig, 2), instance(a100_mig, 3))
    ]
    assert seen == [[11], [11], []]


def metrics(nvml: Any, first: Any, second: Any, *numbers: int) -> list[tuple[int, float]]:
    request = nvml.c_nvmlGpmMetricsGet_t(version=nvml.NVML_GPM_METRICS_GET_VERSION, numMetrics=len(numbers))
    request.sample1, request.sample2 = first, second
    for place, metric in enumerate(numbers):
        request.metrics[place].metricId = metric
    nvml.nvmlGpmMetricsGet(request)
    return [(m.nvmlReturn, m.value) for m in request.metrics[: len(numbers)]]


def test_gpm_needs_two_samples_100_ms_apart(h100: Running) -> None:
    nvml, gpu = h100.nvml, h100.handle
    first, second = nvml.nvmlGpmSampleAlloc(), nvml.nvmlGpmSampleAlloc()
    nvml.nvmlGpmSampleGet(gpu, first)
    assert h100.code(lambda n, g: metrics(n, first, second, 2)) == 2, "one of them is empty"
    h100.fleet.step(0.099)
    nvml.nvmlGpmSampleGet(gpu, second)
    assert h100.code(lambda n, g: metrics(n, first, second, 2)) == 27
    h100.fleet.step(0.001)
    nvml.nvmlGpmSampleGet(gpu, second)
    assert metrics(nvml, first, second, 2, 10, 400) == [(0, 60.0), (0, 45.0), (3, 0.0)]
    assert h100.code(lambda n, g: metrics(n, second, first, 2)) == 2, "the wrong way round"
    h100.gpu.fail("nvmlGpmMetricsGet", 3, metric=2)
    assert metrics(nvml, first, second, 2, 10) == [(3, 0.0), (0, 45.0)]
    nvml.nvmlGpmSampleFree(first)
    nvml.nvmlGpmSampleFree(second)


def test_gpm_samples_of_a_mig_instance_made_anew_do_not_compare(h100_mig: Running) -> None:
    nvml, gpu = h100_mig.nvml, h100_mig.handle
    first, second = nvml.nvmlGpmSampleAlloc(), nvml.nvmlGpmSampleAlloc()
    for sample in (first, second):
        h100_mig.fleet.step(0.2)
        nvml.nvmlGpmMigSampleGet(gpu, 8, sample)
    assert metrics(nvml, first, second, 2) == [(0, 40.0)]
    h100_mig.gpu.mig.destroy(list(h100_mig.gpu.mig)[3])
    assert h100_mig.code(lambda n, g: n.nvmlGpmMigSampleGet(g, 8, second)) == 2
    h100_mig.gpu.mig.create("1g.10gb")
    nvml.nvmlGpmMigSampleGet(gpu, 8, second)
    assert h100_mig.code(lambda n, g: metrics(n, first, second, 2)) == 2
