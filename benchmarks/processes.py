"""What processes cost, as the kernel counts it: CPU and memory of each process with its children."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import psutil


@dataclass(frozen=True, slots=True)
class Cost:
    """Of one process and all its children. cpu_s: user and system since their start. rss, peak: bytes, summed."""

    cpu_s: float
    rss_bytes: int
    peak_bytes: int


def cost(pid: int) -> Cost:
    """What the process and its living children have cost so far; a child that ended counts through its parent."""
    cpu_s, rss, peak = 0.0, 0, 0
    parent = psutil.Process(pid)
    for process in (parent, *parent.children(recursive=True)):
        times = process.cpu_times()
        cpu_s += times.user + times.system
        if process.pid == pid:
            cpu_s += times.children_user + times.children_system
        rss += process.memory_info().rss
        peak += _peak(process.pid)
    return Cost(cpu_s, rss, peak)


def _peak(pid: int) -> int:
    for line in Path(f"/proc/{pid}/status").read_text(encoding="ascii").splitlines():
        if line.startswith("VmHWM:"):
            return int(line.split()[1]) * 1024
    return 0
