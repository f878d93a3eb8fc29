"""Is what the rules ask for there, and can it be what its name says? Pure; `selfcheck.py` asks, and tells people.

A signal that no target gives is no error of the rule file, so only a running service can see it; and a value in the
wrong unit looks like any other number. Both would otherwise show themselves as a pool that never moves.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass
from difflib import get_close_matches
from typing import Literal

from autoscaler import signals
from autoscaler.ruleset import RuleSet, Signal
from autoscaler.words import amount, seconds

Kind = Literal["absent", "disappeared", "unit", "kind"]

MOST_RATIO = 1.5
"""Ratios pass 1 a little: 1.294 was printed for a MIG instance's share of a whole GPU (NVIDIA/DCGM issue 152)."""
MOST_SECONDS = 1e5
"""More than a day: milliseconds, or a time stamp."""
MOST = {"celsius": (150.0, "kelvin or millidegrees"), "watts": (5000.0, "milliwatts")}
"""Of one series. No accelerator board draws 5 kW or runs at 150 degrees."""


@dataclass(frozen=True, slots=True)
class Given:
    """What the store has for one signal of a pool.

    series: how many, 0 = none ever came; counters: how many of them are counters. newest_at: of their newest value.
    least, most: of their newest values as they came; NaN = none. elsewhere: series of the same metric that do not
    count because their labels are others. plain: series under the metric's own name, for a signal that needs buckets.
    answered: a store answers in their place, so that nothing is known of the series themselves. problem: why it has
    no number, in its words. strays: pools without a rule file whose targets give the metric.
    """

    series: int = 0
    counters: int = 0
    newest_at: float = math.nan
    least: float = math.nan
    most: float = math.nan
    elsewhere: int = 0
    plain: int = 0
    answered: bool = False
    problem: str = ""
    strays: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that is wrong with a signal, and the next step. absent: it has no values to read."""

    pool: str
    signal: str
    kind: Kind
    text: str

    @property
    def absent(self) -> bool:
        """Whether the rules have nothing to read."""
        return self.kind in ("absent", "disappeared")


Hint = Callable[[str], str]
"""Canonical metric -> how to make a source give it, empty = nobody knows."""


def check(
    rules: RuleSet,
    given: Mapping[str, Given],
    there: Collection[str],
    known: Collection[str],
    values: Mapping[str, float | None],
    now: float,
    hint: Hint = lambda _: "",
) -> tuple[Finding, ...]:
    """Every finding about the pool's measured signals, in the order of the rule file.

    given: by signal; one that is left out is not judged. there: metrics that some source of the pool gives. known:
    signals that have been there before. values: the signals' last readings.
    """
    return tuple(
        finding
        for signal in rules.signals
        if signal.forecast is None and signal.name in given
        for finding in _signal(rules, signal, given[signal.name], there, known, values.get(signal.name), now, hint)
    )


def gone(signal: Signal, given: Given, now: float) -> bool:
    """Whether a signal that was there has had no value for longer than it may be held."""
    return not given.newest_at >= now - signal.max_hold_s


def _signal(
    rules: RuleSet,
    signal: Signal,
    given: Given,
    there: Collection[str],
    known: Collection[str],
    value: float | None,
    now: float,
    hint: Hint,
) -> Iterator[Finding]:
    def found(kind: Kind, text: str) -> Finding:
        return Finding(rules.pool, signal.name, kind, text)

    if signal.name in known and gone(signal, given, now):
        since = "" if math.isnan(given.newest_at) else f" for {seconds(max(0.0, now - given.newest_at))}"
        text = f"{_asked(signal)} was there and has had no value{since}"
        yield found("disappeared", f"{text}; {given.problem or 'see which targets answer, GET /api/v1/targets'}")
    elif signal.name not in known and (not given.series or math.isnan(given.newest_at)):
        why, kind = _absent(rules, signal, given, there, hint)
        yield found(kind, why)
        return
    for text in _kinds(signal, given):
        yield found("kind", text)
    for text in _units(signal, given, value):
        yield found("unit", text)


def _asked(signal: Signal) -> str:
    return signal.metric if signal.metric is not None and signal.promql is None else "the answer to its query"


def _absent(rules: RuleSet, signal: Signal, given: Given, there: Collection[str], hint: Hint) -> tuple[str, Kind]:
    """Why nothing gives a signal, with the likeliest next step."""
    metric = signal.metric
    if metric is None or signal.promql is not None:
        return f"no collector has answered its query; {given.problem or 'configure one such as `prometheus`'}", "absent"
    if given.plain:
        text = f"{metric} has no buckets, so it has no quantiles over time; name a histogram, or leave `over` out"
        return text, "kind"
    where = ", ".join(f"{name}={value}" for name, value in (*signal.where, *rules.match))
    if given.elsewhere:
        counted = f"{given.elsewhere} series of {metric} are there"
        if where:
            return f"{counted}, none of them with {where}; compare the labels, `sigmascale signals --all`", "absent"
        return f"{counted} without the label pool; write `match` into the rule file, or label the target", "absent"
    if metric in there:
        return f"{metric} is there without a value; its source says that it has none now", "absent"
    text = f"no target of pool {rules.pool} gives {metric}"
    return f"{text}; {_step(rules, metric, given, there, hint)}", "absent"


def _step(rules: RuleSet, metric: str, given: Given, there: Collection[str], hint: Hint) -> str:
    """What brings a metric that no target of the pool gives."""
    if given.strays:
        stray = f"those labelled pool={given.strays[0]} do, and no rule file has that pool"
        return f"{stray}; label them pool={rules.pool}, or add the rule file"
    near = get_close_matches(metric, sorted(there), n=1, cutoff=0.6)
    suggestion = f"the nearest that is there is {near[0]}" if near else ""
    if signals.metric(metric) is None:
        canonical = signals.suggest(metric)
        suggestion = suggestion or (f"did you mean {canonical}?" if canonical else "nothing near it is there")
    told = hint(signals.canonical(metric))
    return "; ".join(filter(None, (suggestion, told))) or "add a target that gives it"


def _kinds(signal: Signal, given: Given) -> Iterator[str]:
    if signal.metric is None or given.answered or not given.series:
        return
    if signal.rate_s is not None and given.counters == 0:
        yield f"{signal.metric} is a gauge, and a rate needs a counter; leave `rate` out"
    window = signal.rate_s is not None or signal.over_s is not None
    if not window and signal.aggregate != "count" and given.counters == given.series:
        yield f"{signal.metric} is a counter, whose value only rises; add `rate: 1m` for what happens now"


def _units(signal: Signal, given: Given, value: float | None) -> Iterator[str]:
    """Values that cannot be in the unit of a canonical metric."""
    known = signals.metric(signal.metric or "")
    if known is None or given.answered:
        return
    if signal.over_s is not None:
        if known.unit == "seconds" and value is not None and value > MOST_SECONDS:
            yield f"{signal.metric} reads {amount(value)} s; the source seems to print milliseconds"
        return
    if known.kind != "gauge" or math.isnan(given.most):
        return
    if known.ratio and given.most > MOST_RATIO:
        scale = "percent" if given.most <= 100.0 * MOST_RATIO else "no share at all"
        yield f"{signal.metric} is a share from 0 to 1 and shows {amount(given.most)}; the source prints {scale}"
    elif known.unit == "seconds" and given.most > MOST_SECONDS:
        yield f"{signal.metric} shows {amount(given.most)} s; the source prints milliseconds or a time stamp"
    elif known.unit in MOST and given.most > MOST[known.unit][0]:
        limit, other = MOST[known.unit]
        yield f"{signal.metric} shows {amount(given.most)} {known.unit}; over {amount(limit)} it must be {other}"
    if known.unit in ("requests", "bytes", "ratio", "tokens") and given.least < 0.0:
        yield f"{signal.metric} shows {amount(given.least)}; {known.unit} are never negative"
