"""The machine itself: processors, memory, disks, network and what the kernel tells about waiting."""

from collectors.host.collector import Host, HostStatus

__all__ = ["Host", "HostStatus"]
