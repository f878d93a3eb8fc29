"""What there is to measure a signal from, in numbers: for the check whether what the rules ask for is there."""

from __future__ import annotations

import math

import numpy as np

from autoscaler.presence import Given
from autoscaler.ruleset import Signal
from autoscaler.store.rawseries import RawSeries
from autoscaler.store.selection import Selection


def given(signal: Signal, asked: Signal, selection: Selection, raw: RawSeries, pool: str) -> Given:
    """The series of a selection, newest values as they came. `asked` is what the signal is read from in its place."""
    answered = asked.metric != signal.metric or signal.promql is not None
    series, counters, newest_at, least, most = 0, 0, math.nan, math.nan, math.nan
    for part in selection.parts:
        at, values = part.ring.last_at[part.columns], part.ring.raw[part.columns]
        series += part.columns.size
        counters += sum(key.counter for key in part.keys)
        newest_at = float(np.fmax.reduce(at, initial=newest_at))
        least = float(np.fmin.reduce(values, initial=least))
        most = float(np.fmax.reduce(values, initial=most))
    if series or answered or signal.metric is None:
        return Given(series, counters, newest_at, least, most, answered=answered)
    metric = signal.metric
    windowed = signal.quantile is not None and signal.over_s is not None
    name = f"{metric.removesuffix('_bucket')}_bucket" if windowed else metric
    plain = 0 if not windowed or metric.endswith("_bucket") else _count(raw, pool, metric)
    return Given(elsewhere=_count(raw, pool, name), plain=plain)


def _count(raw: RawSeries, pool: str, metric: str) -> int:
    """Series of a metric that carry the pool's name or none."""
    groups = ((pool, metric), ("", metric)) if pool else (("", metric),)
    return sum(source.groups[group].size for group in groups for source in raw.names.get(group, {}).values())
