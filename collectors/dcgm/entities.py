"""The GPUs and MIG instances that a host engine has, with labels as dcgm-exporter would print them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from autoscaler.types import Labels
from collectors.dcgm.fields import NAME
from collectors.dcgm.modules import Modules, text

Entity = tuple[int, int]
"""Kind (DCGM_FE_*) and number."""


def entities(dcgm: Modules, handle: Any, host: str) -> dict[Entity, Labels]:
    """Every GPU that DCGM supports, and the instances that those are cut into. Raises DCGMError for the list of GPUs;
    one that cannot be described is left out, since without a UUID it has no identity."""
    found: dict[Entity, Labels] = {}
    boards: dict[str, dict[str, str]] = {}
    for gpu in dcgm.agent.dcgmGetAllSupportedDevices(handle):
        try:
            about = dcgm.agent.dcgmGetDeviceAttributes(handle, gpu).identifiers
        except dcgm.structs.DCGMError:
            continue
        labels = {
            "gpu": str(int(gpu)),
            "UUID": text(about.uuid),
            "modelName": text(about.deviceName),
            "pci_bus_id": text(about.pciBusId),
            "DCGM_FI_DRIVER_VERSION": text(about.driverVersion),
            "DCGM_FI_DEV_SERIAL": text(about.serial),
            "DCGM_FI_DEV_VBIOS_VERSION": text(about.vbios),
            "Hostname": host,
        }
        if labels["UUID"]:
            boards[labels["UUID"]] = labels
            found[dcgm.fields.DCGM_FE_GPU, int(gpu)] = _told(labels)
    found.update(_instances(dcgm, handle, boards))
    return found


def _instances(dcgm: Modules, handle: Any, boards: Mapping[str, dict[str, str]]) -> dict[Entity, Labels]:
    found: dict[Entity, Labels] = {}
    kind = dcgm.fields.DCGM_FE_GPU_I
    try:
        hierarchy = dcgm.agent.dcgmGetGpuInstanceHierarchy(handle)
    except (dcgm.structs.DCGMError, AttributeError):
        return found  # before MIG, or without it
    for place in range(int(hierarchy.count)):
        one = hierarchy.entityList[place]
        board = boards.get(text(one.info.gpuUuid))
        if int(one.entity.entityGroupId) == kind and board is not None:
            number = int(one.entity.entityId)
            profile = _profile(dcgm, handle, number) or f"{int(one.info.nvmlProfileSlices)}g"
            own = {"GPU_I_ID": str(int(one.info.nvmlInstanceId)), "GPU_I_PROFILE": profile}
            found[kind, number] = _told({**board, **own})
    return found


def _profile(dcgm: Modules, handle: Any, number: int) -> str:
    """The name of an instance's profile, such as 1g.5gb, which DCGM gives as the name of the device."""
    try:
        (value,) = dcgm.agent.dcgmEntityGetLatestValues(handle, dcgm.fields.DCGM_FE_GPU_I, number, [NAME])
    except (dcgm.structs.DCGMError, AttributeError):
        return ""
    return "" if value.status else text(value.value.str).removeprefix("MIG ").split(" ")[-1]


def _told(labels: Mapping[str, str]) -> Labels:
    return tuple(sorted((name, value) for name, value in labels.items() if value))
