"""decide(): how many replicas a pool should have. Measure, judge, propose, arbitrate, then the limits in order.

Pure: equal rules, world and memory give an equal decision.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

from autoscaler import limits
from autoscaler.conditions import leaves
from autoscaler.judge import judge
from autoscaler.measure import measure
from autoscaler.memory import awake
from autoscaler.ruleset import RuleSet
from autoscaler.stages import release
from autoscaler.types import (
    Decision,
    Fleet,
    Judged,
    Memory,
    Proposal,
    Reading,
    Reason,
    Verdict,
    World,
)
from autoscaler.words import amount, seconds


def decide(rules: RuleSet, world: World, memory: Memory) -> Decision:
    """The decision for one pool at `world.now`, with every step that led to it."""
    memory = awake(rules, world.now, memory)
    fleet = world.fleet
    if fleet is None or fleet.observed_at < world.now - rules.patience_s:
        return _blind(rules, world, memory)
    current = fleet.size if memory.want is None else memory.want
    readings = measure(rules, world, memory.risk)
    judged, verdicts = judge(rules, world, readings, memory)
    proposals = propose(rules, world.now, readings, verdicts, fleet, current, memory)
    proposals = release(rules, proposals, readings, world, fleet.ready)
    proposals = (*_unheard(rules, world.now, fleet, current), *_survivable(rules, proposals, readings, judged, current))
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
    if memory.want is None:
        # Nothing is remembered: what was found stays for one tick, and only a person and the bounds have a say.
        decision = decision.then("first", current, "the first decision leaves the pool as it was found")
        decision = replace(decision, recommended=current)
    else:
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
            # What made the rule act still holds, so nothing may shrink under it; that also keeps it from flapping. What
            # it asked for stands: a limit may have let through only a part.
            asked = max(current, memory.asked.get(rule.name, 0))
            text = f"{because}cooling down for {seconds(until - now)}"
            text += f", having asked for {asked}" if asked > current else ""
            found.append(Proposal(rule.name, "raise", asked, text, until))
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


def _unheard(rules: RuleSet, now: float, fleet: Fleet, current: int) -> Sequence[Proposal]:
    """A hold for every provider of several that has fallen silent: the others may grow, nothing may shrink."""
    late = fleet.silent(now - rules.patience_s)
    return [Proposal("provider", "hold", current, f"{name} has not reported for {now - at:.0f} s") for name, at in late]


def _survivable(
    rules: RuleSet,
    proposals: Sequence[Proposal],
    readings: Mapping[str, Reading],
    judged: Sequence[Judged],
    current: int,
) -> Sequence[Proposal]:
    """The proposals, with scale-in by its own condition held when the replicas that stay would meet a rule to grow.

    A signal that is no total grows by N/(N-1) when one of N replicas leaves (law 10). Targets need no such check:
    what they size the pool to serves all of the demand.
    """
    leaving = next((p for p in proposals if p.sense == "lower"), None)
    if leaving is None or leaving.replicas <= 0:
        return proposals
    growing = {t.key for r in rules.rules if r.policy is not None and r.when is not None for t in leaves(r.when.test)}
    for leaf in judged:
        signal = rules.signal(leaf.signal)
        if leaf.key not in growing or signal is None or signal.aggregate in ("sum", "count"):
            continue
        if leaf.value is None or leaf.upper is None or signal.forecast is not None:
            continue
        after = leaf.value * current / leaving.replicas
        if after > leaf.upper:
            text = f"on {leaving.replicas} replicas {leaf.signal} would be {amount(after)}, above {amount(leaf.upper)}"
            return [Proposal("scale_in", "hold", current, text) if p is leaving else p for p in proposals]
    return proposals


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
        decision = decision.then(_who(hold), max(current, decision.want), f"{hold.text}; nothing shrinks")
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
    if decision.want == current:
        # A rule that cools down would have asked for more by now.
        cooling = [p.until for p in by_sense["raise"] if p.until is not None]
        decision = replace(decision, next_change_at=min(cooling, default=None))
    return replace(decision, recommended=decision.want)


def _who(p: Proposal) -> str:
    return p.source if p.source in ("provider", "scale_in") else f"rule:{p.source}"


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
