"""Stages: growth that only a forecast asks for is ordered in parts, the next when the one before serves.

A health gate for planned growth: when what was ordered first never becomes healthy, the rest is not bought. What
present demand or waiting work needs is never held back, and neither is growth that the forecast is sure of.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace

from autoscaler.policies.target import BEYOND_ANY_POOL, ROUNDING, Target
from autoscaler.ruleset import Rule, RuleSet
from autoscaler.types import Decision, Outlook, Proposal, Reading, World

SURE = 0.1
"""Standard deviation of the logarithm of growth up to which a forecast is sure: one in twenty passes it by 18 %."""


def release(
    rules: RuleSet, proposals: Sequence[Proposal], readings: Mapping[str, Reading], world: World, ready: int
) -> tuple[Proposal, ...]:
    """The proposals, those of rules with stages cut to the part of their growth that may be ordered now."""
    staged = {r.name: r for r in rules.rules if len(r.stages) > 1 and _unsure(rules, r, world)}
    if not staged:
        return tuple(proposals)
    # What other rules ask for is needed whatever comes of the forecast.
    others = [p.replicas for p in proposals if p.source not in staged and p.sense in ("size", "raise")]
    present = [_present(rules, rule, readings) for rule in staged.values()]
    base = max([*others, *present])
    return tuple(
        _cut(p, staged[p.source].stages, base, ready) if p.source in staged and p.sense in ("size", "raise") else p
        for p in proposals
    )


def present_need(rules: RuleSet, decision: Decision) -> int:
    """Replicas that the rules ask for without what only a forecast adds; no limit has had a say in it."""
    needed = [0]
    by_name = {r.name: r for r in rules.rules}
    for p in decision.proposals:
        if p.sense not in ("size", "raise"):
            continue
        policy = by_name[p.source].policy if p.source in by_name else None
        signal = rules.signal(policy.signal) if isinstance(policy, Target) else None
        ahead = signal is not None and signal.forecast is not None
        needed.append(min(p.replicas, _present(rules, by_name[p.source], decision.readings)) if ahead else p.replicas)
    return max(needed)


def _present(rules: RuleSet, rule: Rule, readings: Mapping[str, Reading]) -> int:
    """Replicas for the level that the forecast grows on; 0 where that is not known."""
    assert isinstance(rule.policy, Target)
    signal = rules.signal(rule.policy.signal)
    level = readings.get(signal.forecast or "") if signal is not None else None
    each, _ = rule.policy.share(readings)
    if level is None or level.value is None or each is None or not 0 <= level.value / each < BEYOND_ANY_POOL:
        return 0
    return math.ceil(level.value / each * (1 - ROUNDING))


def _cut(proposal: Proposal, stages: tuple[float, ...], base: int, ready: int) -> Proposal:
    growth = proposal.replicas - base
    if growth <= 0:
        return proposal
    sizes = [base + math.ceil(share * growth - 1e-9) for share in stages]
    # A part is released when the part before it serves.
    number = next((n for n, size in enumerate(sizes) if ready < size), len(sizes) - 1)
    if sizes[number] >= proposal.replicas:
        return proposal
    part = f"{stages[number]:.0%} of the growth from {base} first, more when {sizes[number]} serve"
    text = f"{proposal.text}; the forecast is unsure: {part}"
    return replace(proposal, replicas=sizes[number], text=text)


def _unsure(rules: RuleSet, rule: Rule, world: World) -> bool:
    if not isinstance(rule.policy, Target):
        return False
    signal = rules.signal(rule.policy.signal)
    outlook = world.outlooks.get(rule.policy.signal)
    if signal is None or signal.forecast is None or outlook is None:
        return False
    return spread_of(outlook) > SURE


def spread_of(outlook: Outlook) -> float:
    """Standard deviation of the logarithm of growth at the first horizon: as told, or from its median and the quantile
    next to 0.95, as of a normal distribution; infinite when it has neither."""
    if math.isfinite(outlook.spread):
        return outlook.spread
    by_quantile = dict(zip(outlook.quantiles, (row[0] for row in outlook.growth), strict=True))
    middle = by_quantile.get(0.5, math.nan)
    high = next((q for q in sorted(by_quantile) if q >= 0.95), None)
    if high is None or not (middle > 0 and by_quantile[high] > 0):
        return math.inf
    scores = {0.95: 1.645, 0.98: 2.054, 0.99: 2.326}
    return max(0.0, math.log(by_quantile[high] / middle)) / scores.get(high, 1.645)
