"""Moves of a pool to a cheaper mix of machines, made only where the savings are worth the disruption.

    saving      = expected USD/h of those that leave - expected USD/h of their successors
    disruption  = successors' USD/h x p90 of their lead time  +  leavers' USD/h x the longest drain
                  (what is paid twice until the successors serve, and while what is in flight ends)
    worth it    : saving x hours that the machines are expected to stay >= min_ratio x disruption

Successors serve before anything drains, and the others are always enough for what is wanted.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

from autoscaler.choice import Chosen, Wanted, choose
from autoscaler.choice.costs import costs_of
from autoscaler.planner.draft import Draft
from autoscaler.planner.ordering import Market, market_of, places_of
from autoscaler.planner.patience import watched_s
from autoscaler.planner.replacing import Leaving
from autoscaler.types import Fleet, Instance, Memory, World
from autoscaler.types.moving import Moving
from autoscaler.windows import open_until

HOUR_S = 3600.0
MOST = 16
"""Instances that may leave by one move."""


@dataclass(frozen=True, slots=True)
class Worth:
    """Whether a move is worth it, and in words why. ratio: savings over disruption, infinite where that is free."""

    moves: bool
    ratio: float
    saving_usd_per_hour: float
    disruption_usd: float

    @property
    def text(self) -> str:
        """The sums."""
        sums = f"saves {self.saving_usd_per_hour:.2f} USD/h for {self.disruption_usd:.2f} USD of disruption"
        return f"{sums}, {self.ratio:.1f} times as much while the machines stay"


@dataclass(frozen=True, slots=True)
class _Move:
    leavers: tuple[Instance, ...]
    chosen: Chosen
    worth: Worth


def worth_moving(saving_usd_per_hour: float, kept_s: float, disruption_usd: float, min_ratio: float) -> Worth:
    """Savings over disruption: no churn for pennies. kept_s: how long the machines are expected to stay."""
    saved = saving_usd_per_hour * kept_s / HOUR_S
    ratio = saved / disruption_usd if disruption_usd > 0 else math.copysign(math.inf, saved) if saved else 0.0
    return Worth(saving_usd_per_hour > 0 and ratio >= min_ratio, ratio, saving_usd_per_hour, disruption_usd)


def move(
    draft: Draft, ours: Sequence[Instance], fleet: Fleet, world: World, memory: Memory, leaving: Leaving
) -> tuple[Leaving, Moving | None]:
    """Who leaves, with those of the move that is under way or that begins now; and the move."""
    ruled, now = draft.rules.consolidate, draft.decision.at
    before = memory.moving or Moving()
    begun = tuple(at for at in before.begun if at > now - HOUR_S)
    if ruled is None or draft.rules.choose == "listed":
        return leaving, Moving(begun=begun) if begun else None
    there = {i.id: i for i in ours if i.state in ("ready", "pending")}
    mine = tuple(there[name] for name in before.leaving if name in there)
    # A halt, a freeze or another replacement under way stops it; what has not left yet stays.
    hindered = _hindered(draft, world, memory, leaving)
    if mine and not hindered:
        hindered = _no_longer(draft, mine, ours, fleet, world, memory, before.since)
        if not hindered:
            draft.note("consolidate", f"under way: {before.text}")
            return _joined(leaving, mine), replace(before, leaving=tuple(i.id for i in mine), begun=begun)
    if mine:
        draft.note("consolidate", f"given up: {hindered}")
        return leaving, Moving(begun=begun)
    found = None if hindered or _unsettled(draft, ours, memory) else _best(draft, ours, fleet, world, memory, begun)
    if found is None:
        return leaving, Moving(begun=begun) if begun else None
    text = f"{', '.join(found.chosen.taken)} instead of {_names(found.leavers)} {found.worth.text}"
    if not found.worth.moves:
        draft.note("consolidate", f"not worth it: {text}, less than {ruled.min_ratio:g}")
        return leaving, Moving(begun=begun) if begun else None
    draft.note("consolidate", f"begins: {text}")
    names = tuple(i.id for i in found.leavers)
    return _joined(leaving, found.leavers), Moving(names, now, (*begun, *(now for _ in names)), text)


def _joined(leaving: Leaving, mine: Sequence[Instance]) -> Leaving:
    ids = leaving.ids | {i.id for i in mine}
    return replace(leaving, ids=ids, surge=leaving.surge + sum(i.replicas for i in mine))


def _hindered(draft: Draft, world: World, memory: Memory, leaving: Leaving) -> str:
    """What stops a move, before and after it began; empty = nothing does."""
    now, rules = draft.decision.at, draft.rules
    held = [o for o in world.overrides if o.until > now and o.kind in ("freeze", "pause")]
    if held:
        return f"{held[0].author} holds the pool"
    if leaving.ids or leaving.old:
        return "instances are being replaced"
    if memory.halted_since is not None:
        return "too many machines are sick"
    if draft.silent:
        return f"{', '.join(sorted(draft.silent))} is silent"
    if open_until((rules.disruption.windows,), now) is None:
        return "the disruption windows are shut"
    return ""


def _unsettled(draft: Draft, ours: Sequence[Instance], memory: Memory) -> bool:
    """Whether anything moves, waits or is not known well enough to think of pennies."""
    decision, rules = draft.decision, draft.rules
    calm_s = rules.scale_in.stabilization_s
    # Who cannot judge without a capacity says so by a hold; a pool of a stated one needs none.
    asked = {s.name for s in rules.signals}
    known = all(r.quality == "fresh" for name, r in decision.readings.items() if name in asked)
    still = all(p.sense != "hold" for p in decision.proposals) and decision.burst is None
    at_rest = all(i.state in ("ready", "warm") for i in ours)
    enough = sum(i.replicas for i in ours if i.state == "ready") >= decision.want
    # More than is recommended is about to shrink, and what goes need not be replaced.
    enough = enough and decision.want <= max(decision.recommended, rules.bounds.min)
    watched = memory.watched_since is not None and watched_s(memory, decision.at - calm_s, decision.at) >= calm_s
    recent = any(at > decision.at - calm_s for at, _, _ in memory.changes)
    return not (known and still and at_rest and enough and watched) or recent or bool(draft.actions)


def _best(
    draft: Draft, ours: Sequence[Instance], fleet: Fleet, world: World, memory: Memory, begun: Sequence[float]
) -> _Move | None:
    """The best move of some of the dearest machines, as many as the pace allows; None = nothing cheaper."""
    ruled = draft.rules.consolidate
    assert ruled is not None
    left = min(MOST, ruled.per_hour - len(begun))
    market = market_of(draft, fleet, memory, world.lead_times)
    spare = max(0, sum(i.replicas for i in ours if i.state == "ready") - draft.decision.want)
    ready = [i for i in draft.within_reach(ours, "ready") if i.usd_per_hour > 0]
    dearest = sorted(ready, key=lambda i: (-i.usd_per_hour / i.replicas, i.offer, i.requested_at, i.id))
    found = []
    for k in range(1, min(left, len(dearest)) + 1):
        leavers = dearest[:k]
        found.append(_move(draft, leavers, sum(i.replicas for i in leavers) - spare, market, fleet))
    cheaper = [m for m in found if m is not None]
    # Of those that are worth it the one that saves most; of others the one that comes nearest, to be told.
    return max(
        cheaper,
        key=lambda m: (m.worth.moves, m.worth.saving_usd_per_hour if m.worth.moves else m.worth.ratio),
        default=None,
    )


def _no_longer(
    draft: Draft,
    mine: Sequence[Instance],
    ours: Sequence[Instance],
    fleet: Fleet,
    world: World,
    memory: Memory,
    since: float,
) -> str:
    """Why a move that has begun is given up: it takes too long, or the rest of it would not be cheaper any more."""
    launch = draft.rules.launch
    longest_s = 2.0 * (launch.limit_s + launch.register_s) + draft.rules.scale_in.drain_s
    if watched_s(memory, since, draft.decision.at) > longest_s:
        return f"the successors do not serve after {longest_s:.0f} s"
    ids = {i.id for i in mine}
    others = sum(i.replicas for i in ours if i.state in ("ready", "pending") and i.id not in ids)
    whole = sum(i.replicas for i in mine)
    need = min(draft.decision.want - others, whole)
    if need <= 0:
        return ""
    # Where some successors are there already, the rest is weighed against the rest.
    market = market_of(draft, fleet, memory, world.lead_times)
    left = _move(draft, mine, need, market, fleet, share=1.0 if others == 0 else need / whole)
    return "" if left is not None else "no cheaper machine can be had now"


def _move(
    draft: Draft, leavers: Sequence[Instance], need: int, market: Market, fleet: Fleet, share: float = 1.0
) -> _Move | None:
    """What would replace `need` replicas of a share of these machines, if that is cheaper and can be had now."""
    ruled, rules = draft.rules.consolidate, draft.rules
    assert ruled is not None
    if need <= 0:
        return None
    # The leavers serve until their successors do, so that nothing comes too late.
    wanted = Wanted(need, rules.gpus_per_replica, places_of(rules.offers, fleet), in_time_s=math.inf)
    chosen = choose(wanted, market.some, market.limits)
    taken = {c.key: k for c, k in zip(market.some, chosen.counts, strict=True) if k}
    if chosen.short or not taken or taken.keys() & {i.offer for i in leavers}:
        return None
    known = {c.key: c for c in market.some}
    risks = dict(zip(known, costs_of(market.some, wanted).risk.tolist(), strict=True))
    now_usd = share * sum(i.usd_per_hour + risks.get(i.offer, 0.0) for i in leavers)
    then_usd = sum(k * (known[name].usd_per_hour + risks[name]) for name, k in taken.items())
    if then_usd >= now_usd:
        return None
    twice = sum(k * known[name].usd_per_hour * known[name].p90_s for name, k in taken.items()) / HOUR_S
    ends = sum(i.usd_per_hour for i in leavers if i.in_flight != 0) * rules.scale_in.drain_s / HOUR_S
    worth = worth_moving(now_usd - then_usd, ruled.kept_s, twice + ends, ruled.min_ratio)
    return _Move(tuple(leavers), chosen, worth)


def _names(some: Sequence[Instance]) -> str:
    return ", ".join(i.id for i in some)
