"""What one tick of a pool leaves to the next: windows, cooldowns, shortages. Pure, like the decision it serves."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from autoscaler import limits
from autoscaler.intents import SUPERSEDED
from autoscaler.planner import sickness
from autoscaler.risk import steer
from autoscaler.ruleset import RuleSet
from autoscaler.shortages import learn_offers
from autoscaler.spending import spent
from autoscaler.types import Action, Decision, Fleet, Launch, Memory, Operate, Outcome, Plan, Refusal

MEMORY_GAP_TICKS = 4
HOUR_S = 3600.0


def remember(rules: RuleSet, memory: Memory, decision: Decision, plan: Plan) -> Memory:
    """The memory that the next tick starts from."""
    now = decision.at
    memory = awake(rules, now, memory)
    if decision.blind:
        # What happened meanwhile was not judged, so no window may span it.
        return replace(_unwatched(memory, now), number=decision.number, last_at=now)
    launched = sum(isinstance(a, Launch) for a in plan.actions)
    launches = (*memory.launches, (now, launched)) if launched else memory.launches
    cooling = {rule: until for rule, until in memory.cooldown_until.items() if until > now}
    asked = dict(memory.asked)
    if decision.want > decision.current:
        acted = {p.source: p.replicas for p in decision.proposals if p.sense == "raise" and p.until is None}
        for r in rules.rules:
            if r.cooldown_s > 0 and acted.get(r.name, 0) > decision.current:
                cooling[r.name] = now + r.cooldown_s
                asked[r.name] = acted[r.name]
    changes = memory.changes
    if decision.want != decision.current:
        changes = (*changes, (now, decision.current, decision.want))
    horizon = now - max(rules.flap.per_s, rules.scale_in.rate_per_s, rules.scale_out.rate_per_s)
    return replace(
        memory,
        number=decision.number,
        last_at=now,
        want=decision.want,
        highs=limits.push(memory.highs, now, decision.recommended, rules.scale_in.stabilization_s, keep_high=True),
        lows=limits.push(memory.lows, now, decision.recommended, rules.scale_out.window_s, keep_high=False),
        changes=tuple(c for c in changes if c[0] > horizon),
        warm_highs=_warm_highs(rules, memory, plan, now),
        met_since={v.rule: v.since for v in decision.verdicts if v.since is not None},
        cooldown_until=cooling,
        asked={rule: size for rule, size in asked.items() if rule in cooling and size > decision.want},
        burst=decision.burst,
        # What is launched into the warm pool changes no size, so nothing has to cool off after it.
        launched_at=now
        if any(isinstance(a, Launch) and a.into == "serving" for a in plan.actions)
        else memory.launched_at,
        launches=tuple((at, n) for at, n in launches if at > now - HOUR_S),
        idle_since=decision.idle_since,
        moving=plan.moving,
        risk=steer(rules, memory.risk, decision),
    )


def _warm_highs(rules: RuleSet, memory: Memory, plan: Plan, now: float) -> tuple[tuple[float, int], ...]:
    if plan.warm is None:
        return ()
    return limits.push(memory.warm_highs, now, plan.warm, rules.warm_pool.keep_s, keep_high=True)


def awake(rules: RuleSet, now: float, memory: Memory) -> Memory:
    """The memory as it may be used at `now`: after a pause or a jump of the clock the windows start afresh.

    A gap in observation means that nobody knows what happened inside it, so scale-in windows and hold times that
    span it prove nothing. Instants from the future (the clock went back) count as now.
    """
    last = memory.last_at
    # A gap that fills most of the scale-in window would leave it to a single sample.
    gap_s = min(max(60.0, MEMORY_GAP_TICKS * rules.tick_s), max(2.0 * rules.tick_s, rules.scale_in.stabilization_s / 2))
    if last is not None and 0 <= now - last <= gap_s:
        return memory
    return replace(
        _unwatched(memory, now),
        changes=tuple((min(at, now), a, b) for at, a, b in memory.changes),
        cooldown_until={k: min(v, now + _cooldown(rules, k)) for k, v in memory.cooldown_until.items()},
        launched_at=None if memory.launched_at is None else min(memory.launched_at, now),
        launches=tuple((min(at, now), n) for at, n in memory.launches),
        shortages={
            k: replace(s, until=min(s.until, now + rules.launch.shortage_max_s), last_at=min(s.last_at, now))
            for k, s in memory.shortages.items()
        },
        refusals={
            k: replace(r, until=min(r.until, now + rules.launch.shortage_max_s)) for k, r in memory.refusals.items()
        },
        quotas={
            k: replace(q, until=min(q.until, now + rules.launch.quota_s), last_at=min(q.last_at, now))
            for k, q in memory.quotas.items()
        },
    )


def _unwatched(memory: Memory, now: float) -> Memory:
    """The memory without anything that an unbroken observation until `now` would have to prove."""
    return replace(
        memory, watched_since=now, met_since={}, highs=(), lows=(), warm_highs=(), burst=None, idle_since=None
    )


def _cooldown(rules: RuleSet, name: str) -> float:
    return next((r.cooldown_s for r in rules.rules if r.name == name), 0.0)


def learn(
    rules: RuleSet, memory: Memory, finished: Sequence[tuple[Action, Outcome]], fleet: Fleet | None, now: float
) -> Memory:
    """What the fleet and the outcomes that arrived since the last tick teach, before anything is planned on it.

    What launches teach about offers is in `shortages.py`. What a shadow withheld teaches nothing about offers; that it
    was withheld, for which wish and size, keeps the same plan from being made at every tick.
    """
    memory = learn_offers(rules, awake(rules, now, memory), finished, fleet, now)
    here = {i.id for i in fleet.instances} if fleet is not None else set()
    refusals = {k: r for k, r in memory.refusals.items() if fleet is None or k in here}
    withheld = memory.withheld
    for action, outcome in finished:
        if outcome.status == "withheld" and memory.want is not None:
            withheld = (memory.want, fleet.size if fleet is not None else 0)
        elif isinstance(action, Operate) and outcome.error != SUPERSEDED:
            before = refusals.pop(action.instance, None)
            if outcome.status == "failed":
                refusals[action.instance] = _refused(rules, before, now)
    if refusals != memory.refusals or withheld != memory.withheld:
        memory = replace(memory, refusals=refusals, withheld=withheld)
    return memory if fleet is None else _looked_after(rules, memory, fleet, now)


def _looked_after(rules: RuleSet, memory: Memory, fleet: Fleet, now: float) -> Memory:
    """What the fleet costs, and since when so much of it is sick that nothing is removed."""
    halted_since = None
    if sickness(rules, memory, fleet, now).halted:
        halted_since = now if memory.halted_since is None else min(memory.halted_since, now)
    return replace(memory, spending=spent(memory.spending, fleet.usd_per_hour, now), halted_since=halted_since)


def _refused(rules: RuleSet, before: Refusal | None, now: float) -> Refusal:
    """The first is asked again after one tick, then the wait doubles."""
    misses = 1 if before is None else before.misses + 1
    return Refusal(now + min(rules.launch.shortage_max_s, rules.tick_s * 2.0 ** (misses - 1)), misses)
