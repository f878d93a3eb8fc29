"""More replicas, fastest first: back from draining, then from the warm pool, then new machines."""

from __future__ import annotations

from collections.abc import Sequence

from autoscaler.planner.draft import Draft
from autoscaler.planner.ordering import order
from autoscaler.types import Fleet, Instance, Memory


def grow(draft: Draft, alive: Sequence[Instance], missing: int, fleet: Fleet, memory: Memory) -> None:
    """Fastest first: back from draining, then from the warm pool, then new machines."""
    for i in sorted(draft.within_reach(alive, "draining"), key=lambda i: -i.since):
        if missing <= 0:
            return
        if draft.operate("resume", i, "wanted again before it had left"):
            missing -= i.replicas
    for i in sorted(draft.within_reach(alive, "warm"), key=lambda i: i.since):
        if missing <= 0:
            return
        if draft.operate("start", i, "from the warm pool"):
            missing -= i.replicas
    order(draft, missing, fleet, memory)
