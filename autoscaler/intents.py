"""Intents: actions that are journalled and whose end has not been seen.

A provider's report may lag or hide what was just ordered. United with the open intents it becomes the fleet that a
tick may plan on: a machine that was ordered is pending, never ordered again.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace

from autoscaler.types import Action, Fleet, Instance, InstanceState, Launch, LeadTime, Operate, Outcome

SUPERSEDED = "superseded"
"""Error code of an operation that another one, or the instance itself, has overtaken: nobody refused it."""

BECOMES: dict[str, InstanceState] = {
    "drain": "draining",
    "resume": "ready",
    "terminate": "stopping",
    "stop": "stopping",
    "start": "pending",
}


def unite(fleet: Fleet, intents: Iterable[Action]) -> Fleet:
    """The fleet as if every open intent had been seen: ordered instances pending, operated ones in their new state."""
    intents = tuple(intents)
    if not intents:
        return fleet
    listed = {i.action for i in fleet.instances if i.action is not None}
    operated: dict[str, Operate] = {}
    ordered: list[Instance] = []
    for intent in intents:
        if isinstance(intent, Operate):
            operated[intent.instance] = intent
        elif intent.id not in listed:
            ordered.append(_ordered(intent))
    instances = [_operated(i, operated.get(i.id)) for i in fleet.instances]
    return replace(fleet, instances=(*instances, *ordered))


def _ordered(intent: Launch) -> Instance:
    offer = intent.offer
    return Instance(
        id=f"ordered:{intent.id}",
        pool=intent.pool,
        offer=offer.key,
        state="pending" if intent.into == "serving" else "warm",
        since=intent.at,
        replicas=offer.replicas,
        requested_at=intent.at,
        action=intent.id,
        expected_at=intent.at + offer.lead_time_s,
        usd_per_hour=offer.usd_per_hour,
        detail="ordered, not listed by the provider yet",
        rests=intent.into == "warm",
    )


def _operated(instance: Instance, intent: Operate | None) -> Instance:
    if intent is None:
        return instance
    rests = intent.kind == "stop"
    if instance.state == BECOMES[intent.kind]:
        # One on its way into the warm pool that is ended meanwhile will not get there.
        return replace(instance, rests=rests) if instance.state == "stopping" else instance
    return replace(instance, state=BECOMES[intent.kind], since=intent.at, rests=rests, asked=True)


def expect(fleet: Fleet, lead_times: Mapping[str, LeadTime], now: float) -> Fleet:
    """The fleet with the time at which each pending instance should serve, from how long others of its offer took.

    Of one that is late this is later than it was: those that had not come by its age took longer. One that is older
    than any that ever came is not expected at all, whatever its provider says.
    """
    if not lead_times or not any(i.state == "pending" for i in fleet.instances):
        return fleet
    return replace(fleet, instances=tuple(_expected(i, lead_times, now) for i in fleet.instances))


def _expected(instance: Instance, lead_times: Mapping[str, LeadTime], now: float) -> Instance:
    if instance.state != "pending":
        return instance
    # From the warm pool it started later than it was ordered.
    again = instance.since > instance.requested_at > 0
    known = lead_times.get(f"{instance.offer}/warm") if again else None
    known = known or lead_times.get(instance.offer)
    began = max(instance.since, instance.requested_at)
    total_s = known.total_s(max(0.0, now - began)) if known is not None else None
    return instance if total_s is None else replace(instance, expected_at=began + total_s)


def settle(intents: Iterable[Action], fleet: Fleet, now: float) -> tuple[Outcome, ...]:
    """The intents whose end can be seen in a report, or whose time is over by a report that is newer than the limit.

    A machine that is listed was ordered, whatever the dates say. For all else only a report of the intent's provider
    made after it counts, and only one made after its limit can prove that nothing came of it. An operation that a later
    one on the same instance replaces has ended too: carried out again, it would undo the later one.
    """
    found: list[Outcome] = []
    intents = tuple(intents)
    if not intents:
        return ()
    last = {i.instance: i.id for i in intents if isinstance(i, Operate)}
    by_action = {i.action: i for i in fleet.instances if i.action is not None}
    by_id = {i.id: i for i in fleet.instances}
    for intent in intents:
        provider = intent.offer.provider if isinstance(intent, Launch) else intent.provider
        seen_at = fleet.seen_at(provider)
        over = now > intent.valid_until and seen_at > intent.valid_until
        if isinstance(intent, Launch):
            instance = by_action.get(intent.id)
            if instance is not None:
                found.append(Outcome(intent.id, intent.pool, "done", now, instance.id, text="listed by the provider"))
            elif over:
                late = f"not listed {now - intent.at:.0f} s after it was ordered"
                found.append(Outcome(intent.id, intent.pool, "failed", now, error="launch_limit", text=late))
        elif last[intent.instance] != intent.id:
            text = "a later operation on the same instance replaces it"
            found.append(Outcome(intent.id, intent.pool, "failed", now, intent.instance, SUPERSEDED, text))
        elif seen_at > intent.at and _serves(intent, by_id.get(intent.instance)):
            text = "it came to serve before it could be ended, so it leaves by a drain if at all"
            found.append(Outcome(intent.id, intent.pool, "failed", now, intent.instance, SUPERSEDED, text))
        elif seen_at >= intent.at and _seen(intent, by_id.get(intent.instance)):
            found.append(Outcome(intent.id, intent.pool, "done", now, intent.instance))
        elif over:
            late = f"{intent.kind} shows no effect {now - intent.at:.0f} s after it was asked for"
            found.append(Outcome(intent.id, intent.pool, "failed", now, intent.instance, "no_effect", late))
    return tuple(found)


def _serves(intent: Operate, instance: Instance | None) -> bool:
    """Whether an end that was asked for has been overtaken: only what serves nobody is ended without a drain."""
    return intent.kind == "terminate" and instance is not None and instance.state == "ready"


def _seen(intent: Operate, instance: Instance | None) -> bool:
    if instance is None:
        return True
    match intent.kind:
        case "drain":
            return instance.state in ("draining", "stopping", "failed")
        case "resume":
            return instance.state == "ready"
        case "start":
            return instance.state in ("pending", "ready")
        case "stop":
            return instance.state == "warm" or (instance.state == "stopping" and instance.rests)
        case "terminate":
            return instance.state == "stopping"


def merge(fleets: Mapping[str, Fleet | None]) -> Fleet | None:
    """One pool's fleet over several providers, by name; unknown until each of them was heard once."""
    known = {name: f for name, f in fleets.items() if f is not None}
    if not known or len(known) < len(fleets):
        return None
    if len(known) == 1:
        return next(iter(known.values()))
    instances = tuple(i for f in known.values() for i in f.instances)
    reported = tuple((name, f.observed_at) for name, f in known.items())
    standings = tuple(s for f in known.values() for s in f.standings)
    return Fleet(max(at for _, at in reported), instances, reported, standings)
