"""What the readers of the machine give, and how the kernel says that it does not have a thing."""

from __future__ import annotations

import errno
from pathlib import Path

from autoscaler.types import Labels

Value = tuple[str, Labels, float]
"""Canonical metric, labels sorted by name, value in the metric's unit. NaN = no usable value this time."""

NOT_THERE = (errno.ENOENT, errno.ENOTDIR, errno.EOPNOTSUPP, errno.ENODEV)
"""How the kernel says that it does not know a file or a controller. Not a fault: the metric is absent."""
FILE_BYTES = 1 << 20


def text(path: Path) -> str | None:
    """What a file of /proc or /sys says; None where this kernel has no such file. Raises OSError for other reasons."""
    try:
        with path.open("rb") as file:
            return file.read(FILE_BYTES).decode("ascii", "replace")
    except OSError as error:
        if error.errno in NOT_THERE:
            return None
        raise


def numbers(listed: str) -> tuple[int, ...]:
    """The numbers of a kernel's list such as `0-3,8`; ValueError for anything else."""
    found: list[int] = []
    for part in listed.strip().split(","):
        if part:
            first, _, last = part.partition("-")
            found.extend(range(int(first), int(last or first) + 1))
    return tuple(found)
