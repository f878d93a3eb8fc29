"""One candidate in force, with what is known for it."""

from __future__ import annotations

from dataclasses import dataclass, replace

from autoscaler.ruleset import SHADOW, RuleSet
from autoscaler.shadow.candidates import as_candidate
from autoscaler.types import Learned


@dataclass(frozen=True, slots=True)
class Running:
    """A candidate in force. shared: forecasts that are the active pool's own. learning: what to learn for it alone."""

    active: RuleSet
    source: RuleSet
    rules: RuleSet
    shared: frozenset[str]
    learning: RuleSet | None


def made_of(active: RuleSet, source: RuleSet) -> Running:
    """A candidate ready to run. A forecast that the active rules have in the same words is not learned twice."""
    rules = as_candidate(active, source)
    ahead = [s for s in rules.signals if s.forecast is not None]
    shared = frozenset(
        s.name
        for s in ahead
        if active.signal(s.name) == s and active.signal(s.forecast or "") == rules.signal(s.forecast or "")
    )
    own = tuple(s for s in rules.signals if s.name not in shared)
    learning = replace(rules, signals=own) if any(s.forecast is not None for s in own) else None
    return Running(active, source, rules, shared, learning)


def known_of(running: Running, own: Learned, real: Learned) -> Learned:
    """What is known of a candidate: its own forecasts, and all else of the pool that it shadows. A capacity that its
    file states stands."""
    shared = {name: o for name, o in real.outlooks.items() if name.partition(":")[0] in running.shared}
    return Learned(
        outlooks={**own.outlooks, **shared},
        capacity=real.capacity if running.rules.capacity is None else None,
        lead_times={f"{SHADOW}/{key}": known for key, known in real.lead_times.items()},
    )
