"""The page under the names of OpenTelemetry's semantic conventions, as its Prometheus exporters spell them.

hw.* comes from docs/hardware, system.* from docs/system of open-telemetry/semantic-conventions (both in development, so
they may change). Dots become underscores, the unit is appended, `_ratio` stands for the unit 1 of a gauge and `_total`
marks counters. What the conventions have no name for is printed under our own prefix.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import Literal

from autoscaler.agent.canonical import describe
from autoscaler.agent.families import Family, Line, prefix
from autoscaler.types import Labels, SeriesKey

OWN_PREFIX = "sigmascale_"
DEGRADED = ("hardware_slowdown", "thermal_software", "thermal_hardware", "power_brake")
"""Clock reasons that are no choice of anybody: something is wrong with cooling or power."""


@dataclass(frozen=True, slots=True)
class Name:
    """A conventional name in Prometheus's spelling, its kind, and the attributes that tell its series apart."""

    name: str
    kind: Literal["gauge", "counter"]
    labels: Labels = ()


def _gauge(name: str, **labels: str) -> Name:
    return Name(name, "gauge", tuple(sorted(labels.items())))


def _counter(name: str, **labels: str) -> Name:
    return Name(name, "counter", tuple(sorted(labels.items())))


NAMES = {
    "gpu_busy_ratio": _gauge("hw_gpu_utilization_ratio", hw_gpu_task="general"),
    "gpu_encoder_ratio": _gauge("hw_gpu_utilization_ratio", hw_gpu_task="encoder"),
    "gpu_decoder_ratio": _gauge("hw_gpu_utilization_ratio", hw_gpu_task="decoder"),
    "gpu_memory_used_bytes": _gauge("hw_gpu_memory_usage_bytes"),
    "gpu_memory_total_bytes": _gauge("hw_gpu_memory_limit_bytes"),
    "gpu_memory_used_ratio": _gauge("hw_gpu_memory_utilization_ratio"),
    "gpu_pcie_tx_bytes_total": _counter("hw_gpu_io_bytes_total", network_io_direction="transmit"),
    "gpu_pcie_rx_bytes_total": _counter("hw_gpu_io_bytes_total", network_io_direction="receive"),
    "gpu_power_watts": _gauge("hw_power_watts"),
    "gpu_energy_joules_total": _counter("hw_energy_joules_total"),
    "gpu_temperature_celsius": _gauge("hw_temperature_celsius", hw_sensor_location="gpu"),
    "gpu_memory_temperature_celsius": _gauge("hw_temperature_celsius", hw_sensor_location="memory"),
    "gpu_ecc_corrected_total": _counter("hw_errors_total", error_type="corrected"),
    "gpu_ecc_uncorrected_total": _counter("hw_errors_total", error_type="uncorrected"),
    "gpu_pcie_replay_total": _counter("hw_errors_total", error_type="pcie_replay"),
    "gpu_nvlink_errors_total": _counter("hw_errors_total"),
    "host_memory_used_bytes": _gauge("system_memory_usage_bytes", system_memory_state="used"),
    "host_memory_used_ratio": _gauge("system_memory_utilization_ratio", system_memory_state="used"),
    "host_memory_total_bytes": _gauge("system_memory_limit_bytes"),
    "host_swap_used_bytes": _gauge("system_paging_usage_bytes", system_paging_state="used"),
    "host_network_receive_bytes_total": _counter("system_network_io_bytes_total", network_io_direction="receive"),
    "host_network_transmit_bytes_total": _counter("system_network_io_bytes_total", network_io_direction="transmit"),
    "host_network_receive_errors_total": _counter("system_network_errors_total", network_io_direction="receive"),
    "host_network_transmit_errors_total": _counter("system_network_errors_total", network_io_direction="transmit"),
    "host_disk_read_bytes_total": _counter("system_disk_io_bytes_total", disk_io_direction="read"),
    "host_disk_write_bytes_total": _counter("system_disk_io_bytes_total", disk_io_direction="write"),
    "host_disk_busy_seconds_total": _counter("system_disk_io_time_seconds_total"),
}
"""By canonical metric. hw.errors has no list of error types for GPUs beyond corrected and uncorrected; ours are
`pcie_replay` and `nvlink_KIND`. PCIe alone is hw.gpu.io: over NVLink we know rates, and that is a counter."""

_TEXTS = {
    "hw_gpu_utilization_ratio": "Share of time in which some work of the task ran; tells idle from busy, not full (1)",
    "hw_gpu_io_bytes_total": "Bytes that the GPU exchanged over PCIe; NVLink is not part of it (By)",
    "hw_errors_total": "Errors of the GPU by type: its memory, its NVLinks, packets sent again over PCIe ({error})",
    "hw_temperature_celsius": "Temperature by sensor (Cel)",
    "hw_temperature_limit_celsius": "Temperature at which the GPU slows down: what it has plus what is left (Cel)",
    "hw_status": "1 for the state that the GPU is in, else 0: what the driver says, not how much it has to do (1)",
    "system_network_io_bytes_total": "Bytes by interface and direction (By)",
    "system_network_errors_total": "Packets with errors by interface and direction ({error})",
    "system_disk_io_bytes_total": "Bytes by disk and direction (By)",
}
_LABELS = {
    "host": "host_name",
    "pod": "k8s_pod_name",
    "namespace": "k8s_namespace_name",
    "container": "k8s_container_name",
    "interface": "network_interface_name",
    "mount": "system_filesystem_mountpoint",
    "driver": "hw_driver_version",
    "driver_version": "hw_driver_version",
    "serial": "hw_serial_number",
    "vbios": "hw_firmware_version",
    "gpu_model": "hw_model",
}


def families(keys: Sequence[SeriesKey]) -> tuple[Family, ...]:
    """Every series under its conventional name, or under its canonical one behind our prefix."""
    found: dict[str, tuple[Literal["gauge", "counter"], str, list[Line]]] = {}

    def add(name: Name, labels: Labels, line: tuple[int, ...], text: str) -> None:
        _, _, lines = found.setdefault(name.name, (name.kind, _TEXTS.get(name.name, text), []))
        lines.append(Line(prefix(name.name, labels), line))

    for place, key in enumerate(keys):
        name = NAMES.get(key.metric) or Name(OWN_PREFIX + key.metric, "counter" if key.counter else "gauge")
        labels = dict(attributes(key))
        if key.metric == "gpu_nvlink_errors_total":
            labels["error_type"] = f"nvlink_{labels.pop('kind', 'other')}"
        if key.metric.startswith("host_disk_"):
            labels["system_device"] = labels.pop("device", "")
        labels.update(name.labels)
        add(name, tuple(sorted(labels.items())), (place,), describe(key.metric))
    return (
        *(Family(name, kind, text, tuple(lines)) for name, (kind, text, lines) in found.items()),
        *_limits(keys),
        *_status(keys),
    )


def attributes(key: SeriesKey) -> Labels:
    """A series' labels under the names of attributes. A GPU's identity is hw.id; that of a MIG instance adds to it."""
    labels = {_LABELS.get(label, label): value for label, value in key.labels}
    uuid = labels.pop("uuid", None)
    if uuid is not None:
        instance = labels.pop("gi_id", None)
        labels |= {"hw_type": "gpu", "hw_vendor": "NVIDIA", "hw_id": uuid if instance is None else f"{uuid}/{instance}"}
        if instance is not None:
            labels["hw_parent"] = uuid
        if "gpu" in labels:
            labels["hw_name"] = f"gpu{labels.pop('gpu')}"
    return tuple(sorted(labels.items()))


def _limits(keys: Sequence[SeriesKey]) -> tuple[Family, ...]:
    """hw.temperature.limit: the driver tells how far away it is."""
    degrees = {key.labels: place for place, key in enumerate(keys) if key.metric == "gpu_temperature_celsius"}
    lines = []
    for place, key in enumerate(keys):
        if key.metric == "gpu_temperature_margin_celsius" and key.labels in degrees:
            about = dict(attributes(key)) | {"hw_limit_type": "throttled", "hw_sensor_location": "gpu"}
            name = prefix("hw_temperature_limit_celsius", tuple(sorted(about.items())))
            lines.append(Line(name, (degrees[key.labels], place), combine=math.fsum))
    name = "hw_temperature_limit_celsius"
    return (Family(name, "gauge", _TEXTS[name], tuple(lines)),) if lines else ()


def _status(keys: Sequence[SeriesKey]) -> tuple[Family, ...]:
    """hw.status of every GPU that says whether it is up."""
    wanted = {"gpu_up", "gpu_lost", "gpu_row_remap_failed", "gpu_row_remap_pending", "gpu_recovery_action"}
    boards: dict[str, tuple[Labels, list[tuple[str, int]]]] = {}
    for place, key in enumerate(keys):
        uuid = key.label("uuid")
        reason = key.label("reason") if key.metric == "gpu_clock_event_active" else None
        if uuid and "gi_id" not in dict(key.labels) and (key.metric in wanted or reason in DEGRADED):
            labels, parts = boards.get(uuid, ((), []))
            boards[uuid] = (key.labels if key.metric == "gpu_up" else labels, [*parts, (reason or key.metric, place)])
    lines = []
    for labels, parts in boards.values():
        names, of = tuple(name for name, _ in parts), tuple(place for _, place in parts)
        if labels:
            about = dict(attributes(SeriesKey("", labels)))
            for state in ("ok", "degraded", "predicted_failure", "failed"):
                shown = prefix("hw_status", tuple(sorted({**about, "hw_state": state}.items())))
                lines.append(Line(shown, of, combine=partial(_is_in, state, names)))
    return (Family("hw_status", "gauge", _TEXTS["hw_status"], tuple(lines)),) if lines else ()


def _is_in(state: str, names: Sequence[str], values: Sequence[float]) -> float:
    """1 if that is the state of a GPU that says this, else 0; NaN while it does not say whether it is up."""
    said = dict(zip(names, values, strict=True))
    told = {name for name, value in said.items() if value > 0}
    up = said["gpu_up"]
    if math.isnan(up):
        return up
    if not up or told & {"gpu_lost", "gpu_row_remap_failed"}:
        found = "failed"
    elif told & {"gpu_recovery_action", "gpu_row_remap_pending"}:
        found = "predicted_failure"
    else:
        found = "degraded" if told.intersection(DEGRADED) else "ok"
    return float(found == state)
