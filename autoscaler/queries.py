"""What a pool's signals ask of a store that answers queries."""

from __future__ import annotations

from hashlib import blake2b

from autoscaler.ruleset import RuleSet, Signal
from autoscaler.types import Query


def queries(rules: RuleSet) -> tuple[Query, ...]:
    """One query for each signal of the pool that is measured; forecasts are not asked for."""
    return tuple(
        Query(
            pool=rules.pool,
            signal=s.name,
            interval_s=rules.tick_s,
            lookback_s=rules.lookback_s,
            promql=s.promql,
            metric=None if s.promql else s.metric,
            where=s.where,
            match=rules.match,
            workload=rules.workload,
            aggregate=s.aggregate,
            rate_s=s.rate_s,
            quantile=s.quantile,
            over_s=s.over_s,
            definition=definition(s),
        )
        for s in rules.signals
        if s.forecast is None
    )


def definition(signal: Signal) -> str:
    """A fingerprint of what a signal measures, whatever it is called: values under another one are of another thing.

    How old a value may be and what stands in for it are no part of that, nor is which targets the pool has now.
    """
    asked = (
        signal.metric,
        signal.where,
        signal.aggregate,
        signal.rate_s,
        signal.quantile,
        signal.over_s,
        signal.promql,
    )
    return blake2b(repr(asked).encode(), digest_size=8).hexdigest()
