"""What one tick saw of a pool: enough to learn from its launches, and told to the worker as one value."""

from __future__ import annotations

from dataclasses import dataclass

from autoscaler.ruleset import RuleSet
from autoscaler.types import Action, Fleet, Outcome


@dataclass(frozen=True, slots=True)
class Seen:
    """intents: open before the tick, with those it planned. fleet: reports united with intents, None = not known."""

    at: float
    rules: RuleSet
    intents: tuple[Action, ...]
    outcomes: tuple[Outcome, ...]
    fleet: Fleet | None
