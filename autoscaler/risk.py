"""How much risk a pool takes: the chance with which a forecast may turn out too low, steered by what users had to wait.

One fixed quantile that is right for one workload is far too dear or far too daring for another. So the share of demand
that waited too long is held against the share that may, and the chance goes down after waits and up after quiet hours:
adaptive conformal inference (Gibbs and Candes 2021), with waiting work in place of missed intervals.
"""

from __future__ import annotations

import math
from dataclasses import replace

from autoscaler.policies.target import CAPACITY, Target
from autoscaler.ruleset import RuleSet, Signal
from autoscaler.types import Decision, Outlook, Reading, Risk

START = 5.0
LEAST, MOST = 1.0, 7.0
"""Caution is minus the logarithm of the chance at a usual spread: exp(-5) is 0.7 %."""

FIRST_CAUTION = 3.0
DAY_S = 86400.0
"""What is not known yet of a new pool fades as its first days pass."""

USUAL_SPREAD = 0.1
SPREAD_POWER = 1.3
"""Where a forecast says little, the last per mille is bought dearly: the chance grows with its spread."""

MOST_CHANCE = 0.3
GAIN_PER_S = 0.001
SOON_S = 4 * DAY_S
SOON_MOST = 4.0
"""Steering is quicker at first: by sqrt(4 d / age), four times at most."""

SMOOTH_LEAST_S = 30.0
LONG_TICK_S = 300.0
"""A tick after a longer pause says nothing about the pause."""

# The figures above were found by back-tests of seven recorded workloads at boot times of 3, 8 and 10 minutes; see
# docs/league.md.

LEVELS = (0.3, 0.2, 0.1, 0.05, 0.03, 0.02, 0.012, 0.007, 0.004, 0.0025, 0.0015, 0.0008, 0.0001, 0.00001)
QUANTILES = tuple(round(1.0 - level, 6) for level in LEVELS)
"""What is asked of the forecaster for a steered signal; between two it is read on the line over the logarithm."""


def chance(risk: Risk | None, spread: float, now: float) -> float:
    """The chance, up to 0.3, with which need may pass the forecast. spread: of the logarithm of growth, NaN = usual."""
    caution = START if risk is None else risk.caution
    age_s = 0.0 if risk is None else max(0.0, now - risk.since)
    usual = spread / USUAL_SPREAD if math.isfinite(spread) and spread > 0 else 1.0
    log_chance = -caution - FIRST_CAUTION * math.exp(-age_s / DAY_S) + SPREAD_POWER * math.log(usual)
    return min(MOST_CHANCE, math.exp(log_chance))


def growth_at_chance(outlook: Outlook, column: int, share: float) -> float:
    """Growth that is passed with this chance; beyond the outlook's quantiles the last slope goes on; NaN = none."""
    known = [
        (math.log(1.0 - q), math.log(row[column]))
        for q, row in zip(outlook.quantiles, outlook.growth, strict=True)
        if row[column] > 0 and math.isfinite(row[column])
    ]
    if len(known) < 2:
        return math.exp(known[0][1]) if known else math.nan
    wanted = math.log(share)
    after = next((n for n, (at, _) in enumerate(known) if at <= wanted), len(known) - 1)
    (at_0, log_0), (at_1, log_1) = known[max(0, after - 1)], known[max(1, after)]
    log_growth = log_0 + (log_1 - log_0) * (wanted - at_0) / (at_1 - at_0)
    # On the easy side the outlook's lowest quantile is the least that is bought.
    return math.exp(max(log_growth, known[0][1]))


def steered(rules: RuleSet) -> Signal | None:
    """The forecast signal whose quantile is steered."""
    return next((s for s in rules.signals if s.steered), None)


def steer(rules: RuleSet, risk: Risk | None, decision: Decision) -> Risk | None:
    """The risk after one more tick: unchanged where it is not known what users waited, or who is to blame for it.

    Waiting work divided by what the ready replicas serve is how long new work waits. What waits because something other
    than the forecast kept the pool small (a bound, a limit, a person) teaches nothing.
    """
    signal, now = steered(rules), decision.at
    if signal is None:
        return None
    if risk is None or risk.at > now:
        return Risk(since=now, at=now) if risk is None else replace(risk, since=min(risk.since, now), at=now)
    step_s = now - risk.at
    demand = _known(decision, signal.forecast)
    waited = _waited_too_long(rules, decision)
    if demand is None or waited is None or step_s > LONG_TICK_S:
        return replace(risk, at=now)
    age_s = now - risk.since
    mean = risk.demand + (demand - risk.demand) * min(1.0, step_s / min(max(age_s, SMOOTH_LEAST_S), DAY_S))
    if mean <= 0 or (waited and decision.want < decision.recommended):
        return replace(risk, at=now, demand=max(mean, 0.0))
    late = demand if waited else 0.0
    gain = min(SOON_MOST, max(1.0, math.sqrt(SOON_S / max(age_s, 1.0))))
    moved = gain * GAIN_PER_S * step_s * (late - rules.objective.late_ratio * demand) / mean
    return replace(risk, caution=min(MOST, max(LEAST, risk.caution + moved)), at=now, demand=mean)


def _waited_too_long(rules: RuleSet, decision: Decision) -> bool | None:
    """Whether work that arrives now waits longer than promised; None where that is not known."""
    targets = [r.policy for r in rules.rules if isinstance(r.policy, Target) and r.policy.backlog]
    waiting = _known(decision, targets[0].backlog) if targets else None
    capacity = _known(decision, CAPACITY)
    if waiting is None or capacity is None:
        return None
    return waiting > rules.objective.wait_s * capacity * decision.ready


def _known(decision: Decision, name: str | None) -> float | None:
    reading: Reading | None = decision.readings.get(name or "")
    usable = reading is not None and reading.quality == "fresh" and reading.value is not None
    return reading.value if usable and reading is not None and math.isfinite(reading.value or 0.0) else None


__all__ = ["LEVELS", "QUANTILES", "chance", "growth_at_chance", "steer", "steered"]
