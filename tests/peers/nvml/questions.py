"""What a recording asks of each GPU, and where the stand-in keeps the same: one row for each call with one answer."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from tests.peers.nvml.gpu import Gpu

Ask = Callable[[Any, Any], Any]
Set = Callable[[Gpu, Any], None]


@dataclass(frozen=True, slots=True)
class Question:
    """name: what the recording calls it. symbol: the C function, which fails where the answer is a code.

    ask: (bindings, handle) -> a number, a text or a list of them. put: makes the stand-in answer the same.
    """

    name: str
    symbol: str
    ask: Ask
    put: Set


def _one(function: str, attribute: str, *arguments: Any, symbol: str = "") -> Question:
    def ask(nvml: Any, handle: Any) -> Any:
        return getattr(nvml, function)(handle, *arguments)

    return Question(function, symbol or function, ask, lambda gpu, value: setattr(gpu, attribute, value))


def _several(name: str, symbol: str, ask: Ask, *attributes: str) -> Question:
    def put(gpu: Gpu, values: Sequence[int]) -> None:
        for attribute, value in zip(attributes, values, strict=True):
            setattr(gpu, attribute, value)

    return Question(name, symbol, ask, put)


def _at(name: str, function: str, attribute: str, place: int, *arguments: Any) -> Question:
    def ask(nvml: Any, handle: Any) -> Any:
        return getattr(nvml, function)(handle, place, *arguments)

    def put(gpu: Gpu, value: int) -> None:
        getattr(gpu, attribute)[place] = value

    return Question(name, function, ask, put)


def _memory(nvml: Any, handle: Any) -> list[int]:
    told = nvml.nvmlDeviceGetMemoryInfo(handle, nvml.nvmlMemory_v2)
    return [told.total, told.reserved, told.used]


def _bar1(nvml: Any, handle: Any) -> list[int]:
    told = nvml.nvmlDeviceGetBAR1MemoryInfo(handle)
    return [told.bar1Total, told.bar1Used]


def _utilization(nvml: Any, handle: Any) -> list[int]:
    told = nvml.nvmlDeviceGetUtilizationRates(handle)
    return [told.gpu, told.memory]


def _nothing(gpu: Gpu, value: Any) -> None:
    """It follows from other answers."""


def _ecc(gpu: Gpu, corrected: int, count: int) -> None:
    gpu.data.ecc[0][corrected][2] = count


QUESTIONS: tuple[Question, ...] = (
    _one("nvmlDeviceGetName", "name"),
    _one("nvmlDeviceGetArchitecture", "architecture"),
    Question(
        "nvmlDeviceGetPciInfo_v3", "nvmlDeviceGetPciInfo_v3", lambda n, h: n.nvmlDeviceGetPciInfo_v3(h).busId, _nothing
    ),
    _one("nvmlDeviceGetVbiosVersion", "vbios"),
    _several(
        "nvmlDeviceGetUtilizationRates",
        "nvmlDeviceGetUtilizationRates",
        _utilization,
        "busy_percent",
        "memory_percent",
    ),
    _several(
        "nvmlDeviceGetMemoryInfo_v2",
        "nvmlDeviceGetMemoryInfo_v2",
        _memory,
        "memory_total",
        "memory_reserved",
        "memory_used",
    ),
    _several("nvmlDeviceGetBAR1MemoryInfo", "nvmlDeviceGetBAR1MemoryInfo", _bar1, "bar1_total", "bar1_used"),
    _one("nvmlDeviceGetPowerUsage", "power_mw"),
    _one("nvmlDeviceGetPowerManagementLimit", "power_limit_mw"),
    _one("nvmlDeviceGetEnforcedPowerLimit", "enforced_limit_mw"),
    _several(
        "nvmlDeviceGetPowerManagementLimitConstraints",
        "nvmlDeviceGetPowerManagementLimitConstraints",
        lambda n, h: list(n.nvmlDeviceGetPowerManagementLimitConstraints(h)),
        "power_limit_min_mw",
        "power_limit_max_mw",
    ),
    Question(
        "nvmlDeviceGetTotalEnergyConsumption",
        "nvmlDeviceGetTotalEnergyConsumption",
        lambda n, h: n.nvmlDeviceGetTotalEnergyConsumption(h),
        lambda gpu, value: gpu.energy_mj.set(value),
    ),
    _one("nvmlDeviceGetTemperatureV", "temperature_c", 0),
    _one("nvmlDeviceGetTemperature", "temperature_c", 0),
    _one("nvmlDeviceGetMarginTemperature", "margin_c"),
    _at("nvmlDeviceGetClockInfo SM", "nvmlDeviceGetClockInfo", "clocks_mhz", 1),
    _at("nvmlDeviceGetClockInfo memory", "nvmlDeviceGetClockInfo", "clocks_mhz", 2),
    _at("nvmlDeviceGetMaxClockInfo SM", "nvmlDeviceGetMaxClockInfo", "clocks_max_mhz", 1),
    _one("nvmlDeviceGetCurrentClocksEventReasons", "clock_reasons"),
    _one("nvmlDeviceGetPerformanceState", "performance_state"),
    _one("nvmlDeviceGetComputeMode", "compute_mode"),
    Question(
        "nvmlDeviceGetTotalEccErrors corrected",
        "nvmlDeviceGetTotalEccErrors",
        lambda n, h: n.nvmlDeviceGetTotalEccErrors(h, 0, 0),
        lambda gpu, value: _ecc(gpu, 0, value),
    ),
    Question(
        "nvmlDeviceGetTotalEccErrors uncorrected",
        "nvmlDeviceGetTotalEccErrors",
        lambda n, h: n.nvmlDeviceGetTotalEccErrors(h, 1, 0),
        lambda gpu, value: _ecc(gpu, 1, value),
    ),
    _several(
        "nvmlDeviceGetRemappedRows",
        "nvmlDeviceGetRemappedRows",
        lambda n, h: list(n.nvmlDeviceGetRemappedRows(h)),
        "rows_corrected",
        "rows_uncorrected",
        "rows_pending",
        "rows_failed",
    ),
    _one("nvmlDeviceGetCurrPcieLinkGeneration", "pcie_generation"),
    _one("nvmlDeviceGetCurrPcieLinkWidth", "pcie_width"),
    Question(
        "nvmlDeviceGetPcieReplayCounter",
        "nvmlDeviceGetPcieReplayCounter",
        lambda n, h: n.nvmlDeviceGetPcieReplayCounter(h),
        lambda gpu, value: gpu.pcie_replays.set(value),
    ),
    Question(
        "nvmlDeviceGetEncoderUtilization",
        "nvmlDeviceGetEncoderUtilization",
        lambda n, h: n.nvmlDeviceGetEncoderUtilization(h)[0],
        lambda gpu, value: setattr(gpu, "encoder_percent", value),
    ),
    Question(
        "nvmlDeviceGetDecoderUtilization",
        "nvmlDeviceGetDecoderUtilization",
        lambda n, h: n.nvmlDeviceGetDecoderUtilization(h)[0],
        lambda gpu, value: setattr(gpu, "decoder_percent", value),
    ),
    Question("nvmlDeviceGetMigMode", "nvmlDeviceGetMigMode", lambda n, h: list(n.nvmlDeviceGetMigMode(h)), _nothing),
    _one("nvmlDeviceGetMaxMigDeviceCount", "mig_max"),
    _one("nvmlDeviceGetSupportedEventTypes", "event_types"),
    _one("nvmlDeviceGetNumaNodeId", "numa_node"),
    Question(
        "nvmlDeviceGetComputeRunningProcesses_v3",
        "nvmlDeviceGetComputeRunningProcesses_v3",
        lambda n, h: len(n.nvmlDeviceGetComputeRunningProcesses_v3(h)),
        _nothing,
    ),
    Question(
        "nvmlDeviceGetMPSComputeRunningProcesses_v3",
        "nvmlDeviceGetMPSComputeRunningProcesses_v3",
        lambda n, h: len(n.nvmlDeviceGetMPSComputeRunningProcesses_v3(h)),
        _nothing,
    ),
    Question(
        "nvmlDeviceGetProcessUtilization",
        "nvmlDeviceGetProcessUtilization",
        lambda n, h: len(n.nvmlDeviceGetProcessUtilization(h, 0)),
        lambda gpu, value: None,
    ),
)
FIELD_IDS: tuple[tuple[int, int], ...] = (
    *((number, 0) for number in (3, 4, 74, 75, 82, 83, 91, 94, 142, 143, 144, 145, 185, 186, 197, 198, 230, 269, 270)),
    (138, 0xFFFFFFFF),
    (139, 0xFFFFFFFF),
)
"""Every field of FieldValues that the collector asks for."""
SAMPLE_KINDS = (0, 1, 2, 5, 6)
GPM_NUMBERS = (1, 2, 3, 5, 10, 11, 12, 13, 20, 21, 60, 61)
GPM_APART_MS = (0, 20, 50, 80, 110, 250)
"""How far two samples are apart whose comparison is tried."""
