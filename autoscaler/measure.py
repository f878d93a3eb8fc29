"""Readings: every signal of a pool as of now, each with its age and quality.

A forecast is a signal read at a later time: the present level times a growth factor of its outlook.
"""

from __future__ import annotations

import math
from collections.abc import Mapping

import numpy as np

from autoscaler.policies.target import CAPACITY
from autoscaler.risk import chance, growth_at_chance
from autoscaler.ruleset import RuleSet, Signal
from autoscaler.types import FloatArray, Frame, LeadTime, Outlook, Reading, Risk, World

DECISION_S = 60.0
"""From now until what is seen now is ordered, by the next tick on the next outlook."""

LEVEL_S = 120.0
"""The present level is the mean over this time, as the forecasters count it: growth on anything else is miscounted."""

UNKNOWN_GROWTH = 1.5
"""What a steered forecast counts on before there is one; found with the figures of `risk.py`."""

WARM_LEAD_TIME_S = 155.0
"""Until a warm machine was started: p90 of the prior of `leadtime.py` for a model on a warm node."""

OUTLOOK_MAX_AGE_S = 900.0
"""An outlook that is older is no forecast any more. It grows with the present level, so it ages slowly."""


def measure(rules: RuleSet, world: World, risk: Risk | None = None) -> dict[str, Reading]:
    """A reading for every signal of the rules, and one for the capacity of a replica when it is known."""
    plain = {s.name: _plain(s, world) for s in rules.signals if s.forecast is None}
    ahead = {s.name: _ahead(s, plain, world, rules, risk) for s in rules.signals if s.forecast is not None}
    raw = plain | ahead
    readings = {name: _with_fallback(rules, name, raw) for name in raw}
    c = world.capacity
    if c is not None and math.isfinite(c.low) and c.low > 0:
        text = f"{c.version}; it changed a moment ago, so nothing shrinks until enough was seen" if c.drifting else ""
        readings[CAPACITY] = Reading(world.now, c.low, "partial" if c.drifting else "fresh", c.low, c.median, text)
    elif rules.capacity is not None:
        readings[CAPACITY] = Reading(world.now, rules.capacity, "fresh", detail="declared in the rule file")
    else:
        detail = "the rule file states no capacity per replica and none is learned yet"
        if c is not None:
            detail = f"as far as is known ({c.version}) a replica misses its objective at any rate"
        readings[CAPACITY] = Reading(world.now, None, "missing", detail=detail)
    return readings


def newest(frame: Frame, now: float) -> Reading:
    """The newest point of a frame with one series. A reading that is missing or frozen carries no value."""
    quality = frame.quality[0]
    detail = frame.detail[0] if frame.detail else ""
    at = float(frame.last_at[0])
    at = now if math.isnan(at) else at
    if frame.values.shape[1] == 0 or quality in ("missing", "frozen"):
        return Reading(at, None, "frozen" if quality == "frozen" else "missing", detail=detail)
    value = float(frame.values[0, -1])
    if math.isnan(value):
        known = quality == "fresh"
        return Reading(at, None, "fresh" if known else "missing", detail=detail or "there was nothing to measure")
    if math.isinf(value):
        return Reading(at, None, "missing", detail=f"the newest value is {value}")
    return Reading(at, value, quality, _bound(frame.lower), _bound(frame.upper), detail)


def _bound(of_series: FloatArray | None) -> float | None:
    """The bound of the only series, None where there is none to tell."""
    value = float(of_series[0]) if of_series is not None else math.nan
    return value if math.isfinite(value) else None


def _plain(signal: Signal, world: World) -> Reading:
    frame = world.signals.get(signal.name)
    if frame is not None:
        return newest(frame, world.now)
    return Reading(world.now, None, "missing", detail=f"nothing provides {signal.metric or 'answers to its query'}")


def _ahead(signal: Signal, plain: dict[str, Reading], world: World, rules: RuleSet, risk: Risk | None) -> Reading:
    newest_level = plain.get(signal.forecast or "")
    if newest_level is None or newest_level.value is None:
        why = newest_level.detail if newest_level else "no such signal"
        return Reading(world.now, None, "missing", detail=f"{signal.forecast}: {why}")
    outlook = world.outlooks.get(signal.name)
    if outlook is None or world.now - outlook.at > OUTLOOK_MAX_AGE_S:
        text = "nothing was forecast yet"
        if outlook is not None:
            text = f"the last forecast was made {world.now - outlook.at:.0f} s ago, which is too long"
        if not signal.steered:
            return Reading(world.now if outlook is None else outlook.at, None, "missing", detail=text)
        # It only adds to present demand, so a pool without a forecast takes the usual margin and is not held.
        text = f"{text}: x{UNKNOWN_GROWTH:g} on what comes now"
        return Reading(newest_level.at, newest_level.value * UNKNOWN_GROWTH, newest_level.quality, detail=text)
    level = level_now(outlook, world.signals.get(signal.forecast or ""), newest_level.value, world.now)
    horizon = ahead_s(signal, rules, world.lead_times)
    growth, share = _growth(outlook, horizon, signal, risk, world.now)
    ahead = max(level, outlook.floor) * growth
    if not (math.isfinite(ahead) and growth >= 0):
        text = f"the forecaster's growth is {growth}, which cannot be"
        return Reading(newest_level.at, None, "missing", detail=text)
    text = f"{outlook.of} {horizon:.0f} s ahead, x{growth:.2f} ({share:.2%} may pass it) by {outlook.version}"
    return Reading(newest_level.at, ahead, newest_level.quality, detail=text)


def level_now(outlook: Outlook, frame: Frame | None, newest_value: float, now: float) -> float:
    """The level that an outlook's growth is counted on: its own while it is young, else what is measured now."""
    if math.isfinite(outlook.level) and now - outlook.at <= LEVEL_S:
        return outlook.level
    return level_of(frame, newest_value)


def level_of(frame: Frame | None, newest_value: float) -> float:
    """The mean of the last two minutes of a signal, or its newest value where there is nothing else."""
    if frame is None or frame.values.shape[1] == 0:
        return newest_value
    since = float(frame.at[-1]) - LEVEL_S
    values = frame.values[0, int(np.searchsorted(frame.at, since, side="right")) :]
    known = values[np.isfinite(values)]
    return float(known.mean()) if known.size else newest_value


def lead_time_s(rules: RuleSet, learned: Mapping[str, LeadTime]) -> float:
    """Seconds ahead at which a replica ordered now would serve: the slowest offer's, learned or stated."""
    times = [learned[o.key].p90_s if o.key in learned else o.lead_time_s for o in rules.offers]
    return max(times, default=0.0)


def warm_lead_time_s(rules: RuleSet, learned: Mapping[str, LeadTime]) -> float:
    """Seconds from the start of a warm machine to serving: the slowest offer's of those that can rest."""
    known = [learned.get(f"{o.key}/warm") for o in rules.offers if o.purchase != "spot"]
    return max((k.p90_s if k is not None else WARM_LEAD_TIME_S for k in known), default=WARM_LEAD_TIME_S)


def ahead_s(signal: Signal, rules: RuleSet, learned: Mapping[str, LeadTime]) -> float:
    """How far a forecast signal looks ahead: as its rule says, or until what is ordered at the next tick serves."""
    return signal.ahead_s if signal.ahead_s is not None else lead_time_s(rules, learned) + DECISION_S


def _growth(outlook: Outlook, horizon_s: float, signal: Signal, risk: Risk | None, now: float) -> tuple[float, float]:
    """Growth until the horizon, and the chance that it is passed."""
    if signal.steered:
        share = chance(risk, outlook.spread, now)
        return growth_at_chance(outlook, _column(outlook, horizon_s), share), share
    quantile = signal.quantile or 0.5
    return growth_at(outlook, horizon_s, quantile), 1.0 - quantile


def growth_at(outlook: Outlook, horizon_s: float, quantile: float) -> float:
    """Growth at the nearest horizon and quantile that are not below what is asked: never a more optimistic one."""
    row = next((i for i, q in enumerate(outlook.quantiles) if q >= quantile - 1e-9), len(outlook.quantiles) - 1)
    return outlook.growth[row][_column(outlook, horizon_s)]


def _column(outlook: Outlook, horizon_s: float) -> int:
    return next((i for i, h in enumerate(outlook.horizons_s) if h >= horizon_s - 1e-9), len(outlook.horizons_s) - 1)


def _with_fallback(rules: RuleSet, name: str, raw: dict[str, Reading]) -> Reading:
    """The reading, or the first usable one of its fallbacks as a partial one, since a fallback may only raise."""
    reading = raw[name]
    signal = rules.signal(name)
    known_to_be_nothing = reading.value is None and reading.quality == "fresh"
    if reading.value is not None or known_to_be_nothing or signal is None:
        return reading
    for other in signal.fallback:
        instead = raw.get(other)
        if instead is not None and instead.value is not None:
            detail = f"{name} is {reading.quality} ({reading.detail}); {other} stands in and may only raise"
            return Reading(instead.at, instead.value, "partial", instead.lower, instead.upper, detail)
    return reading
