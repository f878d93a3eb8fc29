"""The record of what was changed on this machine's GPUs: one line for each change, on the disk before it is made.

Whoever starts next finds in it what was not given back. What was changed before the machine was booted is void, since
the driver forgot it too.
"""

from __future__ import annotations

import fcntl
import json
import os
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, get_args

import structlog

from autoscaler.errors import InputError, StorageError
from autoscaler.ports import Clock
from collectors.nvml.controls import Act, Setting

log = structlog.get_logger(__name__)

FILE_BYTES = 4 << 20
BOOT_ID = Path("/proc/sys/kernel/random/boot_id")


def _boot_id() -> str:
    try:
        return BOOT_ID.read_text(encoding="ascii").strip()
    except OSError:
        return ""


@dataclass(eq=False)
class ActFile:
    """The record at `path`, held by this process alone. Call it with an act to write it down; from any thread.

    Opening raises InputError when the file cannot be written or another process holds it; writing raises StorageError.
    """

    path: Path
    clock: Clock
    boot: str = field(default_factory=_boot_id)
    _open: dict[tuple[str, Setting], Act] = field(default_factory=dict, init=False, repr=False)
    _file: int = field(default=-1, init=False, repr=False)
    _lock: threading.Lock = field(default_factory=threading.Lock, init=False, repr=False)

    def __post_init__(self) -> None:
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            flags = os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC | os.O_NOFOLLOW
            self._file = os.open(self.path, flags, 0o600)
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            text = os.pread(self._file, FILE_BYTES, 0).decode(errors="replace")
        except BlockingIOError:
            os.close(self._file)
            raise InputError(f"{self.path}: another agent holds it; one agent a machine may change GPUs") from None
        except OSError as error:
            raise InputError(
                f"{self.path}: cannot be written ({error.strerror}); name a file with --controls-file, on a disk that "
                "outlives the agent"
            ) from None
        for act in _acts(text, self.boot):
            self._note(act)
        # A line that a crash cut off must not take the next one with it.
        if text and not text.endswith("\n"):
            os.write(self._file, b"\n")

    def left_behind(self, uuid: str) -> tuple[Act, ...]:
        """What was changed on a GPU and not given back, in the order in which it was changed first."""
        with self._lock:
            return tuple(act for (gpu, _), act in self._open.items() if gpu == uuid)

    @property
    def uuids(self) -> frozenset[str]:
        """The GPUs of which something was not given back."""
        with self._lock:
            return frozenset(uuid for uuid, _ in self._open)

    def __call__(self, act: Act) -> None:
        """Write an act down; it is on the disk when this returns."""
        with self._lock:
            known = self._open.get((act.uuid, act.setting))
            if known is not None and not act.restores and known.after == act.after:
                # It is there already, as after a reload of the driver; the record must not grow with each.
                return
            line = {
                "at": self.clock.now(),
                "boot": self.boot,
                "uuid": act.uuid,
                "setting": act.setting,
                "before": act.before,
                "after": act.after,
                "restores": act.restores,
            }
            try:
                os.write(self._file, json.dumps(line).encode() + b"\n")
                os.fsync(self._file)
            except OSError as error:
                raise StorageError(f"{self.path}: cannot be written ({error.strerror}); free the disk") from error
            self._note(act)
            if not self._open:
                # Nothing to be given back: the record may begin anew.
                os.ftruncate(self._file, 0)

    def close(self) -> None:
        """Let another process have it."""
        os.close(self._file)

    def _note(self, act: Act) -> None:
        key = act.uuid, act.setting
        if act.restores:
            self._open.pop(key, None)
        else:
            first = self._open.get(key, act)
            self._open[key] = Act(act.uuid, act.setting, first.before, act.after)


def _acts(text: str, boot: str) -> Iterator[Act]:
    for number, line in enumerate(text.splitlines(), start=1):
        if not line.strip():
            continue
        try:
            act, booted = _act(json.loads(line))
        except (ValueError, KeyError, TypeError):
            # The last line of a process that crashed before it changed anything.
            log.warning("line of the record not read", line=number)
            continue
        if booted == boot:
            yield act


def _act(line: Any) -> tuple[Act, str]:
    if line["setting"] not in get_args(Setting):
        raise ValueError(line["setting"])
    before, after = (tuple(float(value) for value in line[name]) for name in ("before", "after"))
    return Act(str(line["uuid"]), line["setting"], before, after, bool(line["restores"])), str(line["boot"])
