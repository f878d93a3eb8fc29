"""OpenTelemetry's names as ours: the hardware conventions as canonical metrics, all else as Prometheus spells it.

The translation of names follows "OTLP Metric points to Prometheus" of the OpenTelemetry specification (compatibility
page): what a name may not hold becomes `_`, the unit becomes a suffix, a monotonic sum ends in `_total`. The hardware
metrics are those of open-telemetry/semantic-conventions, docs/hardware; they are in development there.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass

from autoscaler.types import Labels

_UNFIT = re.compile(r"[^a-zA-Z0-9_:]+")
_UNFIT_LABEL = re.compile(r"[^a-zA-Z0-9_]+")
_UNITS = {
    "d": "days",
    "h": "hours",
    "min": "minutes",
    "s": "seconds",
    "ms": "milliseconds",
    "us": "microseconds",
    "ns": "nanoseconds",
    "By": "bytes",
    "KiBy": "kibibytes",
    "MiBy": "mebibytes",
    "GiBy": "gibibytes",
    "KBy": "kilobytes",
    "MBy": "megabytes",
    "GBy": "gigabytes",
    "m": "meters",
    "V": "volts",
    "A": "amperes",
    "J": "joules",
    "W": "watts",
    "g": "grams",
    "Cel": "celsius",
    "Hz": "hertz",
    "%": "percent",
}
_PER = {"s": "second", "min": "minute", "h": "hour", "d": "day"}

RESOURCE = {
    "service.instance.id": "instance",
    "host.name": "host",
    "k8s.pod.name": "pod",
    "k8s.namespace.name": "namespace",
    "k8s.container.name": "container",
    "k8s.node.name": "node",
    "hw.id": "uuid",
    "hw.model": "gpu_model",
}
"""Attributes that have a name of their own here. `service.name`, after its namespace, is the job, as in Prometheus."""
_NO_IDENTITY = ("telemetry.", "process.", "os.", "container.id", "service.version", "service.name", "service.namespace")
_ON_INFO = (
    "hw.type",
    "hw.vendor",
    "hw.name",
    "hw.driver_version",
    "hw.serial_number",
    "hw.parent",
    "hw.firmware_version",
)
"""Attributes that say more about a GPU without telling it from another: they would rename all series at an upgrade."""


@dataclass(frozen=True, slots=True)
class _Hardware:
    """One hardware metric, with the attribute values that pick it, and its canonical name."""

    name: str
    where: Labels
    metric: str


_HARDWARE = (
    _Hardware("hw.gpu.utilization", (("hw.gpu.task", "encoder"),), "gpu_encoder_ratio"),
    _Hardware("hw.gpu.utilization", (("hw.gpu.task", "decoder"),), "gpu_decoder_ratio"),
    _Hardware("hw.gpu.utilization", (("hw.gpu.task", "general"),), "gpu_busy_ratio"),
    _Hardware("hw.gpu.utilization", (), "gpu_busy_ratio"),
    _Hardware("hw.gpu.memory.usage", (), "gpu_memory_used_bytes"),
    _Hardware("hw.gpu.memory.limit", (), "gpu_memory_total_bytes"),
    _Hardware("hw.gpu.memory.utilization", (), "gpu_memory_used_ratio"),
    _Hardware("hw.gpu.io", (("network.io.direction", "transmit"),), "gpu_pcie_tx_bytes_total"),
    _Hardware("hw.gpu.io", (("network.io.direction", "receive"),), "gpu_pcie_rx_bytes_total"),
    _Hardware("hw.power", (), "gpu_power_watts"),
    _Hardware("hw.energy", (), "gpu_energy_joules_total"),
    _Hardware("hw.temperature", (("hw.sensor_location", "memory"),), "gpu_memory_temperature_celsius"),
    _Hardware("hw.temperature", (), "gpu_temperature_celsius"),
    _Hardware("hw.errors", (("error.type", "corrected"),), "gpu_ecc_corrected_total"),
    _Hardware("hw.errors", (("error.type", "uncorrected"),), "gpu_ecc_uncorrected_total"),
    _Hardware("hw.status", (("hw.state", "ok"),), "gpu_up"),
)
"""hw.temperature.limit is a limit and no margin, so it keeps its name."""


def metric_name(name: str, unit: str, *, total: bool, gauge: bool) -> str:
    """The Prometheus name of a metric. total: a sum that only rises. gauge: a unit of 1 then means a ratio."""
    words = [word for word in _UNFIT.sub("_", name).split("_") if word]
    if total and words[-1:] == ["total"]:
        words.pop()
    main, _, per = re.sub(r"\{[^}]*\}", "", unit).strip().partition("/")
    suffixes = [_UNITS.get(main, _UNFIT.sub("_", main).strip("_"))] if main and main != "1" else []
    if per:
        suffixes += ["per", _PER.get(per, _UNITS.get(per, _UNFIT.sub("_", per).strip("_")))]
    if main == "1" and gauge:
        suffixes = ["ratio"]
    words += [suffix for suffix in suffixes if suffix and suffix not in words]
    if total:
        words.append("total")
    found = "_".join(words)
    return f"_{found}" if found[:1].isdigit() else found


def label_name(attribute: str) -> str:
    """The label of an attribute; dots become underscores."""
    own = RESOURCE.get(attribute)
    if own is not None:
        return own
    found = _UNFIT_LABEL.sub("_", attribute)
    return f"key_{found}" if found[:1].isdigit() else found


def labels_of(attributes: Mapping[str, str]) -> Labels:
    """The labels of attributes, sorted; those without a value are none."""
    return tuple(sorted({label_name(name): value for name, value in attributes.items() if value and name}.items()))


def resource_labels(attributes: Mapping[str, str]) -> Labels:
    """The labels of a resource: what tells one from another. Versions and process ids are left out."""
    kept = {name: value for name, value in attributes.items() if not name.startswith(_NO_IDENTITY)}
    job = "/".join(filter(None, (attributes.get("service.namespace"), attributes.get("service.name"))))
    labels = dict(labels_of(kept))
    if job:
        labels.setdefault("job", job)
    return tuple(sorted(labels.items()))


def hardware(name: str, attributes: Mapping[str, str]) -> tuple[str, Labels] | None:
    """Canonical name and labels of a point of the GPU conventions; None for any other."""
    if not name.startswith("hw.") or attributes.get("hw.type", "gpu" if name.startswith("hw.gpu.") else "") != "gpu":
        return None
    for row in _HARDWARE:
        if row.name == name and all(attributes.get(key) == value for key, value in row.where):
            used = {key for key, _ in row.where}
            rest = {key: value for key, value in attributes.items() if key not in used and key not in _ON_INFO}
            return row.metric, labels_of(rest)
    return None
