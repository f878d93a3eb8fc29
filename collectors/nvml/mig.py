"""MIG: the instances that a GPU is cut into, their memory, and what happens to them when they are made anew."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

from autoscaler.types import Labels
from collectors.nvml.call import Call, Sample

INVALID_ARGUMENT, NOT_FOUND = 2, 6
SLOTS_LIMIT = 64
"""Slots that are looked into; a GPU has at most 7 today."""
_PROFILE = re.compile(r"MIG ((?:\d+c\.)?\d+g\.\d+gb\S*)$")


@dataclass(frozen=True, slots=True)
class ComputeInstance:
    """A share of a GPU instance's multiprocessors; the memory is the GPU instance's. uuid: `MIG-...`."""

    ci_id: int
    uuid: str
    profile: str


@dataclass(frozen=True, slots=True)
class Instance:
    """One GPU instance. profile: as NVIDIA names it, such as `1g.10gb`; of the GPU instance, not its compute instances.

    An instance that was destroyed and made anew may get the same gi_id, but has other UUIDs.
    """

    gi_id: int
    profile: str
    memory_bytes: int
    slices: int
    multiprocessors: int
    compute: tuple[ComputeInstance, ...]
    handle: Any = field(compare=False, repr=False, default=None)

    @property
    def labels(self) -> Labels:
        """What its samples carry beside the labels of the board."""
        return (("gi_id", str(self.gi_id)), ("mig_profile", self.profile))


@dataclass(frozen=True, slots=True)
class Layout:
    """How a GPU is cut. enabled: MIG is on, though there may be no instance. Equal layouts hold the same instances."""

    enabled: bool = False
    instances: tuple[Instance, ...] = ()


def profile_name(gpu_slices: int, compute_slices: int, memory_bytes: int) -> str:
    """The name of a profile: `3g.40gb`, or `1c.3g.40gb` for a compute instance that has a part of the slices.

    The memory in a name is GiB rounded up, since the driver keeps some for itself; A100 and H100 are named so, boards
    of 141 GB are not, which is why the name that the driver gives comes first.
    """
    name = f"{gpu_slices}g.{math.ceil(memory_bytes / 2**30)}gb"
    return name if compute_slices in (0, gpu_slices) else f"{compute_slices}c.{name}"


def _profile(nvml: Any, slot: Any, attributes: Any) -> str:
    """The profile in the name of a MIG device (`NVIDIA H100 80GB HBM3 MIG 1c.3g.40gb`), else as its parts name it."""
    try:
        named = _PROFILE.search(str(nvml.nvmlDeviceGetName(slot)))
    except nvml.NVMLError:
        named = None
    if named is not None:
        return named[1]
    return profile_name(
        attributes.gpuInstanceSliceCount, attributes.computeInstanceSliceCount, attributes.memorySizeMB << 20
    )


def layout(nvml: Any, handle: Any) -> Layout:
    """How a GPU is cut now; raises NVMLError, code 3 where it cannot be."""
    if nvml.nvmlDeviceGetMigMode(handle)[0] != nvml.NVML_DEVICE_MIG_ENABLE:
        return Layout()
    found: dict[int, list[tuple[Any, Any, ComputeInstance]]] = {}
    for slot in _slots(nvml, handle):
        attributes = nvml.nvmlDeviceGetAttributes_v2(slot)
        compute = ComputeInstance(
            nvml.nvmlDeviceGetComputeInstanceId(slot),
            nvml.nvmlDeviceGetUUID(slot),
            _profile(nvml, slot, attributes),
        )
        found.setdefault(nvml.nvmlDeviceGetGpuInstanceId(slot), []).append((slot, attributes, compute))
    return Layout(True, tuple(_instance(gi_id, parts) for gi_id, parts in sorted(found.items())))


def _instance(gi_id: int, parts: list[tuple[Any, Any, ComputeInstance]]) -> Instance:
    slot, attributes, compute = parts[0]
    return Instance(
        gi_id,
        re.sub(r"^\d+c\.", "", compute.profile),
        attributes.memorySizeMB << 20,
        attributes.gpuInstanceSliceCount,
        sum(part.multiprocessorCount for _, part, _ in parts),
        tuple(compute for _, _, compute in parts),
        slot,
    )


def _slots(nvml: Any, handle: Any) -> Iterator[Any]:
    """Handles of the MIG devices; an empty slot answers with code 6."""
    for number in range(min(nvml.nvmlDeviceGetMaxMigDeviceCount(handle), SLOTS_LIMIT)):
        try:
            yield nvml.nvmlDeviceGetMigDeviceHandleByIndex(handle, number)
        except nvml.NVMLError as error:
            if error.value != NOT_FOUND:
                raise


@dataclass(eq=False)
class Watch:
    """The layout of one GPU, looked at again and again; who keeps state of an instance asks whether it is the same.

    changed: called with the old and the new layout as soon as they differ, on the thread that looks.
    """

    changed: Callable[[Layout, Layout], object] | None = None
    layout: Layout = field(default_factory=Layout, init=False)
    changes: int = field(default=0, init=False)

    def look(self, nvml: Any, handle: Any) -> Layout:
        """The layout now; raises NVMLError."""
        now, before = layout(nvml, handle), self.layout
        # The new layout is kept even where nothing changed: handles of a driver that was started anew are new.
        self.layout = now
        if now != before:
            self.changes += 1
            if self.changed is not None:
                self.changed(before, now)
        return now

    def instance(self, gi_id: int) -> Instance | None:
        """The instance as it was last seen; another object than before that is unequal is another instance."""
        return next((instance for instance in self.layout.instances if instance.gi_id == gi_id), None)


def calls(watch: Watch) -> tuple[Call, ...]:
    """The calls of one GPU. Memory is told once for each GPU instance, whose compute instances share it."""

    def mode(nvml: Any, handle: Any) -> tuple[Sample, ...]:
        now = watch.look(nvml, handle)
        return (
            Sample("gpu_mig_mode", float(now.enabled)),
            Sample("gpu_mig_instances", float(len(now.instances))),
        )

    def memory(nvml: Any, _handle: Any) -> Iterator[Sample]:
        for instance in watch.layout.instances:
            try:
                yield from _memory(nvml, instance)
            except nvml.NVMLError as error:
                # It may have been destroyed since the look; the next one tells.
                if error.value not in (INVALID_ARGUMENT, NOT_FOUND):
                    raise

    return (
        Call(
            "nvmlDeviceGetMigMode", ("gpu_mig_mode", "gpu_mig_instances"), mode, needs="MIG (A100, A30, H100 or newer)"
        ),
        Call("nvmlDeviceGetMemoryInfo of MIG instances", (), memory),
    )


def _memory(nvml: Any, instance: Instance) -> tuple[Sample, ...]:
    told = nvml.nvmlDeviceGetMemoryInfo(instance.handle, nvml.nvmlMemory_v2)
    usable = told.total - told.reserved
    values = {
        "gpu_memory_used_bytes": float(told.used),
        "gpu_memory_free_bytes": float(told.free),
        "gpu_memory_total_bytes": float(told.total),
        "gpu_memory_reserved_bytes": float(told.reserved),
        "gpu_memory_used_ratio": told.used / usable if usable > 0 else math.nan,
    }
    return tuple(Sample(metric, value, instance.labels) for metric, value in values.items())
