"""Structures and codes of DCGM, as many as are used. See README.md."""

from __future__ import annotations

import ctypes

DCGM_ST_OK = 0
DCGM_ST_NO_DATA = -14
DCGM_ST_NO_PERMISSION = -17
DCGM_ST_CONNECTION_NOT_VALID = -21
DCGM_ST_REQUIRES_ROOT = -29
DCGM_ST_IN_USE = -34
DCGM_ST_PROFILING_NOT_SUPPORTED = -36
DCGM_ST_PAUSED = -54
DCGM_OPERATION_MODE_AUTO = 1
DCGM_GROUP_EMPTY = 1
DCGM_HEALTH_WATCH_ALL = 0xFFFFFFFF
DCGM_POLICY_COND_IDX_XID = 6
DCGM_POLICY_COND_XID = 0x40
dcgmPolicy_version1 = 1  # noqa: N816 - DCGM's names


class DCGMError(Exception):
    """A code that is not DCGM_ST_OK."""

    def __init__(self, value: int) -> None:
        super().__init__(f"DCGM says {value}")
        self.value = value


def _dcgmInit(lib_dcgm_path: str | None = None) -> None:
    """Loads the library, of which there is none here."""


class c_dcgmConnectV3Params_v1(ctypes.Structure):  # noqa: N801
    _fields_ = [("version", ctypes.c_uint), ("persistAfterDisconnect", ctypes.c_uint), ("timeoutMs", ctypes.c_uint)]


class Value(ctypes.Union):
    _fields_ = [("i64", ctypes.c_int64), ("dbl", ctypes.c_double), ("str", ctypes.c_char * 256)]


class c_dcgmFieldValue_v1(ctypes.Structure):  # noqa: N801
    _fields_ = [
        ("version", ctypes.c_uint),
        ("fieldId", ctypes.c_ushort),
        ("fieldType", ctypes.c_short),
        ("status", ctypes.c_int),
        ("ts", ctypes.c_int64),
        ("value", Value),
    ]


class Parm(ctypes.Union):
    _fields_ = [("boolean", ctypes.c_bool), ("llval", ctypes.c_longlong)]


class Parms(ctypes.Structure):
    _fields_ = [("tag", ctypes.c_uint), ("val", Parm)]


class c_dcgmPolicy_v1(ctypes.Structure):  # noqa: N801
    _fields_ = [
        *[(name, ctypes.c_uint) for name in ("version", "condition", "mode", "isolation", "action", "validation")],
        ("response", ctypes.c_uint),
        ("parms", Parms * 7),
    ]


class Xid(ctypes.Structure):
    _fields_ = [("timestamp", ctypes.c_longlong), ("errnum", ctypes.c_uint)]


class Violation(ctypes.Union):
    _fields_ = [("xid", Xid)]


class c_dcgmPolicyCallbackResponse_v2(ctypes.Structure):  # noqa: N801
    _fields_ = [
        ("version", ctypes.c_uint),
        ("condition", ctypes.c_int),
        ("val", Violation),
        ("gpuId", ctypes.c_uint),
    ]
