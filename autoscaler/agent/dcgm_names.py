"""The page that dcgm-exporter would print, from canonical series: its names, units and labels.

The inverse of what `collectors.dcgm` reads, in the spelling before DCGM 4.6, which existing dashboards know. What DCGM
has no field for is left out, such as processes; so are the states of single NVLinks, of which we know the sum, and the
exporter's count of XIDs within a window, which nobody keeps.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from autoscaler.agent.families import Family, Line, prefix
from autoscaler.signals import metric
from autoscaler.types import Labels, SeriesKey
from collectors.dcgm.fields import CLOCK_EVENTS, FIELDS, PREFIX, Field

_LABELS = {
    "gpu": "gpu",
    "uuid": "UUID",
    "pci_bus_id": "pci_bus_id",
    "device": "device",
    "gpu_model": "modelName",
    "mig_profile": "GPU_I_PROFILE",
    "gi_id": "GPU_I_ID",
    "host": "Hostname",
    "driver": "DCGM_FI_DRIVER_VERSION",
    "driver_version": "DCGM_FI_DRIVER_VERSION",
    "serial": "DCGM_FI_DEV_SERIAL",
    "container": "container",
    "namespace": "namespace",
    "pod": "pod",
}
"""Our labels and the exporter's, in the order in which it prints them. Others follow under their own names."""
_ABOUT = ("gpu", "pci_bus_id", "device", "driver", "driver_version", "serial")
"""Labels that the exporter has on every series and we on `gpu_info` alone."""
CLOCKS, AFFINITY = "DEV_CLOCKS_EVENT_REASONS", "DEV_MEM_AFFINITY_0"
MASK_BITS = 63
_UNITS = {1.0: "", 0.01: "percent", 1e6: "MHz", 1e-3: "thousandths", 1e-9: "ns", float(1 << 20): "MiB"}


def families(keys: Sequence[SeriesKey]) -> tuple[Family, ...]:
    """Every series that DCGM has a field for, in the order of field ids."""
    about = _about(keys)
    places: dict[int, list[tuple[int, SeriesKey]]] = {}
    events: dict[Labels, dict[str, int]] = {}
    nodes: list[Line] = []
    for place, key in enumerate(keys):
        if key.metric == "gpu_clock_event_active":
            board = tuple(pair for pair in key.labels if pair[0] != "reason")
            events.setdefault(board, {})[key.label("reason") or ""] = place
        elif key.metric == "gpu_numa_node":
            nodes.append(Line(_prefix(AFFINITY, key.labels, about), (place,), combine=_mask_of_node))
        elif (field := _field(key)) is not None:
            places.setdefault(field.id, []).append((place, key))
    found = [_family(field, places[field.id], about) for field in FIELDS if field.id in places]
    clocks = tuple(line for board, reasons in events.items() for line in _clocks(board, reasons, about))
    if clocks:
        found.append(Family(PREFIX + CLOCKS, "gauge", "Reasons that hold the clocks down now, one bit each", clocks))
    if nodes:
        found.append(Family(PREFIX + AFFINITY, "gauge", "NUMA nodes that the GPU hangs on, one bit each", tuple(nodes)))
    return tuple(found)


def _field(key: SeriesKey) -> Field | None:
    """The field that a series is; of several with one metric (by kind of error) the one with its labels."""
    return next((f for f in _BY_METRIC.get(key.metric, ()) if set(f.labels) <= set(key.labels)), None)


def _family(field: Field, places: Sequence[tuple[int, SeriesKey]], about: Mapping[str, Labels]) -> Family:
    known = metric(field.metric)
    assert known is not None
    lines = []
    for place, key in places:
        labels = tuple(pair for pair in key.labels if pair not in field.labels)
        lines.append(Line(_prefix(field.names[0], labels, about), (place,), 1.0 / field.factor))
    unit = _UNITS.get(field.factor, "")
    text = f"{known.help} (DCGM field {field.id}{', ' if unit else ''}{unit})"
    return Family(PREFIX + field.names[0], "counter" if known.kind == "counter" else "gauge", text, tuple(lines))


def _clocks(board: Labels, reasons: Mapping[str, int], about: Mapping[str, Labels]) -> tuple[Line, ...]:
    bits = tuple(bit for reason, bit in CLOCK_EVENTS if reason in reasons)
    of = tuple(reasons[reason] for reason, _ in CLOCK_EVENTS if reason in reasons)

    def mask(values: Sequence[float]) -> float:
        """NaN as soon as one reason is unknown, since a bit that is not set says that it does not hold."""
        return sum(bit * value for bit, value in zip(bits, values, strict=True))

    return (Line(_prefix(CLOCKS, board, about), of, combine=mask),) if of else ()


def _mask_of_node(values: Sequence[float]) -> float:
    node = values[0]
    return float(1 << int(node)) if 0 <= node < MASK_BITS else float("nan")


def _about(keys: Sequence[SeriesKey]) -> dict[str, Labels]:
    """What `gpu_info` says about each GPU, by UUID."""
    found: dict[str, dict[str, str]] = {}
    for key in keys:
        labels = dict(key.labels)
        if "uuid" in labels:
            own = found.setdefault(labels["uuid"], {})
            if key.metric == "gpu_info":
                own.update({label: labels[label] for label in _ABOUT if label in labels})
                if "pci_bus_id" in own:
                    own["pci_bus_id"] = _bus_id(own["pci_bus_id"])
            if "gpu" in labels:
                own["gpu"] = labels["gpu"]
                own["device"] = f"nvidia{labels['gpu']}"
    return {uuid: tuple(sorted(own.items())) for uuid, own in found.items()}


def _bus_id(text: str) -> str:
    """A PCI address in the exporter's spelling, 00000000:0F:00.0: capitals, and with the function."""
    return text.upper() if "." in text else f"{text.upper()}.0"


def _prefix(name: str, labels: Labels, about: Mapping[str, Labels]) -> str:
    own = dict(labels)
    all_labels = {**dict(about.get(own.get("uuid", ""), ())), **own}
    ours = [(theirs, all_labels.pop(label)) for label, theirs in _LABELS.items() if label in all_labels]
    return prefix(PREFIX + name, (*dict(ours).items(), *sorted(all_labels.items())))


_BY_METRIC: dict[str, list[Field]] = {}
for _one in FIELDS:
    if not _one.bits:
        _BY_METRIC.setdefault(_one.metric, []).append(_one)
