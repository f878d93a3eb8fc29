"""The machines that a simulated pool has when somebody first looks at it, and the record of their order. Pure."""

from __future__ import annotations

import math

from autoscaler.journal import Entry
from autoscaler.ruleset import RuleSet
from autoscaler.sim_machines import Machine, ordered
from autoscaler.types import Decision, Launch, Memory, Outcome, Plan, Reason

SOURCE = "simulation"
TEXT = "what the simulated pool begins with"


def launches(rules: RuleSet, replicas: float, now: float) -> tuple[Launch, ...]:
    """Orders of machines that serve `replicas` and as many as the pool's lower bound, of its offers in turn."""
    wanted = min(rules.bounds.max, max(rules.bounds.min, math.ceil(replicas - 1e-9)))
    # Every third offer, so that the first machines are not all in one zone and of one cloud.
    turn = [rules.offers[(3 * n) % len(rules.offers)] for n in range(len(rules.offers))]
    found: list[Launch] = []
    while wanted > 0 and turn:
        offer = turn[len(found) % len(turn)]
        found.append(Launch(f"{SOURCE}/{rules.pool}/{len(found) + 1}", rules.pool, now, now, offer=offer))
        wanted -= offer.replicas
    return tuple(found)


def machines(orders: tuple[Launch, ...], now: float) -> tuple[Machine, ...]:
    """The machines of these orders, which serve already."""
    return tuple(
        ordered(order, f"{order.pool}-{number}", now, boot_s=0.0, listed_at=now, silent=False)
        for number, order in enumerate(orders, 1)
    )


def entry(rules: RuleSet, orders: tuple[Launch, ...], now: float) -> Entry:
    """What a service would have journalled when it ordered them: without it they would look like somebody else's."""
    want = sum(order.offer.replicas for order in orders)
    reasons = (Reason("current", 0, "nothing was there"), Reason(SOURCE, want, TEXT))
    decision = Decision(rules.pool, 1, now, 0, want, 0, 0, reasons, recommended=want, rules_hash=rules.hash)
    # Their ends are recorded with them: how long they took to come is made up and teaches nothing.
    ends = tuple(Outcome(order.id, order.pool, "done", now) for order in orders)
    return Entry(decision, Plan(rules.pool, 1, orders), ends, Memory(number=1, want=want, last_at=now))
