"""Memory of the machine or of the container, of each NUMA node, and swap space."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

from collectors.host.cgroup import Cgroup
from collectors.host.part import Value, text
from collectors.host.processors import nodes

KIB = 1024.0
_NODE_LINE = re.compile(r"^Node \d+ (Mem\w+):\s+(\d+) kB$", re.MULTILINE)


def memory(cgroup: Cgroup | None) -> Iterator[Value]:
    """host_memory_*: used and available add up to total."""
    import psutil

    machine = psutil.virtual_memory()
    total, available = float(machine.total), float(machine.available)
    used = total - available
    limit = cgroup.memory_limit() if cgroup is not None else None
    held = cgroup.memory_used() if cgroup is not None else None
    if limit is not None and held is not None and limit < total:
        total, used = limit, min(held, limit)
    yield "host_memory_total_bytes", (), total
    yield "host_memory_used_bytes", (), used
    yield "host_memory_available_bytes", (), total - used
    if total:
        yield "host_memory_used_ratio", (), used / total


def numa_memory(sysfs: Path) -> Iterator[Value]:
    """host_numa_memory_*: what is not free counts as used, the kernel's cache included."""
    for folder in nodes(sysfs):
        told = {name: float(kib) * KIB for name, kib in _NODE_LINE.findall(text(folder / "meminfo") or "")}
        labels = (("numa_node", folder.name.removeprefix("node")),)
        # A node without memory of its own carries only processors.
        if told.get("MemTotal"):
            yield "host_numa_memory_total_bytes", labels, told["MemTotal"]
            yield "host_numa_memory_free_bytes", labels, told["MemFree"]
            yield "host_numa_memory_used_bytes", labels, told["MemTotal"] - told["MemFree"]


def swap(cgroup: Cgroup | None) -> Iterator[Value]:
    """host_swap_*; a machine without swap space says 0 of 0 bytes. What moves is the machine's, in a container too."""
    import psutil

    found = psutil.swap_memory()
    total, used = float(found.total), float(found.used)
    limit = cgroup.swap_limit() if cgroup is not None else None
    held = cgroup.swap_used() if cgroup is not None else None
    if limit is not None and held is not None and limit < total:
        total, used = limit, min(held, limit)
    yield "host_swap_total_bytes", (), total
    yield "host_swap_used_bytes", (), used
    yield "host_swap_in_bytes_total", (), float(found.sin)
    yield "host_swap_out_bytes_total", (), float(found.sout)
