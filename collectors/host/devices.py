"""Disks and network interfaces: what passed through each, and how full the file systems are."""

from __future__ import annotations

import os
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from pathlib import Path

from collectors.host.part import Value

MILLI = 1e-3
IMAGES = ("squashfs", "iso9660", "erofs", "cramfs")
"""File systems that are always full, because they were written once."""
MOUNTS_LIMIT = 64
INTERFACES_LIMIT = 256


@dataclass(frozen=True, slots=True)
class Mount:
    """A file system, where it is mounted and the block device that holds it."""

    path: str
    device: str


def mounts(named: Collection[str] = ()) -> tuple[Mount, ...]:
    """File systems on block devices, each once by its shortest path, and those that are named, such as one on NFS."""
    import psutil

    found: dict[str, Mount] = {}
    for one in psutil.disk_partitions(all=bool(named)):
        asked = one.mountpoint in named
        if (not asked and not one.device.startswith("/dev/")) or one.fstype in IMAGES:
            continue
        # Containers see one device at many places, of which each would count the same bytes.
        key = one.mountpoint if asked else one.device
        if asked or key not in found or len(one.mountpoint) < len(found[key].path):
            found[key] = Mount(one.mountpoint, os.path.realpath(one.device).removeprefix("/dev/"))
    return tuple(found.values())[:MOUNTS_LIMIT]


def usage(mount: Mount) -> Iterator[Value]:
    """host_disk_used_ratio, host_disk_total_bytes. Waits as long as the file system does, which may be for ever."""
    told = os.statvfs(mount.path)
    labels = (("device", mount.device), ("mount", mount.path))
    used = told.f_blocks - told.f_bfree
    # What only root may use counts as neither used nor free, as `df` has it.
    offered = used + told.f_bavail
    if offered:
        yield "host_disk_used_ratio", labels, used / offered
        yield "host_disk_total_bytes", labels, float(told.f_blocks * told.f_frsize)


def disks(devices: Collection[str]) -> Iterator[Value]:
    """host_disk_{read,write}_bytes_total, host_disk_busy_seconds_total of these block devices."""
    import psutil

    # `nowrap` keeps a sum of its own in psutil; a counter that starts again is understood by whoever stores it.
    for device, told in psutil.disk_io_counters(perdisk=True, nowrap=False).items():
        if device in devices:
            labels = (("device", device),)
            yield "host_disk_read_bytes_total", labels, float(told.read_bytes)
            yield "host_disk_write_bytes_total", labels, float(told.write_bytes)
            yield "host_disk_busy_seconds_total", labels, told.busy_time * MILLI


def network(sysfs: Path, virtual: bool) -> Iterator[Value]:
    """host_network_*_total of each interface; those without hardware only if `virtual`, or where there are no others.

    sysfs: /sys/class/net. In a container even the interface to the world is a virtual one.
    """
    import psutil

    told = {name: io for name, io in psutil.net_io_counters(pernic=True, nowrap=False).items() if name != "lo"}
    real = {name for name in told if (sysfs / name / "device").exists()}
    wanted = sorted(told if virtual or not real else real)
    for name in wanted[:INTERFACES_LIMIT]:
        io, labels = told[name], (("interface", name),)
        yield "host_network_receive_bytes_total", labels, float(io.bytes_recv)
        yield "host_network_transmit_bytes_total", labels, float(io.bytes_sent)
        yield "host_network_receive_errors_total", labels, float(io.errin)
        yield "host_network_transmit_errors_total", labels, float(io.errout)
        yield "host_network_receive_drops_total", labels, float(io.dropin)
        yield "host_network_transmit_drops_total", labels, float(io.dropout)
