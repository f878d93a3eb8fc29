"""What a signal is read from: raw series of ours, or what a store answered to its query where we have none of those."""

from __future__ import annotations

import math
from dataclasses import replace

from autoscaler.ruleset import RuleSet, Signal
from autoscaler.signals import answer
from autoscaler.store.poolsignals import Measured
from autoscaler.store.selection import Selection, Selections


def origin(selections: Selections, rules: RuleSet, signal: Signal) -> tuple[Signal, Selection]:
    """The series that a signal is read from, and the signal itself or, for a store's answers, what stands for it."""
    selection = None
    if signal.metric is not None and signal.promql is None:
        selection = selections.get(rules.workload, _metric(signal), signal.where, rules.match)
        if selection.parts:
            return signal, selection
    answers = selections.get(rules.pool, answer(signal.name))
    if selection is not None and not answers.parts:
        return signal, selection
    own = replace(signal, metric=answer(signal.name), where=(), aggregate="sum", rate_s=None, quantile=None)
    # Targets of the pool that are silent say nothing about a store that answers.
    return own, replace(answers, silent=()) if answers.parts else answers


def bounded(selections: Selections, pool: str, signal: Signal, measured: Measured) -> Measured:
    """A store's answer with the bounds that came with it: some of what it aggregates over was silent."""
    low = _at(selections, pool, answer(signal.name, "low"), measured.newest_at)
    up = _at(selections, pool, answer(signal.name, "up"), measured.newest_at)
    if measured.quality != "fresh" or math.isnan(low) or math.isnan(up):
        return measured
    text = "some targets of the pool do not answer the store that aggregates them"
    return replace(measured, quality="partial", detail=text, lower=low, upper=up)


def _at(selections: Selections, pool: str, metric: str, at: float) -> float:
    """The value of a metric's only series if its newest is of that time, else NaN."""
    for part in selections.get(pool, metric).parts:
        if part.ring.last_at[part.columns[0]] == at:
            return float(part.ring.raw[part.columns[0]])
    return math.nan


def _metric(signal: Signal) -> str:
    """The name of the raw series: a quantile over time is read from a histogram's buckets."""
    assert signal.metric is not None
    from_buckets = signal.quantile is not None and signal.over_s is not None
    return f"{signal.metric.removesuffix('_bucket')}_bucket" if from_buckets else signal.metric
