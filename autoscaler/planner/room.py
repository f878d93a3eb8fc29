"""How many more may be ordered now: of one offer, of a pool, for how much money; and what keeps the rest back."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass

from autoscaler import spending
from autoscaler.planner.patience import overdue
from autoscaler.planner.sickness import sickness
from autoscaler.ruleset import RuleSet
from autoscaler.types import Fleet, Instance, Memory, Offer, Quota, Shortage, Standing

HOUR_S = 3600.0
STANDING_S = 3600.0
"""What a cloud said of an offer counts for so long."""


@dataclass(frozen=True, slots=True)
class Room:
    """How many more launches there is room for. None = no bound of its own, 0 = none now.

    until: when more may be had, None = that is not known. why: what bounds it, in words, empty without a bound.
    source: the name of that bound in a plan's reasons.
    """

    units: int | None
    until: float | None
    why: str
    source: str = ""


FREE = Room(None, None, "")


def room(rules: RuleSet, memory: Memory, fleet: Fleet, offer: Offer, now: float) -> Room:
    """How many more of one offer may be ordered now; the pool's own bounds come on top (`launches_left`)."""
    known = memory.shortages.get(offer.key)
    bounds = [
        FREE if known is None else _after_shortage(known, fleet, now),
        _in_quota(memory.quotas.get(family(offer.key)), fleet, offer, now),
    ]
    return tightest(*bounds)


def tightest(*bounds: Room) -> Room:
    """The bound that leaves room for the fewest."""
    return min(bounds, key=lambda r: math.inf if r.units is None else r.units)


def launches_left(rules: RuleSet, memory: Memory, fleet: Fleet, now: float) -> Room:
    """How many more machines of any offer the pool may order now."""
    health = sickness(rules, memory, fleet, now)
    if health.halted:
        on_order = [i for i in fleet.instances if i.state == "pending" and not overdue(rules, memory, i, now)]
        why = f"{health.text}: nothing is replaced, one launch at a time shows whether new ones serve"
        return Room(max(0, 1 - len(on_order)), None, why, "sick")
    recent = [(at, n) for at, n in memory.launches if at > now - HOUR_S]
    left = max(0, rules.launch.per_hour - sum(n for _, n in recent))
    until = min((at for at, _ in recent), default=now) + HOUR_S
    return Room(left, until, f"{rules.launch.per_hour} launches in the last hour are the limit", "launch_rate")


def money_left(rules: RuleSet, memory: Memory, fleet: Fleet, now: float) -> tuple[float, str]:
    """USD per hour that may still be added, infinite without a budget, and the budget in words."""
    most, words = spending.most(rules.bounds, memory.spending, now)
    return max(0.0, most - fleet.usd_per_hour), words


def family(offer: str) -> str:
    """What a quota of an account is taken to be for, from the key of an offer: it without zone, and without the size
    in its type.

    AWS counts vCPUs by families of types, Azure by series, both for a region and apart for spot. A family that is too
    narrow costs one refusal more, one that is too wide would keep a pool from what it can have.
    """
    parts = offer.split("/")
    provider, kind, where, purchase = parts[0], parts[1] if len(parts) > 1 else "", parts[2:-1], parts[-1]
    series = kind.split(".")[0] if "." in kind else re.sub(r"(?<=[A-Za-z])\d+(?=[a-z]*_)", "", kind, count=1)
    return "/".join(part for part in (provider, series, *where[:1], purchase) if part)


def of_family(fleet: Fleet, name: str) -> list[Instance]:
    """Instances that take up the quota of a family: all but those that rest."""
    return [i for i in fleet.instances if i.state != "warm" and family(i.offer) == name]


def _after_shortage(known: Shortage, fleet: Fleet, now: float) -> Room:
    """A full-size retry would be a storm of failing launches: as many may be on order as came since, and one more."""
    what = "of it never became ready" if known.never_served else "could not be had"
    if known.until > now:
        return Room(0, known.until, f"{known.offer} {what}, next try in {known.until - now:.0f} s", "shortage")
    may = known.had + 1
    on_order = sum(i.offer == known.offer and _undecided(known, i) for i in fleet.instances)
    why = f"{known.offer} {what}, {may} at a time until {known.asked} came"
    return Room(max(0, may - on_order), None, why, "shortage")


def _undecided(known: Shortage, instance: Instance) -> bool:
    """Whether it is on order with nothing learned of it: not listed, or, after others that never served, not ready."""
    return instance.state == "pending" and (known.never_served or instance.id.startswith("ordered:"))


def _in_quota(known: Quota | None, fleet: Fleet, offer: Offer, now: float) -> Room:
    told = fleet.standing(offer.key)
    says = told is not None and (told.problem or told.units is not None)
    if told is not None and says and now - told.at <= STANDING_S and (known is None or told.at > known.last_at):
        return _told(told, fleet, offer)
    if known is None:
        return FREE
    # Those that came since the refusal prove that there is room again, and as many more are tried.
    probes = max(1, known.most - known.had) if known.until <= now else 0
    units = max(0, known.most + probes - len(of_family(fleet, known.family)))
    why = f"quota of {known.family} reached with {known.most} machines, ask for more"
    until = known.until if known.until > now else None
    return Room(units, until, why if until is None else f"{why}; next try in {until - now:.0f} s", "quota")


def _told(told: Standing, fleet: Fleet, offer: Offer) -> Room:
    """What the cloud itself said of an offer, less what was ordered since."""
    if told.problem:
        return Room(0, None, told.problem, "quota" if told.error == "quota" else "offers")
    name = family(offer.key)
    since = sum(i.requested_at > told.at for i in of_family(fleet, name))
    why = f"quota of {name} reached{f', {told.quota}' if told.quota else ''}, ask for more"
    return Room(max(0, (told.units or 0) - since), None, why, "quota")
