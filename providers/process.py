"""Processes of this machine: start one so that it outlives us, find it again, see it die, end it.

A process is known by its pid *and* the kernel's start time of it, so that a pid that the system gave to somebody else
is never taken for ours. Linux only: /proc has both, and says what was started by which launch.
"""

from __future__ import annotations

import errno
import os
import signal
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from providers.command import MARK


@dataclass(frozen=True, slots=True)
class Identity:
    """One process for good: `started` is in clock ticks since the boot that `boot` names."""

    pid: int
    started: int
    boot: str


@dataclass(frozen=True, slots=True)
class Exit:
    """How a process ended: its exit code, minus the signal that killed it, or None if only its parent was told."""

    code: int | None

    def __str__(self) -> str:
        if self.code is None:
            return "ended while the service was away, exit code unknown"
        if self.code < 0:
            return f"killed by signal {-self.code}"
        return f"exit code {self.code}"


def spawn(words: Sequence[str], env: Mapping[str, str], cwd: str | None, log: int) -> Identity:
    """Start a process whose output goes to the descriptor `log`; returns when it runs. Raises OSError.

    It leads a session of its own, so that Ctrl-C in our terminal is not for it, and inherits no descriptor of ours.
    """
    child = subprocess.Popen(
        words,
        env=dict(env),
        cwd=cwd,
        stdin=subprocess.DEVNULL,
        stdout=log,
        stderr=subprocess.STDOUT,
        start_new_session=True,
        close_fds=True,
    )
    # It may outlive this object and this service: from here on it is known by its identity, and `ended` collects it.
    child.returncode = 0
    identity = identify(child.pid)
    if identity is None:
        # A child that nobody has collected keeps its entry even when it is dead already, unless its death is ignored.
        raise OSError(errno.ECHILD, "it was gone at once; the service must not run with SIGCHLD ignored")
    return identity


def identify(pid: int) -> Identity | None:
    """Who has that pid now; None if nobody."""
    stat = _stat(pid)
    return None if stat is None else Identity(pid, stat[1], _boot())


def ended(process: Identity) -> Exit | None:
    """None while the process runs, then how it ended. What is left of its session dies with it."""
    stat = _stat(process.pid)
    if stat is None or process != Identity(process.pid, stat[1], _boot()):
        return Exit(None)
    try:
        seen = os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOHANG | os.WNOWAIT)
    except ChildProcessError:
        # It was started by an earlier run of the service; whoever inherited it may not have collected it yet.
        return Exit(None) if stat[0] in "ZX" else None
    if seen is None:
        return None
    # While the dead leader is not collected its number is not given away, so the group is certainly its own.
    _send_group(process.pid, signal.SIGKILL)
    status = os.waitpid(process.pid, 0)[1]
    return Exit(os.waitstatus_to_exitcode(status))


def ask_to_stop(process: Identity) -> None:
    """SIGTERM to the process alone: it knows in which order its children have to go."""
    if identify(process.pid) == process:
        with suppress(ProcessLookupError):
            os.kill(process.pid, signal.SIGTERM)


def kill(process: Identity) -> None:
    """SIGKILL to the process and everything in its group."""
    if identify(process.pid) == process:
        _send_group(process.pid, signal.SIGKILL)


def kill_left_over(state: Path) -> None:
    """SIGKILL to whatever still carries the mark of a launch whose own process is gone."""
    for pid in _pids():
        if _marked(pid, state):
            with suppress(ProcessLookupError, PermissionError):
                os.kill(pid, signal.SIGKILL)


def find(state: Path, log: Path) -> Identity | None:
    """The process that a launch started, if it runs: it leads a session and has our mark or writes to our log.

    Either sign is enough: a program that renames itself overwrites its environment, and the mark with it. Processes
    that it started have the signs too, but do not lead a session.
    """
    for pid in _pids():
        if _leads(pid) and (_marked(pid, state) or _writes(pid, log)):
            identity = identify(pid)
            if identity is not None and ended(identity) is None:
                return identity
    return None


def _pids() -> Iterator[int]:
    import psutil

    return (pid for pid in psutil.pids() if pid != os.getpid())


def _leads(pid: int) -> bool:
    try:
        return os.getsid(pid) == pid
    except (ProcessLookupError, PermissionError):
        return False


def _marked(pid: int, state: Path) -> bool:
    try:
        environ = Path(f"/proc/{pid}/environ").read_bytes()
    except OSError:
        return False
    return f"{MARK}={state}".encode() in environ.split(b"\0")


def _writes(pid: int, log: Path) -> bool:
    try:
        return Path(f"/proc/{pid}/fd/1").samefile(log)
    except OSError:
        return False


def _stat(pid: int) -> tuple[str, int] | None:
    """State letter and start time of a process (proc(5), fields 3 and 22)."""
    try:
        text = Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return None
    # The name may itself hold spaces and brackets; the fields start behind the last one.
    rest = text.rpartition(")")[2].split()
    return rest[0], int(rest[19])


@cache
def _boot() -> str:
    return Path("/proc/sys/kernel/random/boot_id").read_text().strip()


def _send_group(pid: int, number: int) -> None:
    with suppress(ProcessLookupError, PermissionError):
        os.killpg(pid, number)
