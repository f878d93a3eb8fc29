"""Everything that is known of one GPU, or of all GPUs of a machine: each metric with its value and its age."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from autoscaler.api.deps import ApiDeps
from autoscaler.api.room.fleet.events import GpuEvent
from autoscaler.api.room.fleet.gpus import COLOURS, Picture
from autoscaler.api.room.fleet.machines import Machine
from autoscaler.api.room.fleet.quantities import quantity
from autoscaler.signal_table import METRICS
from autoscaler.store.devices import Told
from autoscaler.words import seconds

_ORDER = {metric.name: n for n, metric in enumerate(METRICS)}
_TEXTS = {metric.name: metric.help for metric in METRICS}
_IDENTITY = frozenset(
    (
        "pool",
        "instance",
        "instance_id",
        "host",
        "gpu",
        "gpu_model",
        "uuid",
        "zone",
        "region",
        "offer",
        "provider",
        "job",
    )
)
_SECTIONS = (
    ("Links", ("gpu_pcie", "gpu_nvlink", "gpu_topology", "gpu_numa")),
    ("Health", ("gpu_ecc", "gpu_row", "gpu_xid", "gpu_last_xid", "gpu_recovery", "gpu_health", "gpu_up", "gpu_lost")),
    ("Reading", ("gpu_sample_age", "gpu_collect")),
    ("Board", ("gpu_power", "gpu_energy", "gpu_temp", "gpu_memory_temp", "gpu_sm_clock", "gpu_memory_clock")),
    ("Board", ("gpu_clock", "gpu_throttle", "gpu_performance")),
    ("Memory", ("gpu_memory_used", "gpu_memory_free", "gpu_memory_total", "gpu_memory_reserved", "gpu_bar1")),
    ("Layout", ("gpu_mig", "gpu_processes", "gpu_process_", "gpu_mps", "gpu_info")),
    ("Load", ("gpu_",)),
)
SECTIONS = ("Load", "Memory", "Board", "Links", "Health", "Layout", "Reading", "Other")


@dataclass(frozen=True, slots=True)
class Value:
    """One value as it is shown. age: how old it is, in words; old: too old to be relied on."""

    text: str
    age: str
    old: bool


@dataclass(frozen=True, slots=True)
class Line:
    """One metric of several GPUs. about: what it measures. which: the labels that tell it from others of its name."""

    metric: str
    which: str
    about: str
    values: tuple[Value | None, ...]


@dataclass(frozen=True, slots=True)
class GpuView:
    """One GPU for the panel. cells: title, value, why it is absent. missing: how the absent ones could be had."""

    uuid: str
    number: str
    model: str
    machine: Machine
    cells: tuple[tuple[str, Value | None], ...]
    missing: tuple[tuple[str, str], ...]
    lines: tuple[tuple[str, tuple[Line, ...]], ...]
    events: tuple[GpuEvent, ...]
    lost: bool


_METRIC_OF = {
    "saturation": "gpu_saturation_ratio",
    "memory": "gpu_memory_used_ratio",
    "power": "gpu_power_watts",
    "temperature": "gpu_temperature_celsius",
    "busy": "gpu_busy_ratio",
}


def gpu_view(deps: ApiDeps, picture: Picture, row: int) -> GpuView:
    """One GPU with all its metrics."""
    gpu = picture.gpus[row]
    told = [t for t in deps.store.devices.machine((), (gpu.uuid,), picture.at) if _of_part(t, gpu.part)]
    cells: list[tuple[str, Value | None]] = []
    missing = []
    for colour in COLOURS:
        shade = picture.shades[colour.name]
        value = float(shade.values[row])
        if math.isnan(value):
            cells.append((colour.title, None))
            missing.append((colour.title, deps.how_to_get(_METRIC_OF[colour.name])))
            continue
        age = seconds(max(0.0, picture.at - float(shade.at[row])))
        cells.append((colour.title, Value(colour.shown(value), age, bool(shade.stale[row]))))
    return GpuView(
        uuid=gpu.uuid,
        number=picture.number(row),
        model=dict(gpu.labels).get("gpu_model", ""),
        machine=picture.machine(row),
        cells=tuple(cells),
        missing=tuple(missing),
        lines=sections([told], picture.at),
        events=tuple(e for e in picture.events if e.uuid == gpu.uuid),
        lost=bool(picture.lost[row]),
    )


def sections(told: Sequence[Iterable[Told]], now: float) -> tuple[tuple[str, tuple[Line, ...]], ...]:
    """The series of several things, one column each, as lines by section in the order of the vocabulary."""
    found: dict[tuple[str, str], list[Told | None]] = {}
    for column, some in enumerate(told):
        for one in some:
            place = found.setdefault((one.key.metric, _which(one)), [None] * len(told))
            known = place[column]
            # Of several sources of one series the newest counts.
            if known is None or not one.at <= known.at:
                place[column] = one
    by_section: dict[str, list[Line]] = {}
    for (metric, which), row in sorted(found.items(), key=lambda i: (_ORDER.get(i[0][0], 9999), i[0])):
        values = tuple(None if one is None else _value(one, now) for one in row)
        if any(value is not None and value.text != "–" for value in values):
            line = Line(metric, which, _TEXTS.get(metric, ""), values)
            by_section.setdefault(_section(metric), []).append(line)
    return tuple((name, tuple(by_section[name])) for name in SECTIONS if name in by_section)


def _value(told: Told, now: float) -> Value:
    return Value(quantity(told.key.metric, told.value), seconds(max(0.0, now - told.at)), not told.fresh)


def _which(told: Told) -> str:
    pairs = [f"{name}={value}" for name, value in told.key.labels if name not in _IDENTITY and value]
    return ", ".join(pairs)


def _of_part(told: Told, part: str) -> bool:
    return not part or told.key.label("gi_id") in (None, part)


def _section(metric: str) -> str:
    return next((name for name, prefixes in _SECTIONS if metric.startswith(prefixes)), "Other")
