"""A pool with a warm pool, planned for one tick, and what the plan says."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from autoscaler.movement import WarmPool
from autoscaler.planner import plan
from autoscaler.ruleset import RuleSet
from autoscaler.types import (
    Decision,
    Fleet,
    Instance,
    Launch,
    Memory,
    Plan,
    World,
)
from tests.test_warmsize import decided
from tests.worlds import NOW, OFFER, fleet, instance, settled

EAST = replace(OFFER, zone="east")
WEST = replace(OFFER, zone="west", usd_per_hour=3.0)
SPOT = replace(OFFER, purchase="spot", usd_per_hour=1.0)
TWO = WarmPool(min=2)


def warm(number: int, **changes: Any) -> Instance:
    return instance(number, "warm", **{"rests": True, "in_flight": None, "in_flight_at": None, **changes})


def serving(ready: int, *others: Instance) -> Fleet:
    return Fleet(NOW, (*fleet(ready).instances, *others))


def planned(
    r: RuleSet, there: Fleet, want: int = 4, memory: Memory | None = None, d: Decision | None = None, **more: Any
) -> Plan:
    w = World(NOW, {}, there, **more)
    return plan(r, d or decided(want), w, memory or settled(want, watched_s=7200.0))


def said(made: Plan) -> list[str]:
    """Actions in words: `launch`, `warm` for a launch into the warm pool, `stop chat-1`."""
    return [
        ("warm" if a.into == "warm" else "launch") + f" {a.offer.key}"
        if isinstance(a, Launch)
        else f"{a.kind} {a.instance}"
        for a in made.actions
    ]


def notes(made: Plan) -> str:
    return "\n".join(r.text for r in made.reasons if r.source == "warm_pool")


FILL = f"warm {OFFER.key}"
