"""Intents: actions that are journalled and whose end has not been seen.

A provider's report may lag or hide what was just ordered. United with the open intents it becomes the fleet that a
tick may plan on: a machine that was ordered is pending, never ordered again.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace

from autoscaler.types import Action, Fleet, Instance, InstanceState, Launch, Operate, Outcome

BECOMES: dict[str, InstanceState] = {
    "drain": "draining",
    "resume": "ready",
    "terminate": "stopping",
    "stop": "stopping",
    "start": "pending",
}


def unite(fleet: Fleet, intents: Iterable[Action]) -> Fleet:
    """The fleet as if every open intent had been seen: ordered instances pending, operated ones in their new state."""
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
    )


def _operated(instance: Instance, intent: Operate | None) -> Instance:
    if intent is None or instance.state == BECOMES[intent.kind]:
        return instance
    return replace(instance, state=BECOMES[intent.kind], since=intent.at)


def settle(intents: Iterable[Action], fleet: Fleet, now: float) -> tuple[Outcome, ...]:
    """The intents whose end can be seen in a report, or whose time is over by a report that is newer than the limit.

    Only a report made after the intent counts, and only one made after its limit can prove that nothing came of it.
    """
    found = []
    by_action = {i.action: i for i in fleet.instances if i.action is not None}
    by_id = {i.id: i for i in fleet.instances}
    for intent in intents:
        if fleet.observed_at < intent.at:
            continue
        over = now > intent.valid_until and fleet.observed_at > intent.valid_until
        if isinstance(intent, Launch):
            instance = by_action.get(intent.id)
            if instance is not None:
                found.append(Outcome(intent.id, intent.pool, "done", now, instance.id, text="listed by the provider"))
            elif over:
                late = f"not listed {now - intent.at:.0f} s after it was ordered"
                found.append(Outcome(intent.id, intent.pool, "failed", now, error="launch_limit", text=late))
        elif _seen(intent, by_id.get(intent.instance)):
            found.append(Outcome(intent.id, intent.pool, "done", now, intent.instance))
        elif over:
            late = f"{intent.kind} shows no effect {now - intent.at:.0f} s after it was asked for"
            found.append(Outcome(intent.id, intent.pool, "failed", now, intent.instance, "no_effect", late))
    return tuple(found)


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
            return instance.state == "warm"
        case "terminate":
            return False


def merge(fleets: Sequence[Fleet | None]) -> Fleet | None:
    """One pool's fleet over several providers; unknown as long as one of them is. As old as the oldest report."""
    known = [f for f in fleets if f is not None]
    if not known or len(known) < len(fleets):
        return None
    return Fleet(min(f.observed_at for f in known), tuple(i for f in known for i in f.instances))
