"""One pool as a row of the first page shows it. Pure: a view and what people said about it in, a row's values out."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from autoscaler import spending
from autoscaler.api.room.pools.spark import Spark
from autoscaler.api.room.pools.standing import Standing, standing
from autoscaler.board import PoolView
from autoscaler.explain import clock_text
from autoscaler.measure import ahead_s
from autoscaler.policies.target import Target
from autoscaler.ruleset import RuleSet
from autoscaler.shadow.account import demand_of, demand_signal
from autoscaler.signals import metric
from autoscaler.types import Decision, Fleet, Learned, Mark, Override
from autoscaler.words import counted, replicas, seconds

QUEUE = "requests_waiting"
ROUNDING = 1e-9


@dataclass(frozen=True, slots=True)
class Ahead:
    """What a forecast says will be needed: so many replicas, in so many seconds."""

    replicas: int
    in_s: float


@dataclass(frozen=True, slots=True)
class LastChange:
    """The decision that last changed the size. text: the step that set the number, empty = not known any more."""

    number: int
    at: float
    before: int
    after: int
    text: str = ""


@dataclass(frozen=True, slots=True)
class Note:
    """Something that people ordered and that is in force. text: all of it, for whoever wants to know more."""

    word: str
    text: str


@dataclass(frozen=True, slots=True)
class Glance:
    """A row. Counts are replicas; None = not known. demand, capacity: work per second, that which the ready ones serve.

    unit: of both, such as `requests/s`. gpus: of instances that are paid for. usd_today: since midnight UTC. critical:
    of the alerts that fire. decision: the last one in words. limited: the pool wants a person (see `standing`).
    """

    pool: str
    at: float
    state: Standing
    demand: float | None
    capacity: float | None
    unit: str
    ready: int | None
    pending: int | None
    draining: int | None
    wanted: int | None
    least: int
    most: int
    ahead: Ahead | None
    queue: float | None
    gpus: int
    usd_per_hour: float | None
    usd_today: float
    firing: int
    critical: int
    decision: str
    change: LastChange | None
    notes: tuple[Note, ...]
    spark: Spark | None
    shadow_of: str = ""

    @property
    def load_percent(self) -> int | None:
        """Demand as a share of what the ready replicas serve; None = one of them is not known."""
        if self.demand is None or self.capacity is None:
            return None
        if self.capacity <= 0:
            return 0 if self.demand <= 0 else 999
        return min(999, round(100 * self.demand / self.capacity))

    @property
    def trouble(self) -> tuple[float, int, int]:
        """Sorts the pools that want a person first: by state, where an alert counts as much as a bad state."""
        rank = float(self.state.rank)
        if self.critical:
            rank = min(rank, 2.5)
        elif self.firing:
            rank = min(rank, 6.5)
        return rank, -self.critical, -self.firing


def glance(
    view: PoolView,
    overrides: Sequence[Override],
    marks: Sequence[Mark],
    change: LastChange | None,
    learned: Learned,
    drawn: Spark | None,
    now: float,
) -> Glance:
    """The row of a pool. overrides, marks: of this pool, in force. drawn: its recent demand."""
    rules, d, fleet = view.rules, view.decision, view.fleet
    demand, each = demand_of(rules, d) if d is not None else (None, None)
    firing = [a for a in view.alerts if a.state == "firing"]
    return Glance(
        pool=rules.pool,
        at=view.at,
        state=standing(view, overrides, now),
        demand=demand,
        capacity=each * fleet.ready if each is not None and fleet is not None else None,
        unit=unit_of(rules),
        ready=fleet.ready if fleet is not None else None,
        pending=fleet.pending if fleet is not None else None,
        draining=fleet.count("draining") if fleet is not None else None,
        wanted=d.want if d is not None else None,
        least=rules.bounds.min,
        most=rules.bounds.max,
        ahead=_ahead(rules, d, learned) if d is not None else None,
        queue=_queue(rules, d) if d is not None else None,
        gpus=_gpus(rules, fleet),
        usd_per_hour=fleet.usd_per_hour if fleet is not None else None,
        usd_today=spending.of_day(view.memory.spending, now) if view.memory is not None else 0.0,
        firing=len(firing),
        critical=sum(a.severity == "critical" for a in firing),
        decision=in_words(d) if d is not None else "",
        change=change,
        notes=tuple(_notes(view, overrides, marks)),
        spark=drawn,
        shadow_of=rules.shadow_of,
    )


def in_words(d: Decision) -> str:
    """What was decided and which step set the number, without what the row says already."""
    last = d.reasons[-1]
    if d.want > d.current:
        what = f"out from {d.current} to {d.want}"
    elif d.want < d.current:
        what = f"in from {d.current} to {d.want}"
    else:
        what = f"stays at {d.want}"
    return f"{what}: nothing asks for a change" if last.source == "current" else f"{what}: {step(d)}"


def step(d: Decision) -> str:
    """The step that set the number."""
    last = d.reasons[-1]
    return last.text if last.source == "current" else f"{last.source.removeprefix('rule:')}: {last.text}"


def unit_of(rules: RuleSet) -> str:
    """The unit of demand and capacity, such as `requests/s`; empty = not known."""
    signal = demand_signal(rules)
    known = metric(signal.metric) if signal is not None and signal.metric is not None else None
    return f" {known.unit}/s" if known is not None and known.unit else ""


def _ahead(rules: RuleSet, d: Decision, learned: Learned) -> Ahead | None:
    """What the first forecast that sizes the pool, or could, says of the need at its horizon."""
    demand, each = demand_signal(rules), demand_of(rules, d)[1]
    sizing = {r.policy.signal: r.policy for r in rules.rules if isinstance(r.policy, Target)}
    for signal in rules.signals:
        reading = d.readings.get(signal.name)
        if signal.forecast is None or reading is None or reading.value is None or not math.isfinite(reading.value):
            continue
        share = sizing[signal.name].share(d.readings)[0] if signal.name in sizing else None
        if share is None and each is not None and demand is not None and signal.forecast == demand.name:
            share = each * rules.utilisation_target
        if share:
            need = math.ceil(reading.value / share * (1 - ROUNDING))
            return Ahead(max(0, need), ahead_s(signal, rules, learned.lead_times))
    return None


def _queue(rules: RuleSet, d: Decision) -> float | None:
    name = next((s.name for s in rules.signals if s.metric == QUEUE and s.rate_s is None), None)
    reading = d.readings.get(name) if name is not None else None
    return reading.value if reading is not None else None


def _gpus(rules: RuleSet, fleet: Fleet | None) -> int:
    known = {o.key: o.gpus for o in rules.offers}
    paid = [i for i in (fleet.instances if fleet is not None else ()) if i.state not in ("warm", "failed")]
    return sum(known.get(i.offer, 0) or i.replicas * rules.gpus_per_replica for i in paid)


def _notes(view: PoolView, overrides: Sequence[Override], marks: Sequence[Mark]) -> list[Note]:
    """What people ordered: overrides by kind, a roll that is not over, instances that were taken out."""
    found = []
    for o in overrides:
        size = f" {o.replicas}" if o.replicas is not None else f" {o.direction}" if o.kind == "pause" else ""
        text = f"{o.kind}{size} until {clock_text(o.until)} by {o.author}: {o.reason}"
        found.append(Note(f"{o.kind}{size}", text))
    rolling = view.rolling
    if rolling is not None and rolling.state in ("running", "paused", "failed"):
        text = f"roll {rolling.state}, {replicas_of(rolling.gone, len(rolling.old))}: {rolling.text}"
        found.append(Note(f"roll {rolling.state}", text))
    for kind, word in (("cordon", "cordoned"), ("replace", "to be replaced")):
        some = [m for m in marks if m.kind == kind]
        if some:
            found.append(Note(f"{len(some)} {word}", "; ".join(f"{m.instance} by {m.author}" for m in some[:5])))
    return found


def replicas_of(gone: int, left: int) -> str:
    """How far a roll is."""
    return f"{counted(gone, 'instance')} gone, {left} left"


def ahead_text(ahead: Ahead) -> str:
    """The forecast in words."""
    return f"{replicas(ahead.replicas)} needed in {seconds(ahead.in_s)}"
