"""What a pool's signals ask of a store that answers queries."""

from __future__ import annotations

from autoscaler.ruleset import RuleSet
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
            aggregate=s.aggregate,
            rate_s=s.rate_s,
            quantile=s.quantile,
            over_s=s.over_s,
        )
        for s in rules.signals
        if s.forecast is None
    )
