"""decide(): how many replicas a pool should have. Measure, judge, propose, arbitrate, then the limits in order.

Pure: equal rules, world and memory give an equal decision. `remember` folds a decision and what became of earlier
actions into the memory that the next tick starts from.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

from autoscaler import limits
from autoscaler.judge import judge
from autoscaler.measure import measure
from autoscaler.ruleset import RuleSet
from autoscaler.types import (
    Action,
    Decision,
    Fleet,
    Launch,
    Memory,
    Outcome,
    Plan,
    Proposal,
    Reading,
    Reason,
    Shortage,
    Verdict,
    World,
)
from autoscaler.words import seconds

STALE_FLEET_TICKS = 4
MEMORY_GAP_TICKS = 4


def decide(rules: RuleSet, world: World, memory: Memory) -> Decision:
    """The decision for one pool at `world.now`, with every step that led to it."""
    memory = awake(rules, world.now, memory)
    fleet = world.fleet
    if fleet is None or world.now - fleet.observed_at > max(30.0, STALE_FLEET_TICKS * rules.tick_s):
        return _blind(rules, world, memory)
    current = fleet.size if memory.want is None else memory.want
    readings = measure(rules, world)
    judged, verdicts = judge(rules, world, readings, memory)
    proposals = propose(rules, world.now, readings, verdicts, fleet, current, memory)
    decision = Decision(
        pool=rules.pool,
        number=memory.number + 1,
        at=world.now,
        current=current,
        want=current,
        ready=fleet.ready,
        pending=fleet.pending,
        reasons=(Reason("current", current, _present(current, fleet)),),
        proposals=proposals,
        readings=readings,
        judged=judged,
        verdicts=verdicts,
        rules_hash=rules.hash,
        versions=_versions(world),
    )
    decision = arbitrate(decision)
    for limit in limits.IN_ORDER:
        decision = limit(decision, rules, world, memory)
    assert decision.reasons[-1].replicas == decision.want, "a decision's count is its last reason's"
    return decision


def propose(
    rules: RuleSet,
    now: float,
    readings: Mapping[str, Reading],
    verdicts: Sequence[Verdict],
    fleet: Fleet,
    current: int,
    memory: Memory,
) -> tuple[Proposal, ...]:
    """What each rule asks for. A rule whose condition cannot be judged holds; one that cools down keeps the size."""
    held = {v.rule: v for v in verdicts}
    found: list[Proposal] = []
    for rule in rules.rules:
        verdict = held.get(rule.name)
        if rule.policy is None or (verdict is not None and verdict.met is False):
            continue
        if verdict is not None and verdict.met is None:
            found.append(Proposal(rule.name, "hold", current, f"cannot be judged: {verdict.text}"))
            continue
        if verdict is not None and not verdict.held:
            continue
        because = f"{verdict.text}: " if verdict is not None else ""
        until = memory.cooldown_until.get(rule.name, 0.0)
        if until > now:
            # What made the rule act still holds, so nothing may shrink under it; that also keeps it from flapping.
            found.append(Proposal(rule.name, "raise", current, f"{because}cooling down for {seconds(until - now)}"))
            continue
        found += [
            replace(p, source=rule.name, text=because + p.text)
            for p in rule.policy.propose(now, readings, fleet, current)
        ]
    leaving = held.get("scale_in")
    if leaving is not None and leaving.held:
        fewer = max(0, current - rules.scale_in.by)
        found.append(Proposal("scale_in", "lower", fewer, f"{leaving.text}: {rules.scale_in.by} fewer"))
    return tuple(found)


def arbitrate(decision: Decision) -> Decision:
    """One number from all proposals: targets size the pool, steps raise it, one that cannot judge keeps it.

    The largest target counts; a target that is blind keeps the present size as a floor. `scale_in.when` acts only in
    pools without a target, since a target already says how few are enough.
    """
    by_sense = {
        sense: [p for p in decision.proposals if p.sense == sense] for sense in ("size", "raise", "lower", "hold")
    }
    current = decision.current
    holds = by_sense["hold"]
    for hold in holds:
        decision = decision.then(f"rule:{hold.source}", max(current, decision.want), f"{hold.text}; nothing shrinks")
    best = max(by_sense["size"], key=lambda p: p.replicas, default=None)
    lower = max(by_sense["lower"], key=lambda p: p.replicas, default=None)
    if best is not None:
        want = max(best.replicas, current) if holds else best.replicas
        decision = decision.then(f"rule:{best.source}", want, best.text)
    elif lower is not None and not holds:
        decision = decision.then("scale_in", min(current, lower.replicas), lower.text)
    highest = max(by_sense["raise"], key=lambda p: p.replicas, default=None)
    if highest is not None and highest.replicas > decision.want:
        decision = decision.then(f"rule:{highest.source}", highest.replicas, highest.text)
    return replace(decision, recommended=decision.want)


def remember(rules: RuleSet, memory: Memory, decision: Decision, plan: Plan) -> Memory:
    """The memory that the next tick starts from."""
    now = decision.at
    memory = replace(awake(rules, now, memory), number=decision.number, last_at=now)
    if decision.blind:
        return memory
    launched = any(isinstance(a, Launch) for a in plan.actions)
    grew = decision.want > decision.current
    cooling = {rule: until for rule, until in memory.cooldown_until.items() if until > now}
    if grew:
        asked = {p.source for p in decision.proposals if p.sense == "raise" and p.replicas > decision.current}
        cooling |= {r.name: now + r.cooldown_s for r in rules.rules if r.name in asked and r.cooldown_s > 0}
    changes = memory.changes
    if decision.want != decision.current:
        changes = (*changes, (now, decision.current, decision.want))
    horizon = now - max(rules.flap.per_s, rules.scale_in.rate_per_s, rules.scale_out.rate_per_s)
    return replace(
        memory,
        want=decision.want,
        highs=limits.push(memory.highs, now, decision.recommended, rules.scale_in.stabilization_s, keep_high=True),
        lows=limits.push(memory.lows, now, decision.recommended, rules.scale_out.window_s, keep_high=False),
        changes=tuple(c for c in changes if c[0] > horizon),
        met_since={v.rule: v.since for v in decision.verdicts if v.since is not None},
        cooldown_until=cooling,
        burst=decision.burst,
        launched_at=now if launched else memory.launched_at,
        idle_since=decision.idle_since,
    )


def awake(rules: RuleSet, now: float, memory: Memory) -> Memory:
    """The memory as it may be used at `now`: after a pause or a jump of the clock the windows start afresh.

    A gap in observation means that nobody knows what happened inside it, so scale-in windows and hold times that
    span it prove nothing. Instants from the future (the clock went back) count as now.
    """
    last = memory.last_at
    if last is not None and 0 <= now - last <= max(60.0, MEMORY_GAP_TICKS * rules.tick_s):
        return memory
    return replace(
        memory,
        watched_since=now,
        met_since={},
        highs=(),
        lows=(),
        burst=None,
        idle_since=None,
        changes=tuple((min(at, now), a, b) for at, a, b in memory.changes),
        cooldown_until={k: min(v, now + _cooldown(rules, k)) for k, v in memory.cooldown_until.items()},
        launched_at=None if memory.launched_at is None else min(memory.launched_at, now),
        shortages={
            k: replace(s, until=min(s.until, now + rules.launch.shortage_max_s)) for k, s in memory.shortages.items()
        },
    )


def _cooldown(rules: RuleSet, name: str) -> float:
    return next((r.cooldown_s for r in rules.rules if r.name == name), 0.0)


def learn(rules: RuleSet, memory: Memory, finished: Sequence[tuple[Action, Outcome]], size: int, now: float) -> Memory:
    """What the outcomes that arrived since the last tick teach, before anything is planned on it.

    A failed launch is a shortage of its offer, forgotten after one that came. What a shadow withheld teaches nothing
    about offers; that it was withheld, for which wish and size, keeps the same plan from being made at every tick.
    """
    shortages = dict(memory.shortages)
    withheld = memory.withheld
    for action, outcome in finished:
        if outcome.status == "withheld" and memory.want is not None:
            withheld = (memory.want, size)
        elif isinstance(action, Launch) and outcome.status == "done":
            shortages.pop(action.offer.key, None)
        elif isinstance(action, Launch) and outcome.status == "failed":
            key = action.offer.key
            shortages[key] = _missed(rules, shortages.get(key), key, now)
    return replace(memory, shortages=shortages, withheld=withheld)


def _missed(rules: RuleSet, before: Shortage | None, key: str, now: float) -> Shortage:
    """The wait doubles with each miss in a row; several refusals of one tick's orders are one miss."""
    settings = rules.launch
    if before is None or now - before.last_at > settings.shortage_reset_s:
        misses = 1
    else:
        misses = before.misses if before.until > now else before.misses + 1
    wait = min(settings.shortage_max_s, settings.shortage_s * 2.0 ** (misses - 1))
    return Shortage(key, now + wait, misses, now)


def _blind(rules: RuleSet, world: World, memory: Memory) -> Decision:
    if world.fleet is None:
        text = "the provider has not reported its fleet yet; nothing is decided"
    else:
        age = world.now - world.fleet.observed_at
        text = f"the provider's last report is {age:.0f} s old; nothing is decided until it answers"
    want = memory.want if memory.want is not None else (world.fleet.size if world.fleet else 0)
    return Decision(
        pool=rules.pool,
        number=memory.number + 1,
        at=world.now,
        current=want,
        want=want,
        ready=world.fleet.ready if world.fleet else 0,
        pending=world.fleet.pending if world.fleet else 0,
        reasons=(Reason("fleet", want, text),),
        rules_hash=rules.hash,
        recommended=want,
        blind=True,
    )


def _present(current: int, fleet: Fleet) -> str:
    parts = [f"{fleet.ready} ready"]
    parts += [f"{fleet.pending} pending"] if fleet.pending else []
    draining = fleet.count("draining")
    parts += [f"{draining} draining"] if draining else []
    return f"{current} wanted so far: {', '.join(parts)}"


def _versions(world: World) -> dict[str, str]:
    found = {f"outlook:{name}": o.version for name, o in world.outlooks.items()}
    if world.capacity is not None:
        found["capacity"] = world.capacity.version
    return found | {f"lead_time:{k}": v.version for k, v in world.lead_times.items()}
