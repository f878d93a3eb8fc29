"""How many replicas the warm pool should hold: what demand may rise to before a new machine serves."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

from autoscaler.measure import (
    DECISION_S,
    OUTLOOK_MAX_AGE_S,
    growth_at,
    lead_time_s,
    level_now,
    warm_lead_time_s,
)
from autoscaler.policies.target import CAPACITY, ROUNDING, Target
from autoscaler.ruleset import RuleSet, Signal
from autoscaler.types import Decision, Outlook, World
from autoscaler.units import duration_text
from autoscaler.words import amount, replicas

SURPRISE, USUAL, MIDDLE = 0.99, 0.9, 0.5
"""Quantiles of demand: against which the warm pool stands, which serving replicas cover, what comes as a rule."""


@dataclass(frozen=True, slots=True)
class Size:
    """What the warm pool should hold. known: enough was known to let it shrink to that."""

    replicas: int
    known: bool
    text: str


@dataclass(frozen=True, slots=True)
class Coming:
    """Demand as the pool's forecast tells it. rule: whose target it is, empty = nobody's. share: work per second that
    one replica carries. levels: that the growth of peak and of mean is counted on.

    whole: everything it stands on is fresh; what is partial may be less than what there is.
    """

    signal: Signal
    rule: str
    peak: Outlook
    mean: Outlook
    levels: tuple[float, float]
    share: float
    whole: bool

    def work(self, of: Literal["peak", "mean"], horizon_s: float, quantile: float) -> float:
        """Work per second that is not passed with this probability, within (peak) or after (mean) so many seconds."""
        outlook, level = (self.peak, self.levels[0]) if of == "peak" else (self.mean, self.levels[1])
        return level * growth_at(outlook, horizon_s, quantile)

    def need(self, of: Literal["peak", "mean"], horizon_s: float, quantile: float) -> int | None:
        """The same in whole replicas; None where the forecast does not tell."""
        return _whole(self.work(of, horizon_s, quantile) / self.share)


def size(rules: RuleSet, decision: Decision, world: World, coming: Coming | str) -> Size | None:
    """Replicas that the warm pool should hold; None = nobody asked for one.

    By forecast: ceil((Q_0.99[peak of the demand until a new machine serves] - Q_0.9[demand when a warm one serves]) /
    what a replica carries at its utilisation target), within the section's bounds and what the pool may still grow by.
    `min` holds always: it also stands in for machines that fail.
    """
    ruled = rules.warm_pool
    if not ruled.given:
        return None
    most = ruled.max if ruled.max is not None else max(ruled.min, rules.bounds.max)
    if ruled.size == "fixed":
        return Size(min(ruled.min, most), True, "as the rules say")
    if isinstance(coming, str):
        return Size(min(ruled.min, most), False, f"{coming}, so at least {ruled.min} and no fewer than there are")
    cold_s = lead_time_s(rules, world.lead_times) + DECISION_S
    warm_s = warm_lead_time_s(rules, world.lead_times) + DECISION_S
    high, usual = coming.work("peak", cold_s, SURPRISE), coming.work("mean", warm_s, USUAL)
    spare = _whole((high - usual) / coming.share)
    if spare is None:
        text = f"{coming.signal.name} forecasts no number, so at least {ruled.min} and no fewer than there are"
        return Size(min(ruled.min, most), False, text)
    free = max(ruled.min, rules.bounds.max - decision.want)
    text = (
        f"{amount(high)}/s may come within {duration_text(round(cold_s))}, {amount(usual)}/s is usual in "
        f"{duration_text(round(warm_s))}, at {amount(coming.share)}/s each"
    )
    if spare > free:
        text += f"; the pool may grow by {replicas(free)}"
    return Size(min(max(spare, ruled.min), free, most), coming.whole, text)


def coming_of(rules: RuleSet, decision: Decision, world: World) -> Coming | str:
    """The demand ahead by the pool's forecast; in words what is missing for it."""
    found = _forecast(rules)
    if found is None:
        return "the rules have no forecast signal"
    signal, rule, target = found
    reading = decision.readings.get(signal.forecast or "")
    if reading is None or reading.value is None or not math.isfinite(reading.value):
        return f"{signal.forecast} is not known"
    share = _share(rules, decision, target)
    if share is None:
        return "the capacity of a replica is not known"
    peak = world.outlooks.get(signal.name if signal.of in ("peak", "need") else f"{signal.name}:peak")
    mean = world.outlooks.get(signal.name if signal.of in ("mean", "need") else f"{signal.name}:mean")
    if peak is None or mean is None or world.now - min(peak.at, mean.at) > OUTLOOK_MAX_AGE_S:
        return f"{signal.name} has no forecast that is young enough"
    frame = world.signals.get(signal.forecast or "")
    levels = tuple(max(level_now(o, frame, reading.value, world.now), o.floor) for o in (peak, mean))
    capacity = decision.readings.get(CAPACITY)
    own_share = target is not None and target.per_replica is not None
    whole = reading.quality == "fresh" and (own_share or (capacity is not None and capacity.quality == "fresh"))
    return Coming(signal, rule, peak, mean, (levels[0], levels[1]), share, whole)


def _forecast(rules: RuleSet) -> tuple[Signal, str, Target | None] | None:
    """The forecast that sizes the pool, and by which rule; else the first, with the target of what it looks at."""
    ahead = {s.name: s for s in rules.signals if s.forecast is not None}
    targets = [(r.name, r.policy) for r in rules.rules if isinstance(r.policy, Target)]
    for name, target in targets:
        if target.signal in ahead:
            return ahead[target.signal], name, target
    first = next(iter(ahead.values()), None)
    return None if first is None else (first, "", next((t for _, t in targets if t.signal == first.forecast), None))


def _share(rules: RuleSet, decision: Decision, target: Target | None) -> float | None:
    if target is not None:
        return target.share(decision.readings)[0]
    capacity = decision.readings.get(CAPACITY)
    known = capacity is not None and capacity.value is not None and capacity.value > 0
    return rules.utilisation_target * capacity.value if known and capacity is not None and capacity.value else None


def _whole(exact: float) -> int | None:
    return max(0, math.ceil(exact * (1.0 - ROUNDING))) if math.isfinite(exact) else None
