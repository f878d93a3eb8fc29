"""What the guards of a pool have to tell people: quotas that only they can lift, and too many sick machines. Pure."""

from __future__ import annotations

from collections.abc import Mapping

from autoscaler.alerts import QUOTA, SICK
from autoscaler.planner import sickness
from autoscaler.ruleset import RuleSet
from autoscaler.types import Fleet, Memory


def guarded(rules: RuleSet, memory: Memory, fleet: Fleet | None, now: float) -> Mapping[str, Mapping[str, str]]:
    """Name of an alert -> what it is about -> its text. A name that is left out cannot be judged now."""
    told: dict[str, Mapping[str, str]] = {QUOTA: _quotas(memory)}
    if fleet is not None:
        health = sickness(rules, memory, fleet, now)
        text = f"{health.text}: none is removed or replaced, one launch at a time probes; look at the machines"
        told[SICK] = {rules.pool: text} if health.halted else {}
    return told


def _quotas(memory: Memory) -> dict[str, str]:
    """A quota that let more through than it had refused is lifted."""
    return {
        q.family: f"{q.offer} was refused with {q.had} machines of {q.family} in the pool; ask for more quota: {q.text}"
        for q in memory.quotas.values()
        if q.most <= q.had
    }
