"""plan(): which instances. From the fleet that is there to the number that was decided, one tick's actions at a time.

Drains are two-phased and driven from here: `drain` takes an instance out of routing, and it is terminated at a later
tick, when nothing is in flight any more or the deadline has passed. Until then it can be resumed.
"""

from __future__ import annotations

from autoscaler.planner.draft import Draft
from autoscaler.planner.endings import finish_drains, give_up
from autoscaler.planner.growth import grow
from autoscaler.planner.shrinking import shrink
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
        return Plan(decision.pool, decision.number, (), tuple(draft.reasons))
    given_up = give_up(draft, fleet, memory)
    alive = [i for i in fleet.instances if i.id not in given_up]
    size = sum(i.replicas for i in alive if i.state in ("pending", "ready"))
    frozen = any(o.kind == "freeze" and o.pool == decision.pool and o.until > world.now for o in world.overrides)
    if frozen:
        draft.note("freeze", "nothing is launched or removed while the pool is frozen")
    elif decision.want > size:
        grow(draft, alive, decision.want - size, fleet, memory)
    elif decision.want < size:
        shrink(draft, alive, decision.want)
    finish_drains(draft, alive, memory)
    return Plan(decision.pool, decision.number, tuple(draft.actions), tuple(draft.reasons))
