"""The burst guard: sudden demand is met at once and is not given back while what was ordered is still on its way.

The concept is Knative's panic mode; the difference is that pending replicas count, so that a burst ordered for is not
ordered again, and that the mode ends only when its orders have arrived.
"""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np

from autoscaler.judge import before
from autoscaler.movement import BurstGuard
from autoscaler.policies.target import BEYOND_ANY_POOL, Target
from autoscaler.ruleset import RuleSet
from autoscaler.types import Burst, Decision, Memory, World


def guard(d: Decision, rules: RuleSet, world: World, memory: Memory) -> Decision:
    """Raises the decision to the burst's high-water mark while it lasts; never lowers anything."""
    settings = rules.scale_out.burst
    if settings is None or memory.want is None:
        return d
    need = _need(d, rules, world, settings)
    burst = memory.burst
    there = d.ready + d.pending
    # It is over when it would not begin again at the size that the rules ask for; else it would end and begin for ever.
    size = max(1, there if burst is None else min(there, d.want))
    over = need is not None and need > settings.ratio * size
    if over and need is not None:
        burst = Burst(burst.since if burst else world.now, max(need, burst.high_water if burst else 0), world.now)
    elif burst is not None and world.now - burst.last_over_at >= settings.hold_s and d.pending == 0:
        burst = None
    d = replace(d, burst=burst)
    if burst is None or d.want >= burst.high_water:
        return d
    text = (
        f"a burst since {world.now - burst.since:.0f} s asked for {burst.high_water}; it stays until that has arrived"
    )
    return replace(d.then("burst", burst.high_water, text), recommended=burst.high_water)


def _need(d: Decision, rules: RuleSet, world: World, settings: BurstGuard) -> int | None:
    """Replicas for the mean demand of the last `window_s`, over all targets; None when none can tell."""
    needs = []
    for rule in rules.rules:
        target = rule.policy
        if not isinstance(target, Target):
            continue
        reading = d.readings.get(target.signal)
        frame = world.signals.get(target.signal)
        per_replica, _ = target.share(d.readings)
        if reading is None or reading.value is None or per_replica is None:
            continue
        values = [reading.value]
        if frame is not None:
            earlier = before(frame, reading.at, settings.window_s).values[0]
            values += [float(v) for v in earlier if np.isfinite(v)]
        exact = sum(values) / len(values) / per_replica
        if 0 <= exact < BEYOND_ANY_POOL:
            needs.append(math.ceil(exact - 1e-9))
    return max(needs, default=None)
