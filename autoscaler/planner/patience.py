"""How long an instance may take, counted only while somebody watched."""

from __future__ import annotations

from autoscaler.ruleset import RuleSet
from autoscaler.types import Instance, Memory


def overdue(rules: RuleSet, memory: Memory, instance: Instance, now: float) -> bool:
    """Whether a listed instance should have become ready by now; it is given up."""
    listed = instance.state == "pending" and not instance.id.startswith("ordered:")
    return listed and watched_s(memory, began_at(instance), now) > rules.launch.register_s


def began_at(instance: Instance) -> float:
    """When a pending one began to come: when it was ordered, or when it was started from the warm pool."""
    return max(instance.requested_at, instance.since)


def watched_s(memory: Memory, at: float, now: float) -> float:
    """How long ago `at` was, as far as we watched: a clock that jumped must not end what people wait for, and one that
    went back must not keep it for ever."""
    watched_since = memory.watched_since if memory.watched_since is not None else now
    return now - (at if watched_since <= at <= now else watched_since)
