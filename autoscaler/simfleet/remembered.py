"""What a service would remember of a simulated fleet from before its start: the demand of the hours until now.

Without it bands and forecasts of a demonstration would begin after minutes. Decisions and machines of that time are not
made up.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable, Iterator

import numpy as np

from autoscaler.queries import definition
from autoscaler.ruleset import RuleSet, Signal
from autoscaler.simfleet.gpus import Floats
from autoscaler.types import Past

HOURS = 6.0
EVERY_S = 15.0


def remembered(rules: RuleSet, demand: Callable[[float], float], now: float, seed: int) -> Iterator[Past]:
    """The history of each signal of the pool that follows from its demand (requests per second at a time) alone."""
    at = np.arange(now - HOURS * 3600.0, now - EVERY_S, EVERY_S)
    rates = np.array([demand(float(moment)) for moment in at])
    for signal in rules.signals:
        rng = np.random.default_rng([seed, zlib.crc32(f"{rules.pool}/{signal.name}".encode())])
        values = _values(signal, rules, rates, rng)
        if values is not None:
            yield Past(rules.pool, signal.name, at, values, definition(signal))


def _values(signal: Signal, rules: RuleSet, rates: Floats, rng: np.random.Generator) -> Floats | None:
    if signal.where or signal.promql or signal.forecast:
        return None
    match signal.metric, signal.aggregate:
        case "requests_arrived_total", "sum" if signal.rate_s:
            return np.asarray(rng.poisson(rates * signal.rate_s) / signal.rate_s, dtype=np.float64)
        case "requests_waiting", _:
            return np.zeros(rates.size)
        case "gpu_sm_active_ratio", "mean" if rules.capacity:
            replicas = np.clip(np.ceil(rates / (rules.capacity * rules.utilisation_target)), 1, rules.bounds.max)
            return np.clip(0.93 * rates / (replicas * rules.capacity) + 0.01 * rng.standard_normal(rates.size), 0, 1)
    return None
