"""The stand-in for the driver's library answers as the driver does, through the real bindings."""

from __future__ import annotations

import ctypes
import inspect
import re
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.peers.nvml import Gpu, Scenario, layout, library, models
from tests.peers.nvml.gpu import NUMA
from tests.peers.nvml.loading import INSIDE
from tests.peers.nvml.running import Read, Running, run
from tests.peers.nvml.symbols import SYMBOLS, number

ROOT = Path(__file__).parent.parent
GIB = 2**30


@pytest.fixture
def h100() -> Iterator[Running]:
    yield from run(models.hgx_h100())


def power(nvml: Any, gpu: Any) -> Any:
    return nvml.nvmlDeviceGetPowerUsage(gpu)


# -- what it is made of ---------------------------------------------------------------------------------------------


def test_every_listed_function_is_exported_and_nothing_else_of_nvml(h100: Running) -> None:
    done = subprocess.run(["nm", "-D", "--defined-only", library() / INSIDE], check=True, stdout=subprocess.PIPE)
    exported = set(re.findall(r" T (nvml\w+)", done.stdout.decode()))
    assert exported == set(SYMBOLS)


def test_what_the_collector_calls_exists() -> None:
    import pynvml

    sources = "".join(path.read_text() for path in (ROOT / "collectors").glob("**/*.py"))
    names = set(re.findall(r"\bnvml[A-Z]\w+", sources)) - {"nvmlInit"}  # which is nvmlInitWithFlags
    called = {name for name in names if inspect.isfunction(getattr(pynvml, name, None))}
    assert called, "no collector calls the library, so this test looks in the wrong place"
    for name in sorted(called):
        number(name)


STRUCTURES = {
    "pci_info": "nvmlPciInfo_t", "utilization": "c_nvmlUtilization_t", "memory_info": "c_nvmlMemory_t",
    "memory_info_v2": "c_nvmlMemory_v2_t", "bar1_info": "c_nvmlBAR1Memory_t",
    "temperature_v1": "c_nvmlTemperature_v1_t", "margin_v1": "c_nvmlMarginTemperature_v1_t",
    "field_value": "c_nvmlFieldValue_t", "nvml_sample": "c_nvmlSample_t",
    "process_info": "c_nvmlProcessInfo_v3_t", "process_utilization": "c_nvmlProcessUtilizationSample_t",
    "attributes": "c_nvmlDeviceAttributes", "profile_info": "c_nvmlGpuInstanceProfileInfo_t",
    "profile_info_v2": "c_nvmlGpuInstanceProfileInfo_v2_t", "event_data": "c_nvmlEventData_t",
    "gpm_support": "c_nvmlGpmSupport_t", "gpm_metric": "c_nvmlGpmMetric_t",
}  # fmt: skip


def test_both_sides_lay_the_file_out_alike_and_the_bindings_agree_on_structures(h100: Running) -> None:
    class Place(ctypes.Structure):
        _fields_ = (("name", ctypes.c_char_p), ("value", ctypes.c_size_t))

    tell = h100.nvml.nvmlLib.standin_layout
    tell.restype = ctypes.POINTER(Place)
    places, index = tell(), 0
    while (name := places[index].name) is not None:
        kind, _, member = name.decode().partition(".")
        if kind == "gpm_request":
            structure: Any = h100.nvml.c_nvmlGpmMetricsGet_t
        elif kind in STRUCTURES:
            structure = getattr(h100.nvml, STRUCTURES[kind])
        else:
            structure = getattr(layout, f"{kind.capitalize()}Data")
        expected = getattr(structure, member).offset if member else ctypes.sizeof(structure)
        assert places[index].value == expected, name
        index += 1
    assert index > 80


# -- what it reads --------------------------------------------------------------------------------------------------

READS = [
    ("nvmlSystemGetDriverVersion", lambda n, g: n.nvmlSystemGetDriverVersion(), "550.163.01"),
    ("nvmlSystemGetNVMLVersion", lambda n, g: n.nvmlSystemGetNVMLVersion(), "12.550.163.01"),
    ("nvmlSystemGetCudaDriverVersion", lambda n, g: n.nvmlSystemGetCudaDriverVersion(), 12040),
    ("nvmlSystemGetCudaDriverVersion_v2", lambda n, g: n.nvmlSystemGetCudaDriverVersion_v2(), 12040),
    ("nvmlDeviceGetCount_v2", lambda n, g: n.nvmlDeviceGetCount(), 8),
    ("nvmlDeviceGetName", lambda n, g: n.nvmlDeviceGetName(g), "NVIDIA H100 80GB HBM3"),
    ("nvmlDeviceGetSerial", lambda n, g: n.nvmlDeviceGetSerial(g), "1324821083800"),
    ("nvmlDeviceGetVbiosVersion", lambda n, g: n.nvmlDeviceGetVbiosVersion(g), "92.00.45.00.03"),
    ("nvmlDeviceGetArchitecture", lambda n, g: n.nvmlDeviceGetArchitecture(g), 9),
    ("nvmlDeviceGetBrand", lambda n, g: n.nvmlDeviceGetBrand(g), 5),
    ("nvmlDeviceGetCudaComputeCapability", lambda n, g: n.nvmlDeviceGetCudaComputeCapability(g), (9, 0)),
    ("nvmlDeviceGetNumGpuCores", lambda n, g: n.nvmlDeviceGetNumGpuCores(g), 16896),
    ("nvmlDeviceGetIndex", lambda n, g: n.nvmlDeviceGetIndex(g), 0),
    ("nvmlDeviceGetMinorNumber", lambda n, g: n.nvmlDeviceGetMinorNumber(g), 0),
    ("nvmlDeviceGetPciInfo_v3", lambda n, g: (n.nvmlDeviceGetPciInfo(g).busId, n.nvmlDeviceGetPciInfo(g).bus,
                                              n.nvmlDeviceGetPciInfo(g).busIdLegacy),
     ("00000000:1B:00.0", 0x1B, "0000:1B:00.0")),
    ("nvmlDeviceGetUtilizationRates", lambda n, g: n.nvmlDeviceGetUtilizationRates(g).gpu, 50),
    ("nvmlDeviceGetEncoderUtilization", lambda n, g: n.nvmlDeviceGetEncoderUtilization(g), [7, 166667]),
    ("nvmlDeviceGetDecoderUtilization", lambda n, g: n.nvmlDeviceGetDecoderUtilization(g), [8, 166667]),
    ("nvmlDeviceGetJpgUtilization", lambda n, g: n.nvmlDeviceGetJpgUtilization(g), [9, 166667]),
    ("nvmlDeviceGetOfaUtilization", lambda n, g: n.nvmlDeviceGetOfaUtilization(g), [10, 166667]),
    ("nvmlDeviceGetMemoryInfo", lambda n, g: n.nvmlDeviceGetMemoryInfo(g).used, 40 * GIB + 600 * 2**20),
    ("nvmlDeviceGetMemoryInfo_v2", lambda n, g: n.nvmlDeviceGetMemoryInfo(g, n.nvmlMemory_v2).used, 40 * GIB),
    ("nvmlDeviceGetBAR1MemoryInfo", lambda n, g: n.nvmlDeviceGetBAR1MemoryInfo(g).bar1Used, 2**20),
    ("nvmlDeviceGetPowerUsage", power, 450_000),
    ("nvmlDeviceGetEnforcedPowerLimit", lambda n, g: n.nvmlDeviceGetEnforcedPowerLimit(g), 700_000),
    ("nvmlDeviceGetPowerManagementLimit", lambda n, g: n.nvmlDeviceGetPowerManagementLimit(g), 700_000),
    ("nvmlDeviceGetPowerManagementLimitConstraints",
     lambda n, g: n.nvmlDeviceGetPowerManagementLimitConstraints(g), [200_000, 700_000]),
    ("nvmlDeviceGetPowerManagementDefaultLimit", lambda n, g: n.nvmlDeviceGetPowerManagementDefaultLimit(g), 700_000),
    ("nvmlDeviceGetTotalEnergyConsumption", lambda n, g: n.nvmlDeviceGetTotalEnergyConsumption(g), 2**40),
    ("nvmlDeviceGetTemperatureV", lambda n, g: n.nvmlDeviceGetTemperatureV(g, 0), 60),
    ("nvmlDeviceGetTemperature", lambda n, g: n.nvmlDeviceGetTemperature(g, 0), 60),
    ("nvmlDeviceGetTemperatureThreshold", lambda n, g: n.nvmlDeviceGetTemperatureThreshold(g, 1), 87),
    ("nvmlDeviceGetMarginTemperature", lambda n, g: n.nvmlDeviceGetMarginTemperature(g), 27),
    ("nvmlDeviceGetClockInfo", lambda n, g: n.nvmlDeviceGetClockInfo(g, 1), 1980),
    ("nvmlDeviceGetMaxClockInfo", lambda n, g: n.nvmlDeviceGetMaxClockInfo(g, 2), 2619),
    ("nvmlDeviceGetCurrentClocksEventReasons", lambda n, g: n.nvmlDeviceGetCurrentClocksEventReasons(g), 0x24),
    ("nvmlDeviceGetCurrentClocksThrottleReasons", lambda n, g: n.nvmlDeviceGetCurrentClocksThrottleReasons(g), 0x24),
    ("nvmlDeviceGetSupportedClocksEventReasons", lambda n, g: n.nvmlDeviceGetSupportedClocksEventReasons(g), 0x1FF),
    ("nvmlDeviceGetPerformanceState", lambda n, g: n.nvmlDeviceGetPerformanceState(g), 0),
    ("nvmlDeviceGetPowerState", lambda n, g: n.nvmlDeviceGetPowerState(g), 0),
    ("nvmlDeviceGetComputeMode", lambda n, g: n.nvmlDeviceGetComputeMode(g), 0),
    ("nvmlDeviceGetPersistenceMode", lambda n, g: n.nvmlDeviceGetPersistenceMode(g), 1),
    ("nvmlDeviceGetEccMode", lambda n, g: n.nvmlDeviceGetEccMode(g), [1, 1]),
    ("nvmlDeviceGetTotalEccErrors", lambda n, g: n.nvmlDeviceGetTotalEccErrors(g, 0, 0), 5),
    ("nvmlDeviceGetMemoryErrorCounter", lambda n, g: n.nvmlDeviceGetMemoryErrorCounter(g, 1, 1, 2), 2),
    ("nvmlDeviceGetRemappedRows", lambda n, g: n.nvmlDeviceGetRemappedRows(g), (3, 1, 1, 0)),
    ("nvmlDeviceGetCurrPcieLinkGeneration", lambda n, g: n.nvmlDeviceGetCurrPcieLinkGeneration(g), 4),
    ("nvmlDeviceGetCurrPcieLinkWidth", lambda n, g: n.nvmlDeviceGetCurrPcieLinkWidth(g), 16),
    ("nvmlDeviceGetMaxPcieLinkGeneration", lambda n, g: n.nvmlDeviceGetMaxPcieLinkGeneration(g), 5),
    ("nvmlDeviceGetMaxPcieLinkWidth", lambda n, g: n.nvmlDeviceGetMaxPcieLinkWidth(g), 16),
    ("nvmlDeviceGetPcieReplayCounter", lambda n, g: n.nvmlDeviceGetPcieReplayCounter(g), 6),
    ("nvmlDeviceGetPcieThroughput", lambda n, g: n.nvmlDeviceGetPcieThroughput(g, 1), 2000),
    ("nvmlDeviceGetNvLinkState", lambda n, g: [n.nvmlDeviceGetNvLinkState(g, link) for link in (16, 17)], [1, 0]),
    ("nvmlDeviceGetNvLinkVersion", lambda n, g: n.nvmlDeviceGetNvLinkVersion(g, 0), 5),
    ("nvmlDeviceGetNvLinkRemotePciInfo_v2",
     lambda n, g: n.nvmlDeviceGetNvLinkRemotePciInfo(g, 0).busId, "FFFFFFFF:FF:FF.0"),
    ("nvmlDeviceGetNvLinkRemoteDeviceType", lambda n, g: n.nvmlDeviceGetNvLinkRemoteDeviceType(g, 0), 2),
    ("nvmlDeviceGetNvLinkErrorCounter", lambda n, g: n.nvmlDeviceGetNvLinkErrorCounter(g, 3, 2), 11),
    ("nvmlDeviceGetTopologyCommonAncestor",
     lambda n, g: [n.nvmlDeviceGetTopologyCommonAncestor(g, n.nvmlDeviceGetHandleByIndex(i)) for i in (0, 1, 4)],
     [0, 40, 50]),
    ("nvmlDeviceGetP2PStatus", lambda n, g: n.nvmlDeviceGetP2PStatus(g, n.nvmlDeviceGetHandleByIndex(1), 2), 0),
    ("nvmlDeviceGetCpuAffinity", lambda n, g: list(n.nvmlDeviceGetCpuAffinity(g, 2)), [2**56 - 1, 0]),
    ("nvmlDeviceGetCpuAffinityWithinScope",
     lambda n, g: list(n.nvmlDeviceGetCpuAffinityWithinScope(g, 2, 0)), [2**56 - 1, 0]),
    ("nvmlDeviceGetMemoryAffinity",
     lambda n, g: list(n.nvmlDeviceGetMemoryAffinity(n.nvmlDeviceGetHandleByIndex(7), 1, 0)), [2]),
    ("nvmlDeviceGetMigMode", lambda n, g: n.nvmlDeviceGetMigMode(g), [0, 0]),
    ("nvmlDeviceGetMaxMigDeviceCount", lambda n, g: n.nvmlDeviceGetMaxMigDeviceCount(g), 7),
    ("nvmlDeviceIsMigDeviceHandle", lambda n, g: n.nvmlDeviceIsMigDeviceHandle(g).value, 0),
    ("nvmlDeviceGetSupportedEventTypes", lambda n, g: n.nvmlDeviceGetSupportedEventTypes(g), 0xC00A),
    ("nvmlGpmQueryDeviceSupport", lambda n, g: n.nvmlGpmQueryDeviceSupport(g).isSupportedDevice, 1),
]  # fmt: skip
"""Function, how it is asked, and what it says of the GPU that `busy_gpu` describes."""


def busy_gpu(gpu: Gpu) -> None:
    gpu.encoder_percent, gpu.decoder_percent, gpu.jpeg_percent, gpu.ofa_percent = 7, 8, 9, 10
    gpu.clock_reasons, gpu.pcie_generation = 0x24, 4
    gpu.energy_mj.set(2**40)
    gpu.count_ecc(corrected=5, uncorrected=2)
    gpu.rows_corrected, gpu.rows_uncorrected, gpu.rows_pending = 3, 1, 1
    gpu.pcie_replays.add(6)
    gpu.links[17].active = 0
    gpu.links[3].errors[2] = 11


@pytest.mark.parametrize(("function", "read", "expected"), [pytest.param(*row, id=row[0]) for row in READS])
def test_a_call_says_what_the_scenario_says(h100: Running, function: str, read: Read, expected: Any) -> None:
    busy_gpu(h100.gpu)
    assert read(h100.nvml, h100.handle) == expected
    assert h100.fleet.calls(function) >= 1
    if function.startswith("nvmlDeviceGet") and function != "nvmlDeviceGetCount_v2":
        refusal = h100.fleet.fail(function, 4)
        assert h100.code(read) == 4
        refusal.clear()
        assert read(h100.nvml, h100.handle) == expected


def test_a_gpu_with_memory_of_its_own_numa_node_names_it(h100: Running) -> None:
    h100.gpu.has |= NUMA
    h100.gpu.numa_node = 4
    assert h100.nvml.nvmlDeviceGetNumaNodeId(h100.handle) == 4


def test_codes_that_the_bindings_do_not_know_have_words(h100: Running) -> None:
    assert [str(h100.nvml.NVMLError(code)) for code in (27, 28, 4711)] == [
        "Not ready",
        "GPU not found",
        "Unknown Error",
    ]


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        pytest.param(
            lambda fleet: fleet.fail("nvmlDeviceGetMoney", 3), "no function nvmlDeviceGetMoney", id="function"
        ),
        pytest.param(lambda fleet: fleet.fail("*", 3, from_call=0), "count from 1", id="first call"),
        pytest.param(lambda fleet: fleet.fail("*", 3, from_call=5, until_call=5), "end after it began", id="no calls"),
        pytest.param(lambda fleet: fleet.gpus[0].mig.create("big"), "'big' is no MIG profile", id="profile"),
        pytest.param(lambda fleet: fleet.gpus[0].processes.end(1), "no process 1 runs", id="process"),
        pytest.param(lambda fleet: [fleet.add_gpu() for _ in range(9)], "room for 16 GPUs", id="too many GPUs"),
        pytest.param(
            lambda fleet: [fleet.fail("*", 3) for _ in range(65)], "there are 64 faults", id="too many faults"
        ),
    ],
)
def test_a_scenario_that_cannot_be_is_refused(wrong: Callable[[Scenario], Any], words: str) -> None:
    with models.hgx_h100() as fleet, pytest.raises(ValueError, match=words):
        wrong(fleet)


def test_a_function_that_does_not_exist_cannot_be_left_out() -> None:
    with pytest.raises(ValueError, match="no function nvmlDeviceGetMoney that could be left out"):
        library(["nvmlDeviceGetMoney"])
