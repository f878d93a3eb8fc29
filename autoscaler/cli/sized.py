"""Which machines of the catalogue hold a replica, and what a request costs on each."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from autoscaler.capacity.arithmetic import too_small
from autoscaler.capacity.gpus import Gpu, gpu_in
from autoscaler.capacity.sizing import Sizing, Wish, size
from providers.catalog import Machine

WHOLE_MACHINE = 8
"""GPUs of machines that are built to be joined, and of one that is in no catalogue."""


@dataclass(frozen=True, slots=True)
class Offered:
    """One instance type and the replica that it would run. machine None: none of the catalogue has this GPU."""

    machine: Machine | None
    gpu: Gpu
    gpus: int
    sizing: Sizing

    @property
    def instances_each(self) -> int:
        """Instances that one replica spans."""
        return -(-self.sizing.layout.gpus // self.gpus)

    @property
    def replicas_each(self) -> int:
        """Replicas on one instance; 1 when a replica spans several."""
        return max(1, self.gpus // self.sizing.layout.gpus)

    @property
    def alone(self) -> bool:
        """One instance holds a whole replica."""
        return self.instances_each == 1

    @property
    def usd_per_million(self) -> float:
        """USD for a million requests at the planned rate; infinite without a price or when the goal is missed."""
        price = self.machine.usd_per_hour if self.machine else None
        served = self.replicas_each * self.sizing.planned_rate / self.instances_each
        return math.inf if price is None or served <= 0 else price / 3600 / served * 1e6

    @property
    def instances(self) -> int | None:
        """Instances for the rate that was asked for."""
        replicas = self.sizing.replicas
        return None if replicas is None else -(-replicas // self.replicas_each) * self.instances_each

    @property
    def usd_per_hour(self) -> float | None:
        """What those cost."""
        price = self.machine.usd_per_hour if self.machine else None
        return None if self.instances is None or price is None else self.instances * price

    @property
    def order(self) -> tuple[float, float, int, str]:
        """Cheapest first: for the whole rate if one is asked for, else a request; then fewest stranded GPUs."""
        total = self.usd_per_hour if self.sizing.wish.rate is not None else None
        stranded = self.gpus * self.instances_each - self.sizing.layout.gpus * self.replicas_each
        per_million = self.usd_per_million
        first = per_million if self.sizing.wish.rate is None else math.inf if total is None else total
        return (first, per_million, stranded, self.machine.type if self.machine else "")


@dataclass(frozen=True, slots=True)
class Answer:
    """best: the replica that is explained. offered: on the GPU asked for, cheapest first. others: other GPUs of which
    one instance holds a replica, when none of those asked for does. small: types that hold no part of a replica."""

    best: Offered | None
    offered: tuple[Offered, ...]
    others: tuple[Offered, ...]
    small: tuple[str, ...]
    why_small: str = ""


def answer(wish: Wish, asked: Gpu | None, machines: Sequence[Machine]) -> Answer:
    """Every machine judged. Where the goal cannot be met anywhere, `best` is the one with the shortest step."""
    found, small = _judge(wish, machines, asked)
    offered = tuple(sorted(found, key=lambda o: o.order))
    if asked is not None and not found and not small:
        sizing = size(wish, asked, WHOLE_MACHINE, joined=True)
        offered = (Offered(None, asked, WHOLE_MACHINE, sizing),) if sizing else ()
    others: tuple[Offered, ...] = ()
    if asked is not None and not any(o.alone and o.sizing.planned_rate > 0 for o in offered):
        elsewhere, _ = _judge(wish, [m for m in machines if not _same(asked, _gpu(m))], None)
        others = tuple(
            sorted((o for o in elsewhere if o.alone and o.usd_per_million < math.inf), key=lambda o: o.order)
        )
    able = [o for o in offered if o.sizing.planned_rate > 0]
    best = able[0] if able else min(offered, key=lambda o: o.sizing.prior.replica.alpha_s, default=None)
    alone = any(o.alone for o in offered)
    largest = _largest(asked, machines) if asked is not None and not alone else None
    why = too_small(wish, largest[0], min(largest[1], wish.tp or largest[1])) if largest else ""
    return Answer(best, offered, others[:5], tuple(dict.fromkeys(small)), why)


def _judge(wish: Wish, machines: Sequence[Machine], asked: Gpu | None) -> tuple[list[Offered], list[str]]:
    known: dict[tuple[str, int, bool], Sizing | None] = {}
    found, small = [], []
    for machine in machines:
        gpu = _gpu(machine)
        if gpu is None or (asked is not None and not _same(asked, gpu)):
            continue
        joined = bool(machine.rdma) and machine.gpus >= WHOLE_MACHINE
        key = (gpu.name, machine.gpus, joined)
        if key not in known:
            known[key] = size(wish, gpu, machine.gpus, joined)
        sizing = known[key]
        if sizing is None:
            small.append(machine.type)
        else:
            found.append(Offered(machine, gpu, machine.gpus, sizing))
    return found, small


def _gpu(machine: Machine) -> Gpu | None:
    return gpu_in(machine.gpu, machine.gpu_gib, machine.link)


def _same(asked: Gpu, gpu: Gpu | None) -> bool:
    """A GPU that is asked for by its plain name may be of either kind, switched or on PCIe."""
    if gpu is None:
        return False
    return gpu.name == asked.name or (asked.nvlink == 8 and gpu.model == asked.model and gpu.gib == asked.gib)


def _largest(asked: Gpu, machines: Sequence[Machine]) -> tuple[Gpu, int]:
    counts = [(m.gpus, gpu) for m in machines if (gpu := _gpu(m)) is not None and _same(asked, gpu)]
    if not counts:
        return asked, WHOLE_MACHINE
    count, gpu = max(counts, key=lambda pair: (pair[0], pair[1].name == asked.name))
    return gpu, count
