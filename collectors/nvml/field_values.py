"""Field values of the driver: one number each, with a code and a time of its own."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

ALL_LINKS = 0xFFFFFFFF
"""Scope of a field that NVLinks have: the sum over all of them. A bare id reads link 0 only."""
_BITS = {1: 32, 2: 64, 3: 64, 4: 64, 5: 32, 6: 16}
_NAMES = {0: "dVal", 1: "uiVal", 2: "ulVal", 3: "ullVal", 4: "sllVal", 5: "siVal", 6: "usVal"}


@dataclass(frozen=True, slots=True)
class Field:
    """One value as the driver gave it. code: 0, or why there is none. at: seconds, 0 = the driver does not say.

    bits: how wide the driver's integer is, 0 for a float; a counter may wrap there.
    """

    number: int
    value: float | int
    code: int
    at: float
    bits: int


def read(nvml: Any, handle: Any, ids: Sequence[int | tuple[int, int]]) -> tuple[Field, ...]:
    """The values of fields, given as an id or as (id, scope), in one call; a refused field carries its code."""
    fields = []
    for told in nvml.nvmlDeviceGetFieldValues(handle, list(ids)):
        kind = int(told.valueType)
        value = getattr(told.value, _NAMES[kind]) if kind in _NAMES else 0
        fields.append(Field(int(told.fieldId), value, int(told.nvmlReturn), told.timestamp / 1e6, _BITS.get(kind, 0)))
    return tuple(fields)


def one(nvml: Any, handle: Any, number: int, scope: int = 0) -> Field:
    """One field that the driver gave; raises NVMLError with the field's own code."""
    return given(nvml, read(nvml, handle, [(number, scope)]))[0]


def given(nvml: Any, fields: tuple[Field, ...]) -> tuple[Field, ...]:
    """The same fields; raises NVMLError with the code of the first that was refused."""
    for field in fields:
        if field.code:
            raise nvml.NVMLError(field.code)
    return fields
