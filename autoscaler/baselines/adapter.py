"""A peer's law in place of the engine: `Loop(decide=Peer(...))` runs it in the ordinary loop."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from autoscaler.baselines.asked import Asked
from autoscaler.baselines.seen import Policy
from autoscaler.measure import lead_time_s, measure
from autoscaler.movement import LaunchLimits
from autoscaler.policies.target import CAPACITY
from autoscaler.ruleset import RuleSet, Signal
from autoscaler.types import Decision, Memory, Reading, Reason, World

ARRIVALS, WAITING, BUSY = "arrivals", "waiting", "busy"
UNLIMITED = 1_000_000


def peer_rules(rules: RuleSet) -> RuleSet:
    """A pool's rules with the signals that peers see, and none of our own rules and limits on launches."""
    return replace(
        rules,
        signals=(
            Signal(ARRIVALS, metric="requests_arrived_total", rate_s=rules.tick_s),
            Signal(WAITING, metric="requests_waiting"),
            Signal(BUSY, metric="gpu_busy_ratio", aggregate="mean"),
        ),
        rules=(),
        alerts=(),
        launch=LaunchLimits(per_hour=UNLIMITED),
    )


@dataclass(slots=True)
class Peer:
    """One policy for one pool. What the policy remembers is here and not in the journal: a back-test never restarts.

    The pool's bounds hold; none of our own limits does. A reading that is stale or worse is unknown to the policy.
    """

    name: str
    policy: Policy
    _asked: Asked | None = field(init=False, default=None)

    def __call__(self, rules: RuleSet, world: World, memory: Memory) -> Decision:
        """The decision of one tick, with the signature of the engine's `decide`."""
        fleet = world.fleet
        readings = measure(rules, world)
        capacity = readings[CAPACITY].value
        if fleet is None or fleet.observed_at < world.now - rules.patience_s or capacity is None:
            current = memory.want if memory.want is not None else (fleet.size if fleet else 0)
            text = "the fleet or the capacity of a replica is not known; nothing is decided"
            return self._decision(rules, world, memory, readings, current, current, text, blind=True)
        size = fleet.size
        if self._asked is None:
            self._asked = Asked(self.policy, capacity, lead_time_s(rules, world.lead_times), rules.tick_s)
            text = "the first decision leaves the pool as it was found"
            return self._decision(rules, world, memory, readings, size, size, text)
        rate, busy, waiting = (_known(readings[name]) for name in (ARRIVALS, BUSY, WAITING))
        wanted = self._asked.want(world.now, rate, busy, waiting, fleet.ready, fleet.pending)
        bounded = min(max(wanted, rules.bounds.min), rules.bounds.max)
        text = f"{wanted} wanted" + (f", {bounded} within the bounds" if bounded != wanted else "")
        return self._decision(rules, world, memory, readings, size, bounded, text)

    def _decision(
        self,
        rules: RuleSet,
        world: World,
        memory: Memory,
        readings: Mapping[str, Reading],
        current: int,
        want: int,
        text: str,
        blind: bool = False,
    ) -> Decision:
        return Decision(
            pool=rules.pool,
            number=memory.number + 1,
            at=world.now,
            current=current,
            want=want,
            ready=world.fleet.ready if world.fleet else 0,
            pending=world.fleet.pending if world.fleet else 0,
            reasons=(Reason(f"policy:{self.name}", want, text),),
            readings=readings,
            rules_hash=rules.hash,
            recommended=want,
            blind=blind,
        )


def _known(reading: Reading) -> float:
    usable = reading.value is not None and reading.quality in ("fresh", "partial")
    return reading.value if usable and reading.value is not None else math.nan
