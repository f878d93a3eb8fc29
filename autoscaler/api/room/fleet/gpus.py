"""The GPUs of the whole fleet as one picture: which there are, where, and how full, hot and well each of them is."""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from threading import Lock

import numpy as np
from fastapi import Request
from numpy.typing import NDArray

from autoscaler.api.deps import ApiDeps
from autoscaler.api.room.fleet.events import GpuEvent, events_of
from autoscaler.api.room.fleet.machines import Machine, Machines
from autoscaler.api.room.fleet.quantities import percent
from autoscaler.store.devices import Gpu, Gpus
from autoscaler.store.gpuseries import MAPPED

FRESH_FOR_S = 1.0
"""So long one picture serves every page that asks."""

_AT = {metric: row for row, metric in enumerate(MAPPED)}


@dataclass(frozen=True, slots=True)
class Colour:
    """What cells can be coloured by. low, high: ends of the scale, in `unit`. step: what values are rounded to."""

    name: str
    title: str
    unit: str
    low: float
    high: float
    step: float
    about: str

    def shown(self, value: float) -> str:
        """A value with its unit."""
        return percent(value) if self.unit == "%" else f"{value:.0f} {self.unit}"


COLOURS = (
    Colour("saturation", "Saturation", "%", 0, 100, 0.1, "the highest of SM activity, memory activity and power"),
    Colour("memory", "Memory", "%", 0, 100, 0.1, "device memory in use; engines fill it on purpose"),
    Colour("power", "Power", "%", 0, 100, 0.1, "power draw as a share of the limit in force"),
    Colour("temperature", "Temperature", "°C", 25, 95, 0.1, "temperature of the GPU"),
    Colour(
        "busy", "Busy time", "%", 0, 100, 0.1, "share of time with some kernel; tells idle from busy, not from full"
    ),
)


@dataclass(frozen=True, slots=True, eq=False)
class Shade:
    """One colour's values of every GPU, in the unit of the colour; NaN = the GPU does not give it. stale: too old."""

    values: NDArray[np.float64]
    at: NDArray[np.float64]
    stale: NDArray[np.bool_]


@dataclass(frozen=True, slots=True, eq=False)
class Picture:
    """All GPUs at one time, in the order of pool, machine and number. rows: as the store orders them.

    place: of the machine of each GPU in `machines`. lost: GPUs that do not answer or vanished. events: newest first;
    marked: the events that are trouble now, by row.
    """

    at: float
    rows: tuple[Gpu, ...]
    gpus: tuple[Gpu, ...]
    machines: tuple[Machine, ...]
    place: tuple[int, ...]
    shades: Mapping[str, Shade]
    lost: NDArray[np.bool_]
    events: tuple[GpuEvent, ...]
    marked: Mapping[int, tuple[GpuEvent, ...]]
    layout: bytes
    version: str

    def machine(self, row: int) -> Machine:
        """The machine of a GPU."""
        return self.machines[self.place[row]]

    def number(self, row: int) -> str:
        """What people call the GPU on its machine."""
        gpu = self.gpus[row]
        number = dict(gpu.labels).get("gpu", "")
        return f"{number or gpu.uuid}{f' instance {gpu.part}' if gpu.part else ''}"


@dataclass(eq=False)
class Pictures:
    """Makes pictures, at most one a second however many pages look."""

    _lock: Lock = field(default_factory=Lock)
    _last: Picture | None = None
    _rows: tuple[Gpu, ...] | None = None
    _named: Mapping[tuple[str, ...], list[int]] = field(default_factory=dict)

    def now(self, deps: ApiDeps) -> Picture:
        """The fleet as it is, or was less than a second ago."""
        now = deps.clock.now()
        with self._lock:
            last = self._last
            if last is None or not 0.0 <= now - last.at < FRESH_FOR_S:
                self._last = last = self._made(deps, now)
            return last

    def _made(self, deps: ApiDeps, now: float) -> Picture:
        gpus = deps.store.devices.gpus(now)
        if gpus.rows is not self._rows:
            # Labels are looked at once for each set of GPUs, since that is most of the work.
            named: dict[tuple[str, ...], list[int]] = {}
            for row, gpu in enumerate(gpus.rows):
                named.setdefault(Machines.called(dict(gpu.labels)), []).append(row)
            for rows in named.values():
                rows.sort(key=lambda row: _order(gpus.rows[row]))
            self._rows, self._named = gpus.rows, named
        known = Machines(deps.board)
        found: dict[str, tuple[Machine, list[int]]] = {}
        for called, rows in self._named.items():
            machine = known.named(called)
            _, own = found.setdefault(f"{machine.pool}\x00{machine.name}", (machine, []))
            own.extend(rows)
        placed = [found[name] for name in sorted(found)]
        return _picture(deps, now, gpus, placed, self._last)


def pictures(request: Request) -> Pictures:
    """Those of the application."""
    made = getattr(request.app.state, "pictures", None)
    if not isinstance(made, Pictures):
        made = request.app.state.pictures = Pictures()
    return made


def _picture(
    deps: ApiDeps, now: float, gpus: Gpus, placed: Sequence[tuple[Machine, list[int]]], last: Picture | None
) -> Picture:
    order = np.array([row for _, rows in placed for row in rows], np.intp)
    machines = tuple(machine for machine, _ in placed)
    place = tuple(n for n, (_, rows) in enumerate(placed) for _ in rows)
    same = last is not None and last.rows is gpus.rows and last.machines == machines and last.place == place
    if last is not None and same:
        ordered, layout, version = last.gpus, last.layout, last.version
    else:
        ordered = tuple(gpus.rows[row] for row in order.tolist())
        layout = json.dumps(_layout(ordered, machines, place), separators=(",", ":"), ensure_ascii=False).encode()
        version = hashlib.sha256(layout).hexdigest()[:16]
    of = _taken(gpus, order)
    up, gone = of("gpu_up").values, of("gpu_lost").values
    # What answers again after it was lost is not lost, whoever of two sources notices first.
    lost = (up == 0.0) | ((gone > 0.0) & ~(up > 0.0))
    by_name = {(gpu.uuid, gpu.part): row for row, gpu in enumerate(ordered)}
    events = events_of(deps, now, ordered, by_name, lambda row: machines[place[row]])
    marked: dict[int, list[GpuEvent]] = {}
    for event in events:
        row = by_name.get((event.uuid, event.part), by_name.get((event.uuid, "")))
        if event.trouble and row is not None:
            marked.setdefault(row, []).append(event)
    return Picture(
        at=now,
        rows=gpus.rows,
        gpus=ordered,
        machines=machines,
        place=place,
        shades=_shades(of),
        lost=lost,
        events=events,
        marked={row: tuple(some) for row, some in marked.items()},
        layout=layout,
        version=version,
    )


def _order(gpu: Gpu) -> tuple[float, str, str, str]:
    number = dict(gpu.labels).get("gpu", "")
    return (float(number) if number.isdigit() else math.inf, number, gpu.uuid, gpu.part)


def _taken(gpus: Gpus, order: NDArray[np.intp]) -> Callable[[str], Shade]:
    def of(metric: str) -> Shade:
        n = _AT[metric]
        return Shade(gpus.values[n][order], gpus.last_at[n][order], ~gpus.fresh[n][order])

    return of


def _shades(of: Callable[[str], Shade]) -> dict[str, Shade]:
    return {
        "saturation": _percent(of("gpu_saturation_ratio")),
        "memory": _either(
            _percent(of("gpu_memory_used_ratio")), _share(of("gpu_memory_used_bytes"), of("gpu_memory_total_bytes"))
        ),
        "power": _share(of("gpu_power_watts"), of("gpu_power_limit_watts")),
        "temperature": of("gpu_temperature_celsius"),
        "busy": _percent(of("gpu_busy_ratio")),
    }


def _percent(shade: Shade) -> Shade:
    return Shade(100.0 * shade.values, shade.at, shade.stale)


def _share(part: Shade, whole: Shade) -> Shade:
    # A limit is told more seldom than what it limits, and holds until another is told.
    with np.errstate(divide="ignore", invalid="ignore"):
        values = np.where(whole.values > 0.0, 100.0 * part.values / whole.values, np.nan)
    return Shade(values, part.at, part.stale)


def _either(first: Shade, second: Shade) -> Shade:
    none = np.isnan(first.values)
    return Shade(
        np.where(none, second.values, first.values),
        np.where(none, second.at, first.at),
        np.where(none, second.stale, first.stale),
    )


def _layout(gpus: Sequence[Gpu], machines: Sequence[Machine], place: Sequence[int]) -> dict[str, object]:
    """What changes only when machines come and go, as columns."""
    models = [dict(gpu.labels).get("gpu_model", "") for gpu in gpus]
    names = {
        "pools": [m.pool for m in machines],
        "zones": [m.zone for m in machines],
        "types": [m.type for m in machines],
        "states": [m.state for m in machines],
        "models": models,
    }
    known = {name: _numbered(values) for name, values in names.items()}
    return {
        **{name: list(numbers) for name, numbers in known.items()},
        "machine": {
            "name": [m.name for m in machines],
            "host": [m.host for m in machines],
            "pool": [known["pools"][m.pool] for m in machines],
            "zone": [known["zones"][m.zone] for m in machines],
            "type": [known["types"][m.type] for m in machines],
            "state": [known["states"][m.state] for m in machines],
        },
        "gpu": {
            "uuid": [gpu.uuid for gpu in gpus],
            "number": [dict(gpu.labels).get("gpu", "") for gpu in gpus],
            "part": {str(row): gpu.part for row, gpu in enumerate(gpus) if gpu.part},
            "machine": list(place),
            "model": [known["models"][model] for model in models],
        },
    }


def _numbered(names: Iterable[str]) -> dict[str, int]:
    return {name: n for n, name in enumerate(dict.fromkeys(names))}
