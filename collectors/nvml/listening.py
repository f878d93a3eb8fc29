"""Driver faults as they happen: from the driver's events and the kernel's log, each told once and at once."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from typing import Any

from autoscaler.ports import Clock
from collectors.nvml.device import Device
from collectors.nvml.events import Events, GpuEvent
from collectors.nvml.fault_batches import FaultBatches
from collectors.nvml.faults import Fault
from collectors.nvml.kernel_log import KernelLog


@dataclass(eq=False)
class Listening:
    """faults: where they are told. hasten: called with the UUID of a GPU that something was reported of.

    events, kernel_log: which reporters are heard.
    """

    clock: Clock
    faults: FaultBatches
    hasten: Callable[[str], object]
    events: bool = True
    kernel_log: bool = True
    devices: Sequence[Device] = ()
    reporter: Events | None = field(default=None, init=False)
    _kernel: KernelLog | None = field(default=None, init=False, repr=False)
    _followed: tuple[tuple[str, int], ...] = field(default=(), init=False, repr=False)

    def begin(self, nvml: Any) -> None:
        """Hear of driver faults, from now on; again after the library was started anew."""
        if self.reporter is not None:
            self.reporter.renew()
        elif self.events:
            self.reporter = Events(nvml, self.clock, self._handles, self._heard)
            self.reporter.start()
        if self._kernel is None and self.kernel_log:
            self._kernel = KernelLog(self.clock, self.record, self._places)
            self._kernel.start()

    def follow(self, devices: Sequence[Device]) -> None:
        """These are the GPUs now; where there are others or new handles, they are registered anew."""
        self.devices = devices
        now = tuple((device.uuid, device.generation) for device in devices)
        if self.reporter is not None and now != self._followed:
            self.reporter.renew()
        self._followed = now

    def out_of_the_driver(self) -> AbstractContextManager[None]:
        """While this is entered nobody waits in the driver, so that the library may be shut down."""
        return nullcontext() if self.reporter is None else self.reporter.out_of_the_driver()

    def record(self, fault: Fault) -> None:
        """Tell a fault, and look at its GPU at once."""
        if self.faults.record(fault, self.clock.now()):
            self.hasten(fault.uuid)

    def ends(self) -> list[Callable[[], None]]:
        """What stops the reporters; each may take most of a second."""
        return [reporter.stop for reporter in (self.reporter, self._kernel) if reporter is not None]

    def _heard(self, event: GpuEvent) -> None:
        if event.fault is not None:
            self.record(event.fault)
        else:
            self.hasten(event.uuid)

    def _handles(self) -> list[tuple[str, Any]]:
        return [(device.uuid, device.handle) for device in self.devices if device.trouble is None]

    def _places(self) -> dict[str, str]:
        return {device.info.pci_address: device.uuid for device in self.devices if device.info.pci_address}
