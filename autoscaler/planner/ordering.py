"""New machines: which offers can be had, which of them are bought, and why; what keeps the rest from being bought."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from autoscaler.choice import Candidate, Chosen, Limits, Wanted, choose, listed
from autoscaler.leadtime import PRIOR_SIGMA
from autoscaler.planner.canary import canary
from autoscaler.planner.draft import Draft
from autoscaler.planner.room import Room, family, launches_left, money_left, room, tightest
from autoscaler.types import Fleet, LeadTime, Memory, Offer

INTERRUPTIONS_PER_HOUR: Mapping[str, float] = {"spot": 0.05}
"""How often a machine of a purchase option is expected to be taken back: once in 20 hours. An assumption of ours."""

P90_OF_MEDIAN = math.exp(PRIOR_SIGMA * 1.2816)
"""What takes a median to the 90th percentile of the log-normal prior of lead times."""

SHOWN = 6
"""Offers that were left of which a reason tells."""


def order(
    draft: Draft, missing: int, fleet: Fleet, memory: Memory, lead_times: Mapping[str, LeadTime] | None = None
) -> None:
    """Launches of the offers that cover what is missing at the least expected cost, as far as they can be had."""
    rules = draft.rules
    if missing <= 0:
        return
    if not rules.offers:
        draft.note("offers", f"{missing} replicas short: the rules have no offers, so nothing can be launched")
        return
    market = market_of(draft, fleet, memory, lead_times or {})
    wanted = Wanted(missing, rules.gpus_per_replica, places_of(rules.offers, fleet))
    pick = listed if rules.choose == "listed" else choose
    chosen = pick(wanted, market.some, market.limits)
    if len(market.offers) > 1 and chosen.units:
        draft.note("choice", words_of(chosen, market.some))
    _launch(draft, market.offers, chosen, memory)
    if chosen.short:
        _tell_short(draft, chosen, market, memory)


@dataclass(frozen=True, slots=True)
class Market:
    """What can be had now. (offer,) in the order of the rules: offers at their present price, room, and as candidates.
    pool: launches of any offer. limits: the pool's launches and money."""

    offers: tuple[Offer, ...]
    rooms: tuple[Room, ...]
    some: tuple[Candidate, ...]
    pool: Room
    limits: Limits


def market_of(draft: Draft, fleet: Fleet, memory: Memory, lead_times: Mapping[str, LeadTime]) -> Market:
    """What the pool can have at this tick."""
    rules, now = draft.rules, draft.decision.at
    offers = [fleet.priced(offer) for offer in rules.offers]
    rooms = [space(draft, fleet, memory, o) for o in offers]
    some = [candidate(draft, o, r, memory, lead_times) for o, r in zip(offers, rooms, strict=True)]
    pool = launches_left(rules, memory, fleet, now)
    limits = Limits(pool.units, *money_left(rules, memory, fleet, now))
    return Market(tuple(offers), tuple(rooms), tuple(_in_time(some, rules.launch.register_s)), pool, limits)


def space(draft: Draft, fleet: Fleet, memory: Memory, offer: Offer) -> Room:
    """How many of an offer may be ordered now: as many as can be had, one of settings that never served yet."""
    rules, decision = draft.rules, draft.decision
    return tightest(room(rules, memory, fleet, offer, decision.at), canary(rules, decision, memory, fleet, offer))


def candidate(draft: Draft, offer: Offer, space: Room, memory: Memory, lead_times: Mapping[str, LeadTime]) -> Candidate:
    """An offer with what is known of it now."""
    known = lead_times.get(offer.key)
    p50_s, p90_s = (known.p50_s, known.p90_s) if known else (offer.lead_time_s, offer.lead_time_s * P90_OF_MEDIAN)
    # Capacity that was refused lately is short for what runs too, and a successor is harder to get.
    shortage = memory.shortages.get(offer.key)
    refused = 1 + (shortage.misses if shortage is not None else 0)
    silent = f"{offer.provider} is silent, so nothing is asked of it" if offer.provider in draft.silent else ""
    return Candidate(
        key=offer.key,
        replicas=offer.replicas,
        usd_per_hour=offer.usd_per_hour,
        p90_s=p90_s,
        p50_s=p50_s,
        units=space.units,
        bound=space.why,
        group=family(offer.key) if space.source == "quota" else "",
        gpus=offer.gpus,
        interruptions_per_hour=INTERRUPTIONS_PER_HOUR.get(offer.purchase, 0.0) * refused,
        place=_place(offer),
        area=offer.provider,
        note=offer.priced,
        excluded=silent or offer.unfit,
    )


def words_of(chosen: Chosen, some: Sequence[Candidate]) -> str:
    """A choice as one reason: what is bought, and of the others first those that look cheaper."""
    how = {"listed": ", in the order of the file", "greedy": ", found without the solver, which had no answer in time"}
    text = f"{chosen.replicas} replicas for {chosen.usd_per_hour:.2f} USD/h{how.get(chosen.method, '')}: "
    text += ", ".join(chosen.taken)
    cheap = {c.key: c.usd_per_replica_hour for c in some}
    left = sorted(chosen.left, key=lambda one: cheap[one.key])
    if left:
        text += "; left: " + "; ".join(f"{one.key}: {one.text}" for one in left[:SHOWN])
        text += f"; and {len(left) - SHOWN} more" if len(left) > SHOWN else ""
    return text


def places_of(offers: Sequence[Offer], fleet: Fleet) -> dict[str, int]:
    """Replicas that each place of the offers has or has on order."""
    place = {o.key: _place(o) for o in offers}
    there: Counter[str] = Counter()
    for i in fleet.instances:
        if i.state in ("pending", "ready") and i.offer in place:
            there[place[i.offer]] += i.replicas
    return dict(there)


def _place(offer: Offer) -> str:
    """Where machines of an offer fail together."""
    return "/".join(part for part in (offer.provider, offer.region, offer.zone) if part)


def _in_time(some: list[Candidate], give_up_s: float) -> list[Candidate]:
    """What usually takes longer than an instance is waited for is left, if there is anything else."""
    late = [c.p50_s > give_up_s for c in some]
    if all(late[n] or c.excluded or c.units == 0 for n, c in enumerate(some)):
        return some
    text = "too late: half of them take longer than the {:.0f} s after which an instance is given up, {:.0f} s"
    return [
        replace(c, excluded=text.format(give_up_s, c.p50_s)) if late[n] and not c.excluded else c
        for n, c in enumerate(some)
    ]


def _launch(draft: Draft, offers: Sequence[Offer], chosen: Chosen, memory: Memory) -> None:
    """The cheapest replicas first, or as listed: what a limit over all pools cuts off is the end of it."""
    taken = [(offer, count) for offer, count in zip(offers, chosen.counts, strict=True) if count]
    if draft.rules.choose != "listed":
        taken.sort(key=lambda one: one[0].usd_per_hour / one[0].replicas)
    for offer, count in taken:
        shortage = memory.shortages.get(offer.key)
        for _ in range(count):
            draft.launch(offer, 1 + (shortage.misses if shortage else 0))


def _tell_short(draft: Draft, chosen: Chosen, market: Market, memory: Memory) -> None:
    """Why some replicas stay short: the pool's launches, its money, or that no offer can be had."""
    now, short = draft.decision.at, f"{chosen.short} replicas short"
    pool, limits, some = market.pool, market.limits, market.some
    if pool.units is not None and chosen.units >= pool.units:
        draft.note(pool.source or "launch_rate", f"{short}: {pool.why}")
        return
    taken = list(zip(some, chosen.counts, strict=True))
    open_ = [c for c, k in taken if not c.excluded and (c.units is None or k < c.units)]
    if open_:
        first = min(open_, key=lambda c: c.usd_per_hour)
        if chosen.usd_per_hour + first.usd_per_hour > limits.usd_per_hour:
            text = f"{short}: {first.key} at {first.usd_per_hour:g} USD/h would pass {limits.money}"
            draft.note("budget", text)
            return
    closed = [r for (c, k), r in zip(taken, market.rooms, strict=True) if not c.excluded and k == r.units]
    waits = [r.until for r in closed if r.until is not None and r.until > now]
    until = f", next try in {min(waits) - now:.0f} s" if waits else ""
    idle = sorted(s.offer for s in memory.shortages.values() if s.never_served)
    why = f"; what was launched of {', '.join(idle)} never became ready" if idle else ""
    others = dict.fromkeys(r.why for r in closed if r.source != "shortage" and r.why)
    others |= dict.fromkeys(f"{c.key}: {c.excluded}" for c in some if c.excluded)
    more = "".join(f"; {text}" for text in list(others)[:SHOWN])
    sources = {r.source for r in closed if r.source}
    source = sources.pop() if len(sources) == 1 else "shortage"
    draft.note(source, f"{short}: no offer can be had now{until}{why}{more}")
