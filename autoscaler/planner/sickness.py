"""Sick machines, and when there are so many that the fault is rather ours, or our eyes', than theirs.

One that fails is replaced. When half of a pool fails at once, an image, a network or a monitor is broken, and to
replace them all would be the greater harm: then nothing leaves, and one launch at a time shows whether new machines
serve. The two marks are those of Kubernetes' cluster autoscaler (45 % and 3 machines that are not ready) and of
Karpenter's node repair (20 %).
"""

from __future__ import annotations

from dataclasses import dataclass

from autoscaler.planner.patience import overdue
from autoscaler.ruleset import RuleSet
from autoscaler.types import Fleet, Instance, Memory


@dataclass(frozen=True, slots=True)
class Sickness:
    """The sick machines of a pool, oldest first, and how many there are with those that are well.

    halted: too many are sick, nothing may be removed or replaced. slowed: one at a time may be.
    """

    sick: tuple[Instance, ...]
    machines: int
    halted: bool
    slowed: bool

    @property
    def text(self) -> str:
        """How many, in words."""
        return f"{len(self.sick)} of {self.machines} machines are sick"


def sickness(rules: RuleSet, memory: Memory, fleet: Fleet, now: float) -> Sickness:
    """How a pool is. Machines that are not listed yet, rest in the warm pool or leave count on neither side.

    What serves as many replicas as are wanted is not halted, whatever else lies about in it.
    """
    well = sum(i.state in ("ready", "draining") for i in fleet.instances)
    others = [i for i in fleet.instances if i.state in ("pending", "failed") and not i.id.startswith("ordered:")]
    there = well + len(others)
    sick = sorted((i for i in others if _sick(rules, memory, i, now)), key=lambda i: (i.requested_at, i.id))
    if not sick:
        return Sickness((), there, False, False)
    n, limits = len(sick), rules.launch
    many = n > limits.sick_count and n > limits.sick_ratio * there
    serving = sum(i.replicas for i in fleet.instances if i.state == "ready")
    halted = many and (memory.want is None or serving < memory.want)
    slowed = not halted and n > 1 and n > limits.repair_ratio * there
    return Sickness(tuple(sick), there, halted, slowed)


def _sick(rules: RuleSet, memory: Memory, instance: Instance, now: float) -> bool:
    if instance.state != "failed":
        return overdue(rules, memory, instance, now)
    # A cloud takes back what was rented at the spot price, many at once: that is its right and no sickness.
    return not instance.offer.endswith("/spot") or died_young(rules, instance)


def died_young(rules: RuleSet, instance: Instance) -> bool:
    """Whether it failed so soon after it was ordered that the next one may well fail too."""
    return instance.state == "failed" and instance.since - instance.requested_at <= rules.launch.register_s
