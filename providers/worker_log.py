"""What a worker printed: one file each, which keeps its last part and survives a restart of the service."""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path

_LINE = 300


def open_log(path: Path) -> int:
    """A descriptor for the worker's stdout and stderr; only the owner may read the file.

    The worker writes to the file itself, not through us: a pipe would break when the service restarts.
    """
    return os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o600)


def close_log(descriptor: int) -> None:
    """Our copy of it; the worker keeps its own."""
    os.close(descriptor)


def trim(path: Path, most_bytes: int) -> None:
    """Cut a file that outgrew `most_bytes` down to its last half.

    The worker appends, so it goes on at the new end; what it writes during the cut itself may be lost.
    """
    with suppress(FileNotFoundError):
        if path.stat().st_size <= most_bytes:
            return
        with path.open("ab+") as file:
            file.seek(-(most_bytes // 2), os.SEEK_END)
            last = file.read(most_bytes // 2)
            whole_lines = last[last.find(b"\n") + 1 :]
            file.truncate(0)
            file.write(whole_lines)


def last_line(path: Path) -> str:
    """The last line with something in it, printable and at most 300 characters; "" if there is none."""
    try:
        with path.open("rb") as file:
            file.seek(0, os.SEEK_END)
            file.seek(-min(file.tell(), 8192), os.SEEK_END)
            text = file.read().decode(errors="replace")
    except OSError:
        return ""
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    return "".join(c if c.isprintable() else " " for c in lines[-1])[:_LINE] if lines else ""
