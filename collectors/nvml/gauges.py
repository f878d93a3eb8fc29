"""The gauge lane: what one look a second tells of a GPU's memory, power, heat, clocks and traffic.

Power fields come first because `nvmlDeviceGetPowerUsage` is a mean over a second on some chips and a momentary value
on others (nvml.h); the fields say which they are.
"""

from __future__ import annotations

import math
from typing import Any

from collectors.nvml import links, mig
from collectors.nvml.call import Call, Sample
from collectors.nvml.device import Device
from collectors.nvml.fields import Field, Fields

POWER, ENERGY = "gpu_power_watts", "gpu_energy_joules_total"
THERMAL = "gpu_throttle_thermal_seconds_total"
MEMORY_TEMPERATURE = "gpu_memory_temperature_celsius"
FIELDS = (
    Field(185, POWER, 1e-3),
    Field(186, "gpu_power_instant_watts", 1e-3),
    Field(83, ENERGY, 1e-3),
    Field(82, MEMORY_TEMPERATURE),
    Field(74, "gpu_throttle_power_seconds_total", 1e-9),
    Field(75, THERMAL, 1e-9),
)
"""Milliwatts, millijoules, degrees and nanoseconds (NVML_FI_DEV_* of nvml.h)."""
SLOWDOWNS = (269, 270)
"""Nanoseconds slowed down by heat, by software and by hardware: where field 75 is not counted."""
REASONS = {
    1: "idle",
    2: "clock_setting",
    4: "power_cap",
    8: "hardware_slowdown",
    16: "sync_boost",
    32: "thermal_software",
    64: "thermal_hardware",
    128: "power_brake",
    256: "display",
}
"""nvmlClocksEventReason* of nvml.h."""


def reasons(bits: int) -> tuple[Sample, ...]:
    """One sample for each reason that may hold the clocks down."""
    return tuple(
        Sample("gpu_clock_event_active", float(bool(bits & bit)), (("reason", reason),))
        for bit, reason in REASONS.items()
    )


def _utilization(nvml: Any, handle: Any) -> tuple[Sample, ...]:
    rates = nvml.nvmlDeviceGetUtilizationRates(handle)
    return Sample("gpu_busy_ratio", rates.gpu / 100), Sample("gpu_memory_copy_ratio", rates.memory / 100)


def _one(metric: str, function: str, factor: float = 1.0, *arguments: Any) -> Call:
    """A call that gives one number."""

    def read(nvml: Any, handle: Any) -> tuple[Sample, ...]:
        return (Sample(metric, getattr(nvml, function)(handle, *arguments) * factor),)

    return Call(function, (metric,), read)


def _memory(device: Device) -> Call:
    """The board's memory; of a GPU that is cut into instances these tell theirs, and the board's would count twice."""
    metrics = ("gpu_memory_used_bytes", "gpu_memory_free_bytes", "gpu_memory_total_bytes")

    def samples(told: Any, reserved: float) -> tuple[Sample, ...]:
        values = [Sample(m, float(v)) for m, v in zip(metrics, (told.used, told.free, told.total), strict=True)]
        usable = told.total - (reserved if math.isfinite(reserved) else 0.0)
        values.append(Sample("gpu_memory_used_ratio", told.used / usable if usable > 0 else math.nan))
        return tuple(values)

    def read(nvml: Any, handle: Any) -> tuple[Sample, ...]:
        if device.mig.layout.instances:
            return ()
        told = nvml.nvmlDeviceGetMemoryInfo(handle, nvml.nvmlMemory_v2)
        return *samples(told, told.reserved), Sample("gpu_memory_reserved_bytes", float(told.reserved))

    def older(nvml: Any, handle: Any) -> tuple[Sample, ...]:
        # Its `used` includes what the driver reserves, which nothing tells apart.
        return () if device.mig.layout.instances else samples(nvml.nvmlDeviceGetMemoryInfo(handle), math.nan)

    everything = (*metrics, "gpu_memory_used_ratio", "gpu_memory_reserved_bytes")
    return Call("nvmlDeviceGetMemoryInfo", everything, read, older)


def _fields(nvml: Any, device: Device) -> tuple[Call, ...]:
    """One call for all fields, and other calls for those that this driver does not give as fields."""
    given: set[str] = set()
    prepared = Fields(nvml, FIELDS, device.refuse)
    slowdowns = Fields(nvml, [Field(number, THERMAL, 1e-9) for number in SLOWDOWNS], device.refuse)

    def read(_nvml: Any, handle: Any) -> list[Sample]:
        told = [Sample(one.metric, told.value * one.factor) for one, told in prepared.read(handle)]
        given.update(sample.metric for sample in told)
        # The driver writes 0 where the memory has no sensor.
        return [sample for sample in told if sample.metric != MEMORY_TEMPERATURE or sample.value > 0]

    def otherwise(metric: str, function: str) -> Call:
        def ask(nvml: Any, handle: Any) -> tuple[Sample, ...]:
            return () if metric in given else (Sample(metric, getattr(nvml, function)(handle) / 1000),)

        return Call(function, (metric,), ask)

    def heat(_nvml: Any, handle: Any) -> tuple[Sample, ...]:
        answered = [] if THERMAL in given else slowdowns.read(handle)
        return (Sample(THERMAL, math.fsum(told.value * one.factor for one, told in answered)),) if answered else ()

    return (
        Call("nvmlDeviceGetFieldValues", tuple(field.metric for field in FIELDS), read),
        otherwise(POWER, "nvmlDeviceGetPowerUsage"),
        otherwise(ENERGY, "nvmlDeviceGetTotalEnergyConsumption"),
        Call("nvmlDeviceGetFieldValues(269,270)", (THERMAL,), heat),
    )


def calls(nvml: Any, device: Device) -> tuple[Call, ...]:
    """The calls of the gauge lane for one GPU."""
    try:
        device.mig.look(nvml, device.handle)
    except nvml.NVMLError:
        # Whether it can be cut is for the slow lane to say; until then it counts as whole.
        device.mig.layout = mig.Layout()
    sensor = nvml.NVML_TEMPERATURE_GPU
    return (
        Call(
            "nvmlDeviceGetUtilizationRates",
            ("gpu_busy_ratio", "gpu_memory_copy_ratio"),
            _utilization,
            needs="a GPU that is not cut into MIG instances",
        ),
        _memory(device),
        *_fields(nvml, device),
        _one("gpu_power_limit_watts", "nvmlDeviceGetEnforcedPowerLimit", 1e-3),
        Call(
            "nvmlDeviceGetTemperatureV",
            ("gpu_temperature_celsius",),
            _one("gpu_temperature_celsius", "nvmlDeviceGetTemperatureV", 1.0, sensor).read,
            _one("gpu_temperature_celsius", "nvmlDeviceGetTemperature", 1.0, sensor).read,
        ),
        _one("gpu_temperature_margin_celsius", "nvmlDeviceGetMarginTemperature"),
        _one("gpu_sm_clock_hertz", "nvmlDeviceGetClockInfo", 1e6, nvml.NVML_CLOCK_SM),
        _one("gpu_memory_clock_hertz", "nvmlDeviceGetClockInfo", 1e6, nvml.NVML_CLOCK_MEM),
        _one("gpu_sm_clock_max_hertz", "nvmlDeviceGetMaxClockInfo", 1e6, nvml.NVML_CLOCK_SM),
        _one("gpu_performance_state", "nvmlDeviceGetPerformanceState"),
        Call(
            "nvmlDeviceGetCurrentClocksEventReasons",
            ("gpu_clock_event_active",),
            lambda nvml, handle: reasons(int(nvml.nvmlDeviceGetCurrentClocksEventReasons(handle))),
            lambda nvml, handle: reasons(int(nvml.nvmlDeviceGetCurrentClocksThrottleReasons(handle))),
        ),
        *links.traffic(device.now),
    )
