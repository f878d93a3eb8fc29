"""plan(): which instances. From the fleet that is there to the number that was decided, one tick's actions at a time.

Drains are two-phased and driven from here: `drain` takes an instance out of routing, and it is terminated at a later
tick, when nothing is in flight any more or the deadline has passed. Until then it can be resumed.
"""

from __future__ import annotations

from dataclasses import replace

from autoscaler.planner import consolidating, replacing, warming, warmstart
from autoscaler.planner.draft import Draft
from autoscaler.planner.endings import finish_drains, give_up, waiting
from autoscaler.planner.growth import bridge, grow
from autoscaler.planner.orphans import removable, sweep, usable
from autoscaler.planner.shrinking import shrink
from autoscaler.planner.sickness import sickness
from autoscaler.ruleset import RuleSet
from autoscaler.types import Decision, Memory, Plan, World


def plan(rules: RuleSet, decision: Decision, world: World, memory: Memory) -> Plan:
    """The actions of this tick and the reasons of everything that was left undone."""
    fleet = world.fleet
    if fleet is None or decision.blind:
        return Plan(decision.pool, decision.number)
    silent = fleet.silent(world.now - rules.patience_s)
    resting = {name: refusal.until for name, refusal in memory.refusals.items()}
    draft = Draft(rules, decision, frozenset(name for name, _ in silent), resting)
    if memory.withheld == (decision.want, fleet.size):
        draft.note("shadow", f"going from {fleet.size} to {decision.want} was withheld already")
        return Plan(decision.pool, decision.number, (), tuple(draft.reasons), moving=memory.moving)
    aside = replacing.set_aside(draft, fleet.instances, world)
    # What is set aside is paid for, so money is counted with it; nothing else is.
    there = replace(fleet, instances=tuple(i for i in fleet.instances if i.id not in aside.ids)) if aside.ids else fleet
    want = max(0, decision.want - sum(i.replicas for i in aside.back))
    health = sickness(rules, memory, there, world.now)
    given_up = give_up(draft, there, memory, health)
    alive = [i for i in there.instances if i.id not in given_up]
    ours = usable(alive, memory, world.now)
    leaving = replacing.leaving_of(rules, ours, world, memory)
    leaving, moving = consolidating.move(draft, ours, there, world, memory, leaving)
    warmth = warming.look(draft, ours, world, memory)
    draft.outgoing |= leaving.ids | leaving.old
    frozen = any(o.kind == "freeze" and o.pool == decision.pool and o.until > world.now for o in world.overrides)
    if frozen:
        draft.note("freeze", "nothing is launched or removed while the pool is frozen")
    else:
        gone = set[str]() if health.halted else replacing.let_go(draft, ours, want, leaving)
        ours = [i for i in ours if i.id not in gone]
        here = [i for i in ours if i.state in ("pending", "ready")]
        missing = want - sum(i.replicas for i in here)
        missing -= waiting(health, given_up, missing, fleet)
        # A successor may be there besides the one whose place it takes: neither is a surplus.
        kept = sum(i.replicas for i in here if i.id in leaving.ids)
        more = missing + (0 if health.halted else min(kept, leaving.surge))
        if more > 0:
            usable_now = replacing.candidates(ours, leaving, short=missing > 0)
            grow(draft, usable_now, more, fleet, memory, world, warmstart.later(draft, world, warmth))
        elif (
            not bridge(draft, ours, warmstart.early(draft, ours, world, warmth), memory, world)
            and missing + kept < 0
            and not health.halted
        ):
            shrink(draft, removable(ours, memory), want + kept, leaving.ids | leaving.old)
    if not health.halted:
        if not frozen:
            sweep(draft, there, given_up, memory)
        finish_drains(draft, alive, memory)
    if not frozen and not health.halted:
        warming.tend(draft, ours, fleet, world, memory, warmth)
    warm = warmth.wanted if warmth is not None else None
    return Plan(decision.pool, decision.number, tuple(draft.actions), tuple(draft.reasons), warm, moving)
