"""Readings: every signal of a pool as of now, each with its age and quality.

A forecast is a signal read at a later time: the present level times a growth factor of its outlook.
"""

from __future__ import annotations

import math

from autoscaler.policies.target import CAPACITY
from autoscaler.ruleset import RuleSet, Signal
from autoscaler.types import FloatArray, Frame, Outlook, Reading, World


def measure(rules: RuleSet, world: World) -> dict[str, Reading]:
    """A reading for every signal of the rules, and one for the capacity of a replica when it is known."""
    plain = {s.name: _plain(s, world) for s in rules.signals if s.forecast is None}
    ahead = {s.name: _ahead(s, plain, world, rules) for s in rules.signals if s.forecast is not None}
    raw = plain | ahead
    readings = {name: _with_fallback(rules, name, raw) for name in raw}
    c = world.capacity
    if c is not None and math.isfinite(c.low) and c.low > 0:
        readings[CAPACITY] = Reading(world.now, c.low, "fresh", c.low, c.median)
    elif rules.capacity is not None:
        readings[CAPACITY] = Reading(world.now, rules.capacity, "fresh", detail="declared in the rule file")
    else:
        detail = "the rule file states no capacity per replica and none is learned yet"
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


def _ahead(signal: Signal, plain: dict[str, Reading], world: World, rules: RuleSet) -> Reading:
    outlook = world.outlooks.get(signal.name)
    if outlook is None:
        return Reading(world.now, None, "missing", detail="no forecaster yet")
    level = plain.get(signal.forecast or "")
    if level is None or level.value is None:
        why = level.detail if level else "no such signal"
        return Reading(world.now, None, "missing", detail=f"{signal.forecast}: {why}")
    horizon = signal.ahead_s if signal.ahead_s is not None else _lead_time(world, rules)
    growth = _growth(outlook, horizon, signal.quantile or 0.5)
    if not (math.isfinite(level.value * growth) and growth >= 0):
        return Reading(level.at, None, "missing", detail=f"the forecaster's growth is {growth}, which cannot be")
    return Reading(level.at, level.value * growth, level.quality, detail=f"{horizon:.0f} s ahead, x{growth:.2f}")


def _lead_time(world: World, rules: RuleSet) -> float:
    """Seconds ahead at which a replica ordered now would serve: the slowest offer's, learned or stated."""
    learned = world.lead_times
    times = [learned[o.key].p90_s if o.key in learned else o.lead_time_s for o in rules.offers]
    return max(times, default=0.0)


def _growth(outlook: Outlook, horizon_s: float, quantile: float) -> float:
    """Nearest horizon and quantile that are not below what is asked: never a more optimistic one."""
    row = next((i for i, q in enumerate(outlook.quantiles) if q >= quantile - 1e-9), len(outlook.quantiles) - 1)
    column = next((i for i, h in enumerate(outlook.horizons_s) if h >= horizon_s - 1e-9), len(outlook.horizons_s) - 1)
    return outlook.growth[row][column]


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
