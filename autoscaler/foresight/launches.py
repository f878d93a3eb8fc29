"""From what ticks saw of launches to the moments that lead times are learned from. Pure.

A launch counts from when its provider took it, so that what a shadow withheld, or nobody answered, teaches nothing.
Each step is told once; a launch that ended is forgotten here, so that instances which serve for weeks cost nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace

from autoscaler.errors import CapacityError, QuotaError
from autoscaler.foresight.seen import Seen
from autoscaler.intents import SUPERSEDED
from autoscaler.leadtime import MAX_S, Attempt, Moment, OfferKey
from autoscaler.ruleset import RuleSet
from autoscaler.types import Action, Instance, Launch, Offer, Operate, Outcome

SHORTAGES = (CapacityError.code, QuotaError.code)
MOST = 20_000
LOST_S = 600.0


@dataclass(frozen=True, slots=True)
class Underway:
    """A launch that has not ended. instance: as a report listed it; None = none did yet. pool "" = not known."""

    pool: str
    offer: OfferKey
    requested_at: float
    instance: str | None = None


Open = Mapping[str, Underway]
"""By attempt, the id of the action that began it."""


def fold(open_: Open, seen: Seen, known: Callable[[OfferKey, str], bool]) -> tuple[Open, tuple[Moment, ...]]:
    """The launches under way after a tick, and what happened to them in it.

    known: whether an attempt of an offer has been learned from already, as after a restart.
    """
    state = dict(open_)
    moments: list[Moment] = []
    actions = {a.id: a for a in seen.intents}
    offers = {o.key: o for o in seen.rules.offers} | {
        a.offer.key: a.offer for a in seen.intents if isinstance(a, Launch)
    }
    instances = {i.id: i for i in seen.fleet.instances} if seen.fleet is not None else {}
    for outcome in seen.outcomes:
        action = actions.get(outcome.action)
        if action is not None:
            moments += _answered(state, action, outcome, seen, offers, instances)
    if seen.fleet is not None:
        _adopt(state, seen, offers, known)
        by_action = {i.action: i for i in instances.values() if i.action is not None}
        for attempt in [a for a, u in state.items() if u.pool in ("", seen.rules.pool)]:
            instance = instances.get(state[attempt].instance or "") or by_action.get(attempt)
            moments += _reported(state, attempt, instance, seen)
    limits = seen.rules.launch
    for attempt in [a for a, u in state.items() if u.pool in ("", seen.rules.pool) and u.instance is None]:
        u = state[attempt]
        if seen.at - u.requested_at > limits.limit_s + limits.register_s + LOST_S:
            del state[attempt]
            # Nobody ever told what came of it, so all that is known is that it was asked for.
            moments.append(Moment(attempt, u.offer, "cancelled", u.requested_at))
    while len(state) > MOST:
        del state[next(iter(state))]
    return state, tuple(moments)


def offer_key(offer: Offer, rules: RuleSet, *, warm: bool = False) -> OfferKey:
    """What its launches are told apart by. Pools without a named model load their own, so the pool stands for it."""
    zone = "/".join(part for part in (offer.region, offer.zone) if part)
    model = rules.hosted.model or rules.pool
    return OfferKey(offer.provider, offer.type, zone, offer.purchase, "warm" if warm else "cold", model)


def _answered(
    state: dict[str, Underway],
    action: Action,
    outcome: Outcome,
    seen: Seen,
    offers: Mapping[str, Offer],
    instances: Mapping[str, Instance],
) -> Iterator[Moment]:
    """What a provider's answer says of a launch."""
    if isinstance(action, Operate) and action.kind != "start":
        return
    begun = _begun(action, seen, offers, instances)
    if begun is None or outcome.status in ("unknown", "withheld") or outcome.error == SUPERSEDED:
        return
    if outcome.status == "failed":
        state.pop(action.id, None)
        yield Moment(action.id, begun.offer, "requested", begun.requested_at)
        yield Moment(action.id, begun.offer, "shortage" if outcome.error in SHORTAGES else "failed", outcome.at)
    elif action.id not in state and outcome.status == "accepted":
        state[action.id] = begun
        yield Moment(action.id, begun.offer, "requested", begun.requested_at)
        yield Moment(action.id, begun.offer, "accepted", outcome.at)


def _begun(
    action: Action, seen: Seen, offers: Mapping[str, Offer], instances: Mapping[str, Instance]
) -> Underway | None:
    if isinstance(action, Launch):
        # What goes into the warm pool does not come to serve.
        key = offer_key(action.offer, seen.rules)
        return Underway(action.pool, key, action.at) if action.into == "serving" else None
    instance = instances.get(action.instance)
    offer = offers.get(instance.offer) if instance is not None else None
    if offer is None:
        return None
    return Underway(action.pool, offer_key(offer, seen.rules, warm=True), action.at, action.instance)


def _adopt(
    state: dict[str, Underway], seen: Seen, offers: Mapping[str, Offer], known: Callable[[OfferKey, str], bool]
) -> None:
    """Launches of before a restart, and those whose provider listed them before it answered."""
    assert seen.fleet is not None
    for i in seen.fleet.instances:
        offer = offers.get(i.offer)
        listed = i.state == "pending" and i.action is not None and not i.id.startswith("ordered:")
        if not listed or offer is None or i.action is None or i.action in state or i.pool != seen.rules.pool:
            continue
        key = offer_key(offer, seen.rules)
        warm = i.since > i.requested_at > 0 and known(key, i.action)
        if not warm and seen.at - i.requested_at <= MAX_S:
            state[i.action] = Underway(i.pool, key, i.requested_at or i.since)


def _reported(state: dict[str, Underway], attempt: str, instance: Instance | None, seen: Seen) -> Iterator[Moment]:
    """What the newest report shows of a launch."""
    u = state[attempt]
    late = seen.at - u.requested_at > seen.rules.launch.register_s
    if instance is None:
        # Listed once and gone: it was told to, or died. One that was never listed is on its way.
        if u.instance is not None:
            told = any(isinstance(a, Operate) and a.instance == u.instance for a in seen.intents if a.kind != "start")
            del state[attempt]
            yield Moment(attempt, u.offer, "cancelled" if told and not late else "failed", seen.at)
        return
    if instance.id.startswith("ordered:"):
        return
    if u.instance is None:
        state[attempt] = replace(u, instance=instance.id)
        yield Moment(attempt, u.offer, "requested", u.requested_at)
        yield Moment(attempt, u.offer, "registered", seen.at)
    if instance.state == "ready":
        del state[attempt]
        since = instance.since if u.requested_at <= instance.since <= seen.at else seen.at
        yield Moment(attempt, u.offer, "routed", since)
    elif instance.state in ("failed", "stopping", "draining", "warm"):
        del state[attempt]
        # Given up because it was late, or not needed any more.
        yield Moment(attempt, u.offer, "failed" if late or instance.state == "failed" else "cancelled", seen.at)


def unfinished(offer: OfferKey, attempt: Attempt) -> Underway:
    """A launch that was under way when what was learned was written; of which pool is not written."""
    return Underway("", offer, attempt.requested_at)
