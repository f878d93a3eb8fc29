"""The buffer lane: the samples that the driver itself keeps, drained with the time of the last one seen.

They are the only history below 100 ms that costs next to nothing. A buffer that was overwritten before it was drained
is a gap, which is counted. The bindings' own function makes two calls and an object for each sample; here one array is
filled again and again.
"""

from __future__ import annotations

from collections.abc import Callable
from ctypes import byref, c_int, c_uint, c_ulonglong
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from autoscaler.types import FloatArray
from collectors.nvml import codes
from collectors.nvml.call import Call, Sample
from collectors.nvml.device import Device
from collectors.nvml.fields import DOUBLE, UINT, decode
from collectors.nvml.history import History

SAMPLE = np.dtype([("at_us", "<u8"), ("raw", "<u8")])
ROOM, ROOM_LIMIT = 256, 16384
"""Samples of one answer; drivers are said to keep 100 to 120 of a kind. Grown when a driver keeps more."""
GAP_PERIODS = 2.0
"""A hole of so many sampling periods, right where the buffer begins, is one that it has overwritten."""
AHEAD_US = 5_000_000
"""No sample is dated so far ahead of us."""
OVERRUN = "overrun"
FUNCTION = "nvmlDeviceGetSamples"

Keep = Callable[[str], History | None]
"""The history of a metric."""


@dataclass(frozen=True, slots=True)
class Kind:
    """One buffer: NVML_*_SAMPLES of nvml.h, the metric, and the factor to its base unit (mW, percent, MHz)."""

    number: int
    metric: str
    factor: float


KINDS = (
    Kind(0, "gpu_power_watts", 1e-3),
    Kind(1, "gpu_busy_ratio", 1e-2),
    Kind(2, "gpu_memory_copy_ratio", 1e-2),
    Kind(5, "gpu_sm_clock_hertz", 1e6),
    Kind(6, "gpu_memory_clock_hertz", 1e6),
)


@dataclass(eq=False)
class Buffer:
    """One array for the buffers of one GPU."""

    nvml: Any
    _array: Any = field(default=None, init=False, repr=False)
    _view: Any = field(default=None, init=False, repr=False)

    def __post_init__(self) -> None:
        self._make(ROOM)

    def _make(self, room: int) -> None:
        self._array = (self.nvml.c_nvmlSample_t * room)()
        self._view = np.frombuffer(self._array, dtype=SAMPLE)

    def drain(self, handle: Any, number: int, last_us: int) -> tuple[Any, FloatArray]:
        """Times in microseconds and values of what is newer than `last_us`, (time,) each, ascending. NVMLError."""
        call = self.nvml._nvmlGetFunctionPointer(FUNCTION)
        while True:
            kind, count = c_int(UINT), c_uint(len(self._view))
            code = call(handle, number, c_ulonglong(last_us), byref(kind), byref(count), self._array)
            full = code == codes.INSUFFICIENT_SIZE or (code == 0 and count.value >= len(self._view))
            if full and len(self._view) < ROOM_LIMIT:
                # Reading takes nothing out of the buffer, so that it can be read again with more room.
                self._make(2 * len(self._view))
                continue
            if code in (codes.NOT_FOUND, codes.NO_DATA):
                return np.empty(0, np.uint64), np.empty(0)
            self.nvml._nvmlCheckReturn(code)
            break
        told = self._view[: min(count.value, len(self._view))]
        told = told[told["at_us"] > last_us]
        if len(told) and (told["at_us"][1:] < told["at_us"][:-1]).any():
            told = told[np.argsort(told["at_us"], kind="stable")]
        return told["at_us"].copy(), _values(kind.value, told["raw"])


def _values(kind: int, raw: Any) -> FloatArray:
    if kind == UINT:
        return np.asarray(raw & 0xFFFFFFFF, np.float64)
    if kind == DOUBLE:
        return np.ascontiguousarray(raw).view(np.float64)
    return np.array([decode(kind, int(one)) for one in raw], np.float64)


@dataclass(eq=False)
class Drain:
    """Where one buffer stands. depth: the most that one answer held. stamp: hears of the newest time, Unix seconds."""

    kind: Kind
    device: Device
    keep: Keep
    stamp: Callable[[float], None]
    last_us: int = 0
    depth: int = 0

    def call(self, buffer: Buffer) -> Call:
        """The call that drains it; the newest sample stands for the metric where no gauge tells it."""

        def read(_nvml: Any, handle: Any) -> tuple[Sample, ...]:
            now_us = round(self.device.now() * 1e6)
            if self.last_us > now_us + AHEAD_US:
                # The clock went back, and the driver's times with it: until it is as late again nothing would be new.
                self.last_us = now_us
            at_us, values = buffer.drain(handle, self.kind.number, self.last_us)
            if not len(at_us):
                return ()
            if self._overrun(at_us):
                self.device.errors[FUNCTION, OVERRUN] += 1
            self.last_us, self.depth = int(at_us[-1]), max(self.depth, len(at_us))
            history = self.keep(self.kind.metric)
            if history is not None:
                history.extend(at_us / 1e6, values * self.kind.factor)
            self.stamp(self.last_us / 1e6)
            return (Sample(self.kind.metric, float(values[-1]) * self.kind.factor),)

        return Call(FUNCTION, (self.kind.metric,), read, needs="a GPU that is not cut into MIG instances")

    def _overrun(self, at_us: Any) -> bool:
        """Whether samples were lost since the last drain: a full buffer that begins well after the last one seen.

        A buffer that is not full has lost nothing: the driver merely made no samples for a while.
        """
        if not self.last_us or len(at_us) < max(2, self.depth):
            return False
        period_us = float(np.median(np.diff(at_us.astype(np.int64))))
        return float(at_us[0]) - self.last_us > GAP_PERIODS * period_us


@dataclass(eq=False)
class Drains:
    """The buffers of one GPU. They know what they have seen even after its handle was found again."""

    device: Device
    keep: Keep
    stamp: Callable[[float], None] = lambda at: None
    _drains: tuple[Drain, ...] = field(default=(), init=False, repr=False)

    def calls(self, nvml: Any, _device: Device) -> tuple[Call, ...]:
        """The calls of the buffer lane."""
        if not self._drains:
            self._drains = tuple(Drain(kind, self.device, self.keep, self.stamp) for kind in KINDS)
        buffer = Buffer(nvml)
        return tuple(drain.call(buffer) for drain in self._drains)
