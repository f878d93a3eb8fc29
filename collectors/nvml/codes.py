"""What each error code of the driver's library means for us: one row for each code, and what we do about it.

Codes are plain numbers of nvml.h. The classes of the bindings are not used: an NVMLError is unhashable and its
comparison breaks on other types, so only its `.value` is looked at.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Availability = Literal["ok", "unsupported", "no_permission", "paused", "lost", "absent"]
"""Whether a metric of a device can be had; only `ok` carries a value. Its age is the reading's quality, not this."""

Remedy = Literal[
    "none",
    "unsupported",
    "no_permission",
    "no_news",
    "again",
    "back_off",
    "retry",
    "paused",
    "older",
    "handle",
    "lost",
    "reset",
    "restart",
    "reinit",
    "driver",
    "unknown",
]
"""What we do. none: a success that arrived as an error. unsupported, no_permission: not asked again until the handle
is a new one. no_news: nothing to tell, no fault. again: next time. back_off: later and later. retry: once, at once.
paused: somebody else holds it. older: the older form of the call. handle: find the GPU again by its UUID. lost, reset:
stop reading this GPU. restart: this process must. reinit: start the library again. driver: there is none; ask each
minute. unknown: again, and after three rounds in a row find the GPU again."""


@dataclass(frozen=True, slots=True)
class Meaning:
    """A code: its name in nvml.h without prefix, what we do, and what a person is told."""

    code: int
    name: str
    remedy: Remedy
    text: str

    @property
    def counted(self) -> bool:
        """Whether it counts in gpu_collect_errors_total."""
        return self.remedy not in ("none", "no_news")


UNINITIALIZED, INVALID_ARGUMENT, NOT_SUPPORTED, NO_PERMISSION, NOT_FOUND, INSUFFICIENT_SIZE = 1, 2, 3, 4, 6, 7
DRIVER_NOT_LOADED, LIBRARY_NOT_FOUND, FUNCTION_NOT_FOUND = 9, 12, 13
LOST, RESET_REQUIRED, MISMATCH, IN_USE, NO_DATA, GPU_NOT_FOUND, UNKNOWN = 15, 16, 18, 19, 21, 28, 999
UNKNOWN_LIMIT = 3
"""Rounds in a row with error 999 after which the GPU is looked for again."""

_CAPABILITY = "in a container, give it the utility capability (NVIDIA_DRIVER_CAPABILITIES)"

MEANINGS: tuple[Meaning, ...] = (
    Meaning(0, "SUCCESS", "none", "the call succeeded and had nothing to give"),
    Meaning(1, "UNINITIALIZED", "reinit", "the library is not initialized; it is started again"),
    Meaning(2, "INVALID_ARGUMENT", "handle", "the handle is stale, or the driver does not know this argument"),
    Meaning(3, "NOT_SUPPORTED", "unsupported", "this GPU does not tell it"),
    Meaning(4, "NO_PERMISSION", "no_permission", "this user may not ask; run as root or allow it in the driver"),
    Meaning(5, "ALREADY_INITIALIZED", "none", "the library was started before"),
    Meaning(6, "NOT_FOUND", "no_news", "there is nothing of the kind"),
    Meaning(7, "INSUFFICIENT_SIZE", "retry", "the list grew while it was read"),
    Meaning(8, "INSUFFICIENT_POWER", "again", "the GPU lacks external power; check its cables"),
    Meaning(9, "DRIVER_NOT_LOADED", "driver", f"the NVIDIA driver is not loaded; {_CAPABILITY}"),
    Meaning(10, "TIMEOUT", "again", "the driver took too long"),
    Meaning(11, "IRQ_ISSUE", "again", "the driver has a problem with the GPU's interrupts"),
    Meaning(12, "LIBRARY_NOT_FOUND", "driver", f"there is no libnvidia-ml.so.1; {_CAPABILITY}"),
    Meaning(13, "FUNCTION_NOT_FOUND", "older", "this driver does not have the call"),
    Meaning(14, "CORRUPTED_INFOROM", "again", "the GPU's inforom is corrupted; have the board serviced"),
    Meaning(15, "GPU_IS_LOST", "lost", "the GPU is lost (it fell off the bus); reset it or replace the machine"),
    Meaning(16, "RESET_REQUIRED", "reset", "the GPU needs a reset before it can be used; drain the machine"),
    Meaning(17, "OPERATING_SYSTEM", "again", "the operating system blocks the call"),
    Meaning(
        18, "LIB_RM_VERSION_MISMATCH", "restart", "driver and library differ since an update; restart this process"
    ),
    Meaning(19, "IN_USE", "paused", "somebody else holds it, such as a profiler"),
    Meaning(20, "MEMORY", "back_off", "the driver has not enough memory"),
    Meaning(21, "NO_DATA", "no_news", "there is no data this time"),
    Meaning(22, "VGPU_ECC_NOT_SUPPORTED", "again", "ECC does not go together with this vGPU"),
    Meaning(23, "INSUFFICIENT_RESOURCES", "back_off", "the driver has not enough resources"),
    Meaning(24, "FREQ_NOT_SUPPORTED", "unsupported", "this GPU does not have the clock"),
    Meaning(25, "ARGUMENT_VERSION_MISMATCH", "older", "this driver wants another version of the structure"),
    Meaning(26, "DEPRECATED", "older", "the call is deprecated"),
    Meaning(27, "NOT_READY", "again", "the GPU is not ready yet"),
    Meaning(28, "GPU_NOT_FOUND", "handle", "the driver does not find the GPU; it is looked for again"),
    Meaning(29, "INVALID_STATE", "handle", "the GPU is in a state in which it cannot be asked"),
    Meaning(30, "RESET_TYPE_NOT_SUPPORTED", "again", "this kind of reset is not supported"),
    Meaning(
        999,
        "UNKNOWN",
        "unknown",
        "the driver does not say why; in a container, access to the device was probably lost: restart it",
    ),
)

_BY_CODE = {row.code: row for row in MEANINGS}


def meaning(code: int) -> Meaning:
    """What a code means; one that nvml.h does not know counts as a failure of this one time."""
    return _BY_CODE.get(code) or Meaning(code, f"ERROR_{code}", "again", f"the driver answers with error {code}")
