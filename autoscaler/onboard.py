"""What is told from on board of the machines: requests in flight, and what their cloud is about to do to them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace

from autoscaler.ruleset import RuleSet
from autoscaler.types import Announced, Fleet, Instance, Mark
from autoscaler.words import instant

LOSSES = ("terminate", "stop", "hibernate", "preempt", "reboot", "redeploy")
"""Kinds after which a machine serves nobody, for good or for minutes."""
ADVICE = "rebalance"
FORGET_S = 900.0
"""A notice that was not repeated for so long is over: its machine is gone, or came through."""
SKEW_S = 5.0

Flights = Mapping[str, tuple[int, float]]
Notices = Mapping[str, Sequence[Announced]]
"""By the label `instance` (host:port) or `instance_id` of the series that tell them."""


def with_flight(fleet: Fleet, flights: Flights) -> Fleet:
    """The fleet with the requests in flight that the instances' own metrics tell.

    Where a drain hook counted them too, the larger number holds, as of the older of the two times; while the hook of a
    draining instance has not answered, nothing is known of it.
    """

    def seen(i: Instance) -> Instance:
        if i.held and i.state == "draining":
            return replace(i, in_flight=None, in_flight_at=None)
        flight = flights.get(i.address) if i.address is not None else None
        if flight is None:
            return i
        if i.in_flight is None or i.in_flight_at is None:
            return replace(i, in_flight=flight[0], in_flight_at=flight[1])
        return replace(i, in_flight=max(flight[0], i.in_flight), in_flight_at=min(flight[1], i.in_flight_at))

    return replace(fleet, instances=tuple(map(seen, fleet.instances)))


def with_notices(fleet: Fleet, notices: Notices, now: float) -> Fleet:
    """The fleet in which what a cloud is about to take counts for nothing any more, so that its place is filled first.

    Advice to move, and a freeze of seconds, are only told.
    """
    if not notices:
        return fleet

    def seen(i: Instance) -> Instance:
        told = _of(i, notices, now)
        if not told or i.state not in ("ready", "pending"):
            return i
        lost = next((one for one in told if one.kind in LOSSES), None)
        if lost is not None:
            return replace(i, state="stopping", detail=f"its cloud announces {lost.kind} at {instant(lost.at)}")
        words = "; ".join(f"its cloud announces {one.kind}, {instant(one.at)}" for one in told)
        return replace(i, detail=f"{i.detail}; {words}" if i.detail else words)

    return replace(fleet, instances=tuple(map(seen, fleet.instances)))


def advised(rules: RuleSet, fleet: Fleet | None, notices: Notices, now: float) -> dict[str, Mark]:
    """Marks on ready instances that their cloud advises to move away from, where the rules say that it is followed."""
    if fleet is None or not notices or rules.disruption.rebalance != "replace":
        return {}
    return {
        i.id: Mark(i.id, i.pool, "replace", now + FORGET_S, "the cloud", "rebalance recommendation", one.at)
        for i in fleet.instances
        if i.state == "ready"
        for one in _of(i, notices, now)
        if one.kind == ADVICE
    }


def _of(instance: Instance, notices: Notices, now: float) -> tuple[Announced, ...]:
    """The notices of one instance, the earliest first. Its address may have been another machine's before."""

    # Azure names machine 3 of scale set `gpu` gpu_3 in its metadata; ours are called GROUP/gpu/3.
    in_set = "_".join(instance.id.split("/")[-2:])

    def found() -> Iterator[Announced]:
        for name in dict.fromkeys((instance.address, instance.id, in_set)):
            yield from notices.get(name, ()) if name is not None else ()

    young = instance.requested_at - SKEW_S
    told = {one for one in found() if one.told_at >= young and now - one.told_at <= FORGET_S}
    return tuple(sorted(told, key=lambda one: (one.at, one.kind)))
