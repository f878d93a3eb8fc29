"""MIG: the instances that a GPU is cut into."""

from __future__ import annotations

import re
import uuid
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING

from tests.peers.nvml import layout
from tests.peers.nvml.words import Text, Word

if TYPE_CHECKING:
    from tests.peers.nvml.gpu import Gpu

MIB = 2**20
FIRST_ID = {1: 7, 2: 3}
"""Lowest GPU instance id by number of slices, as an A100 numbers them; 1 for larger ones."""


class MigDevice:
    """One MIG device, a compute instance in a GPU instance."""

    memory_total, memory_reserved, memory_used, serial, gi, ci = Word(), Word(), Word(), Word(), Word(), Word()
    multiprocessors, gpu_slices, compute_slices = Word(), Word(), Word()
    copy_engines, decoders, encoders, jpegs, ofas = Word(), Word(), Word(), Word(), Word()
    uuid, profile = Text(), Text()

    def __init__(self, data: layout.MigData, index: int) -> None:
        self.data, self.index = data, index

    def gpm(self, values: Mapping[int, float]) -> None:
        """Set GPM metrics of this instance by number: percent 0-100 or MiB/s."""
        for metric, value in values.items():
            self.data.gpm[metric] = value


class Migs:
    """The MIG devices of one GPU: enable, create, destroy."""

    def __init__(self, gpu: Gpu) -> None:
        self._gpu = gpu
        self._serial = 0

    def __iter__(self) -> Iterator[MigDevice]:
        return (MigDevice(data, index) for index, data in enumerate(self._gpu.data.mig) if data.present)

    def enable(self) -> None:
        """MIG mode on, without instances."""
        self._gpu.mig_mode = self._gpu.mig_pending = 1

    def disable(self) -> None:
        """Destroy every instance and switch MIG mode off."""
        for device in self:
            self.destroy(device)
        self._gpu.mig_mode = self._gpu.mig_pending = 0

    def create(self, profile: str = "1g.5gb", *, inside: MigDevice | None = None) -> MigDevice:
        """A new MIG device in the lowest free slot; its UUID is new each time, its ids are the lowest free ones.

        profile: slices and memory, 3g.20gb for instance. inside: one more compute instance of this one's GPU
        instance, with which it then shares the memory.
        """
        match = re.fullmatch(r"(\d)g\.(\d+)gb", profile)
        if match is None:
            raise ValueError(f"{profile!r} is no MIG profile; write one such as 1g.5gb")
        index = next((i for i, data in enumerate(self._gpu.data.mig) if not data.present), None)
        if index is None or index >= self._gpu.mig_max:
            raise ValueError(f"GPU {self._gpu.number} has room for {self._gpu.mig_max} MIG devices, and all are taken")
        slices, gigabytes = int(match[1]), int(match[2])
        device = MigDevice(self._gpu.data.mig[index], index)
        self._number(device, slices, inside)
        # 1g.5gb of an A100 with 40 GB has 4864 MiB, 2g.10gb has 9984 MiB (nvidia-smi mig -lgip).
        device.memory_total, device.memory_reserved = (gigabytes * 1024 - 256) * MIB, 16 * MIB
        device.memory_used = 0
        device.multiprocessors = slices * (16 if self._gpu.architecture >= 9 else 14)
        device.gpu_slices = device.compute_slices = slices
        device.copy_engines, device.decoders = slices, slices // 2
        device.encoders, device.jpegs, device.ofas = 0, int(slices == 7), int(slices == 7)
        device.profile = profile
        device.data.gpm[:] = [0.0] * layout.GPM_METRICS
        device.data.present = 1
        return device

    def destroy(self, device: MigDevice) -> None:
        """It is gone, and its handles answer 2 (invalid argument) from now on."""
        device.data.present = 0

    def _number(self, device: MigDevice, slices: int, inside: MigDevice | None) -> None:
        self._serial += 1
        seed = f"{self._gpu.uuid}/{device.index}/{self._serial}"
        device.serial, device.uuid = self._serial, f"MIG-{uuid.uuid5(uuid.NAMESPACE_OID, seed)}"
        if inside is None:
            taken = {other.gi for other in self}
            first = FIRST_ID.get(slices, 1)
            device.gi, device.ci = next(gi for gi in range(first, first + 16) if gi not in taken), 0
        else:
            device.gi, device.ci = inside.gi, 1 + max(other.ci for other in self if other.gi == inside.gi)
