"""Kinds of entities and the fields that there are. See README.md."""

from __future__ import annotations

import ctypes

DCGM_FE_GPU = 1
DCGM_FE_GPU_I = 4
UNKNOWN = {1523}
"""Fields that this DCGM does not have."""


class c_dcgm_field_meta_t(ctypes.Structure):  # noqa: N801
    _fields_ = [("fieldId", ctypes.c_ushort)]


def DcgmFieldGetById(field_id: int) -> c_dcgm_field_meta_t | None:
    return None if field_id in UNKNOWN else c_dcgm_field_meta_t(field_id)
