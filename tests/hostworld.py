"""A machine made of files, for tests of what is read of the machine."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import psutil
import pytest

from autoscaler.clock import SimClock
from autoscaler.types import Batch, SeriesKey
from collectors.host import Host

GIB = 1 << 30
STAT = """cpu  {0} 0 0 {1} 0 0 0 0 0 0
cpu0 {2} 0 0 {3} 0 0 0 0 0 0
cpu2 {4} 0 0 {5} 50 0 0 0 0 0
btime 1700000000
"""
NET = """Inter-|   Receive                                                |  Transmit
 face |bytes packets errs drop fifo frame compressed multicast|bytes packets errs drop fifo colls carrier compressed
    lo: 999 9 9 9 0 0 0 0 999 9 9 9 0 0 0 0
  eth0: 1000 10 1 2 0 0 0 0 2000 20 3 4 0 0 0 0
docker0: 5000 50 0 0 0 0 0 0 6000 60 0 0 0 0 0 0
"""
MOUNTS = """/dev/nvme0n1p1 / ext4 rw,relatime 0 0
proc /proc proc rw 0 0
/dev/nvme0n1p1 /etc/hosts ext4 rw,relatime 0 0
/dev/loop3 /snap/core squashfs ro 0 0
filer:/models {nfs} nfs4 rw 0 0
"""
DISKS = """ 259 0 nvme0n1 10 0 20 30 40 0 60 70 0 80 90
 259 1 nvme0n1p1 1 0 2048 4 5 0 4096 8 0 2500 10
"""


@dataclass
class FakeRoot:
    """/proc and /sys of a machine with processors 0 and 2 (1 is switched off) on two NUMA nodes."""

    folder: Path

    @property
    def proc(self) -> Path:
        return self.folder / "proc"

    @property
    def sys(self) -> Path:
        return self.folder / "sys"

    def write(self, name: str, text: str) -> None:
        path = self.folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)

    def host(self, **settings: object) -> Host:
        return Host(SimClock(), procfs=self.proc, sysfs=self.sys, **{"slow_s": 1.0, **settings})  # type: ignore[arg-type]

    def ticks(self, busy0: int, idle0: int, busy2: int, idle2: int) -> None:
        self.write("proc/stat", STAT.format(busy0 + busy2, idle0 + idle2, busy0, idle0, busy2, idle2))


def machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> FakeRoot:
    """Its files, below `tmp_path`."""
    monkeypatch.setattr(psutil, "PROCFS_PATH", "/proc")
    made = FakeRoot(tmp_path)
    made.ticks(100, 900, 0, 1000)
    made.write("proc/meminfo", f"MemTotal: {16 << 20} kB\nMemFree: {4 << 20} kB\nMemAvailable: {12 << 20} kB\n")
    with (tmp_path / "proc" / "meminfo").open("a") as more:
        more.write("Buffers: 0 kB\nCached: 0 kB\nShmem: 0 kB\nActive: 0 kB\nInactive: 0 kB\nSlab: 0 kB\n")
        more.write("SReclaimable: 0 kB\nSwapTotal: 2048 kB\nSwapFree: 1024 kB\n")
    made.write("proc/vmstat", "pswpin 3\npswpout 5\n")
    made.write("proc/loadavg", "1.50 2.50 3.50 1/100 1234\n")
    made.write("proc/net/dev", NET)
    made.write("proc/diskstats", DISKS)
    made.write("proc/filesystems", "nodev\tproc\nnodev\tnfs4\n\text4\n\tsquashfs\n")
    made.write("proc/self/mounts", MOUNTS.format(nfs=tmp_path))
    made.write("proc/self/cgroup", "0::/system.slice/sigmascale.service\n")
    made.write("proc/sys/fs/file-nr", "1024\t24\t9223372036854775807\n")
    for resource in ("cpu", "io"):
        made.write(f"proc/pressure/{resource}", "some avg10=12.50 avg60=0 avg300=0 total=1500000\n")
    made.write("sys/devices/system/cpu/online", "0,2\n")
    for node, cpus in (("node0", "0-1"), ("node1", "2-3")):
        made.write(f"sys/devices/system/node/{node}/cpulist", cpus + "\n")
        kib = 8 << 20 if node == "node0" else 0
        made.write(f"sys/devices/system/node/{node}/meminfo", f"Node 0 MemTotal: {kib} kB\nNode 0 MemFree: {kib} kB\n")
    for interface in ("eth0/device", "docker0"):
        (made.sys / "class" / "net" / interface).mkdir(parents=True)
    return made


def told(batches: Sequence[Batch]) -> dict[str | tuple[str, str], float]:
    """Values by metric, and by (metric, value of its last own label) where there is one."""
    pairs = [pair for batch in batches for pair in zip(batch.keys, batch.values.tolist(), strict=True)]
    return {(k.metric if not k.labels else (k.metric, k.labels[-1][1])): v for k, v in pairs}


def keys_of(batches: Sequence[Batch]) -> set[SeriesKey]:
    return {key for batch in batches for key in batch.keys}
