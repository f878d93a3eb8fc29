"""More replicas, fastest first: back from draining, then from the warm pool, then new machines.

What is short only after a new machine could serve is bought as one, so that the warm pool stays for surprises; if none
can be had, it is started from the warm pool after all.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from autoscaler.planner.draft import Draft
from autoscaler.planner.ordering import order
from autoscaler.planner.warmstart import startable
from autoscaler.types import Fleet, Instance, Launch, Memory, World


def grow(
    draft: Draft, alive: Sequence[Instance], missing: int, fleet: Fleet, memory: Memory, world: World, later: int
) -> None:
    """Orders what is missing, in replicas, of which `later` are short only after a new machine could serve."""
    for i in sorted(draft.within_reach(alive, "draining"), key=lambda i: -i.since):
        if missing <= 0:
            return
        if draft.operate("resume", i, "wanted again before it had left"):
            missing -= i.replicas
    warm = startable(draft, alive, memory, world)
    missing -= _start(draft, warm, missing - later, "from the warm pool")
    before = _launched(draft)
    order(draft, missing, fleet, memory, world.lead_times)
    missing -= _launched(draft) - before
    _start(draft, warm, missing, "from the warm pool, since no new machine can be had")


def bridge(draft: Draft, alive: Sequence[Instance], early: int, memory: Memory, world: World) -> bool:
    """Starts warm machines for what is short before others that are on their way serve; True if there were any.

    Those that are too many then are given back as surplus that serves nobody yet.
    """
    why = "from the warm pool, needed before what is on its way serves"
    return _start(draft, startable(draft, alive, memory, world), early, why) > 0


def _start(draft: Draft, warm: Iterator[Instance], missing: int, why: str) -> int:
    """Starts warm machines until that many replicas come; returns how many do."""
    started = 0
    while started < missing:
        instance = next(warm, None)
        if instance is None:
            break
        started += instance.replicas if draft.operate("start", instance, why) else 0
    return started


def _launched(draft: Draft) -> int:
    return sum(a.offer.replicas for a in draft.actions if isinstance(a, Launch))
