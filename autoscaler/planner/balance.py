"""More or fewer: what is wanted against what is there, with successors beside those whose place they take."""

from __future__ import annotations

from collections.abc import Sequence

from autoscaler.planner import replacing, warmstart
from autoscaler.planner.draft import Draft
from autoscaler.planner.endings import waiting
from autoscaler.planner.growth import bridge, grow
from autoscaler.planner.orphans import removable
from autoscaler.planner.shrinking import shrink
from autoscaler.planner.standing import Standing
from autoscaler.types import Instance, Memory, World


def balance(draft: Draft, s: Standing, world: World, memory: Memory) -> Sequence[Instance]:
    """Grows or shrinks the pool; returns those of ours that stay."""
    gone = set[str]() if s.health.halted else replacing.let_go(draft, s.ours, s.want, s.leaving)
    ours = [i for i in s.ours if i.id not in gone]
    here = [i for i in ours if i.state in ("pending", "ready")]
    missing = s.want - sum(i.replicas for i in here)
    missing -= waiting(s.health, s.given_up, missing, s.paid)
    # A successor may be there besides the one whose place it takes: neither is a surplus.
    kept = sum(i.replicas for i in here if i.id in s.leaving.ids)
    more = missing + (0 if s.health.halted else min(kept, s.leaving.surge))
    if more > 0:
        candidates = replacing.candidates(ours, s.leaving, short=missing > 0)
        grow(draft, candidates, more, s.paid, memory, world, warmstart.later(draft, world, s.warmth))
        return ours
    bridged = bridge(draft, ours, warmstart.early(draft, ours, world, s.warmth), memory, world)
    if not bridged and missing + kept < 0 and not s.health.halted:
        shrink(draft, removable(ours, memory), s.want + kept, s.leaving.ids | s.leaving.old)
    return ours
