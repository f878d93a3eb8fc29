"""How busy the processors are: all that may be used, those of each NUMA node, the load, and who waits (PSI)."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from autoscaler.clock import monotonic
from collectors.host.cgroup import Cgroup
from collectors.host.part import Value, numbers, text

NAN = float("nan")
RESOURCES = ("cpu", "memory", "io")
MICRO = 1e-6
PERCENT = 0.01


@dataclass
class Processors:
    """Shares of processor time since the reading before; NaN at the first one, which has none before it.

    sysfs: /sys/devices/system. cgroup: limits of a container, None = the whole machine. seconds: what times a reading.
    """

    sysfs: Path
    cgroup: Cgroup | None = None
    seconds: Callable[[], float] = monotonic
    _before: tuple[tuple[float, float], ...] = field(default=(), init=False)
    _group_before: tuple[float, float] | None = field(default=None, init=False)

    def read(self) -> Iterator[Value]:
        """host_cpu_ratio, host_cpus, host_numa_cpu_ratio."""
        import psutil

        # Time of guests is part of `user` already; waiting for a disk leaves the processor free.
        now = tuple((sum(t[:8]), t.idle + t.iowait) for t in psutil.cpu_times(percpu=True))
        before = self._before if len(self._before) == len(now) else ()
        self._before = now
        quota = self.cgroup.cpus(len(now)) if self.cgroup is not None else None
        yield "host_cpus", (), float(len(now)) if quota is None else min(quota, float(len(now)))
        machine = _busy(before, now, range(len(now)))
        yield "host_cpu_ratio", (), machine if quota is None else self._of_quota(min(quota, float(len(now))))
        for node, members in self._nodes(len(now)):
            yield "host_numa_cpu_ratio", (("numa_node", node),), _busy(before, now, members)

    def _of_quota(self, cpus: float) -> float:
        assert self.cgroup is not None
        used = self.cgroup.cpu_seconds()
        if used is None:
            return NAN
        at = self.seconds()
        before, self._group_before = self._group_before, (used, at)
        if before is None or at <= before[1] or used < before[0]:
            return NAN
        # A group may use what it saved up, so for an instant it passes its quota.
        return min(1.0, (used - before[0]) / (at - before[1]) / cpus)

    def _nodes(self, online: int) -> Iterator[tuple[str, Sequence[int]]]:
        """Each NUMA node and which of the listed processors are its own."""
        # The kernel lists online processors only, so a place in its list is no processor's number.
        listed = text(self.sysfs / "cpu" / "online")
        places = {cpu: place for place, cpu in enumerate(numbers(listed))} if listed else {}
        if len(places) != online:
            return
        for folder in nodes(self.sysfs):
            members = [places[cpu] for cpu in numbers(text(folder / "cpulist") or "") if cpu in places]
            if members:
                yield folder.name.removeprefix("node"), members


def nodes(sysfs: Path) -> list[Path]:
    """The folders of the NUMA nodes, by number."""
    found = [path for path in (sysfs / "node").glob("node[0-9]*") if path.name[4:].isdigit()]
    return sorted(found, key=lambda path: int(path.name[4:]))


def load(procfs: Path) -> Iterator[Value]:
    """host_load1, host_load5, host_load15: of the machine, in a container too."""
    words = (text(procfs / "loadavg") or "").split()
    for name, word in zip(("host_load1", "host_load5", "host_load15"), words, strict=False):
        yield name, (), float(word)


def pressure(procfs: Path, cgroup: Cgroup | None) -> Iterator[Value]:
    """host_pressure_*: of the container if there is one, else of the machine; nothing where the kernel has no PSI."""
    for resource in RESOURCES:
        found = cgroup.pressure(resource) if cgroup is not None else None
        lines = text(procfs / "pressure" / resource) if found is None else found
        for line in (lines or "").splitlines():
            who, *pairs = line.split()
            told = dict(pair.split("=", 1) for pair in pairs)
            labels = (("resource", resource),)
            if who in ("some", "full"):
                yield f"host_pressure_{who}_seconds_total", labels, int(told["total"]) * MICRO
            if who == "some":
                yield "host_pressure_ratio", labels, float(told["avg10"]) * PERCENT


def _busy(before: Sequence[tuple[float, float]], now: Sequence[tuple[float, float]], members: Sequence[int]) -> float:
    """Share in use of some processors, from (all, idle) seconds of each at two times."""
    if not before:
        return NAN
    spent = math.fsum(now[n][0] - before[n][0] for n in members)
    idle = math.fsum(now[n][1] - before[n][1] for n in members)
    # Some hypervisors set these counters back a little.
    return min(1.0, max(0.0, 1.0 - idle / spent)) if spent > 0 else NAN
