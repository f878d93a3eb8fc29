"""What a container may use: the limits of cgroup v2, and what is used of them.

Only a process that sees its own group as the root (`0::/`) is in a container. A unit of systemd sees its path, and its
limits are those of the program: they say nothing about the machine.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from collectors.host.part import text

MICRO = 1e-6


@dataclass(frozen=True, slots=True)
class Cgroup:
    """The group of this process. Every answer is None where there is no such limit; sizes are bytes, times seconds."""

    folder: Path = Path("/sys/fs/cgroup")
    procfs: Path = Path("/proc")

    def contained(self) -> bool:
        """Whether this process is in a container with cgroup v2."""
        return "0::/" in (text(self.procfs / "self" / "cgroup") or "").splitlines()

    def cpus(self) -> float | None:
        """Processors that the quota allows, which may be a part of one."""
        quota, _, period = (self._word("cpu.max") or "max").partition(" ")
        return None if quota == "max" else int(quota) / int(period or 100_000)

    def cpu_seconds(self) -> float | None:
        """Processor time that the group used since it was made."""
        used = _table(self._word("cpu.stat")).get("usage_usec")
        return None if used is None else used * MICRO

    def memory_limit(self) -> float | None:
        """Bytes that the group may use."""
        limit = self._word("memory.max")
        return None if limit in (None, "max") else float(limit)

    def memory_used(self) -> float | None:
        """Bytes in use that cannot be given back at once: files that nobody uses any more do not count."""
        used = self._word("memory.current")
        if used is None:
            return None
        return max(0.0, float(used) - _table(self._word("memory.stat")).get("inactive_file", 0))

    def _word(self, name: str) -> str | None:
        found = text(self.folder / name)
        return None if found is None else found.strip()


def _table(lines: str | None) -> dict[str, int]:
    """Lines of `key number`."""
    pairs = (line.split() for line in (lines or "").splitlines())
    return {words[0]: int(words[1]) for words in pairs if len(words) == 2 and words[1].isdigit()}
