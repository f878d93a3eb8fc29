"""PCI addresses in one spelling: NVML, the kernel log, NCCL's files and nvidia-smi each write their own."""

from __future__ import annotations

import re

_ADDRESS = re.compile(r"(?:([0-9a-f]{4,8}):)?([0-9a-f]{2}):([0-9a-f]{2})(?:\.[0-9a-f])?")


def address(text: str) -> str:
    """`domain:bus:device` in lower case with a domain of eight digits; ValueError for another text.

    The function number is left out: a GPU is function 0 of its device, and the kernel log does not print it.
    """
    match = _ADDRESS.fullmatch(text.strip().lower())
    if match is None:
        raise ValueError(f"{text!r} is no PCI address; write domain:bus:device such as 0000:9b:00.0")
    return f"{int(match[1] or '0', 16):08x}:{match[2]}:{match[3]}"


def of_device(info: object) -> str:
    """The address of a device out of what NVML tells about it, in our spelling; ValueError for a text that is none."""
    return address(printed(info))


def printed(info: object) -> str:
    """The address in what NVML tells about a PCI device (nvmlPciInfo_t), as it is; empty without one."""
    told = getattr(info, "busId", "")
    return told.decode(errors="replace") if isinstance(told, bytes) else str(told)


def switch(text: str) -> bool:
    """Whether an address stands for an NVSwitch, which has none of its own: NVML and NCCL write all ones."""
    return text.strip().lower().startswith(("ffffffff:", "ffff:ff:ff"))
