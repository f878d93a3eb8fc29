"""What one replica of each pool serves: looked at every 15 s, told once a minute, for pools with `capacity: auto`.

Replicas on different machines are learned apart, by the type of their offer; the pool is planned with the weakest of
those that serve. Without a model in the rule file nothing is believed before it was seen.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace

from autoscaler import signals
from autoscaler.capacity import (
    CurveState,
    Limits,
    Objective,
    Observation,
    Point,
    ReplicaState,
    State,
    Workload,
    begin,
    capacity,
    learn,
    prior_of,
)
from autoscaler.capacity.hosting import placed
from autoscaler.capacity.prior import Prior
from autoscaler.capacity.replica import Replica
from autoscaler.foresight.replicas import ANSWERED, GENERATED, KV_ROOM, TOKENS, Totals, observations, points
from autoscaler.foresight.rows import capacity_of, capacity_row
from autoscaler.journal_learned import Lesson
from autoscaler.policies.target import Target
from autoscaler.ruleset import RuleSet
from autoscaler.store import Store
from autoscaler.types import Capacity, Fleet

LOOK_S = 15.0
TELL_S = 60.0
LOOKED_AT = 8
"""Replicas that one look learns from, in turn: more say the same."""

LEAST_SEEN = 20
SURE = 0.25
"""Without a prior worth the name: at least so many samples, and a 20th percentile of so much of the median."""

ANYTHING = Prior(Replica(0.03, 0.5e-3, 2e-7, 1e-4), (0.05, 1e-3, 4e-7, 2e-4), "nothing is known of the model")
"""From a small model on a fast GPU to a large one on a slow one; what it says of a rate is worth nothing."""

ROOM_UNKNOWN = 1e9


@dataclass(slots=True)
class Watched:
    """One pool. known: by type of machine, "" where that is not known."""

    look_at: float = -math.inf
    tell_at: float = -math.inf
    turn: int = 0
    before: Totals = field(default_factory=dict)
    known: dict[str, State] = field(default_factory=dict)
    told: dict[str, Capacity | None] = field(default_factory=dict)


@dataclass(slots=True)
class Capacities:
    """Used by one thread."""

    store: Store
    _pools: dict[str, Watched] = field(default_factory=dict)

    def resume(self, lesson: Lesson) -> None:
        """Goes on from what was learned before a restart."""
        found = capacity_of(lesson)
        if found is not None:
            watched = self._pools.setdefault(lesson.pool, Watched())
            watched.known[lesson.key], watched.told[lesson.key] = found

    def work(self, rules: RuleSet, fleet: Fleet | None, now: float) -> list[Lesson]:
        """Looks at the pool's replicas if it is time; lessons when there is something to tell."""
        if rules.capacity is not None or not unit_of(rules):
            self._pools.pop(rules.pool, None)
            return []
        watched = self._pools.setdefault(rules.pool, Watched())
        if now >= watched.look_at or watched.look_at > now + 2 * LOOK_S:
            watched.look_at = now + LOOK_S
            self._look(rules, fleet, watched)
        if now < watched.tell_at <= now + 2 * TELL_S:
            return []
        watched.tell_at = now + TELL_S
        if not watched.known and rules.hosted.model:
            watched.known[""] = _first(rules)
        lessons = []
        for kind, state in watched.known.items():
            value = told(state, rules)
            if kind not in watched.told or value != watched.told[kind]:
                lessons.append(capacity_row(rules.pool, kind, state, value, now))
            watched.told[kind] = value
        return lessons

    def of(self, rules: RuleSet, fleet: Fleet | None) -> Capacity | None:
        """The weakest of the kinds of machine that serve now; of all when that is not known."""
        watched = self._pools.get(rules.pool)
        if watched is None or rules.capacity is not None:
            return None
        here = {_type(i.offer) for i in fleet.instances if i.state == "ready"} if fleet is not None else set()
        # What was believed before any machine was known counts for as long as nothing else does.
        known = {kind: value for kind, value in watched.told.items() if kind} or watched.told
        some = {kind: value for kind, value in known.items() if kind in here} or known
        if not some or any(value is None for value in some.values()):
            return None
        return min((value for value in some.values() if value is not None), key=lambda value: value.low)

    def drifting(self, pool: str) -> dict[str, str]:
        """Kinds of machine whose replicas changed a moment ago, with words."""
        watched = self._pools.get(pool, Watched())
        found = {k: v for k, v in watched.told.items() if v is not None and v.drifting}
        return {
            f"capacity {kind}".strip(): f"what a replica serves changed: {v.low:.3g} to {v.median:.3g} {v.unit} is all "
            "that is known now; was the engine replaced, or is a GPU slowed down?"
            for kind, v in found.items()
        }

    def forget_all_but(self, pools: Iterable[str]) -> None:
        """Drops pools that nobody rules any more."""
        self._pools = {pool: self._pools[pool] for pool in pools if pool in self._pools}

    def _look(self, rules: RuleSet, fleet: Fleet | None, watched: Watched) -> None:
        after = self.store.totals(rules.pool, (*TOKENS, *ANSWERED))
        before, watched.before = watched.before, after
        tokens = bool(after.get(GENERATED))
        seen: Mapping[str, Observation | Point] = observations(before, after) if tokens else points(before, after)
        # Only instances of the fleet are replicas: a gateway's page tells of all of them together.
        types = {i.address: _type(i.offer) for i in fleet.instances if i.address} if fleet is not None else {}
        names = sorted(name for name in seen if name in types)
        first = watched.turn % len(names) if names else 0
        watched.turn += LOOKED_AT
        for name in (names[first:] + names[:first])[:LOOKED_AT]:
            kind, sample = types[name], seen[name]
            state = watched.known.get(kind)
            if state is None or isinstance(state, CurveState) == tokens:
                state = _first(rules) if tokens else CurveState(0.0)
            room = after.get(KV_ROOM, {}).get((name, ""))
            if isinstance(state, ReplicaState) and room is not None and room[0] > 0:
                state = replace(state, limits=replace(state.limits, kv_tokens=room[0]))
            # Samples of several replicas have the same time; a model takes each only as later than the last.
            at = max(sample.at, math.nextafter(state.at, math.inf))
            watched.known[kind] = learn(state, replace(sample, at=at))
        if "" in watched.known and len(watched.known) > 1:
            # What was believed before any machine was known gives way to what is known of each.
            watched.known.pop("")
            watched.told.pop("", None)


def told(state: State, rules: RuleSet) -> Capacity | None:
    """What is made known of a state; None while it is not worth relying on."""
    goals = rules.hosted
    objective = Objective(goals.itl_s, goals.ttft_s, goals.latency_s)
    value = capacity(state, objective, unit_of(rules))
    if isinstance(state, CurveState):
        return value if state.taken >= LEAST_SEEN and value.low > 0 else None
    believed = state.source != ANYTHING.source or state.drifts > 0 or state.taken >= LEAST_SEEN
    sure = state.source != ANYTHING.source or value.low >= SURE * value.median > 0
    return replace(value, drifting=state.drifting) if believed and sure else None


def unit_of(rules: RuleSet) -> str:
    """The unit of work that the pool is sized by, requests/s or tokens/s; empty: capacity cannot be learned."""
    for rule in rules.rules:
        policy = rule.policy
        name = policy.signal if isinstance(policy, Target) and policy.per_replica is None else None
        signal = rules.signal(name or getattr(policy, "demand", "") or "")
        if signal is not None and signal.forecast is not None:
            signal = rules.signal(signal.forecast)
        known = signals.metric(signal.metric) if signal is not None and signal.metric is not None else None
        if signal is None or known is None or signal.rate_s is None:
            continue
        if known.unit == "requests":
            return "requests/s"
        if known.name == GENERATED:
            return "tokens/s"
    return ""


def _first(rules: RuleSet) -> ReplicaState:
    """What is believed before the first sample: of the model that the rule file names, or next to nothing."""
    goals = rules.hosted
    workload = Workload(goals.input_tokens, goals.output_tokens)
    if not goals.model:
        return begin(ANYTHING, workload, Limits(ROOM_UNKNOWN, goals.max_sequences))
    lies = placed(goals, rules.gpus_per_replica)
    limits = Limits(lies.kv_tokens, goals.max_sequences)
    prior = prior_of(lies.model, lies.precision, lies.gpu, lies.layout, limits.batch(workload))
    return begin(prior, workload, limits)


def _type(offer: str) -> str:
    """`aws/p4d.24xlarge/us-east-1/spot` -> `aws/p4d.24xlarge`: zones and prices do not change what a machine does."""
    return "/".join(offer.split("/")[:2])
