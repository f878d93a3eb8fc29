"""What the stand-in for the driver's library knows of times past: counters, fields, samples, processes."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from tests.peers.nvml import models
from tests.peers.nvml.processes import GRAPHICS, MPS
from tests.peers.nvml.running import NOW_US, Read, Running, run

ALL_LINKS = 0xFFFFFFFF
GIB = 2**30


@pytest.fixture
def h100() -> Iterator[Running]:
    yield from run(models.hgx_h100())


@pytest.fixture
def a100() -> Iterator[Running]:
    yield from run(models.dgx_a100())


def samples(nvml: Any, gpu: Any, kind: int = 0, last_us: int = 0) -> list[tuple[int, int]]:
    return [(s.timeStamp - NOW_US, s.sampleValue.uiVal) for s in nvml.nvmlDeviceGetSamples(gpu, kind, last_us)[1]]


def test_counters_grow_with_time_and_wrap(a100: Running) -> None:
    nvml, handle, energy = a100.nvml, a100.handle, a100.gpu.energy_mj
    a100.gpu.draw(300)
    before = nvml.nvmlDeviceGetTotalEnergyConsumption(handle)
    a100.fleet.step(2)
    assert nvml.nvmlDeviceGetTotalEnergyConsumption(handle) - before == 600_000
    energy.set(2**32 - 100)
    energy.wrap_at(2**32)
    a100.fleet.step(1)
    assert nvml.nvmlDeviceGetTotalEnergyConsumption(handle) == 299_900 == energy.value


FIELDS = [
    (1, 1), (3, 5), (4, 2), (5, 5), (6, 2), (34, 11), (38, 18 * 11), (74, 7), (75, 8), (82, 65), (83, 1000),
    (90, 26562), (91, 18), (94, 6), (138, 3), ((138, 1), 4), ((138, ALL_LINKS), 7), ((139, ALL_LINKS), 18), (142, 3),
    (143, 1), (144, 1), (145, 0), (147, 17), ((163, ALL_LINKS), 18 * 11), (164, 26562), ((165, 17), 0), (166, 5),
    (185, 450_000), (186, 450_000), (187, 200_000), (188, 700_000), (189, 700_000), (190, 700_000), (191, 1000),
    (192, 700_000), (197, 20), (198, 21), (230, 2), (269, 9), (271, 10),
]  # fmt: skip


def test_fields_have_each_a_value_a_time_and_a_latency(h100: Running) -> None:
    gpu = h100.gpu
    gpu.count_ecc(corrected=5, uncorrected=2)
    for link in gpu.links:
        link.errors[2] = 11
        link.rx_kib.set(1)
    gpu.links[0].tx_kib.set(3)
    gpu.links[1].tx_kib.set(4)
    gpu.links[17].active = 0
    for field, value in ((74, 7), (75, 8), (269, 9), (271, 10)):
        gpu.throttle_ns[field].set(value)
    gpu.energy_mj.set(1000)
    gpu.pcie_replays.set(6)
    gpu.pcie_tx_bytes.set(20)
    gpu.pcie_rx_bytes.set(21)
    gpu.rows_corrected, gpu.rows_uncorrected, gpu.rows_pending, gpu.recovery_action = 3, 1, 1, 2
    answers = h100.nvml.nvmlDeviceGetFieldValues(h100.handle, [identity for identity, _ in FIELDS])
    told = [(identity, answer.value.ullVal) for (identity, _), answer in zip(FIELDS, answers, strict=True)]
    assert told == FIELDS
    assert {(answer.nvmlReturn, answer.timestamp, answer.latencyUsec) for answer in answers} == {(0, NOW_US, 40)}


def test_each_field_fails_by_itself(a100: Running) -> None:
    gpu = a100.gpu
    assert (a100.field(197).nvmlReturn, a100.field(0).nvmlReturn, a100.field(83).nvmlReturn) == (3, 2, 0)
    fault = gpu.fail("nvmlDeviceGetFieldValues", 4, metric=186, from_call=2)
    assert [a100.field(186).nvmlReturn for _ in range(3)] == [0, 4, 4]
    assert a100.field(185).nvmlReturn == 0
    fault.clear()
    gpu.field(186, 12.5, kind=0, latency_us=900)
    gpu.field(83, -1, kind=4)
    gpu.field(82, code=15)
    assert (a100.field(186).value.dVal, a100.field(186).latencyUsec, a100.field(186).valueType) == (12.5, 900, 0)
    assert (a100.field(83).value.sllVal, a100.field(82).nvmlReturn) == (-1, 15)


def test_samples_are_those_after_the_last_one_and_the_oldest_are_overrun(a100: Running) -> None:
    nvml, handle, gpu = a100.nvml, a100.handle, a100.gpu
    gpu.push_samples(0, [(NOW_US + n, 100 + n) for n in range(5)])
    assert samples(nvml, handle, 0, NOW_US + 2) == [(3, 103), (4, 104)]
    gpu.push_samples(0, [(NOW_US + n, 100 + n) for n in range(5, 300)])
    kept = samples(nvml, handle, 0, NOW_US + 4)
    assert (len(kept), kept[0], kept[-1]) == (120, (180, 280), (299, 399)), "a gap after 4"


def test_samples_without_news_are_not_found_or_a_second_call_with_count_zero(a100: Running) -> None:
    a100.gpu.push_samples(0, [(NOW_US, 1)])
    assert a100.code(lambda n, g: samples(n, g, 0, NOW_US)) == 6
    a100.gpu.no_samples_code = 0
    before = a100.fleet.calls("nvmlDeviceGetSamples")
    assert a100.code(lambda n, g: samples(n, g, 0, NOW_US)) == 2
    assert a100.fleet.calls("nvmlDeviceGetSamples") - before == 2


def test_the_driver_fills_its_buffers_by_itself(a100: Running) -> None:
    a100.gpu.invent_samples(0, period_us=20_000, depth=120, swing=1000)
    last = NOW_US - 100_000
    got = samples(a100.nvml, a100.handle, 0, last)
    assert [at for at, _ in got] == [-80_000, -60_000, -40_000, -20_000, 0]
    assert {value for _, value in got} == {249_000, 250_000, 251_000}
    assert len(samples(a100.nvml, a100.handle)) == 120
    assert [len(samples(a100.nvml, a100.handle, kind)) for kind in range(10) if kind != 7] == [120] * 9


def test_processes_come_and_go(a100: Running) -> None:
    nvml, handle, processes = a100.nvml, a100.handle, a100.gpu.processes
    assert nvml.nvmlDeviceGetComputeRunningProcesses(handle) == []
    processes.start(11, GIB, name="vllm")
    processes.start(12, GIB, kinds=GRAPHICS)
    processes.start(13, GIB, kinds=MPS)
    lists = (
        nvml.nvmlDeviceGetComputeRunningProcesses, nvml.nvmlDeviceGetComputeRunningProcesses_v2,
        nvml.nvmlDeviceGetGraphicsRunningProcesses, nvml.nvmlDeviceGetGraphicsRunningProcesses_v2,
        nvml.nvmlDeviceGetMPSComputeRunningProcesses, nvml.nvmlDeviceGetMPSComputeRunningProcesses_v2,
    )  # fmt: skip
    assert [[p.pid for p in of(handle)] for of in lists] == [[11], [11], [12], [12], [13], [13]]
    assert nvml.nvmlSystemGetProcessName(11) == "vllm"
    processes.end(11)
    assert nvml.nvmlDeviceGetComputeRunningProcesses(handle) == []


def test_a_list_may_grow_between_sizing_and_reading(a100: Running) -> None:
    a100.gpu.processes.start(11, GIB)
    a100.gpu.fail("nvmlDeviceGetComputeRunningProcesses", 7, from_call=2, until_call=3)
    read: Read = lambda n, g: n.nvmlDeviceGetComputeRunningProcesses(g)  # noqa: E731
    assert [a100.code(read), a100.code(read)] == [7, -1]


def test_utilization_per_process_without_entries_raises_success_or_not_found(a100: Running) -> None:
    def read(nvml: Any, gpu: Any) -> list[tuple[int, int]]:
        return [(sample.pid, sample.smUtil) for sample in nvml.nvmlDeviceGetProcessUtilization(gpu, NOW_US - 1)]

    assert a100.code(read) == 6
    a100.gpu.no_utilization_code = 0
    assert a100.code(read) == 0, "the bindings raise NVMLError(0)"
    a100.gpu.processes.start(11, GIB)
    a100.gpu.processes.use(11, sm_percent=60)
    assert read(a100.nvml, a100.handle) == [(11, 60)]
