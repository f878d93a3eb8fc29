"""Many fields in one call of the driver: prepared once for each GPU, each with a metric and a code of its own.

The layout of the two structures is that of nvml.h. Where one field is wanted now and then,
field_values.py is simpler; this is for what is read every second and faster.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Sequence
from ctypes import byref, c_int32
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from collectors.nvml import codes

FIELD = np.dtype(
    [
        ("id", "<u4"),
        ("scope", "<u4"),
        ("at_us", "<i8"),
        ("latency_us", "<i8"),
        ("type", "<i4"),
        ("code", "<i4"),
        ("raw", "<u8"),
    ]
)
DOUBLE, UINT, SIGNED_LONG, SIGNED, USHORT = 0, 1, 4, 5, 6
"""NVML_VALUE_TYPE_* of nvml.h whose 8 bytes are not simply a whole number."""


@dataclass(frozen=True, slots=True)
class Field:
    """One field: its number and scope in nvml.h, the metric that it gives, and the factor to its base unit."""

    number: int
    metric: str
    factor: float = 1.0
    scope: int = 0


@dataclass(frozen=True, slots=True)
class Told:
    """What the driver told of one field: value in base units, and when (Unix seconds, 0 = it does not say).

    raw: the value as counted by the driver. bits: how wide it is; a counter may wrap there.
    """

    field: Field
    value: float
    at: float
    raw: int
    bits: int


def decode(kind: int, raw: int) -> float:
    """The number in the 8 bytes of an nvmlValue_t of that nvmlValueType_t."""
    low = raw & 0xFFFFFFFF
    if kind == DOUBLE:
        return float(struct.unpack("<d", raw.to_bytes(8, "little"))[0])
    if kind == SIGNED_LONG:
        return float(raw - 2**64 if raw >= 2**63 else raw)
    if kind == SIGNED:
        return float(low - 2**32 if low >= 2**31 else low)
    return float({UINT: low, USHORT: raw & 0xFFFF}.get(kind, raw))


@dataclass(eq=False)
class Fields:
    """A prepared call for some fields of one GPU.

    refuse(metric, code) hears of a field that this GPU does not have; it is not asked for again.
    """

    nvml: Any
    wanted: Sequence[Field]
    refuse: Callable[[str, int], None]
    _array: Any = field(default=None, init=False, repr=False)
    _view: Any = field(default=None, init=False, repr=False)

    def __post_init__(self) -> None:
        self._prepare(tuple(self.wanted))

    def _prepare(self, wanted: tuple[Field, ...]) -> None:
        self.wanted = wanted
        self._array = (self.nvml.c_nvmlFieldValue_t * len(wanted))()
        self._view = np.frombuffer(self._array, dtype=FIELD) if wanted else np.empty(0, FIELD)
        self._view["id"] = [one.number for one in wanted]
        self._view["scope"] = [one.scope for one in wanted]

    def read(self, handle: Any) -> list[Told]:
        """The fields that the driver told this time.

        Raises NVMLError when the call as a whole fails, when no field is told, and when the code of one says something
        of the GPU itself.
        """
        if not self.wanted:
            return []
        call = self.nvml._nvmlGetFunctionPointer("nvmlDeviceGetFieldValues")
        self.nvml._nvmlCheckReturn(call(handle, c_int32(len(self.wanted)), byref(self._array)))
        told: list[Told] = []
        dropped: list[Field] = []
        failed = 0
        for one, (_, _, at_us, _, kind, code, raw) in zip(self.wanted, self._view.tolist(), strict=True):
            remedy = "" if code == 0 else codes.meaning(code).remedy
            if code == 0:
                bits = 32 if kind == UINT else 64
                told.append(Told(one, decode(kind, raw) * one.factor, at_us / 1e6, raw & ((1 << bits) - 1), bits))
            elif remedy in ("lost", "reset", "restart", "reinit"):
                raise self.nvml.NVMLError(code)
            elif remedy in ("unsupported", "no_permission", "older", "handle"):
                # An argument that is invalid for one field only is a field that this driver does not know yet.
                dropped.append(one)
                self.refuse(one.metric, code if code == codes.NO_PERMISSION else codes.NOT_SUPPORTED)
            elif remedy != "no_news":
                failed = code
        if dropped:
            self._prepare(tuple(one for one in self.wanted if one not in dropped))
        if failed and not told:
            raise self.nvml.NVMLError(failed)
        return told
