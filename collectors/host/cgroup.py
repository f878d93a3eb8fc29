"""What a container may use: the limits of its control group, v2 or v1, and what is used of them.

A process is in a container when its own group is what is mounted below /sys/fs/cgroup. A unit of systemd is further
down, and its limits are those of the program: they say nothing about the machine. Limits that a group above has are not
seen in a container of v2. Names and units of the files: admin-guide/cgroup-v2.rst and cgroup-v1/*.rst of the kernel.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from collectors.host.part import numbers, text

MICRO, NANO = 1e-6, 1e-9
MOUNTED = "/sys/fs/cgroup"
V1 = ("cpu", "cpuacct", "cpuset", "memory")


class Cgroup(Protocol):
    """The group of this process. Every answer is None where there is no such limit; sizes are bytes, times seconds."""

    def cpus(self, online: int) -> float | None:
        """Processors of so many that its quota or its list of them allows, which may be a part of one."""
        ...

    def cpu_seconds(self) -> float | None:
        """Processor time that it used since it was made."""
        ...

    def memory_limit(self) -> float | None:
        """Bytes that it may use."""
        ...

    def memory_used(self) -> float | None:
        """Bytes in use that cannot be given back at once: files that nobody uses any more do not count."""
        ...

    def swap_limit(self) -> float | None:
        """Bytes of swap space that it may use beside its memory."""
        ...

    def swap_used(self) -> float | None:
        """Bytes of swap space in use."""
        ...

    def pressure(self, resource: str) -> str | None:
        """What its file of this resource says (PSI), None where the kernel has none."""
        ...


def container(folder: Path = Path(MOUNTED), procfs: Path = Path("/proc")) -> Cgroup | None:
    """The group of the container that this process is in; None = it is in none. folder: where groups are mounted."""
    own = _memberships(procfs)
    mounts = _mounts(procfs)
    if "memory" in own or "cpu" in own:
        found = {c: folder / where for c in V1 if (where := _place(own.get(c), mounts.get(c, ()))) is not None}
        return V1Group(found) if found else None
    # In a container the root of what is seen is the container's own group, also where mounts are not told.
    where = "" if own.get("") == "/" else _place(own.get(""), mounts.get("", ()))
    return None if where is None else V2Group(folder / where)


@dataclass(frozen=True, slots=True)
class V2Group:
    """A group of cgroup v2."""

    folder: Path

    def cpus(self, online: int) -> float | None:
        quota, _, period = (_word(self.folder, "cpu.max") or "max").partition(" ")
        allowed = None if quota == "max" else int(quota) / int(period or 100_000)
        return _fewest(allowed, _word(self.folder, "cpuset.cpus.effective"), online)

    def cpu_seconds(self) -> float | None:
        used = _table(_word(self.folder, "cpu.stat")).get("usage_usec")
        return None if used is None else used * MICRO

    def memory_limit(self) -> float | None:
        return _limit(_word(self.folder, "memory.max"))

    def memory_used(self) -> float | None:
        used = _word(self.folder, "memory.current")
        unused = _table(_word(self.folder, "memory.stat")).get("inactive_file", 0)
        return None if used is None else max(0.0, float(used) - unused)

    def swap_limit(self) -> float | None:
        return _limit(_word(self.folder, "memory.swap.max"))

    def swap_used(self) -> float | None:
        return _limit(_word(self.folder, "memory.swap.current"))

    def pressure(self, resource: str) -> str | None:
        return text(self.folder / f"{resource}.pressure")


@dataclass(frozen=True, slots=True)
class V1Group:
    """Groups of cgroup v1, one of each controller. v1 has no limit by a word: one beyond any machine's size is none."""

    folders: dict[str, Path] = field(default_factory=dict)

    def cpus(self, online: int) -> float | None:
        quota, period = self._word("cpu", "cpu.cfs_quota_us"), self._word("cpu", "cpu.cfs_period_us")
        allowed = int(quota) / int(period or 100_000) if quota is not None and int(quota) > 0 else None
        return _fewest(allowed, self._word("cpuset", "cpuset.effective_cpus"), online)

    def cpu_seconds(self) -> float | None:
        used = self._word("cpuacct", "cpuacct.usage")
        return None if used is None else int(used) * NANO

    def memory_limit(self) -> float | None:
        own = _limit(self._word("memory", "memory.limit_in_bytes"))
        above = self._stat().get("hierarchical_memory_limit")
        return own if above is None or own is None else min(own, float(above))

    def memory_used(self) -> float | None:
        used = self._word("memory", "memory.usage_in_bytes")
        return None if used is None else max(0.0, float(used) - self._stat().get("total_inactive_file", 0))

    def swap_limit(self) -> float | None:
        both, memory = self._stat().get("hierarchical_memsw_limit"), self.memory_limit()
        return None if both is None or memory is None else max(0.0, both - memory)

    def swap_used(self) -> float | None:
        return self._stat().get("total_swap")

    def pressure(self, resource: str) -> str | None:
        return None

    def _stat(self) -> dict[str, int]:
        return _table(self._word("memory", "memory.stat"))

    def _word(self, controller: str, name: str) -> str | None:
        folder = self.folders.get(controller)
        return None if folder is None else _word(folder, name)


def _memberships(procfs: Path) -> dict[str, str]:
    """The path of this process's group by controller; that of v2 has none, so it stands under the empty name."""
    found: dict[str, str] = {}
    for line in (text(procfs / "self" / "cgroup") or "").splitlines():
        _, controllers, path = line.split(":", 2)
        found |= dict.fromkeys(controllers.split(","), path)
    return found


def _mounts(procfs: Path) -> dict[str, tuple[tuple[str, str], ...]]:
    """(root, mount point) of each controller's mounts; the line is described in proc_pid_mountinfo(5)."""
    found: dict[str, tuple[tuple[str, str], ...]] = {}
    for line in (text(procfs / "self" / "mountinfo") or "").splitlines():
        words, _, kind = line.partition(" - ")
        mount, (what, _, *options) = words.split(" "), kind.split(" ")
        controllers = {"cgroup2": ("",), "cgroup": tuple(",".join(options).split(","))}.get(what, ())
        for controller in controllers:
            found[controller] = (*found.get(controller, ()), (mount[3], mount[4]))
    return found


def _place(path: str | None, mounts: tuple[tuple[str, str], ...]) -> str | None:
    """Where below /sys/fs/cgroup a group itself is mounted, None = nowhere."""
    places = (point for root, point in mounts if root == path and (point + "/").startswith(MOUNTED + "/"))
    return next((point.removeprefix(MOUNTED).strip("/") for point in places), None)


def _fewest(quota: float | None, listed: str | None, online: int) -> float | None:
    few = len(numbers(listed)) if listed else online
    if few >= online:
        # A list of all processors is no limit.
        return quota
    return float(few) if quota is None else min(quota, float(few))


def _limit(word: str | None) -> float | None:
    return None if word in (None, "max") else float(word)


def _word(folder: Path, name: str) -> str | None:
    found = text(folder / name)
    return None if found is None else found.strip()


def _table(lines: str | None) -> dict[str, int]:
    """Lines of `key number`."""
    pairs = (line.split() for line in (lines or "").splitlines())
    return {words[0]: int(words[1]) for words in pairs if len(words) == 2 and words[1].isdigit()}
