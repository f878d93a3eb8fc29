"""The limits of a decision, in the order in which they apply; each is (Decision, rules, world, memory) -> Decision.

burst -> pin or freeze -> stabilization -> cool-off -> rates and flap -> budgets -> floor and ceiling -> pause -> zero
-> bounds. A limit that changes the number says so with a Reason; unknown data never lowers a number, a person's
override may.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace

from autoscaler import spending
from autoscaler.burst import guard
from autoscaler.ruleset import RuleSet
from autoscaler.types import Decision, Direction, Memory, Override, Proposal, World

Limit = Callable[[Decision, RuleSet, World, Memory], Decision]
History = tuple[tuple[float, int], ...]
Changes = tuple[tuple[float, int, int], ...]


def override(d: Decision, rules: RuleSet, world: World, memory: Memory) -> Decision:
    """A person's pin or freeze, which no limit on movement slows down. A freeze beats a pin, a newer pin an older."""
    mine = _in_force(d, world, "freeze") or _in_force(d, world, "pin")
    if not mine:
        return d
    o = mine[-1]
    asked = d.current if o.replicas is None else o.replicas
    return replace(d.then("override", asked, _words(o), o.until), commanded=True)


def stabilization(d: Decision, rules: RuleSet, world: World, memory: Memory) -> Decision:
    """Scale-in takes the largest recommendation of its window, scale-out the smallest of its own (as HPA does).

    A scale-in window counts only when it was watched without a break: after a start or a gap it fills first.
    """
    if d.commanded:
        return d
    now = world.now
    if d.want < d.current:
        window = rules.scale_in.stabilization_s
        highs = [(at, n) for at, n in memory.highs if at > now - window and n > d.want]
        watched = memory.watched_since if memory.watched_since is not None else now
        if now - watched < window:
            text = f"scale-in waits until the pool was watched for {window:.0f} s without a break"
            latest = max([watched, *(at for at, n in highs if n >= d.current)])
            return d.then("stabilization", d.current, text, latest + window)
        if highs:
            at, most = max(highs, key=lambda h: h[1])
            kept = min(d.current, most)
            text = f"{most} were needed {now - at:.0f} s ago, inside the scale-in window of {window:.0f} s"
            return d.then("stabilization", kept, text, max(at for at, n in highs if n >= kept) + window)
    elif d.want > d.current and rules.scale_out.window_s > 0:
        window = rules.scale_out.window_s
        lows = [(at, n) for at, n in memory.lows if at > now - window and n < d.want]
        if lows:
            least = max(d.current, min(n for _, n in lows))
            text = f"only {least} were needed throughout the last {window:.0f} s"
            return d.then("stabilization", least, text, max(at for at, n in lows if n <= least) + window)
    return d


def cool_off(d: Decision, rules: RuleSet, world: World, memory: Memory) -> Decision:
    """Only surplus pending replicas may go while something is pending, a launch was recent, or nothing can be bought
    back: ready ones stay."""
    keep = min(d.current, d.ready)
    if d.commanded or d.want >= keep:
        return d
    if d.pending:
        return d.then("cool_off", keep, f"{d.pending} still pending: no ready replica goes before they came")
    until = (memory.launched_at + rules.scale_in.cool_off_s) if memory.launched_at is not None else -math.inf
    if world.now < until:
        return d.then("cool_off", keep, f"a launch was less than {rules.scale_in.cool_off_s:.0f} s ago", until)
    known = [memory.shortages[o.key].until for o in rules.offers if o.key in memory.shortages]
    short = [at for at in known if at > world.now]
    if short and len(short) == len(rules.offers):
        return d.then("cool_off", keep, "no offer can be had now, so what goes could not be bought back", min(short))
    return d


def rates(d: Decision, rules: RuleSet, world: World, memory: Memory) -> Decision:
    """Replicas and percent per period in each direction, and the largest single move."""
    if d.commanded or d.want == d.current:
        return d
    out = d.want > d.current
    rule = rules.scale_out if out else rules.scale_in
    # The limit speaks of instances on the way in: one that hosts eight replicas must be allowed to leave as a whole.
    unit = 1 if out else max([1, *(o.replicas for o in rules.offers)])

    def left(changes: Changes, size: int) -> int:
        start = changes[0][1] if changes else size
        moved = sum(max(0, (b - a) if out else (a - b)) for _, a, b in changes)
        return max(0, max(rule.rate_replicas * unit, math.floor(rule.rate_ratio * start)) - moved)

    inside = tuple(c for c in memory.changes if c[0] > world.now - rule.rate_per_s)
    by_rate = left(inside, d.current)
    allowed = min(by_rate, rules.scale_out.max_move) if out else by_rate
    if abs(d.want - d.current) <= allowed:
        return d
    to = d.current + allowed if out else d.current - allowed
    moved = sum(max(0, (b - a) if out else (a - b)) for _, a, b in inside)
    word = "more" if out else "fewer"
    text = f"at most {allowed} {word} now, {moved} already in the last {rule.rate_per_s:.0f} s"
    if allowed < by_rate:
        return d.then("rates", to, text, world.now + rules.tick_s)
    after = (*inside, (world.now, d.current, to))
    ends = (at for n, (at, _, _) in enumerate(after) if left(after[n + 1 :], to) > 0)
    at = next(ends, None)
    return d.then("rates", to, text, at + rule.rate_per_s if at is not None else None)


def flap(d: Decision, rules: RuleSet, world: World, memory: Memory) -> Decision:
    """When the size changed too often, it stays at the larger one: growth is never refused, shrinking waits."""
    if d.commanded or d.want >= d.current:
        return d
    inside = [c for c in memory.changes if c[0] > world.now - rules.flap.per_s]
    if len(inside) < rules.flap.moves:
        return d
    text = f"{len(inside)} changes in the last {rules.flap.per_s:.0f} s: the larger size stays"
    return d.then("flap", d.current, text, inside[-rules.flap.moves][0] + rules.flap.per_s)


def money(d: Decision, rules: RuleSet, world: World, memory: Memory) -> Decision:
    """A pool that may be shrunk for its budgets has at most what they pay for, at what its replicas cost on average.

    What is leaving already is not counted, and nothing is given back on the word of a provider that has fallen silent.
    Growth needs no limit here: what passes a budget is not ordered.
    """
    fleet = world.fleet
    if rules.bounds.on_exceeded != "shrink" or d.commanded or fleet is None:
        return d
    if fleet.silent(world.now - rules.patience_s):
        return d
    most, words = spending.bearable(rules.bounds, memory.spending, world.now)
    serving = [i for i in fleet.instances if i.state in ("pending", "ready")]
    cost = sum(i.usd_per_hour for i in serving)
    if cost <= most + 1e-9:
        return d
    pays_for = math.floor(sum(i.replicas for i in serving) * most / cost)
    if pays_for >= d.want:
        return d
    return d.then("budget", pays_for, f"{cost:g} USD/h pass {words}, which pays for {pays_for} replicas")


def corridor(d: Decision, rules: RuleSet, world: World, memory: Memory) -> Decision:
    """A person's floors and ceilings, at once and over a pin; a ceiling beats a floor. A freeze leaves them no say.

    They bound what the limits on movement left: inside them the pool moves as slowly as ever.
    """
    if _in_force(d, world, "freeze"):
        return d
    for kind, pick in (("floor", max), ("ceiling", min)):
        some = [o for o in _in_force(d, world, kind) if o.replicas is not None]
        if some:
            o = pick(some, key=lambda o: o.replicas or 0)
            bound = pick(d.want, o.replicas or 0)
            if bound != d.want:
                d = replace(d.then("override", bound, _words(o), o.until), commanded=True)
    return d


def pause(d: Decision, rules: RuleSet, world: World, memory: Memory) -> Decision:
    """A person's pause of one direction or both. It stops every movement, another person's too, but not the bounds."""
    if d.want == d.current:
        return d
    way: Direction = "out" if d.want > d.current else "in"
    pauses = [o for o in _in_force(d, world, "pause") if o.direction in (way, "both")]
    if not pauses:
        return d
    o = max(pauses, key=lambda o: o.until)
    text = f"scale {way} is paused until {_clock(o.until)} by {o.author}: {o.reason}"
    return d.then("pause", d.current, text, o.until)


def zero(d: Decision, rules: RuleSet, world: World, memory: Memory) -> Decision:
    """The last replica leaves only after demand was a true zero for a while."""
    if d.want > 0 and d.recommended > 0:
        return replace(d, idle_since=None)
    since = memory.idle_since if memory.idle_since is not None else world.now
    d = replace(d, idle_since=since)
    if d.want > 0 or d.current == 0 or d.commanded or _least(d, rules).replicas > 0:
        return d
    wait = rules.scale_in.to_zero_after_s
    if world.now - since >= wait:
        return d
    return d.then("zero", 1, f"idle for {world.now - since:.0f} of {wait:.0f} s: the last replica stays", since + wait)


def bounds(d: Decision, rules: RuleSet, world: World, memory: Memory) -> Decision:
    """Minimum and maximum, which a schedule may move; the rule file's own maximum is never passed."""
    least, most = _least(d, rules), _most(d, rules)
    if d.want > most.replicas:
        return d.then("bounds", most.replicas, f"at most {most.replicas} ({most.text})", most.until)
    if d.want < least.replicas:
        return d.then("bounds", least.replicas, f"at least {least.replicas} ({least.text})", least.until)
    return d


def _least(d: Decision, rules: RuleSet) -> Proposal:
    floors = [replace(p, text=f"{p.source}: {p.text}") for p in d.proposals if p.sense == "floor"]
    low = max(floors, key=lambda p: p.replicas, default=Proposal("", "floor", rules.bounds.min, "limits.min"))
    most = _most(d, rules)
    return low if low.replicas <= most.replicas else replace(low, replicas=most.replicas)


def _most(d: Decision, rules: RuleSet) -> Proposal:
    ceilings = [replace(p, text=f"{p.source}: {p.text}") for p in d.proposals if p.sense == "ceiling"]
    return min([*ceilings, Proposal("", "ceiling", rules.bounds.max, "limits.max")], key=lambda p: p.replicas)


def _in_force(d: Decision, world: World, kind: str) -> list[Override]:
    """Overrides of one kind, oldest first."""
    mine = [o for o in world.overrides if o.pool == d.pool and o.kind == kind and o.until > world.now]
    return sorted(mine, key=lambda o: (o.created_at, o.id))


def _words(o: Override) -> str:
    return f"{o.kind} until {_clock(o.until)} by {o.author}: {o.reason}"


def push(history: History, now: float, replicas: int, window_s: float, *, keep_high: bool) -> History:
    """A monotone queue with one more recommendation: its first entry is the extreme of the window.

    An entry stands for the newest time at which its number was recommended; what a newer, more extreme entry makes
    irrelevant is dropped, so the queue stays short.
    """
    kept = [(at, n) for at, n in history if at > now - window_s and (n > replicas if keep_high else n < replicas)]
    return (*kept, (now, replicas))


def _clock(at: float) -> str:
    days, seconds = divmod(int(at), 86400)
    return f"{seconds // 3600:02d}:{seconds // 60 % 60:02d} UTC" if days else f"{at:.0f} s"


IN_ORDER: tuple[Limit, ...] = (
    guard,
    override,
    stabilization,
    cool_off,
    rates,
    flap,
    money,
    corridor,
    pause,
    zero,
    bounds,
)
