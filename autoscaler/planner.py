"""plan(): which instances. From the fleet that is there to the number that was decided, one tick's actions at a time.

Drains are two-phased and driven from here: `drain` takes an instance out of routing, and it is terminated at a later
tick, when nothing is in flight any more or the deadline has passed. Until then it can be resumed.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, TypeVar

from autoscaler.ruleset import RuleSet
from autoscaler.types import (
    Action,
    Decision,
    Fleet,
    Instance,
    InstanceState,
    Launch,
    Memory,
    Offer,
    Operate,
    Plan,
    Reason,
    World,
)

T = TypeVar("T")

OPERATE_LIMIT_S = 60.0


@dataclass(slots=True)
class _Draft:
    """A plan while it is being made; numbers its actions so that each has an id of its own.

    silent: providers that cannot be asked now; what they host counts and is left alone. resting: instances whose
    provider refused to act on them, and until when they are not asked for again.
    """

    rules: RuleSet
    decision: Decision
    silent: frozenset[str] = frozenset()
    resting: Mapping[str, float] = field(default_factory=dict)
    actions: list[Action] = field(default_factory=list)
    reasons: list[Reason] = field(default_factory=list)

    def operate(
        self, kind: Literal["start", "drain", "resume", "stop", "terminate"], instance: Instance, why: str
    ) -> bool:
        """Plans it and returns True, unless the instance rests after a refusal."""
        at = self.decision.at
        rest_s = self.resting.get(instance.id, at) - at
        if rest_s > 0:
            self.note("refused", f"{kind} {instance.id}: its provider refused, asked again in {rest_s:.0f} s")
            return False
        provider = _provider(instance)
        id_ = action_id(self.decision, len(self.actions), instance.id)
        self.actions.append(
            Operate(id_, instance.pool, at, at + OPERATE_LIMIT_S, kind, instance.id, provider, instance.replicas)
        )
        self.reasons.append(Reason(kind, self.decision.want, f"{kind} {instance.id}: {why}"))
        return True

    def launch(self, offer: Offer, attempt: int) -> None:
        at = self.decision.at
        id_ = action_id(self.decision, len(self.actions), offer.key, attempt)
        self.actions.append(Launch(id_, self.decision.pool, at, at + self.rules.launch.limit_s, offer, attempt))
        self.reasons.append(Reason("launch", self.decision.want, f"launch {offer.key}"))

    def within_reach(self, instances: Iterable[Instance], state: InstanceState) -> list[Instance]:
        """Listed instances in one state whose provider can be asked to do something with them."""
        return [
            i
            for i in instances
            if i.state == state and not i.id.startswith("ordered:") and _provider(i) not in self.silent
        ]

    def note(self, source: str, text: str) -> None:
        self.reasons.append(Reason(source, self.decision.want, text))


def plan(rules: RuleSet, decision: Decision, world: World, memory: Memory) -> Plan:
    """The actions of this tick and the reasons of everything that was left undone."""
    fleet = world.fleet
    if fleet is None or decision.blind:
        return Plan(decision.pool, decision.number)
    silent = fleet.silent(world.now - rules.patience_s)
    resting = {name: refusal.until for name, refusal in memory.refusals.items()}
    draft = _Draft(rules, decision, frozenset(name for name, _ in silent), resting)
    if memory.withheld == (decision.want, fleet.size):
        draft.note("shadow", f"going from {fleet.size} to {decision.want} was withheld already")
        return Plan(decision.pool, decision.number, (), tuple(draft.reasons))
    given_up = _clean(draft, fleet, memory)
    alive = [i for i in fleet.instances if i.id not in given_up]
    size = sum(i.replicas for i in alive if i.state in ("pending", "ready"))
    frozen = any(o.kind == "freeze" and o.pool == decision.pool and o.until > world.now for o in world.overrides)
    if frozen:
        draft.note("freeze", "nothing is launched or removed while the pool is frozen")
    elif decision.want > size:
        _grow(draft, alive, decision.want - size, fleet, memory)
    elif decision.want < size:
        _shrink(draft, alive, decision.want)
    _finish_drains(draft, alive, memory)
    return Plan(decision.pool, decision.number, tuple(draft.actions), tuple(draft.reasons))


def admit(plans: Sequence[Plan], max_launches: int) -> tuple[Plan, ...]:
    """The plans of one pass, with at most `max_launches` launches over all pools; earlier plans go first.

    What is cut off is not lost: the next tick plans it again.
    """
    left = max_launches
    admitted = []
    for p in plans:
        launches = sum(isinstance(a, Launch) for a in p.actions)
        cut = max(0, launches - left)
        left -= launches - cut
        if cut:
            kept = _without_last(p.actions, cut, lambda a: isinstance(a, Launch))
            reasons = _without_last(p.reasons, cut, lambda r: r.source == "launch")
            text = f"{cut} launches wait: at most {max_launches} in one pass over all pools"
            p = Plan(p.pool, p.decision, kept, (*reasons, Reason("launch_rate", p.reasons[-1].replicas, text)))  # noqa: PLW2901
        admitted.append(p)
    return tuple(admitted)


def _without_last(some: tuple[T, ...], count: int, cut: Callable[[T], bool]) -> tuple[T, ...]:
    gone = [n for n, one in enumerate(some) if cut(one)][-count:]
    return tuple(one for n, one in enumerate(some) if n not in set(gone))


def action_id(decision: Decision, ordinal: int, subject: str, attempt: int = 1) -> str:
    """The idempotency token: the same decision always makes the same ids, two decisions never share one."""
    text = "|".join((decision.pool, str(decision.number), str(ordinal), subject, str(attempt), f"{decision.at:.6f}"))
    return hashlib.sha256(text.encode()).hexdigest()[:24]


def overdue(rules: RuleSet, memory: Memory, instance: Instance, now: float) -> bool:
    """Whether a listed instance should have become ready by now; it is given up."""
    listed = instance.state == "pending" and not instance.id.startswith("ordered:")
    return listed and _watched_s(memory, instance.requested_at, now) > rules.launch.register_s


def _watched_s(memory: Memory, at: float, now: float) -> float:
    """How long ago `at` was, as far as we watched: a clock that jumped must not end what people wait for, and one that
    went back must not keep it for ever."""
    watched_since = memory.watched_since if memory.watched_since is not None else now
    return now - (at if watched_since <= at <= now else watched_since)


def _provider(instance: Instance) -> str:
    return instance.offer.split("/", 1)[0]


def _clean(draft: _Draft, fleet: Fleet, memory: Memory) -> set[str]:
    """Terminates what failed or never became ready in time; returns the ids that count for nothing any more."""
    now = draft.decision.at
    given_up = set()
    for i in draft.within_reach(fleet.instances, "failed"):
        draft.operate("terminate", i, i.detail or "it failed")
        given_up.add(i.id)
    for i in draft.within_reach(fleet.instances, "pending"):
        if overdue(draft.rules, memory, i, now):
            draft.operate("terminate", i, f"not ready {now - i.requested_at:.0f} s after it was ordered")
            given_up.add(i.id)
    return given_up


def _grow(draft: _Draft, alive: Sequence[Instance], missing: int, fleet: Fleet, memory: Memory) -> None:
    """Fastest first: back from draining, then from the warm pool, then new machines."""
    for i in sorted(draft.within_reach(alive, "draining"), key=lambda i: -i.since):
        if missing <= 0:
            return
        if draft.operate("resume", i, "wanted again before it had left"):
            missing -= i.replicas
    for i in sorted(draft.within_reach(alive, "warm"), key=lambda i: i.since):
        if missing <= 0:
            return
        if draft.operate("start", i, "from the warm pool"):
            missing -= i.replicas
    _order(draft, missing, fleet, memory)


def _order(draft: _Draft, missing: int, fleet: Fleet, memory: Memory) -> None:
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


def _choose(draft: _Draft, memory: Memory, now: float, probed: set[str]) -> Offer | None:
    shortages = memory.shortages
    open_ = [o for o in draft.rules.offers if o.key not in probed and o.provider not in draft.silent]
    free = [o for o in open_ if o.key not in shortages or shortages[o.key].until <= now]
    if not free or draft.rules.choose == "listed":
        return free[0] if free else None
    return min(free, key=lambda o: o.usd_per_hour / o.replicas)


def _shrink(draft: _Draft, alive: Sequence[Instance], want: int) -> None:
    """Pending ones go first, newest first; then ready ones, each only if the rest still covers what is wanted."""
    size = sum(i.replicas for i in alive if i.state in ("pending", "ready"))
    # What is not listed yet cannot be told to stop; it is cancelled when it appears.
    for i in sorted(draft.within_reach(alive, "pending"), key=lambda i: -i.requested_at):
        if size - i.replicas >= want and draft.operate("terminate", i, "surplus, and not serving yet"):
            size -= i.replicas
    # A pending replica serves nobody yet: ready ones leave only when the other ready ones are enough by themselves.
    serving = sum(i.replicas for i in alive if i.state == "ready")
    for i in sorted(draft.within_reach(alive, "ready"), key=_victim_key(draft.rules.scale_in.victim)):
        if serving - i.replicas >= want:
            flight = "unknown" if i.in_flight is None else str(i.in_flight)
            if draft.operate("drain", i, f"surplus, {flight} requests in flight"):
                serving -= i.replicas


def _victim_key(victim: str) -> Callable[[Instance], Any]:
    if victim == "newest":
        return lambda i: (-i.requested_at, i.id)
    if victim == "oldest":
        return lambda i: (i.requested_at, i.id)
    # An unknown number of requests is not a small one.
    return lambda i: (math.inf if i.in_flight is None else i.in_flight, -i.usd_per_hour, -i.requested_at, i.id)


def _finish_drains(draft: _Draft, alive: Sequence[Instance], memory: Memory) -> None:
    rules, now = draft.rules, draft.decision.at
    acted = {a.instance for a in draft.actions if isinstance(a, Operate)}
    for i in draft.within_reach(alive, "draining"):
        if i.id in acted:
            continue
        settled = i.in_flight_at is not None and i.in_flight_at >= i.since + rules.scale_in.settle_s
        if i.in_flight == 0 and settled:
            draft.operate("terminate", i, "drained, nothing is in flight")
        elif _watched_s(memory, i.since, now) >= rules.scale_in.drain_s:
            left = "an unknown number of" if i.in_flight is None else str(i.in_flight)
            draft.operate(
                "terminate", i, f"drain deadline of {rules.scale_in.drain_s:.0f} s, {left} requests in flight"
            )
