"""Weighted Kaplan-Meier: quantiles of a time when some attempts are only known to have taken longer."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Timed:
    """One attempt: seconds until it served, or with served False seconds after which it had not; its weight."""

    seconds: float
    served: bool
    weight: float = 1.0


def quantile(timed: Sequence[Timed], share: float) -> float:
    """The time by which `share` of attempts serve, seconds.

    Where censoring leaves it open it is the longest time seen, which is then a lower bound; NaN without attempts.
    """
    left = 1 - share
    for seconds, surviving in _curve(timed):
        if surviving <= left + 1e-12:
            return seconds
    return max((t.seconds for t in timed), default=math.nan)


def remaining(timed: Sequence[Timed], age_s: float, share: float) -> float:
    """Seconds until `share` of those serve that have not at `age_s`; infinite when none ever served later than that."""
    return remaining_at(timed, (age_s,), share)[0]


def remaining_at(timed: Sequence[Timed], ages_s: Sequence[float], share: float) -> list[float]:
    """`remaining` at each of several ages, at the price of one."""
    curve = _curve(timed)
    longest_s = max((t.seconds for t in timed), default=math.nan)
    found = []
    for age_s in ages_s:
        now = next((s for t, s in reversed(curve) if t <= age_s), 1.0)
        left = now * (1 - share) + 1e-12
        never = now <= 0 or not curve or curve[-1][0] <= age_s
        by_s = math.inf if never else next((t for t, s in curve if t > age_s and s <= left), longest_s)
        found.append(by_s - age_s)
    return found


def _curve(timed: Sequence[Timed]) -> list[tuple[float, float]]:
    """(time, share that has not served by then) at each time at which one served, ascending.

    An attempt that is censored at the very time at which another served was still at risk then.
    """
    ordered = sorted(timed, key=lambda t: (t.seconds, not t.served))
    at_risk = math.fsum(t.weight for t in ordered)
    surviving = 1.0
    curve: list[tuple[float, float]] = []
    for t in ordered:
        if t.served and at_risk > 0:
            surviving *= max(0.0, 1 - t.weight / at_risk)
            if curve and curve[-1][0] == t.seconds:
                curve.pop()
            curve.append((t.seconds, surviving))
        at_risk -= t.weight
    return curve
