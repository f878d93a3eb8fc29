"""What one tick of a pool leaves to the next: windows, cooldowns, shortages. Pure, like the decision it serves."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

from autoscaler import limits
from autoscaler.intents import SUPERSEDED
from autoscaler.planner import overdue
from autoscaler.risk import steer
from autoscaler.ruleset import RuleSet
from autoscaler.types import (
    Action,
    Decision,
    Fleet,
    Instance,
    Launch,
    Memory,
    Operate,
    Outcome,
    Plan,
    Refusal,
    Shortage,
)

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
        met_since={v.rule: v.since for v in decision.verdicts if v.since is not None},
        cooldown_until=cooling,
        asked={rule: size for rule, size in asked.items() if rule in cooling and size > decision.want},
        burst=decision.burst,
        launched_at=now if launched else memory.launched_at,
        launches=tuple((at, n) for at, n in launches if at > now - HOUR_S),
        idle_since=decision.idle_since,
        risk=steer(rules, memory.risk, decision),
    )


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
    )


def _unwatched(memory: Memory, now: float) -> Memory:
    """The memory without anything that an unbroken observation until `now` would have to prove."""
    return replace(memory, watched_since=now, met_since={}, highs=(), lows=(), burst=None, idle_since=None)


def _cooldown(rules: RuleSet, name: str) -> float:
    return next((r.cooldown_s for r in rules.rules if r.name == name), 0.0)


def learn(
    rules: RuleSet, memory: Memory, finished: Sequence[tuple[Action, Outcome]], fleet: Fleet | None, now: float
) -> Memory:
    """What the fleet and the outcomes that arrived since the last tick teach, before anything is planned on it.

    A failed launch is a shortage of its offer, forgotten after one that came. One that came and never became ready, or
    died soon, is a miss too, forgotten after one that serves: replacing it at once, and for ever, would only burn
    money. What a shadow withheld teaches nothing about offers; that it was withheld, for which wish and size, keeps the
    same plan from being made at every tick.
    """
    memory = awake(rules, now, memory)
    shortages = {k: s for k, s in memory.shortages.items() if now - s.last_at <= rules.launch.shortage_reset_s}
    here = {i.id for i in fleet.instances} if fleet is not None else set()
    refusals = {k: r for k, r in memory.refusals.items() if fleet is None or k in here}
    withheld = memory.withheld
    for action, outcome in finished:
        if outcome.status == "withheld" and memory.want is not None:
            withheld = (memory.want, fleet.size if fleet is not None else 0)
        elif isinstance(action, Launch) and outcome.status == "done":
            known = shortages.get(action.offer.key)
            if known is not None and not known.never_served:
                del shortages[action.offer.key]
        elif isinstance(action, Operate) and outcome.error != SUPERSEDED:
            before = refusals.pop(action.instance, None)
            if outcome.status == "failed":
                refusals[action.instance] = _refused(rules, before, now)
        elif isinstance(action, Launch) and outcome.status == "failed":
            key = action.offer.key
            shortages[key] = _missed(rules, shortages.get(key), key, now)
    for i in _telling(fleet, shortages):
        known = shortages.get(i.offer)
        if overdue(rules, memory, i, now):
            shortages[i.offer] = replace(_missed(rules, known, i.offer, now), never_served=True)
        elif _died_young(rules, i):
            missed = _missed(rules, known, i.offer, now)
            # One may die of anything; only the next one in a row has to wait.
            until = now if missed.misses == 1 else missed.until
            shortages[i.offer] = replace(missed, until=until, never_served=True)
        elif known is not None and known.never_served and i.state == "ready" and i.requested_at >= known.last_at:
            del shortages[i.offer]
    return replace(memory, shortages=shortages, refusals=refusals, withheld=withheld)


def _telling(fleet: Fleet | None, shortages: Mapping[str, Shortage]) -> Sequence[Instance]:
    """Instances that may teach something: while no offer is short, one that serves tells nothing new."""
    if fleet is None:
        return ()
    return fleet.instances if shortages else [i for i in fleet.instances if i.state != "ready"]


def _refused(rules: RuleSet, before: Refusal | None, now: float) -> Refusal:
    """The first is asked again after one tick, then the wait doubles."""
    misses = 1 if before is None else before.misses + 1
    return Refusal(now + min(rules.launch.shortage_max_s, rules.tick_s * 2.0 ** (misses - 1)), misses)


def _died_young(rules: RuleSet, instance: Instance) -> bool:
    """Whether it failed so soon after it was ordered that the next one may well fail too."""
    return instance.state == "failed" and instance.since - instance.requested_at <= rules.launch.register_s


def _missed(rules: RuleSet, before: Shortage | None, key: str, now: float) -> Shortage:
    """The wait doubles with each miss in a row; several misses seen at one tick are one."""
    settings = rules.launch
    if before is None or now - before.last_at > settings.shortage_reset_s:
        misses = 1
    else:
        misses = before.misses if before.until > now or before.last_at == now else before.misses + 1
    wait = min(settings.shortage_max_s, settings.shortage_s * 2.0 ** (misses - 1))
    return Shortage(key, now + wait, misses, now)
