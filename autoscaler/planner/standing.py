"""Who counts: one look at the fleet before it is moved. Who is set aside, sick, given up, ours, to be replaced."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from autoscaler.planner import consolidating, replacing, warming
from autoscaler.planner.draft import Draft
from autoscaler.planner.endings import give_up
from autoscaler.planner.orphans import usable
from autoscaler.planner.replacing import Leaving
from autoscaler.planner.sickness import Sickness, sickness
from autoscaler.planner.warming import Warmth
from autoscaler.types import Fleet, Instance, Memory, World
from autoscaler.types.moving import Moving


@dataclass(frozen=True, slots=True)
class Standing:
    """The fleet as this tick moves it. paid: all that costs money. there: without those that a person set aside.

    want: replicas, less those that come back from being set aside. alive: of `there`, without the given up. ours: of
    them, without what nobody here ordered. moving: the move to cheaper machines that is under way.
    """

    paid: Fleet
    there: Fleet
    want: int
    health: Sickness
    given_up: set[str]
    alive: Sequence[Instance]
    ours: Sequence[Instance]
    leaving: Leaving
    moving: Moving | None
    warmth: Warmth | None
    frozen: bool


def look(draft: Draft, fleet: Fleet, world: World, memory: Memory) -> Standing:
    """Takes instances aside and gives them up on the way: both hold whatever else is decided."""
    rules, decision = draft.rules, draft.decision
    aside = replacing.set_aside(draft, fleet.instances, world)
    # What is set aside is paid for, so money is counted with it; nothing else is.
    there = replace(fleet, instances=tuple(i for i in fleet.instances if i.id not in aside.ids)) if aside.ids else fleet
    health = sickness(rules, memory, there, world.now)
    given_up = give_up(draft, there, memory, health)
    alive = [i for i in there.instances if i.id not in given_up]
    ours = usable(alive, memory, world.now)
    leaving = replacing.leaving_of(rules, ours, world, memory)
    leaving, moving = consolidating.move(draft, ours, there, world, memory, leaving)
    warmth = warming.look(draft, ours, world, memory)
    draft.outgoing |= leaving.ids | leaving.old
    frozen = any(o.kind == "freeze" and o.pool == decision.pool and o.until > world.now for o in world.overrides)
    want = max(0, decision.want - sum(i.replicas for i in aside.back))
    return Standing(fleet, there, want, health, given_up, alive, ours, leaving, moving, warmth, frozen)
