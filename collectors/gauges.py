"""What one GPU tells through the driver's library (NVML), and what a refusal of each call means.

Missing is not zero: a metric that this GPU cannot tell is absent, one that it did not tell this once is NaN.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Literal

from autoscaler.types import SeriesKey

Availability = Literal["ok", "unsupported", "no_permission", "lost"]

# Numbers of nvml.h. The classes of the bindings are not used: an NVMLError is unhashable and compares badly.
UNINITIALIZED, INVALID_ARGUMENT, NO_PERMISSION, NO_DRIVER, NO_LIBRARY = 1, 2, 4, 9, 12
LOST, RESET_REQUIRED, MISMATCH, UNKNOWN = 15, 16, 18, 999
UNSUPPORTED = (3, 13, 24)
OLDER_CALL = (13, 25, 26)
STALE_HANDLE = (UNINITIALIZED, INVALID_ARGUMENT, 28, 29)
UNKNOWN_LIMIT = 3
"""Rounds in a row with error 999 after which the device is looked for again."""
WORDS = {
    NO_DRIVER: "the NVIDIA driver is not loaded; in a container, give it the utility capability",
    NO_LIBRARY: "there is no libnvidia-ml.so.1; in a container, give it the utility capability",
    LOST: "the GPU is lost (it fell off the bus); reset it or replace the machine",
    RESET_REQUIRED: "the GPU needs a reset before it can be used; drain the machine",
    MISMATCH: "driver and library differ since an update; restart this process",
    UNKNOWN: "the driver does not say why; in a container, access to the device was probably lost: restart it",
}


@dataclass(frozen=True, slots=True)
class GpuInfo:
    """One GPU: its UUID, which unlike its index never changes, its model and its memory (0 = it does not tell)."""

    uuid: str
    name: str
    memory_bytes: int


@dataclass(frozen=True, slots=True)
class MetricState:
    """Whether one metric of one GPU can be had, and if not, why."""

    uuid: str
    metric: str
    availability: Availability
    detail: str = ""


Read = Callable[[Any, Any], tuple[float, ...]]


@dataclass(frozen=True, slots=True)
class Call:
    """One call of the library (module, handle), the metrics that it gives in base units, and its older form."""

    metrics: tuple[str, ...]
    read: Read
    older: Read | None = None


def _memory(memory: Any) -> tuple[float, ...]:
    return float(memory.used), float(memory.total)


CALLS = (
    Call(("gpu_busy_ratio",), lambda nvml, gpu: (nvml.nvmlDeviceGetUtilizationRates(gpu).gpu / 100,)),
    Call(
        ("gpu_memory_used_bytes", "gpu_memory_total_bytes"),
        lambda nvml, gpu: _memory(nvml.nvmlDeviceGetMemoryInfo(gpu, nvml.nvmlMemory_v2)),
        lambda nvml, gpu: _memory(nvml.nvmlDeviceGetMemoryInfo(gpu)),  # its `used` includes what the driver reserves
    ),
    Call(("gpu_power_watts",), lambda nvml, gpu: (nvml.nvmlDeviceGetPowerUsage(gpu) / 1000,)),
    Call(
        ("gpu_temperature_celsius",),
        lambda nvml, gpu: (float(nvml.nvmlDeviceGetTemperatureV(gpu, nvml.NVML_TEMPERATURE_GPU)),),
        lambda nvml, gpu: (float(nvml.nvmlDeviceGetTemperature(gpu, nvml.NVML_TEMPERATURE_GPU)),),
    ),
    Call(("gpu_sm_clock_hertz",), lambda nvml, gpu: (nvml.nvmlDeviceGetClockInfo(gpu, nvml.NVML_CLOCK_SM) * 1e6,)),
)


@dataclass
class Gpu:
    """One GPU as it is read. A new handle after the library started again asks everything anew.

    trouble: why nothing can be read, empty while something can. lost: the device itself is gone. stale: only its
    handle is, so that it should be looked for again. keys: of its last batch.
    """

    info: GpuInfo
    handle: Any
    trouble: str = ""
    lost: bool = False
    stale: bool = False
    keys: tuple[SeriesKey, ...] = ()
    _refused: dict[Call, int] = field(default_factory=dict)
    _older: set[Call] = field(default_factory=set)
    _unknown: int = 0

    def reopen(self, handle: Any) -> None:
        """Go on with a new handle."""
        self.handle, self.trouble, self.lost, self.stale, self._unknown = handle, "", False, False, 0
        self._refused.clear()
        self._older.clear()

    def read(self, nvml: Any) -> dict[str, float]:
        """Every metric that this GPU can tell, NaN where it could not this once; always gpu_up and gpu_lost."""
        values = {} if self.trouble else self._gauges(nvml)
        if self.trouble:
            return {"gpu_up": 0.0, "gpu_lost": float(self.lost)}
        heard = not values or any(math.isfinite(value) for value in values.values())
        return {**values, "gpu_up": float(heard), "gpu_lost": 0.0}

    def states(self) -> tuple[MetricState, ...]:
        """The availability of every metric."""
        return tuple(self._state(call, metric) for call in CALLS for metric in call.metrics)

    def _state(self, call: Call, metric: str) -> MetricState:
        if self.trouble:
            return MetricState(self.info.uuid, metric, "lost", self.trouble)
        code = self._refused.get(call)
        if code is None:
            return MetricState(self.info.uuid, metric, "ok")
        refusal: Availability = "no_permission" if code == NO_PERMISSION else "unsupported"
        return MetricState(self.info.uuid, metric, refusal, f"the driver answers with NVML error {code}")

    def _gauges(self, nvml: Any) -> dict[str, float]:
        values: dict[str, float] = {}
        codes: set[int] = set()
        for call in CALLS:
            if call in self._refused:
                continue
            code, numbers = self._ask(nvml, call)
            if code in (*UNSUPPORTED, NO_PERMISSION):
                self._refused[call] = code
                continue
            codes.add(code)
            values.update(zip(call.metrics, numbers, strict=True))
            if code in (LOST, RESET_REQUIRED, MISMATCH):
                # The other calls would only say the same, each after its own wait in the driver.
                self.trouble, self.lost = WORDS[code], code == LOST
                break
        self.stale = not codes.isdisjoint(STALE_HANDLE)
        self._unknown = self._unknown + 1 if UNKNOWN in codes else 0
        if self._unknown >= UNKNOWN_LIMIT:
            self.trouble = WORDS[UNKNOWN]
        return values

    def _ask(self, nvml: Any, call: Call) -> tuple[int, tuple[float, ...]]:
        """Code and numbers of one call, NaN unless the code is 0; its older form where the driver knows no newer."""
        read = call.older if call in self._older and call.older is not None else call.read
        try:
            return 0, read(nvml, self.handle)
        except nvml.NVMLError as error:
            code = int(error.value)
        if code in OLDER_CALL and call.older is not None and call not in self._older:
            self._older.add(call)
            return self._ask(nvml, call)
        return code, (math.nan,) * len(call.metrics)
