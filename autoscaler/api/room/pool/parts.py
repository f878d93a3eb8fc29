"""What a pool's page shows besides charts and decisions, as values that its templates need not compute."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from autoscaler import spending
from autoscaler.api import rolls
from autoscaler.api.deps import ApiDeps
from autoscaler.api.learned import learned_view
from autoscaler.api.learned_models import LearnedView
from autoscaler.api.operations import in_force, shown
from autoscaler.api.operations_models import MarkView, RollView
from autoscaler.api.room.pools.glance import Glance, glance, in_words
from autoscaler.api.shadows import Shadow, shadow
from autoscaler.api.signals import list_signals
from autoscaler.board import PoolView
from autoscaler.ruleset import RuleSet
from autoscaler.types import Alert, Decision, Instance, InstanceState, Learned, Offer, Override, Reading, Severity
from autoscaler.words import seconds

STATES: tuple[InstanceState, ...] = ("ready", "pending", "draining", "warm", "stopping", "failed")
SEVERE: tuple[Severity, ...] = ("critical", "warning", "info")
MOST_ALERTS = 5
MOST_INSTANCES = 100
"""Rows of the table unless all are asked for."""
ALL_INSTANCES = 5000


@dataclass(frozen=True, slots=True)
class Head:
    """The first things that a person wants to know. budget: in words, empty = none. error: of the last tick."""

    glance: Glance
    said: str
    decision: Decision | None
    warm: int | None
    warm_wanted: int | None
    budget: str
    alerts: tuple[Alert, ...]
    more_alerts: int
    overrides: tuple[Override, ...]
    marks: tuple[MarkView, ...]
    roll: RollView
    halted_since: float | None
    error: str
    rules: RuleSet
    tick_at: float
    fleet_at: float | None


@dataclass(frozen=True, slots=True)
class Machine:
    """One instance as the table shows it."""

    instance: Instance
    offer: Offer | None
    gpus: int
    age_s: float | None
    mark: MarkView | None


@dataclass(frozen=True, slots=True)
class Machines:
    """The table. more: how many are not shown; counts: instances by state; unknown: no provider has reported yet."""

    rows: tuple[Machine, ...]
    more: int
    counts: tuple[tuple[str, int], ...]
    unknown: bool


@dataclass(frozen=True, slots=True)
class Judgement:
    """One signal as the last decision read it, with the band that conditions compared it with."""

    name: str
    unit: str
    source: str
    reading: Reading
    age_s: float
    lower: float | None
    upper: float | None
    outside: bool
    findings: tuple[str, ...]


def head(view: PoolView, deps: ApiDeps) -> Head:
    """The pool at a glance, and everything that people ordered."""
    rules, now, d, memory = view.rules, deps.clock.now(), view.decision, view.memory
    overrides = tuple(o for o in deps.journal.overrides(now) if o.pool == rules.pool)
    marks = in_force(deps, rules.pool)
    learned = deps.foresight.learned(rules.workload) if deps.foresight is not None else Learned()
    firing = sorted((a for a in view.alerts if a.state == "firing"), key=lambda a: (SEVERE.index(a.severity), -a.since))
    return Head(
        glance=glance(view, overrides, marks, None, learned, None, now),
        said=in_words(d) if d is not None else "",
        decision=d,
        warm=view.fleet.count("warm") if view.fleet is not None else None,
        warm_wanted=view.plan.warm if view.plan is not None else None,
        budget=_budget(view, now),
        alerts=tuple(firing[:MOST_ALERTS]),
        more_alerts=max(0, len(firing) - MOST_ALERTS),
        overrides=overrides,
        marks=tuple(shown(m, view) for m in marks),
        roll=rolls.shown(view, deps),
        halted_since=memory.halted_since if memory is not None else None,
        error=view.error,
        rules=rules,
        tick_at=view.at,
        fleet_at=view.fleet.observed_at if view.fleet is not None else None,
    )


def _budget(view: PoolView, now: float) -> str:
    bounds, spent = view.rules.bounds, view.memory.spending if view.memory is not None else None
    parts = []
    if bounds.usd_per_hour is not None:
        parts.append(f"at most ${bounds.usd_per_hour:,.2f} an hour")
    if bounds.usd_per_day is not None:
        parts.append(f"${spending.of_day(spent, now):,.2f} of ${bounds.usd_per_day:,.2f} today")
        most, _ = spending.most(bounds, spent, now)
        if math.isfinite(most):
            parts.append(f"the rest of the day bears ${most:,.2f} an hour")
    return ", ".join(parts)


def machines(view: PoolView, deps: ApiDeps, everything: bool) -> Machines:
    """The instances, those that serve first."""
    fleet, now = view.fleet, deps.clock.now()
    if fleet is None:
        return Machines((), 0, (), True)
    offers = {o.key: o for o in view.rules.offers}
    marks = {m.instance: shown(m, view) for m in in_force(deps, view.rules.pool)}
    ordered = sorted(fleet.instances, key=lambda i: (i.id not in marks, STATES.index(i.state), i.id))
    kept = ordered[: ALL_INSTANCES if everything else MOST_INSTANCES]
    counts = Counter(i.state for i in fleet.instances)
    return Machines(
        rows=tuple(_machine(i, offers.get(i.offer), view.rules, marks, now) for i in kept),
        more=len(ordered) - len(kept),
        counts=tuple((state, counts[state]) for state in STATES if counts[state]),
        unknown=False,
    )


def _machine(i: Instance, offer: Offer | None, rules: RuleSet, marks: Mapping[str, MarkView], now: float) -> Machine:
    gpus = (offer.gpus if offer is not None else 0) or i.replicas * rules.gpus_per_replica
    return Machine(i, offer, gpus, now - i.requested_at if i.requested_at else None, marks.get(i.id))


def judgements(view: PoolView, deps: ApiDeps) -> tuple[Judgement, ...]:
    """Every signal of the last decision, in the order of the rule file."""
    d = view.decision
    if d is None:
        return ()
    told = list_signals(view, deps)
    findings: dict[str, list[str]] = {}
    for finding in told.findings:
        findings.setdefault(finding.signal, []).append(finding.text)
    order = {s.name: n for n, s in enumerate(view.rules.signals)}
    rows = sorted(told.readings, key=lambda r: order.get(r.signal, len(order)))
    return tuple(
        Judgement(
            r.signal,
            r.unit or "",
            r.source,
            d.readings[r.signal],
            r.age_s,
            *_shown_band(d, r.signal),
            _outside(d, r.signal),
            tuple(findings.get(r.signal, ())),
        )
        for r in rows
        if r.signal in d.readings
    )


def _band(d: Decision, signal: str) -> tuple[float | None, float | None]:
    """The tightest bounds of all conditions on a signal."""
    mine = [j for j in d.judged if j.signal == signal]
    lower = [j.lower for j in mine if j.lower is not None]
    upper = [j.upper for j in mine if j.upper is not None]
    return max(lower, default=None), min(upper, default=None)


def _shown_band(d: Decision, signal: str) -> tuple[float | None, float | None]:
    """The band as people read it: three sigma below a small number is below zero, which says nothing of what counts."""
    lower, upper = _band(d, signal)
    value = d.readings[signal].value
    nothing = lower is not None and lower < 0 and value is not None and value >= 0
    return None if nothing else lower, upper


def _outside(d: Decision, signal: str) -> bool:
    lower, upper = _band(d, signal)
    value = d.readings[signal].value
    return value is not None and ((upper is not None and value > upper) or (lower is not None and value < lower))


@dataclass(frozen=True, slots=True)
class Known:
    """What is learned of a pool, in sentences."""

    view: LearnedView
    capacity: str
    lead_times: tuple[str, ...]
    forecasts: tuple[str, ...]


def known(view: PoolView, deps: ApiDeps) -> Known:
    """Capacity, lead times and forecasts as people say them."""
    told = learned_view(view, deps)
    c, rules = told.capacity, view.rules
    if c is not None:
        drift = " It changed a moment ago, so nothing shrinks until enough was seen." if c.drifting else ""
        capacity = (
            f"{c.low:.4g} {c.unit} at its objective, by the careful estimate; {c.median:.4g} is as likely.{drift}"
        )
    elif rules.capacity is not None:
        capacity = f"{rules.capacity:g} {rules.capacity_unit}, as the rule file says."
    else:
        capacity = "not known: the rule file states none, and none was learned yet."
    leads = tuple(
        f"{t.offer}: half serve within {seconds(t.p50_s)}, 9 of 10 within {seconds(t.p90_s)}"
        + (f"; {t.success_ratio:.0%} of launches come to serve" if t.success_ratio is not None else "")
        for t in told.lead_times
    )
    return Known(told, capacity, leads, tuple(_forecast(told)))


def _forecast(told: LearnedView) -> Sequence[str]:
    found = []
    for o in told.outlooks:
        far = o.horizons_s[-1] if o.horizons_s else 0.0
        old = "" if o.usable else ", too old to be used"
        found.append(f"{o.signal}: up to {seconds(far)} ahead, made {seconds(o.age_s)} ago by {o.version}{old}")
    return found


def compared(view: PoolView, deps: ApiDeps) -> Shadow | None:
    """The pool's candidate beside it, if it has one."""
    found = deps.shadows().get(view.rules.shadow_of or view.rules.pool)
    return shadow(found) if found is not None else None
