"""Fields of the driver: one number each with a code and a time of its own, many of them in one call.

The layout of the two structures is that of nvml.h. A `Query` is prepared once and asked again and again; what is wanted
only now and then is asked through `read` and `one`.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Sequence
from ctypes import byref, c_int32
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from collectors.nvml import codes

ALL_LINKS = 0xFFFFFFFF
"""Scope of a field that NVLinks have: the sum over all of them. A bare id reads link 0 only."""
LAYOUT = np.dtype(
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
"""nvmlFieldValue_t of nvml.h."""
DOUBLE, UINT, SIGNED_LONG, SIGNED, USHORT = 0, 1, 4, 5, 6
"""NVML_VALUE_TYPE_* of nvml.h whose 8 bytes are not simply a whole number."""
_BITS = {DOUBLE: 0, UINT: 32, SIGNED: 32, USHORT: 16}


@dataclass(frozen=True, slots=True)
class Told:
    """What the driver told of one field, in its unit. code: 0, or why there is no value. at: Unix seconds, 0 = it does
    not say.

    raw: the value as counted by the driver. bits: how wide it is; a counter may wrap there. 0 for a float.
    """

    number: int
    code: int
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


class Query:
    """One call for some fields, each an id or (id, scope)."""

    def __init__(self, nvml: Any, ids: Sequence[int | tuple[int, int]]) -> None:
        self._nvml = nvml
        self._array = (nvml.c_nvmlFieldValue_t * len(ids))()
        self._view = np.frombuffer(self._array, dtype=LAYOUT) if ids else np.empty(0, LAYOUT)
        pairs = [(one, 0) if isinstance(one, int) else one for one in ids]
        self._view["id"], self._view["scope"] = [number for number, _ in pairs], [scope for _, scope in pairs]

    def read(self, handle: Any) -> list[Told]:
        """The fields in the order in which they were given; NVMLError when the call as a whole fails."""
        if not len(self._view):
            return []
        call = self._nvml._nvmlGetFunctionPointer("nvmlDeviceGetFieldValues")
        self._nvml._nvmlCheckReturn(call(handle, c_int32(len(self._view)), byref(self._array)))
        told = []
        for number, _, at_us, _, kind, code, raw in self._view.tolist():
            bits = _BITS.get(kind, 64)
            counted = raw & ((1 << (bits or 64)) - 1)
            told.append(Told(number, code, 0.0 if code else decode(kind, raw), at_us / 1e6, counted, bits))
        return told


def read(nvml: Any, handle: Any, ids: Sequence[int | tuple[int, int]]) -> list[Told]:
    """Some fields in one call; a refused one carries its code."""
    return Query(nvml, ids).read(handle)


def one(nvml: Any, handle: Any, number: int) -> Told:
    """One field; raises NVMLError with its code where it is refused."""
    return given(nvml, read(nvml, handle, [number]))[0]


def given(nvml: Any, told: list[Told]) -> list[Told]:
    """The same fields; raises NVMLError with the code of the first that was refused."""
    for each in told:
        if each.code:
            raise nvml.NVMLError(each.code)
    return told


@dataclass(frozen=True, slots=True)
class Field:
    """A field that is a metric: its number and scope in nvml.h, and the factor to the metric's base unit."""

    number: int
    metric: str
    factor: float = 1.0
    scope: int = 0


@dataclass(eq=False)
class Fields:
    """Fields of one GPU that are metrics, asked again and again in one call.

    refuse(metric, code) hears of a field that this GPU does not have; it is not asked for again.
    """

    nvml: Any
    wanted: Sequence[Field]
    refuse: Callable[[str, int], None]
    _query: Query = field(init=False, repr=False)

    def __post_init__(self) -> None:
        self._prepare(tuple(self.wanted))

    def _prepare(self, wanted: tuple[Field, ...]) -> None:
        self.wanted = wanted
        self._query = Query(self.nvml, [(one.number, one.scope) for one in wanted])

    def read(self, handle: Any) -> list[tuple[Field, Told]]:
        """The fields that the driver told this time.

        Raises NVMLError when the call as a whole fails, when no field is told, and when the code of one says something
        of the GPU itself.
        """
        answered: list[tuple[Field, Told]] = []
        dropped: list[Field] = []
        failed = 0
        for one, told in zip(self.wanted, self._query.read(handle), strict=True):
            remedy = "" if told.code == 0 else codes.meaning(told.code).remedy
            if told.code == 0:
                answered.append((one, told))
            elif remedy in ("lost", "reset", "restart", "reinit"):
                raise self.nvml.NVMLError(told.code)
            elif remedy in ("unsupported", "no_permission", "older", "handle"):
                # An argument that is invalid for one field only is a field that this driver does not know yet.
                dropped.append(one)
                self.refuse(one.metric, told.code if told.code == codes.NO_PERMISSION else codes.NOT_SUPPORTED)
            elif remedy != "no_news":
                failed = told.code
        if dropped:
            self._prepare(tuple(one for one in self.wanted if one not in dropped))
        if failed and not answered:
            raise self.nvml.NVMLError(failed)
        return answered
