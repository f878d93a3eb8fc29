"""A canary for growth: of settings that have never served, one instance comes first, and more when it serves.

A new image or template that does not start would otherwise be bought as often as growth asks. What present demand needs
is never held back, nor is a pool of which nothing serves: users who wait lose more than a machine costs.
"""

from __future__ import annotations

import math
from dataclasses import replace

from autoscaler.planner.room import FREE, Room
from autoscaler.ruleset import RuleSet
from autoscaler.stages import present_need
from autoscaler.types import Decision, Fleet, Instance, Kinds, Memory, Offer


def prove(rules: RuleSet, memory: Memory, fleet: Fleet | None, now: float) -> Memory:
    """The memory with the settings of offers of which something serves by now, and those of which nothing does yet.

    When a pool is seen for the first time, whatever its rules say is taken as proven: there is no older kind that
    would be the safer one.
    """
    before = memory.kinds
    if before is not None and before.rules == rules.hash and (not before.unproven or fleet is None):
        return memory
    made = {o.key: o.made_of for o in rules.offers}
    if before is None:
        return replace(memory, kinds=Kinds(rules.hash, made))
    changed = {key: now for key, kind in made.items() if before.made_of.get(key) != kind}
    open_ = {key: at for key, at in before.unproven.items() if key in made} | changed
    serving = [i for i in fleet.instances if i.state == "ready"] if fleet is not None else []
    proven = {i.offer for i in serving if i.offer in open_ and _is_of(i, made[i.offer], open_[i.offer])}
    return replace(memory, kinds=Kinds(rules.hash, made, {key: at for key, at in open_.items() if key not in proven}))


def canary(rules: RuleSet, decision: Decision, memory: Memory, fleet: Fleet, offer: Offer) -> Room:
    """How many more of an offer may be ordered before one of its present settings serves."""
    since = memory.kinds.unproven.get(offer.key) if memory.kinds is not None else None
    if since is None or decision.commanded or decision.burst is not None or fleet.ready == 0:
        return FREE
    pressing = math.ceil((present_need(rules, decision) - fleet.size) / offer.replicas)
    coming = sum(
        i.state == "pending" and _is_of(i, offer.made_of, since) and i.offer == offer.key for i in fleet.instances
    )
    units = max(0, pressing, 1 - coming)
    why = f"{offer.key} has settings of which nothing has served yet: one first, more when it serves"
    return Room(units, None, why, "canary")


def _is_of(instance: Instance, kind: str, since: float) -> bool:
    """Whether an instance is of the settings that an offer has since then."""
    return instance.made_of == kind if instance.made_of else instance.requested_at >= since
