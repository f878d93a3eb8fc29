"""The host of a simulated machine, and what its cloud announces to it."""

from __future__ import annotations

from dataclasses import dataclass, field

from autoscaler.simfleet.boards import GIB, Hardware
from autoscaler.simfleet.series import Series

DISK_BYTES = 1000 * GIB


@dataclass(slots=True)
class Host:
    """Processors, memory, disk and network by what the GPUs of the machine do. brief: only what people see first."""

    name: str
    hardware: Hardware
    booted_at: float
    brief: bool = False
    at: float | None = None
    _read: float = 40e9
    _written: float = 2e9
    _received: float = 41e9
    _sent: float = 1e9
    interruption_at: float = 0.0
    advised_at: float = 0.0
    _load5: float = 0.0
    _load15: float = 0.0
    _names: tuple[Series, ...] = field(init=False)

    def __post_init__(self) -> None:
        self._names = _series(self.name, brief=self.brief)

    @property
    def series(self) -> tuple[Series, ...]:
        """The lines of a page about it, in the order of `look`."""
        return self._names

    def look(self, now: float, share: float) -> list[float]:
        """The value of every series now; share: of the work that the machine can do."""
        passed = 0.0 if self.at is None else max(0.0, now - self.at)
        self.at = now
        machine = self.hardware
        cpu = 0.03 + 0.42 * share
        memory = machine.memory_bytes * (0.12 + 0.10 * share)
        first = [cpu, machine.cpus, memory, machine.memory_bytes, memory / machine.memory_bytes]
        notices = [self.interruption_at, self.advised_at, 1.0]
        if self.brief:
            return [*first, *notices]
        load = cpu * machine.cpus
        self._load5 += (load - self._load5) * min(1.0, passed / 300.0)
        self._load15 += (load - self._load15) * min(1.0, passed / 900.0)
        self._read += 2e5 * passed
        self._written += (3e5 + 2e6 * share) * passed
        self._received += (2e5 + 6e6 * share) * passed
        self._sent += (3e5 + 18e6 * share) * passed
        pressure = [max(0.0, share - 0.8) * 0.2, 0.0, 0.01 * share]
        disk = [0.31 + self._written / DISK_BYTES, DISK_BYTES, self._read // 1, self._written // 1]
        network = [self._received // 1, self._sent // 1, self.booted_at]
        loads = [load, self._load5, self._load15, machine.memory_bytes - memory]
        return [*first, *notices, *loads, *pressure, *disk, *network]


def _series(name: str, *, brief: bool) -> tuple[Series, ...]:
    host = (("host", name),)
    of_kind = tuple(sorted((("kind", "terminate"), *host)))
    first = [Series(metric, host) for metric in ("host_cpu_ratio", "host_cpus", "host_memory_used_bytes")]
    first += [Series(metric, host) for metric in ("host_memory_total_bytes", "host_memory_used_ratio")]
    first += [Series("instance_interruption_timestamp_seconds", of_kind)]
    first += [Series(m, host) for m in ("instance_rebalance_timestamp_seconds", "instance_notices_readable")]
    if brief:
        return tuple(first)

    def more(metric: str, label: str, value: str) -> Series:
        return Series(metric, tuple(sorted(((label, value), *host))))

    rest = [Series(m, host) for m in ("host_load1", "host_load5", "host_load15", "host_memory_available_bytes")]
    rest += [more("host_pressure_ratio", "resource", what) for what in ("cpu", "memory", "io")]
    rest += [more(m, "mountpoint", "/") for m in ("host_disk_used_ratio", "host_disk_total_bytes")]
    rest += [more(m, "device", "nvme0n1") for m in ("host_disk_read_bytes_total", "host_disk_write_bytes_total")]
    rest += [
        more(m, "device", "ens32") for m in ("host_network_receive_bytes_total", "host_network_transmit_bytes_total")
    ]
    rest += [Series("host_boot_timestamp_seconds", host)]
    return (*first, *rest)
