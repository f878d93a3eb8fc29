"""Driver faults in the kernel's log: the codes that the driver's events leave out, and the text of all of them."""

from __future__ import annotations

import errno
import os
import re
import select
import threading
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Literal

import structlog

from autoscaler.ports import Clock
from collectors.nvml import pci
from collectors.nvml.faults import Fault

log = structlog.get_logger(__name__)

DEVICE = Path("/dev/kmsg")
RECORD_BYTES = 8192
"""A record of /dev/kmsg is at most this long (CONSOLE_EXT_LOG_MAX of the kernel); a shorter read fails."""
LINE_LIMIT = 4096
TEXT_LIMIT = 300
PLACES_LIMIT = 256
POLL_MS = 500
STOP_S = 0.9

# "NVRM: Xid (PCI:0000:9b:00): 119, pid=1, name=x, text"; older drivers leave out "PCI:", MIG adds "GPU-I:05".
_XID = re.compile(
    r"NVRM: Xid \((?:PCI:)?(?P<place>[0-9a-fA-F:.]{7,16})(?: GPU-I:(?P<gi>\d{1,3}))?\):"
    r" (?P<xid>\d{1,4})(?:,\s*(?P<text>.*))?"
)
_PLACE = re.compile(r"NVRM: GPU at (?:PCI:)?(?P<place>[0-9a-fA-F:.]{7,16}): (?P<uuid>GPU-[0-9a-fA-F-]{36})")
_PROCESS = re.compile(r"pid=(?P<pid>\d+)")
_DATE = re.compile(r"\[\w{3} (?P<date>\w{3} [ \d]\d \d\d:\d\d:\d\d \d{4})\]")


@dataclass(frozen=True, slots=True)
class XidLine:
    """One fault as the kernel logged it. place: normalised PCI address. at: Unix seconds, None = the line has no date.

    pid: of the process that the driver blames, as the host numbers it; None where it names none.
    """

    place: str
    xid: int
    at: float | None = None
    gi_id: int | None = None
    pid: int | None = None
    text: str = ""


def read_line(line: str) -> XidLine | None:
    """The fault that a line of `dmesg`, `dmesg -T` or /dev/kmsg tells of; None for every other line.

    A date names no zone and is read as UTC; seconds since boot are no date.
    """
    found = _XID.search(line[:LINE_LIMIT])
    if found is None:
        return None
    try:
        place = pci.address(found["place"])
    except ValueError:
        return None
    text = (found["text"] or "").strip()[:TEXT_LIMIT]
    process = _PROCESS.match(text)
    return XidLine(
        place,
        int(found["xid"]),
        _date(line),
        int(found["gi"]) if found["gi"] else None,
        int(process["pid"]) if process else None,
        text,
    )


def read_place(line: str) -> tuple[str, str] | None:
    """PCI address and UUID of a GPU where a line names both, which the driver logs before a GPU's first fault."""
    found = _PLACE.search(line[:LINE_LIMIT])
    if found is None:
        return None
    try:
        return pci.address(found["place"]), found["uuid"]
    except ValueError:
        return None


def faults(lines: Iterable[str], now: float, uuids: dict[str, str]) -> Iterator[Fault]:
    """The faults in lines of a log. uuids: PCI address -> UUID, which lines that name both add to.

    A fault on an unknown address keeps the address in place of the UUID, so that it is not lost. A line without a date
    happened `now`.
    """
    for line in lines:
        named = read_place(line)
        if named is not None and (named[0] in uuids or len(uuids) < PLACES_LIMIT):
            uuids.setdefault(*named)
        told = read_line(line)
        if told is not None:
            uuid = uuids.get(told.place, told.place)
            yield Fault(uuid, told.xid, now if told.at is None else told.at, "kernel", told.gi_id, told.text)


def _date(line: str) -> float | None:
    found = _DATE.match(line)
    if found is None:
        return None
    try:
        return datetime.strptime(found["date"], "%b %d %H:%M:%S %Y").replace(tzinfo=UTC).timestamp()
    except ValueError:
        return None


State = Literal["starting", "reading", "no_permission", "absent"]


@dataclass(eq=False)
class KernelLog:
    """Follows the kernel's log on a thread of its own and hands each new fault to `emit`.

    uuids: PCI address (as `pci.address` writes it) -> UUID, asked at each fault. What was logged before `start` is
    history and not told. The log is readable by root only on most machines: then `state` says so and nothing else
    happens. path: a file that is read from its end like the device, for machines that write the log elsewhere.
    """

    clock: Clock
    emit: Callable[[Fault], object]
    uuids: Callable[[], dict[str, str]]
    path: Path = DEVICE
    state: State = field(default="starting", init=False)
    lost: int = field(default=0, init=False)
    """How often the kernel overwrote records before they were read."""
    _stopping: threading.Event = field(default_factory=threading.Event, init=False, repr=False)
    _thread: threading.Thread | None = field(default=None, init=False, repr=False)

    def start(self) -> None:
        """Open the log and follow it; does nothing but say why where the log cannot be read."""
        try:
            file = os.open(self.path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
        except OSError as error:
            self.state = "no_permission" if error.errno in (errno.EPERM, errno.EACCES) else "absent"
            log.info("kernel log not read", path=str(self.path), reason=error.strerror, next_step="run as root")
            return
        os.lseek(file, 0, os.SEEK_END)
        self.state = "reading"
        self._thread = threading.Thread(target=self._run, args=(file,), name="kernel-log", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """Stop within a second."""
        self._stopping.set()
        if self._thread is not None:
            self._thread.join(STOP_S)

    def _run(self, file: int) -> None:
        rest, named = "", dict[str, str]()
        try:
            while not self._stopping.is_set():
                arrived = self._read(file)
                if arrived is None:
                    continue
                *lines, rest = (rest + arrived).split("\n")
                rest = rest[-LINE_LIMIT:]
                named = {**named, **self.uuids()}
                for fault in faults(lines, self.clock.now(), named):
                    self.emit(fault)
        finally:
            os.close(file)

    def _read(self, file: int) -> str | None:
        """What was logged since, waiting for it for a while; None = nothing."""
        # A regular file is always readable, so that its end is waited at instead.
        poll = select.poll()
        poll.register(file, select.POLLIN)
        if not poll.poll(POLL_MS):
            return None
        try:
            read = os.read(file, RECORD_BYTES)
        except BlockingIOError:
            return None
        except OSError as error:
            if error.errno == errno.EPIPE:
                self.lost += 1
            else:
                log.warning(
                    "kernel log lost", path=str(self.path), reason=error.strerror, next_step="restart the agent"
                )
                self.state = "absent"
                self._stopping.set()
            return None
        if not read:
            self._stopping.wait(POLL_MS / 1000)
            return None
        return read.decode(errors="replace")
