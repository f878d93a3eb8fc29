"""What a pool costs in a day, and how dear it may be for the rest of it. Pure."""

from __future__ import annotations

import math

from autoscaler.movement import Bounds
from autoscaler.types import Spending

HOUR_S = 3600.0
DAY_S = 86400.0
LAST_S = HOUR_S
"""The end of a day is planned as if it were this long: what is left of the money is not for machines that begin just
before midnight and run on the next day's."""

MISJUDGED = 0.01
"""Share of a day's budget by which its account may be wrong."""
SLACK = 0.1
"""Share by which a pool may be dearer than the rest of the day bears before machines are given back. What is left gets
less meanwhile, so that the day passes its budget by less than a tenth of its last hours."""


def spent(before: Spending | None, usd_per_hour: float, now: float) -> Spending:
    """The account of the day in UTC after one more look at what the pool costs.

    The time since the last look counts at the higher of both rates, so that a gap in which nobody looked is never
    cheaper than it was. Only its part of this day counts, which bounds a long one. A clock that went back adds nothing,
    and keeps what was spent on a day that is still to come.
    """
    day = math.floor(now / DAY_S)
    if before is None:
        return Spending(day, 0.0, now, usd_per_hour)
    if now < before.at:
        return Spending(before.day, before.usd, now, max(usd_per_hour, before.usd_per_hour))
    since = max(before.at, day * DAY_S)
    usd = (now - since) / HOUR_S * max(usd_per_hour, before.usd_per_hour)
    return Spending(day, (before.usd if before.day >= day else 0.0) + usd, now, usd_per_hour)


def of_day(spending: Spending | None, now: float) -> float:
    """USD that were spent since midnight UTC, as far as is known."""
    return spending.usd if spending is not None and spending.day >= math.floor(now / DAY_S) else 0.0


def rate_left(bounds: Bounds, spending: Spending | None, now: float) -> float:
    """USD per hour that the rest of the day bears: what the day's budget has left over its hours; infinite without one.

    A day that is over its budget bears nothing.
    """
    return _left(bounds, spending, now, LAST_S, 0.0)


def most(bounds: Bounds, spending: Spending | None, now: float) -> tuple[float, str]:
    """USD per hour to which the pool may grow now, infinite without a budget, and the budget that says so, in words."""
    return _lower(bounds, rate_left(bounds, spending, now), spending, now)


def bearable(bounds: Bounds, spending: Spending | None, now: float) -> tuple[float, str]:
    """As `most`, for what runs already: paid for to the second, and with some slack, so that what a day was misjudged
    by ends no machines a minute before midnight, nor a drain that cost a little one machine more."""
    daily = (1.0 + SLACK) * _left(bounds, spending, now, 1.0, MISJUDGED)
    return _lower(bounds, daily, spending, now)


def _left(bounds: Bounds, spending: Spending | None, now: float, least_s: float, over: float) -> float:
    if bounds.usd_per_day is None:
        return math.inf
    left_s = max(least_s, DAY_S - now % DAY_S)
    return max(0.0, bounds.usd_per_day * (1.0 + over) - of_day(spending, now)) / (left_s / HOUR_S)


def _lower(bounds: Bounds, daily: float, spending: Spending | None, now: float) -> tuple[float, str]:
    hourly = bounds.usd_per_hour if bounds.usd_per_hour is not None else math.inf
    if daily < hourly:
        used = of_day(spending, now)
        return daily, f"{daily:.6g} USD/h, what {used:.2f} spent of {bounds.usd_per_day:g} USD/d leave"
    return hourly, f"{hourly:g} USD/h" if math.isfinite(hourly) else ""
