"""Numbers of a pool for dashboards: bands, demand and capacity, GPUs, money, offers, alerts by name. Pure.

Each is (name, labels, value), as `ownmetrics.py` declares it.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterator, Mapping

from autoscaler.board import PoolView
from autoscaler.policies.target import CAPACITY, Target
from autoscaler.ruleset import RuleSet
from autoscaler.types import Decision, Fleet, Instance, Learned, Offer
from autoscaler.types.prices import SHARE_OF_ON_DEMAND

Point = tuple[str, tuple[str, ...], float]
"""Name without prefix, label values in the order of the table, value."""


def numbers(pool: str, view: PoolView, learned: Learned, now: float) -> Iterator[Point]:
    """Everything of one pool."""
    if view.decision is not None:
        yield from bands(pool, view.decision)
    yield from work(pool, view)
    if view.fleet is not None:
        yield from machines(pool, view.rules, view.fleet)
    yield from offers(pool, view, learned, now)
    states = Counter((a.name, a.severity, a.state) for a in view.alerts if a.state in ("pending", "firing"))
    for (name, severity, state), count in states.items():
        yield "alert_state", (pool, name, severity, state), count


def bands(pool: str, decision: Decision) -> Iterator[Point]:
    """The tightest bounds that conditions of the rules put on each signal."""
    lowers: dict[str, float] = {}
    uppers: dict[str, float] = {}
    for one in decision.judged:
        if one.lower is not None:
            lowers[one.signal] = max(one.lower, lowers.get(one.signal, -math.inf))
        if one.upper is not None:
            uppers[one.signal] = min(one.upper, uppers.get(one.signal, math.inf))
    for signal, bound in lowers.items():
        yield "signal_lower", (pool, signal), bound
    for signal, bound in uppers.items():
        yield "signal_upper", (pool, signal), bound


def work(pool: str, view: PoolView) -> Iterator[Point]:
    """Work per second that is asked for and that ready replicas can serve, and what waits."""
    rules, decision = view.rules, view.decision
    yield "pool_utilisation_target_ratio", (pool,), rules.utilisation_target
    target = _target(rules)
    if target is None or decision is None:
        return
    demand = _value(decision, _measured(rules, target.signal))
    if demand is not None:
        yield "pool_demand", (pool,), demand
    queue = _value(decision, target.backlog)
    if queue is not None:
        yield "pool_queue", (pool,), queue
    each = target.per_replica or _value(decision, CAPACITY) or rules.capacity
    if each is None or view.fleet is None:
        return
    capacity = each * view.fleet.ready
    yield "pool_capacity", (pool,), capacity
    if demand is not None and capacity > 0:
        yield "pool_utilisation_ratio", (pool,), demand / capacity


def machines(pool: str, rules: RuleSet, fleet: Fleet) -> Iterator[Point]:
    """GPUs by the state of their machine, and what the machines would cost on demand."""
    of_key = {offer.key: offer for offer in rules.offers}
    gpus: Counter[str] = Counter()
    on_demand = 0.0
    for one in fleet.instances:
        offer = of_key.get(one.offer)
        gpus[one.state] += (offer.gpus if offer is not None else 0) or one.replicas * rules.gpus_per_replica
        if one.state != "warm":
            on_demand += _on_demand(rules, one, offer)
    for state, count in gpus.items():
        yield "pool_gpus", (pool, state), count
    yield "pool_on_demand_usd_per_hour", (pool,), on_demand
    yield "pool_saved_usd_per_hour", (pool,), on_demand - fleet.usd_per_hour


def offers(pool: str, view: PoolView, learned: Learned, now: float) -> Iterator[Point]:
    """What can be bought now: price, lead time, room, and what stands in the way."""
    shortages = view.memory.shortages if view.memory is not None else {}
    for stated in view.rules.offers:
        offer = view.fleet.priced(stated) if view.fleet is not None else stated
        told = view.fleet.standing(offer.key) if view.fleet is not None else None
        lead, short = learned.lead_times.get(offer.key), shortages.get(offer.key)
        labels = (pool, offer.key)
        if offer.price_known:
            yield "offer_usd_per_hour", labels, offer.usd_per_hour
        yield "offer_lead_time_seconds", labels, lead.p50_s if lead is not None else offer.lead_time_s
        yield "offer_short", labels, float(short is not None and short.until > now)
        yield "offer_problem", labels, float(told is not None and bool(told.problem))
        if told is not None and told.units is not None:
            yield "offer_quota_units", labels, told.units


def providers(views: Mapping[str, PoolView]) -> Iterator[Point]:
    """Instances and their cost by provider, over all pools; nothing imagined counts."""
    states: Counter[tuple[str, str]] = Counter()
    usd: dict[str, float] = {}
    for view in views.values():
        if view.fleet is None or view.rules.shadow_of:
            continue
        for one in view.fleet.instances:
            name = one.offer.partition("/")[0]
            states[name, one.state] += 1
            usd[name] = usd.get(name, 0.0) + (one.usd_per_hour if one.state != "warm" else 0.0)
    for (name, state), count in states.items():
        yield "provider_instances", (name, state), count
    for name, cost in usd.items():
        yield "provider_usd_per_hour", (name,), cost


def _target(rules: RuleSet) -> Target | None:
    """The rule that sizes the pool: one on a measured signal before one on a forecast."""
    targets = [rule.policy for rule in rules.rules if isinstance(rule.policy, Target)]
    return next((t for t in targets if _measured(rules, t.signal) == t.signal), next(iter(targets), None))


def _measured(rules: RuleSet, name: str) -> str:
    """The signal itself, or the one that a forecast looks ahead on."""
    signal = rules.signal(name)
    return signal.forecast if signal is not None and signal.forecast else name


def _value(decision: Decision, signal: str | None) -> float | None:
    reading = decision.readings.get(signal) if signal is not None else None
    return reading.value if reading is not None else None


def _on_demand(rules: RuleSet, instance: Instance, offer: Offer | None) -> float:
    """USD per hour of the same machine on demand: as the rule file has it, else by the share that spot is taken for."""
    if offer is None or offer.purchase == "on_demand":
        return instance.usd_per_hour
    alike = (o for o in rules.offers if o.purchase == "on_demand" and _kind(o) == _kind(offer) and o.price_known)
    twin = next(alike, None)
    if twin is not None:
        return twin.usd_per_hour
    return offer.usd_per_hour / SHARE_OF_ON_DEMAND[offer.purchase] if offer.priced else instance.usd_per_hour


def _kind(offer: Offer) -> tuple[str, str, str]:
    return offer.provider, offer.type, offer.region
