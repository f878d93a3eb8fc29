"""Labels of dcgm-exporter, in every spelling that its versions print: which series this is, and whose work it carries.

Sources: render_metrics.go and transformation/const.go of NVIDIA/dcgm-exporter d5e5f51; pages of older versions.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache

from autoscaler.types import Labels

_DEVICE = {
    "gpu": "gpu",
    "UUID": "uuid",
    "uuid": "uuid",
    "gpu_uuid": "uuid",
    "Hostname": "host",
    "hostname": "host",
    "modelName": "gpu_model",
    "model_name": "gpu_model",
    "GPU_I_PROFILE": "mig_profile",
    "GPU_I_ID": "gi_id",
    "nvlink": "nvlink",
    "nvswitch": "nvswitch",
    "cpu": "cpu",
    "cpucore": "cpucore",
    "peer_gpu": "peer_gpu",
    "clock_event": "clock_event",
    "xid": "xid",
    "health_watch": "system",
    "system": "system",
}
"""Labels that say which series this is, with our name. Others (window_size_in_ms, err_code, err_msg,
health_error_code) change while the series stays what it is, or describe the GPU and go to `gpu_info`."""

_WORK = {
    "pod": "pod",
    "pod_name": "pod",
    "namespace": "namespace",
    "pod_namespace": "namespace",
    "container": "container",
    "container_name": "container",
    "pod_uid": "pod_uid",
    "vgpu": "vgpu",
    "hpc_job": "hpc_job",
    "dra_claim_name": "dra_claim",
    "dra_claim_namespace": "dra_claim_namespace",
}
"""Labels that say who uses the device. A Prometheus in between renames the workload's to `exported_...`; the plain
ones then name the exporter's own pod."""

_ABOUT = {
    "pci_bus_id": "pci_bus_id",
    "device": "device",
    "DCGM_FI_DRIVER_VERSION": "driver_version",
    "DCGM_FI_SYSTEM_DRIVER_VERSION": "driver_version",
    "DCGM_FI_DEV_SERIAL": "serial",
    "DCGM_FI_DEV_BOARD_SERIAL": "serial",
    "DCGM_FI_DEV_VBIOS_VERSION": "vbios_version",
}
_BOARD = ("uuid", "gpu", "host", "gpu_model")
_INSTANCE = ("mig_profile", "gi_id")

WORK_LABELS = frozenset(_WORK.values())
"""Our names of the labels that say who uses a device."""


def device_labels(labels: Labels) -> dict[str, str]:
    """Which series it is."""
    return {_DEVICE[name]: value for name, value in labels if name in _DEVICE}


@lru_cache(maxsize=1024)
def work_labels(labels: Labels) -> Labels:
    """Who uses the device, sorted; empty if nobody does."""
    given = {name.removeprefix("exported_"): value for name, value in labels if value and name.startswith("exported_")}
    plain = {name: value for name, value in labels if value and name not in given}
    return ordered({_WORK[name]: value for name, value in {**plain, **given}.items() if name in _WORK})


def board_labels(device: Mapping[str, str]) -> dict[str, str]:
    """Labels of a board's value: on a MIG page it belongs to no instance."""
    return {name: value for name, value in device.items() if name not in _INSTANCE}


def info_labels(device: Mapping[str, str], labels: Labels) -> Labels | None:
    """Labels of `gpu_info`; None where the series names no GPU."""
    if "uuid" not in device:
        return None
    about = {name: device[name] for name in _BOARD if name in device}
    about.update({_ABOUT[name]: value for name, value in labels if name in _ABOUT and value})
    return ordered(about)


def ordered(labels: Mapping[str, str]) -> Labels:
    """Label pairs, sorted by name."""
    return tuple(sorted(labels.items()))
