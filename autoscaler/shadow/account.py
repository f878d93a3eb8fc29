"""What two sets of rules cost and left unserved since a candidate began, added up from one look to the next. Pure."""

from __future__ import annotations

import math
from dataclasses import dataclass, field, replace

from autoscaler.policies.target import CAPACITY, Target
from autoscaler.ruleset import RuleSet, Signal
from autoscaler.types import Decision, Fleet, Reading

ARRIVALS = "requests_arrived_total"


@dataclass(frozen=True, slots=True)
class Size:
    """A fleet at one moment. paid: replicas that serve, boot or drain."""

    ready: int
    paid: int
    usd_per_hour: float

    @classmethod
    def of(cls, fleet: Fleet) -> Size:
        return cls(fleet.ready, fleet.count("ready", "pending", "draining"), fleet.usd_per_hour)


@dataclass(frozen=True, slots=True)
class Side:
    """One set of rules so far. Work is in the unit of the demand signal.

    above_work: demand beyond what the ready replicas could serve as it came, so that it had to wait. queue_work: what
    would wait now if the excess queued and no request gave up; most_queue_work: the most of that so far. changes: of
    the wanted size.
    """

    replica_s: float = 0.0
    usd: float = 0.0
    launches: int = 0
    changes: int = 0
    above_work: float = 0.0
    queue_work: float = 0.0
    most_queue_work: float = 0.0

    def after(self, took_s: float, size: Size, demand: float | None, capacity: float | None) -> Side:
        """After so many seconds in which size, demand and capacity (work per second) did not change.

        The queue is that of the back-test: work in at the demand, out at ready x capacity, first come, first served.
        Without a demand or a capacity it stays as it was.
        """
        paid = replace(
            self,
            replica_s=self.replica_s + size.paid * took_s,
            usd=self.usd + size.usd_per_hour * took_s / 3600.0,
        )
        if demand is None or capacity is None:
            return paid
        excess = (demand - size.ready * capacity) * took_s
        queue = max(0.0, self.queue_work + excess)
        return replace(
            paid,
            above_work=self.above_work + max(0.0, excess),
            queue_work=queue,
            most_queue_work=max(self.most_queue_work, queue),
        )

    def decided(self, decision: Decision, launches: int) -> Side:
        """After a decision that was taken, and what it ordered."""
        changed = decision.want != decision.current
        return replace(self, launches=self.launches + launches, changes=self.changes + changed)


@dataclass(frozen=True, slots=True)
class Look:
    """What holds from a look until the next: both fleets, and the demand with what one replica serves of it."""

    at: float
    active: Size
    candidate: Size
    demand: float | None = None
    capacity: float | None = None


@dataclass(frozen=True, slots=True)
class Account:
    """Both sides since `since`. hashes: of the active rules and of the candidate that it is about.

    watched_s: the time that counts. unknown_s: of that, without a demand or a capacity. unwatched_s: left out, because
    nobody looked, as while the service was down. demand_work: what came while it was known.
    """

    since: float
    hashes: tuple[str, str]
    watched_s: float = 0.0
    unknown_s: float = 0.0
    unwatched_s: float = 0.0
    demand_work: float = 0.0
    active: Side = field(default_factory=Side)
    candidate: Side = field(default_factory=Side)

    def after(self, before: Look, now: float, patience_s: float) -> Account:
        """With the time from a look until now; more than `patience_s` was not watched, and a clock that went back adds
        nothing."""
        took_s = now - before.at
        if took_s <= 0:
            return self
        if took_s > patience_s:
            return replace(self, unwatched_s=self.unwatched_s + took_s)
        told = before.demand is not None and before.capacity is not None
        return replace(
            self,
            watched_s=self.watched_s + took_s,
            unknown_s=self.unknown_s + (0.0 if told else took_s),
            demand_work=self.demand_work + (before.demand * took_s if told and before.demand is not None else 0.0),
            active=self.active.after(took_s, before.active, before.demand, before.capacity),
            candidate=self.candidate.after(took_s, before.candidate, before.demand, before.capacity),
        )


def demand_signal(rules: RuleSet) -> Signal | None:
    """The signal that tells how much work comes each second: what a target divides, when that is a rate or a query; if
    it is a forecast, what that looks ahead on. Else a rate of arrivals. None = the rules read no such thing.

    A gauge such as requests that wait is no demand: it depends on the fleet that was there.
    """
    sized = [rule.policy.signal for rule in rules.rules if isinstance(rule.policy, Target)]
    found = [signal for name in sized if (signal := _measured(rules, name)) is not None]
    found += [signal for signal in rules.signals if signal.metric == ARRIVALS]
    return next((signal for signal in found if signal.rate_s is not None or signal.promql is not None), None)


def borrowed(rules: RuleSet) -> tuple[str, ...]:
    """Signals of a candidate that depend on the fleet, and so tell of the active pool's and not of the imagined one."""
    return tuple(s.name for s in rules.signals if s.metric not in (None, ARRIVALS) and s.forecast is None)


def demand_of(rules: RuleSet, decision: Decision) -> tuple[float | None, float | None]:
    """Demand and capacity of a replica, work per second, as a decision read them; None = not known.

    Where no capacity is known, what a target counts on for a replica of that demand.
    """
    signal = demand_signal(rules)
    if signal is None:
        return None, None
    reading, each = decision.readings.get(signal.name), decision.readings.get(CAPACITY)
    demand, capacity = _amount(reading), _amount(each)
    return demand, capacity if capacity is not None else per_replica(rules, signal)


def per_replica(rules: RuleSet, signal: Signal) -> float | None:
    """What a target of the rules counts on for one replica of this demand."""
    for rule in rules.rules:
        policy = rule.policy
        if isinstance(policy, Target) and policy.per_replica is not None:
            measured = _measured(rules, policy.signal)
            if measured is not None and measured.name == signal.name:
                return policy.per_replica
    return None


def _amount(reading: Reading | None) -> float | None:
    """The value of a reading if it can be work per second."""
    value = reading.value if reading is not None else None
    return value if value is not None and math.isfinite(value) and value >= 0 else None


def _measured(rules: RuleSet, name: str) -> Signal | None:
    signal = rules.signal(name)
    return rules.signal(signal.forecast) if signal is not None and signal.forecast is not None else signal
