"""What a driver's fault code (XID) means, and what we do about it.

The class of a code is the first action that NVIDIA's XID catalogue asks for; leptonai/gpud mirrors that catalogue in
components/accelerator/nvidia/xid/catalog_generated.go. What we do is ours.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

XidClass = Literal["application", "note", "reset", "restart", "workflow", "unknown"]
Act = Literal["count", "warn", "lower_score", "check_remap", "read_recovery_action", "cordon", "drain", "replace"]


@dataclass(frozen=True, slots=True)
class Xid:
    """One fault code.

    kind: application = the fault of the process on the GPU, note = worth knowing, reset = the GPU needs a reset,
    restart = the host does, workflow = it depends, unknown = not in our table. acts: what we do, beginning with count.
    score: what the node's score is multiplied by while the fault is recent, 1 = nothing.
    """

    code: int
    name: str
    kind: XidClass
    acts: tuple[Act, ...]
    score: float = 1.0

    @property
    def fatal(self) -> bool:
        """Whether no new work may go to the GPU."""
        return "cordon" in self.acts or "replace" in self.acts

    @property
    def drains(self) -> bool:
        """Whether running work may still be waited for; after a lost GPU there is nothing to wait for."""
        return "drain" in self.acts


_COUNT: tuple[Act, ...] = ("count",)
_LOWER: tuple[Act, ...] = ("count", "lower_score")
_WARN: tuple[Act, ...] = ("count", "warn")
_CORDON: tuple[Act, ...] = ("count", "warn", "cordon")
_DRAIN: tuple[Act, ...] = ("count", "warn", "cordon", "drain", "replace")
_GONE: tuple[Act, ...] = ("count", "warn", "cordon", "replace")

_APPLICATION = {
    8: "GPU stopped processing",
    11: "invalid or corrupted push buffer",
    13: "graphics engine exception",
    25: "illegal push buffer",
    31: "memory page fault",
    32: "corrupted push buffer",
    39: "copy engine 0 exception",
    40: "copy engine 1 exception",
    41: "copy engine 2 exception",
    60: "video processor exception",
    68: "video decoder 0 exception",
    69: "graphics engine class error",
    70: "copy engine 3 error",
    71: "copy engine 4 error",
    72: "copy engine 5 error",
    75: "copy engine 6 error",
    76: "copy engine 7 error",
    77: "copy engine 8 error",
    80: "corrupted data sent to the GPU",
    82: "JPEG decoder 0 error",
    83: "video decoder 1 error",
    84: "video decoder 2 error",
    85: "copy engine 9 error",
    86: "optical flow engine exception",
    88: "video decoder 3 error",
    89: "video decoder 4 error",
    94: "contained memory error",
    96: "video decoder 5 error",
    97: "video decoder 6 error",
    98: "video decoder 7 error",
    99: "JPEG decoder 1 error",
    100: "JPEG decoder 2 error",
    101: "JPEG decoder 3 error",
    102: "JPEG decoder 4 error",
    103: "JPEG decoder 5 error",
    104: "JPEG decoder 6 error",
    105: "JPEG decoder 7 error",
    **{code: f"copy engine {code - 116} error" for code in range(126, 136)},
    139: "optical flow engine 1 error",
}
_NOTE = {
    37: "driver firmware error",
    38: "driver firmware watchdog",
    43: "GPU stopped processing, channel reset",
    44: "graphics engine fault during a context switch",
    63: "memory row remapped",
    66: "illegal access by the driver",
    67: "illegal access by the driver, verified",
    92: "many corrected memory errors",
    93: "InfoROM worn",
    106: "SMBPBI test message",
    107: "silent SMBPBI test message",
    121: "chip-to-chip link error",
    137: "NVLink privilege error",
    141: "CUDA fast path error",
    152: "DLA address translation error",
    153: "DLA time-out",
    157: "resource retirement failed",
    160: "channel retired",
    161: "channel retirement failed",
}
_RESET = {
    46: "GPU stopped processing, time-out",
    62: "micro-controller halted",
    64: "row remap failed",
    95: "uncontained memory error",
    109: "context switch time-out",
    110: "security fault",
    119: "GSP did not answer",
    120: "GSP error",
    136: "link training failed",
    140: "unrecovered memory error",
    143: "GPU initialisation error",
    155: "NVLink error defined by software",
    156: "resource retired",
    158: "fatal time-out",
}
_RESTART = {79: "GPU has fallen off the bus", 151: "key rotation error"}
_LINK_OR_ECC = {
    48: "double-bit memory error",
    74: "NVLink error",
    144: "NVLink SAW error",
    145: "NVLink RLW error",
    146: "NVLink TLW error",
    147: "NVLink TREX error",
    148: "NVLink power controller error",
    149: "NVLink NETIR error",
    150: "NVLink MSE error",
}
_DEPENDS = {
    45: "cleaned up after another fault",
    54: "auxiliary power not connected",
    78: "vGPU did not start",
    142: "video encoder 3 error",
    159: "chip-to-chip interface error",
}


def _table() -> dict[int, Xid]:
    rows = [Xid(code, name, "application", _COUNT) for code, name in _APPLICATION.items()]
    rows += [Xid(code, name, "note", _COUNT) for code, name in _NOTE.items()]
    rows += [Xid(code, name, "reset", _DRAIN, 0.0) for code, name in _RESET.items()]
    rows += [Xid(code, name, "restart", _GONE, 0.0) for code, name in _RESTART.items()]
    rows += [Xid(code, name, "workflow", _CORDON, 0.0) for code, name in _LINK_OR_ECC.items()]
    rows += [Xid(code, name, "workflow", _WARN, 0.9) for code, name in _DEPENDS.items()]
    table = {row.code: row for row in rows}
    table[63] = Xid(63, _NOTE[63], "note", _LOWER, 0.8)
    table[92] = Xid(92, _NOTE[92], "note", _LOWER, 0.8)
    # The error was contained, but a row may wait for its replacement.
    table[94] = Xid(94, _APPLICATION[94], "application", ("count", "check_remap"))
    table[154] = Xid(154, "recovery action changed", "workflow", ("count", "read_recovery_action"))
    return table


TABLE = _table()
"""Every code that asks for something, by code."""


def meaning(code: int) -> Xid:
    """What a code means; one that is not in the table is counted, warned about and held against nobody."""
    return TABLE.get(code) or Xid(code, "not in our table", "unknown", _WARN)
