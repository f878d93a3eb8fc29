"""New machines: which offers are asked for, and what keeps one from being asked for."""

from __future__ import annotations

from autoscaler.planner.draft import Draft
from autoscaler.types import Fleet, Memory, Offer


def order(draft: Draft, missing: int, fleet: Fleet, memory: Memory) -> None:
    """Launches of offers that can be had, as many as are missing and affordable."""
    rules, now = draft.rules, draft.decision.at
    spend = fleet.usd_per_hour
    budget = rules.bounds.usd_per_hour
    # After a shortage one order probes until it has an end; a full-size retry would be a storm of failing launches.
    probed = {i.offer for i in fleet.instances if i.state == "pending" and i.offer in memory.shortages}
    left = rules.launch.per_hour - sum(n for at, n in memory.launches if at > now - 3600.0)
    while missing > 0:
        if left <= 0:
            text = f"{missing} replicas short: {rules.launch.per_hour} launches in the last hour are the limit"
            draft.note("launch_rate", text)
            return
        offer = _choose(draft, memory, now, probed)
        if not rules.offers:
            draft.note("offers", f"{missing} replicas short: the rules have no offers, so nothing can be launched")
            return
        if offer is None:
            waits = [s.until for s in memory.shortages.values() if s.until > now]
            until = f", next try in {min(waits) - now:.0f} s" if waits else ""
            idle = sorted(s.offer for s in memory.shortages.values() if s.never_served)
            why = f"; what was launched of {', '.join(idle)} never became ready" if idle else ""
            draft.note("shortage", f"{missing} replicas short: no offer can be had now{until}{why}")
            return
        if budget is not None and spend + offer.usd_per_hour > budget + 1e-9:
            text = f"{missing} replicas short: {offer.key} at {offer.usd_per_hour:g} USD/h would pass {budget:g} USD/h"
            draft.note("budget", text)
            return
        shortage = memory.shortages.get(offer.key)
        draft.launch(offer, 1 + (shortage.misses if shortage else 0))
        if shortage is not None:
            probed.add(offer.key)
        spend += offer.usd_per_hour
        missing -= offer.replicas
        left -= 1


def _choose(draft: Draft, memory: Memory, now: float, probed: set[str]) -> Offer | None:
    shortages = memory.shortages
    open_ = [o for o in draft.rules.offers if o.key not in probed and o.provider not in draft.silent]
    free = [o for o in open_ if o.key not in shortages or shortages[o.key].until <= now]
    if not free or draft.rules.choose == "listed":
        return free[0] if free else None
    return min(free, key=lambda o: o.usd_per_hour / o.replicas)
