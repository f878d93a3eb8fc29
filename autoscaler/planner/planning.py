"""plan(): which instances. From the fleet that is there to the number that was decided, one tick's actions at a time.

Drains are two-phased and driven from here: `drain` takes an instance out of routing, and it is terminated at a later
tick, when nothing is in flight any more or the deadline has passed. Until then it can be resumed.
"""

from __future__ import annotations

from autoscaler.planner import warming
from autoscaler.planner.balance import balance
from autoscaler.planner.draft import Draft, provider_of
from autoscaler.planner.endings import finish_drains
from autoscaler.planner.orphans import sweep
from autoscaler.planner.standing import look
from autoscaler.ruleset import RuleSet
from autoscaler.types import Decision, Memory, Plan, World


def plan(rules: RuleSet, decision: Decision, world: World, memory: Memory) -> Plan:
    """The actions of this tick and the reasons of everything that was left undone."""
    fleet = world.fleet
    if fleet is None or decision.blind:
        return Plan(decision.pool, decision.number)
    silent = fleet.silent(world.now - rules.patience_s)
    resting = {name: refusal.until for name, refusal in memory.refusals.items()}
    late = frozenset(p for p in map(provider_of, fleet.instances) if world.now - fleet.seen_at(p) >= rules.tick_s)
    draft = Draft(rules, decision, frozenset(name for name, _ in silent), resting, late)
    if memory.withheld == (decision.want, fleet.size):
        draft.note("shadow", f"going from {fleet.size} to {decision.want} was withheld already")
        return Plan(decision.pool, decision.number, (), tuple(draft.reasons), moving=memory.moving)
    standing = look(draft, fleet, world, memory)
    halted, frozen = standing.health.halted, standing.frozen
    ours = standing.ours
    if frozen:
        draft.note("freeze", "nothing is launched or removed while the pool is frozen")
    else:
        ours = balance(draft, standing, world, memory)
    if not halted:
        if not frozen:
            sweep(draft, standing.there, standing.given_up, memory)
        finish_drains(draft, standing.alive, memory)
    if not frozen and not halted:
        warming.tend(draft, ours, fleet, world, memory, standing.warmth)
    warm = standing.warmth.wanted if standing.warmth is not None else None
    return Plan(decision.pool, decision.number, tuple(draft.actions), tuple(draft.reasons), warm, standing.moving)
