"""Shapes of demand for simulations: requests per second as functions of time."""

from __future__ import annotations

import math

from autoscaler.sim import Demand
from autoscaler.trace import Trace


def constant(rate: float) -> Demand:
    """The same all the time."""
    return lambda _: rate


def step(low: float, high: float, at: float, until: float = math.inf) -> Demand:
    """`high` from `at` until `until`, `low` otherwise."""
    return lambda now: high if at <= now < until else low


def ramp(low: float, high: float, since: float, until: float) -> Demand:
    """A straight line from `low` to `high`, flat outside."""
    return lambda now: low + (high - low) * min(1.0, max(0.0, (now - since) / (until - since)))


def flapping(low: float, high: float, period_s: float) -> Demand:
    """Half a period low, half a period high, for ever."""
    return lambda now: high if now % period_s >= period_s / 2 else low


def daily(mean: float, swing: float, peak_at_s: float = 50_400.0) -> Demand:
    """A sine over the day, `mean * (1 +/- swing)`, highest at `peak_at_s` after midnight (14:00)."""
    return lambda now: mean * (1.0 + swing * math.cos(2 * math.pi * (now - peak_at_s) / 86_400.0))


def replayed(trace: Trace, start: float, scale: float = 1.0) -> Demand:
    """A recorded trace from `start` on, its gaps bridged; before and after it the first and the last rate."""
    whole = trace.bridged()
    first, last = float(whole.at_s[0]), whole.end_s - 1e-6
    return lambda now: scale * whole.rate_at(min(max(now - start, first), last))
