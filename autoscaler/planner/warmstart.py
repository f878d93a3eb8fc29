"""Which warm machines are started, in which order, and for which part of what is short."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from autoscaler.measure import DECISION_S, WARM_LEAD_TIME_S, lead_time_s, warm_lead_time_s
from autoscaler.planner.draft import Draft
from autoscaler.planner.warming import Warmth
from autoscaler.planner.warmsize import SURPRISE, USUAL
from autoscaler.types import Instance, LeadTime, Memory, World


def startable(draft: Draft, alive: Sequence[Instance], memory: Memory, world: World) -> Iterator[Instance]:
    """Warm machines, the fastest to serve first.

    Of an offer that could not be had a moment ago only one is tried, after all others: the start of a stopped machine
    needs capacity like a launch, and its failure sends the next tick to another zone or to new machines.
    """
    now = draft.decision.at
    warm = draft.within_reach(alive, "warm")
    scarce = {key for key, known in memory.shortages.items() if known.until > now}
    scarce |= {i.offer for i in warm if i.id in memory.refusals}
    tried: set[str] = set()
    for i in sorted(warm, key=lambda i: (i.offer in scarce, _start_s(i, world.lead_times), i.since, i.id)):
        if i.offer in tried or draft.resting.get(i.id, now) > now:
            continue
        if i.offer in scarce:
            tried.add(i.offer)
        yield i


def later(draft: Draft, world: World, warmth: Warmth | None) -> int:
    """Replicas of the decision that are needed only after a new machine could serve; 0 where that is not sure.

    Only the forecast tells when: what another rule, a burst or a person asks for is wanted now.
    """
    coming, decision = warmth.coming if warmth is not None else "", draft.decision
    if isinstance(coming, str) or not coming.whole or decision.burst is not None or decision.commanded:
        return 0
    cold_s = lead_time_s(draft.rules, world.lead_times) + DECISION_S
    if coming.signal.ahead_s is None or coming.signal.ahead_s <= cold_s:
        return 0  # it looks no further than that itself
    mine = coming.rule
    asked = [p for p in decision.proposals if p.sense in ("raise", "size", "floor", "hold")]
    if not any(p.source == mine and p.replicas >= decision.want for p in asked):
        return 0
    quantile = SURPRISE if coming.signal.steered else max(coming.signal.quantile or 0.0, USUAL)
    soon = coming.need("peak", cold_s, quantile)
    if soon is None:
        return 0
    return max(0, decision.want - max([soon, draft.rules.bounds.min, *(p.replicas for p in asked if p.source != mine)]))


def early(draft: Draft, alive: Sequence[Instance], world: World, warmth: Warmth | None) -> int:
    """Replicas that will be short when a warm machine could serve, although enough are on their way: what was bought
    for later comes too late for demand that came earlier than was foreseen."""
    coming = warmth.coming if warmth is not None else ""
    if isinstance(coming, str) or not coming.whole or all(i.state != "pending" for i in alive):
        return 0
    warm_s = warm_lead_time_s(draft.rules, world.lead_times) + DECISION_S
    need = coming.need("mean", warm_s, USUAL) or 0
    by = draft.decision.at + warm_s
    there = sum(i.replicas for i in alive if i.state == "ready" or _serves_by(i, by))
    return max(0, min(need, draft.decision.want) - there)


def _serves_by(instance: Instance, at: float) -> bool:
    return instance.state == "pending" and instance.expected_at is not None and instance.expected_at <= at


def _start_s(instance: Instance, learned: Mapping[str, LeadTime]) -> float:
    known = learned.get(f"{instance.offer}/warm")
    return known.p90_s if known is not None else WARM_LEAD_TIME_S
