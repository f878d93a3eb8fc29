"""The lock of a data folder: one service at a time."""

from __future__ import annotations

import fcntl
from pathlib import Path
from typing import IO

from autoscaler.errors import InputError


def own(data_dir: Path) -> IO[str]:
    """The lock of a data folder, made if needed: two services on one journal would each order the other's machines."""
    path = data_dir / "lock"
    try:
        data_dir.mkdir(parents=True, exist_ok=True, mode=0o700)
        lock = path.open("w")
    except OSError as error:
        raise InputError(
            f"data_dir {data_dir}: {error.strerror}; make it writable for this user or name another with --data-dir"
        ) from error
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        lock.close()
        raise InputError(
            f"data_dir {data_dir}: another sigmascale runs on it; stop that one or name another with --data-dir"
        ) from error
    return lock
