"""The machine that this runs on, read once a second on a thread of its own.

Missing is not zero: what this kernel does not have is absent, and what it did not tell this time is NaN. Counters stay
counters. In a container, ratios are shares of what its cgroup allows.
"""

from __future__ import annotations

import math
import threading
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

import numpy as np
import structlog

from autoscaler.clock import monotonic
from autoscaler.errors import InputError
from autoscaler.ports import Clock
from autoscaler.signals import is_counter
from autoscaler.types import Batch, Labels, SeriesKey
from collectors.background import Background
from collectors.host.cgroup import container
from collectors.host.devices import Mount, disks, mounts, network, usage
from collectors.host.memory import memory, numa_memory, swap
from collectors.host.part import Value, text
from collectors.host.patience import Late, Patience, Read
from collectors.host.processors import Processors, load, pressure
from collectors.outbox import Outbox

log = structlog.get_logger(__name__)

QUEUE_LIMIT = 256
STOP_S = 0.5
NO_LIMIT = float(2**63 - 1)
"""What the kernel says of files that may be open when it does not count them."""
PROC = Path("/proc")


@dataclass(frozen=True, slots=True)
class HostStatus:
    """Whether the machine is read; `troubles` holds (call, reason) of each call that failed in the last round."""

    rounds: int = 0
    troubles: tuple[tuple[str, str], ...] = ()


@dataclass(eq=False)
class _Lane:
    """Calls that are made together, and what they said last: by call, so that one that fails keeps its series."""

    source: str
    interval_s: float
    calls: dict[str, Read]
    values: dict[str, dict[SeriesKey, float]] = field(default_factory=dict)
    _known: dict[tuple[str, Labels], SeriesKey] = field(default_factory=dict)
    _keys: tuple[SeriesKey, ...] = ()

    def key(self, metric: str, own: Labels, labels: Labels) -> SeriesKey:
        """The series of that name; the same object each time."""
        known = self._known.get((metric, own))
        if known is None:
            merged = tuple(sorted({**dict(own), **dict(labels)}.items()))
            known = self._known[metric, own] = SeriesKey(metric, merged, is_counter(metric))
        return known

    def forget(self, others_than: set[str]) -> None:
        """Drop what calls said that are not made any more, such as that of a file system that is not mounted now."""
        for name in self.values.keys() - others_than:
            del self.values[name]

    def batch(self, now: float, labels: Labels) -> Batch:
        """All that was said."""
        values = {key: value for part in self.values.values() for key, value in part.items()}
        if tuple(values) != self._keys:
            self._keys = tuple(values)
            kept = set(self._keys)
            self._known = {pair: key for pair, key in self._known.items() if key in kept}
        return Batch(self.source, now, self.interval_s, self._keys, np.array(list(values.values())), labels)


@dataclass(eq=False)
class Host:
    """A collector of this machine. `start` it, `collect` at every tick, `stop` it.

    labels are added to every series. An arriving batch sets `wake`. interval_s: of what moves, slow_s: of what hardly
    does (load, swap, NUMA nodes, how full disks are, open files); these come in batches of their own. deadline_s: what
    any one call may take; what hangs longer is left alone until it comes back. mounts: file systems to look at beside
    those on block devices. virtual: count network interfaces without hardware too. whole_machine: do not look at a
    container's limits. procfs, sysfs: where those are; psutil has only one place for /proc, so another one than /proc
    holds for the whole process.
    """

    clock: Clock
    labels: Labels = ()
    wake: threading.Event | None = None
    interval_s: float = 1.0
    slow_s: float = 5.0
    deadline_s: float = 0.5
    mounts: tuple[str, ...] = ()
    virtual: bool = False
    whole_machine: bool = False
    procfs: Path = PROC
    sysfs: Path = Path("/sys")
    _outbox: Outbox[Batch] = field(init=False, repr=False)
    _quick: _Lane = field(init=False, repr=False)
    _slow: _Lane = field(init=False, repr=False)
    _slow_due: float = field(default=-math.inf, init=False, repr=False)
    _mounted: tuple[Mount, ...] = field(default=(), init=False, repr=False)
    _patience: Patience = field(default_factory=Patience, init=False, repr=False)
    _errors: Counter[str] = field(default_factory=Counter, init=False, repr=False)
    _slow_troubles: tuple[tuple[str, str], ...] = field(default=(), init=False, repr=False)
    _status: HostStatus = field(default=HostStatus(), init=False, repr=False)
    _background: Background = field(init=False, repr=False)

    def __post_init__(self) -> None:
        for name in ("interval_s", "slow_s", "deadline_s"):
            value = getattr(self, name)
            if not (math.isfinite(value) and value > 0):
                raise InputError(f"host: {name} is {value}, but must be above 0; write one such as 1s")
        self.labels = tuple(sorted(self.labels))
        self._outbox = Outbox(QUEUE_LIMIT, self.wake)
        self._background = Background("host", self.clock)
        if self.procfs != PROC:
            import psutil

            psutil.PROCFS_PATH = str(self.procfs)
        limits = None if self.whole_machine else container(self.sysfs / "fs" / "cgroup", self.procfs)
        system = self.sysfs / "devices" / "system"
        self._quick = _Lane(
            "host",
            self.interval_s,
            {
                "cpu": Processors(system, limits).read,
                "pressure": partial(pressure, self.procfs, limits),
                "memory": partial(memory, limits),
                "disks": self._disks,
                "network": partial(network, self.sysfs / "class" / "net", self.virtual),
            },
        )
        self._slow = _Lane(
            "host:slow",
            max(self.slow_s, self.interval_s),
            {
                "load": partial(load, self.procfs),
                "numa_memory": partial(numa_memory, system),
                "swap": partial(swap, limits),
                "system": partial(_system, self.procfs),
                "mounts": self._find_mounts,
            },
        )

    def start(self) -> None:
        """Start reading."""
        self._background.start(self._run)

    def stop(self) -> None:
        """Stop within `STOP_S`; a call that hangs in the kernel is left behind, it ends with the process."""
        self._background.stop(STOP_S)
        self._patience.stop()

    def collect(self, now: float) -> tuple[Batch, ...]:
        """Every batch since the last call, oldest first."""
        return self._outbox.take()

    def status(self) -> HostStatus:
        """What could not be read in the last round, and why."""
        return self._status

    def read(self, now: float) -> tuple[Batch, ...]:
        """One round over the machine, in the caller's thread but for the calls themselves."""
        began = monotonic()
        troubles: list[tuple[str, str]] = []
        batches = []
        if not self._slow_due - self._slow.interval_s <= now < self._slow_due:
            self._slow_due = now + self._slow.interval_s
            troubles += self._round(self._slow, self._slow.calls)
            # The mounts are known only now, and each may hang on its own.
            per_mount: dict[str, Read] = {f"mount {mount.path}": partial(usage, mount) for mount in self._mounted}
            troubles += self._round(self._slow, per_mount)
            self._slow.forget({*self._slow.calls, *per_mount})
            batches.append(self._slow.batch(now, self.labels))
            self._slow_troubles = tuple(troubles)
        troubles = [*self._slow_troubles, *self._round(self._quick, self._quick.calls)]
        self._quick.values[""] = self._own(monotonic() - began)
        self._note(tuple(troubles))
        return (self._quick.batch(now, self.labels), *batches)

    # --- inside -------------------------------------------------------------------------------------------------

    def _run(self) -> None:
        for now in self._background.rounds(self.interval_s):
            self._outbox.put(*self.read(now))

    def _round(self, lane: _Lane, calls: dict[str, Read]) -> list[tuple[str, str]]:
        troubles = []
        for name, call in calls.items():
            if self._background.stopping:
                break
            try:
                told = self._patience.ask(name, call, self.deadline_s)
            except Exception as error:  # noqa: BLE001 - one reading that breaks must not cost the others
                self._errors[name.partition(" ")[0]] += 1
                troubles.append((name, str(error) if isinstance(error, Late) else f"{type(error).__name__}: {error}"))
                lane.values[name] = dict.fromkeys(lane.values.get(name, ()), math.nan)
            else:
                lane.values[name] = {lane.key(metric, labels, self.labels): value for metric, labels, value in told}
        return troubles

    def _own(self, took_s: float) -> dict[SeriesKey, float]:
        """What the reading itself costs and loses."""
        own = {self._quick.key("host_collect_duration_seconds", (), self.labels): took_s}
        for call, count in sorted(self._errors.items()):
            own[self._quick.key("host_collect_errors_total", (("call", call),), self.labels)] = float(count)
        return own

    def _note(self, troubles: tuple[tuple[str, str], ...]) -> None:
        if troubles and troubles != self._status.troubles:
            log.warning("part of the machine is not read", troubles=dict(troubles))
        self._status = HostStatus(self._status.rounds + 1, troubles)

    def _find_mounts(self) -> Iterator[Value]:
        self._mounted = mounts(self.mounts)
        return iter(())

    def _disks(self) -> Iterator[Value]:
        # At the first round the mounts are not known yet: the slow lane is read before the quick one.
        return disks({mount.device for mount in self._mounted})


def _system(procfs: Path) -> Iterator[Value]:
    """host_file_descriptors, its limit, host_boot_timestamp_seconds."""
    import psutil

    words = (text(procfs / "sys" / "fs" / "file-nr") or "").split()
    if len(words) == 3:
        yield "host_file_descriptors", (), float(int(words[0]) - int(words[1]))
        if float(words[2]) < NO_LIMIT:
            yield "host_file_descriptors_limit", (), float(words[2])
    yield "host_boot_timestamp_seconds", (), psutil.boot_time()
