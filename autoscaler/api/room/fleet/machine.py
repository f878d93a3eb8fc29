"""One machine: its GPUs side by side with every metric, how they are connected, the machine itself, and its state."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from fastapi import APIRouter, Request, Response

from autoscaler.api.deps import ApiDeps, Deps
from autoscaler.api.operations import in_force
from autoscaler.api.room.fleet.events import GpuEvent
from autoscaler.api.room.fleet.gpus import COLOURS, Picture, pictures
from autoscaler.api.room.fleet.machines import Machine, Machines, machine_of
from autoscaler.api.room.fleet.metrics import Line, sections
from autoscaler.api.room.fleet.table import Cell, cell
from autoscaler.api.room.pages import Looking, render
from autoscaler.store.devices import Told
from autoscaler.types import Mark

router = APIRouter(include_in_schema=False)

NEAR, FAR, ITSELF = "same node", "other node", "itself"
_ENGINE = ("requests_", "kv_cache_", "generation_", "prompt_", "prefix_", "preemptions_", "model_load", "engine_")
_NOTICES = ("instance_",)


@dataclass(frozen=True, slots=True)
class Board:
    """One GPU of the machine."""

    uuid: str
    number: str
    model: str
    cells: tuple[Cell, ...]
    lost: bool
    trouble: tuple[GpuEvent, ...]


@dataclass(frozen=True, slots=True)
class Wiring:
    """How one GPU hangs on its machine; empty = not told. links: NVLinks that are up."""

    number: str
    links: str
    pcie: str
    numa: str
    score: str
    pci_address: str


@dataclass(frozen=True, slots=True)
class MachineView:
    """One machine as its page shows it. near: by GPU and GPU, whether they share a NUMA node; empty = not known."""

    machine: Machine
    boards: tuple[Board, ...]
    wiring: tuple[Wiring, ...]
    near: tuple[tuple[str, ...], ...]
    of_gpus: tuple[tuple[str, tuple[Line, ...]], ...]
    of_machine: tuple[tuple[str, tuple[Line, ...]], ...]
    events: tuple[GpuEvent, ...]
    marks: tuple[Mark, ...]
    price: float | None


@router.get("/fleet/{name:path}")
def page(request: Request, deps: Deps, who: Looking, name: str) -> Response:
    """The page of one machine."""
    view = view_of(deps, pictures(request).now(deps), name)
    status = 200 if view is not None else 404
    return render(request, deps, who, "machine.html", status, name=name, view=view, colours=COLOURS)


@router.get("/ui/fleet/machines/{name:path}")
def fragment(request: Request, deps: Deps, who: Looking, name: str) -> Response:
    """The part that follows the machine."""
    view = view_of(deps, pictures(request).now(deps), name)
    return render(request, deps, who, "machine_parts.html", name=name, view=view, colours=COLOURS)


def view_of(deps: ApiDeps, picture: Picture, name: str) -> MachineView | None:
    """The machine of that name; None when neither a provider nor a source knows it."""
    numbers = [n for n, m in enumerate(picture.machines) if m.name == name]
    found = Machines(deps.board).instance(name)
    if numbers:
        machine = picture.machines[numbers[0]]
    elif found is not None:
        instance, pool = found
        machine = machine_of(instance, next((o for o in pool.rules.offers if o.key == instance.offer), None))
    else:
        return None
    rows = [row for row, place in enumerate(picture.place) if place in numbers]
    uuids = [picture.gpus[row].uuid for row in rows]
    told = deps.store.devices.machine(machine.names, frozenset(uuids), picture.at)
    by_gpu = [[t for t in told if t.key.label("uuid") == uuid] for uuid in uuids]
    own = [t for t in told if t.key.label("uuid") is None]
    wiring = tuple(_wired(picture.number(row), some) for row, some in zip(rows, by_gpu, strict=True))
    instance_now = found[0] if found is not None else machine.instance
    return MachineView(
        machine=machine,
        boards=tuple(_board(picture, row) for row in rows),
        wiring=wiring,
        near=_near(wiring),
        of_gpus=sections(by_gpu, picture.at),
        of_machine=_of_machine(own, picture.at),
        events=tuple(e for e in picture.events if e.uuid in uuids),
        marks=tuple(m for m in in_force(deps, machine.pool) if m.instance == machine.name),
        price=instance_now.usd_per_hour if instance_now is not None else None,
    )


def _board(picture: Picture, row: int) -> Board:
    gpu = picture.gpus[row]
    return Board(
        uuid=gpu.uuid,
        number=picture.number(row),
        model=dict(gpu.labels).get("gpu_model", ""),
        cells=tuple(cell(picture, colour, row) for colour in COLOURS),
        lost=bool(picture.lost[row]),
        trouble=picture.marked.get(row, ()),
    )


def _wired(number: str, told: Sequence[Told]) -> Wiring:
    newest: dict[str, Told] = {}
    for one in told:
        known = newest.get(one.key.metric)
        if known is None or not one.at <= known.at:
            newest[one.key.metric] = one
    values = {metric: one.value for metric, one in newest.items() if not math.isnan(one.value)}
    generation, width = values.get("gpu_pcie_link_generation"), values.get("gpu_pcie_link_width")
    pcie = [f"generation {generation:.0f}"] if generation is not None else []
    pcie += [f"{width:.0f} lanes"] if width is not None else []
    info = newest.get("gpu_info")
    node = values.get("gpu_numa_node")
    return Wiring(
        number=number,
        links=_whole(values, "gpu_nvlink_links_up"),
        pcie=", ".join(pcie),
        # The kernel says -1 where the firmware tells of no node.
        numa=f"{node:.0f}" if node is not None and node >= 0 else "",
        score=f"{values['gpu_topology_score']:g}" if "gpu_topology_score" in values else "",
        pci_address=next((v for k, v in info.key.labels if k.startswith("pci_")), "") if info is not None else "",
    )


def _whole(values: Mapping[str, float], metric: str) -> str:
    return f"{values[metric]:.0f}" if metric in values else ""


def _near(wiring: Sequence[Wiring]) -> tuple[tuple[str, ...], ...]:
    """What NUMA nodes tell of each pair; nothing when fewer than two GPUs have one."""
    if sum(bool(w.numa) for w in wiring) < 2:
        return ()

    def pair(one: Wiring, other: Wiring) -> str:
        if one is other:
            return ITSELF
        return "" if not one.numa or not other.numa else NEAR if one.numa == other.numa else FAR

    return tuple(tuple(pair(one, other) for other in wiring) for one in wiring)


def _of_machine(told: Sequence[Told], now: float) -> tuple[tuple[str, tuple[Line, ...]], ...]:
    """What the machine tells besides its GPUs."""
    parts = (
        ("Machine", [t for t in told if t.key.metric.startswith("host_")]),
        ("Engine", [t for t in told if t.key.metric.startswith(_ENGINE)]),
        ("Notices of its cloud", [t for t in told if t.key.metric.startswith(_NOTICES)]),
    )
    return tuple(
        (name, tuple(line for _, lines in sections([some], now) for line in lines)) for name, some in parts if some
    )
