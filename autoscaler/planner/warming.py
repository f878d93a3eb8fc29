"""The warm pool: filled in quiet hours, emptied slowly. Who is started, and what for, is in `warmstart`.

What drained goes into it instead of leaving for good, which is the cheapest way to fill it; else new machines are
launched for it while nothing is short. docs/warmpool.md says when.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

from autoscaler.measure import DECISION_S, lead_time_s
from autoscaler.planner.draft import Draft
from autoscaler.planner.ordering import space
from autoscaler.planner.patience import watched_s
from autoscaler.planner.room import launches_left, money_left
from autoscaler.planner.warmsize import MIDDLE, Coming, coming_of, size
from autoscaler.types import Fleet, Instance, Launch, Memory, Offer, Operate, World
from autoscaler.units import duration_text
from autoscaler.windows import open_until
from autoscaler.words import replicas

SPOT = "/spot"


@dataclass(frozen=True, slots=True)
class Warmth:
    """The warm pool at one tick, in replicas. known: enough is known to let it shrink."""

    wanted: int
    have: int
    known: bool
    text: str
    coming: Coming | str


def look(draft: Draft, alive: Sequence[Instance], world: World, memory: Memory) -> Warmth | None:
    """What the warm pool has and should have; None where nobody asked for one. Opens its free places to drains."""
    replaced = {name for name, mark in world.marks.items() if mark.kind == "replace"}
    rolled = memory.rolling.leaving if memory.rolling is not None else ()
    draft.outgoing = frozenset(replaced | {*rolled, *memory.owned.swept})
    coming = coming_of(draft.rules, draft.decision, world)
    found = size(draft.rules, draft.decision, world, coming)
    if found is None:
        return None
    have = sum(i.replicas for i in alive if _rests(i))
    wanted = found.replicas if found.known else max(found.replicas, have)
    draft.berths = max(0, wanted - have)
    return Warmth(wanted, have, found.known, found.text, coming)


def leave(draft: Draft, instance: Instance, why: str) -> bool:
    """What drained goes into the warm pool where that has a place for it, else for good; True if it was planned."""
    if draft.berths <= 0 or not _may_rest(draft, instance):
        return draft.operate("terminate", instance, why)
    planned = draft.operate("stop", instance, f"{why}; the warm pool has a place for it")
    draft.berths -= instance.replicas if planned else 0
    return planned


def tend(
    draft: Draft, alive: Sequence[Instance], fleet: Fleet, world: World, memory: Memory, warmth: Warmth | None
) -> None:
    """Lets go what is too many, too old or stuck, one machine at a time, and refills while the pool is quiet."""
    if warmth is None:
        return
    draft.note("warm_pool", f"{warmth.have} of {warmth.wanted} replicas warm: {warmth.text}")
    warmth = replace(warmth, have=warmth.have + _moved(draft))
    if draft.silent:
        draft.note("warm_pool", "left alone: a provider is silent, so what there is is not known")
        return
    shrinks, grows = _allowed(draft, world)
    busy = _busy(draft, alive, memory)
    waits = (busy or _unquiet(draft, warmth, world)) if grows else "growth is paused"
    if shrinks and not busy and not _leaving(draft, alive) and _let_go(draft, alive, memory, warmth, quiet=not waits):
        return
    if warmth.have >= warmth.wanted:
        return
    waits = waits or _refill(draft, alive, fleet, memory, warmth)
    if waits:
        draft.note("warm_pool", f"not refilled yet: {waits}")


def _moved(draft: Draft) -> int:
    """Replicas that this plan puts into the warm pool, less those that it takes out of it."""
    ways = {"stop": 1, "start": -1}
    return sum(ways.get(a.kind, 0) * a.replicas for a in draft.actions if isinstance(a, Operate))


def _rests(instance: Instance) -> bool:
    """In the warm pool, or on its way into it. What somebody else stopped is not in it."""
    return instance.rests and instance.state in ("warm", "stopping")


def _may_rest(draft: Draft, instance: Instance) -> bool:
    """Whether it can be stopped and is worth it. After a refusal it is not asked again: its drain would never end."""
    return (
        not instance.offer.endswith(SPOT)
        and instance.id not in draft.resting
        and instance.id not in draft.outgoing
        and not _aged(draft, instance)
        and _fits(draft, instance.replicas, 0)
    )


def _fits(draft: Draft, more: int, have: int) -> bool:
    most = draft.rules.warm_pool.max
    return most is None or have + more <= most


def _aged(draft: Draft, instance: Instance) -> bool:
    most_s = draft.rules.warm_pool.max_age_s
    return most_s is not None and draft.decision.at - instance.requested_at > most_s


def _allowed(draft: Draft, world: World) -> tuple[bool, bool]:
    """Whether a person lets the pool shrink, and grow."""
    now, pool = draft.decision.at, draft.decision.pool
    held = [o for o in world.overrides if o.kind == "pause" and o.pool == pool and o.until > now]
    return tuple(all(o.direction not in (way, "both") for o in held) for way in ("in", "out"))  # type: ignore[return-value]


# --- emptying -------------------------------------------------------------------------------------------------------


def _leaving(draft: Draft, alive: Sequence[Instance]) -> bool:
    """Whether one is leaving already: the next has to wait for it."""
    on_its_way = any(i.state == "stopping" and not i.rests for i in alive)
    return on_its_way or any(isinstance(a, Operate) and a.kind == "terminate" for a in draft.actions)


def _let_go(draft: Draft, alive: Sequence[Instance], memory: Memory, warmth: Warmth, *, quiet: bool) -> bool:
    """Terminates one machine that we laid to rest, the oldest first; returns whether there was one to let go."""
    ruled, now = draft.rules.warm_pool, draft.decision.at
    started = {a.instance for a in draft.actions if isinstance(a, Operate)}
    mine = [i for i in draft.within_reach(alive, "warm") if i.rests and i.id not in started]
    mine = sorted(mine, key=lambda i: (i.requested_at, i.id))
    limit_s = draft.rules.launch.limit_s + draft.rules.launch.register_s
    for i in draft.within_reach(alive, "stopping"):
        if i.rests and watched_s(memory, i.since, now) > limit_s:
            return draft.operate("terminate", i, f"not at rest {now - i.since:.0f} s after it was ordered or stopped")
    keep = max((n for at, n in memory.warm_highs if at > now - ruled.keep_s), default=0)
    keep = max(keep, warmth.wanted)
    watched = memory.watched_since is not None and now - memory.watched_since >= ruled.keep_s
    if warmth.known and watched:
        for i in mine:
            if warmth.have - i.replicas >= keep:
                why = f"{warmth.have} replicas are warm, no more than {keep} were wanted for {_span(ruled.keep_s)}"
                return draft.operate("terminate", i, why)
    old = next((i for i in mine if _aged(draft, i)), None)
    if old is not None and quiet and warmth.have >= warmth.wanted:
        why = f"ordered {_span(now - old.requested_at)} ago, the warm pool renews what is older"
        return draft.operate("terminate", old, f"{why} than {_span(ruled.max_age_s or 0.0)}")
    return False


# --- refilling ------------------------------------------------------------------------------------------------------


def _busy(draft: Draft, alive: Sequence[Instance], memory: Memory) -> str:
    """What the pool itself is busy with; empty when it is at rest."""
    decision, calm_s = draft.decision, draft.rules.warm_pool.refill.per_s
    ready = sum(i.replicas for i in alive if i.state == "ready")
    if any(i.state == "pending" for i in alive):
        return "machines are on their way into service"
    if decision.want > ready:
        return f"the pool itself is {replicas(decision.want - ready)} short"
    if decision.burst is not None:
        return "a burst is under way"
    grew_at = max((at for at, before, after in memory.changes if after > before), default=-math.inf)
    if decision.at - grew_at < calm_s:
        return f"the pool grew {decision.at - grew_at:.0f} s ago, and may go on to"
    if draft.berths > 0 and _drains(draft, alive):
        return "what drains may come to rest there"
    return ""


def _unquiet(draft: Draft, warmth: Warmth, world: World) -> str:
    """Why the time is wrong: outside the windows, or without any, demand that is expected to rise."""
    now, want, coming = draft.decision.at, draft.decision.want, warmth.coming
    windows = draft.rules.warm_pool.refill.between
    if windows:
        return "" if open_until([windows], now) is not None else f"its time is {' or '.join(w.text for w in windows)}"
    if isinstance(coming, str):
        return ""
    cold_s = lead_time_s(draft.rules, world.lead_times) + DECISION_S
    ahead = coming.need("peak", cold_s, MIDDLE)
    if ahead is None or ahead <= want:
        return ""
    return f"demand is expected to rise, {replicas(ahead)} are needed within {_span(cold_s)} and {want} now"


def _drains(draft: Draft, alive: Sequence[Instance]) -> bool:
    planned = {a.instance for a in draft.actions if isinstance(a, Operate) and a.kind == "drain"}
    return any(_may_rest(draft, i) for i in alive if i.state == "draining" or i.id in planned)


def _refill(draft: Draft, alive: Sequence[Instance], fleet: Fleet, memory: Memory, warmth: Warmth) -> str:
    """Orders what is missing, as far as the pace allows; returns what keeps the rest back."""
    rules, now = draft.rules, draft.decision.at
    refill = rules.warm_pool.refill
    recent = [(at, n) for at, n in memory.launches if at > now - refill.per_s]
    left = refill.machines - sum(n for _, n in recent) - sum(isinstance(a, Launch) for a in draft.actions)
    hourly = launches_left(rules, memory, fleet, now)
    have = warmth.have
    money, cap = money_left(rules, memory, fleet, now)
    if rules.warm_pool.state == "running":
        money -= sum(i.usd_per_hour for i in alive if i.state == "warm")
    while have < warmth.wanted:
        if left <= 0:
            again = max((at for at, _ in recent), default=now) + refill.per_s
            return f"{refill.machines} in {_span(refill.per_s)} is the pace, next in {max(0.0, again - now):.0f} s"
        if hourly.units is not None and hourly.units < 1:
            return hourly.why
        offer, why = _offer(draft, alive, fleet, memory, have, money, cap)
        if offer is None:
            return why
        shortage = memory.shortages.get(offer.key)
        draft.launch(offer, 1 + (shortage.misses if shortage else 0), into="warm")
        have += offer.replicas
        money -= offer.usd_per_hour
        left -= 1
    return ""


def _offer(
    draft: Draft, alive: Sequence[Instance], fleet: Fleet, memory: Memory, have: int, money: float, cap: str
) -> tuple[Offer | None, str]:
    """The first of the offers that can rest and be had: as listed or the cheapest, then where the fewest rest yet."""
    rules = draft.rules
    why = "no offer can rest, since spot machines cannot be stopped" if rules.offers else "the rules have no offers"
    free = []
    for o in map(fleet.priced, rules.offers):
        if o.purchase == "spot":
            continue
        had = space(draft, fleet, memory, o)
        if o.unfit:
            why = f"{o.key} is never launched: {o.unfit}"
        elif had.units is not None and had.units < 1:
            why = had.why
        elif o.usd_per_hour > money + 1e-9:
            why = f"{o.key} at {o.usd_per_hour:g} USD/h would pass {cap}"
        elif not _fits(draft, o.replicas, have):
            why = f"{o.key} has {o.replicas} replicas, and no more than {rules.warm_pool.max} may be warm"
        else:
            free.append(o)
    if not free or rules.choose == "listed":
        return (free[0] if free else None), why
    asked = [a.offer.key for a in draft.actions if isinstance(a, Launch) and a.into == "warm"]
    held = {o.key: sum(i.offer == o.key and _rests(i) for i in alive) + asked.count(o.key) for o in free}
    return min(free, key=lambda o: (o.usd_per_hour / o.replicas, held[o.key])), why


def _span(seconds: float) -> str:
    return duration_text(float(math.floor(seconds)))
