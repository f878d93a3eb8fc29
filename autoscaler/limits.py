"""The limits of a decision, in the order in which they apply; each is (Decision, rules, world, memory) -> Decision.

burst -> override -> stabilization -> cool-off -> rates and flap -> pause -> zero -> bounds. A limit that changes the
number, or would have, says so with a Reason; unknown data never lowers a number, a person's override may.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace

from autoscaler.burst import guard
from autoscaler.ruleset import RuleSet
from autoscaler.types import Decision, Memory, World

Limit = Callable[[Decision, RuleSet, World, Memory], Decision]
History = tuple[tuple[float, int], ...]


def override(d: Decision, rules: RuleSet, world: World, memory: Memory) -> Decision:
    """A person's pin, floor, ceiling or freeze. What it sets is not slowed down by the limits on movement."""
    for o in world.overrides:
        if o.pool != d.pool or o.until <= world.now or o.kind == "pause":
            continue
        asked = {
            "pin": o.replicas,
            "freeze": d.current,
            "floor": max(d.want, o.replicas or 0),
            "ceiling": d.want if o.replicas is None else min(d.want, o.replicas),
        }[o.kind]
        if asked is None:
            continue
        if asked != d.want or o.kind in ("pin", "freeze"):
            who = f"{o.author}: {o.reason}"
            d = replace(d.then("override", asked, f"{o.kind} until {_clock(o.until)} by {who}"), commanded=True)
    return d


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
            held = max([d.current, *(n for _, n in highs)])
            text = f"scale-in waits until the pool was watched for {window:.0f} s without a break"
            return d.then("stabilization", min(d.current, held), text).later(watched + window)
        if highs:
            at, most = max(highs, key=lambda h: h[1])
            kept = min(d.current, most)
            text = f"{most} were needed {now - at:.0f} s ago, inside the scale-in window of {window:.0f} s"
            return d.then("stabilization", kept, text).later(at + window)
    elif d.want > d.current and rules.scale_out.window_s > 0:
        window = rules.scale_out.window_s
        lows = [n for at, n in memory.lows if at > now - window]
        least = max(d.current, min([d.want, *lows]))
        if least < d.want:
            return d.then("stabilization", least, f"only {least} were needed throughout the last {window:.0f} s")
    return d


def cool_off(d: Decision, rules: RuleSet, world: World, memory: Memory) -> Decision:
    """Only surplus pending replicas may go while something is pending or a launch was recent: ready ones stay."""
    if d.commanded or d.want >= d.current:
        return d
    until = (memory.launched_at + rules.scale_in.cool_off_s) if memory.launched_at is not None else -math.inf
    keep = min(d.current, d.ready)
    if d.want >= keep:
        return d
    if d.pending:
        return d.then("cool_off", keep, f"{d.pending} replicas are still pending: no ready one goes before they came")
    if world.now < until:
        return d.then("cool_off", keep, f"a launch was less than {rules.scale_in.cool_off_s:.0f} s ago").later(until)
    return d


def rates(d: Decision, rules: RuleSet, world: World, memory: Memory) -> Decision:
    """Replicas and percent per period in each direction, and the largest single move."""
    if d.commanded or d.want == d.current:
        return d
    out = d.want > d.current
    rule = rules.scale_out if out else rules.scale_in
    inside = [c for c in memory.changes if c[0] > world.now - rule.rate_per_s]
    start = inside[0][1] if inside else d.current
    moved = sum(max(0, (b - a) if out else (a - b)) for _, a, b in inside)
    # The limit speaks of instances on the way in: one that hosts eight replicas must be allowed to leave as a whole.
    unit = 1 if out else max([1, *(o.replicas for o in rules.offers)])
    allowed = max(rule.rate_replicas * unit, math.floor(rule.rate_ratio * start)) - moved
    if out:
        allowed = min(allowed, rules.scale_out.max_move)
    allowed = max(0, allowed)
    if abs(d.want - d.current) <= allowed:
        return d
    to = d.current + allowed if out else d.current - allowed
    word = "more" if out else "fewer"
    d = d.then("rates", to, f"at most {allowed} {word} now, {moved} already in the last {rule.rate_per_s:.0f} s")
    return d.later(inside[0][0] + rule.rate_per_s) if inside else d


def flap(d: Decision, rules: RuleSet, world: World, memory: Memory) -> Decision:
    """When the size changed too often, it stays at the larger one: growth is never refused, shrinking waits."""
    if d.commanded or d.want >= d.current:
        return d
    inside = [c for c in memory.changes if c[0] > world.now - rules.flap.per_s]
    if len(inside) < rules.flap.moves:
        return d
    text = f"{len(inside)} changes in the last {rules.flap.per_s:.0f} s: the larger size stays"
    return d.then("flap", d.current, text).later(inside[-rules.flap.moves][0] + rules.flap.per_s)


def pause(d: Decision, rules: RuleSet, world: World, memory: Memory) -> Decision:
    """A person's pause of one direction or both, and the bounds of a floor or ceiling after the limits on movement."""
    for o in world.overrides:
        if o.pool != d.pool or o.until <= world.now:
            continue
        if o.kind == "pause":
            blocked = (d.want > d.current and o.direction in ("out", "both")) or (
                d.want < d.current and o.direction in ("in", "both")
            )
            if blocked:
                word = "out" if d.want > d.current else "in"
                text = f"scale {word} is paused until {_clock(o.until)} by {o.author}: {o.reason}"
                d = d.then("pause", d.current, text).later(o.until)
        elif o.kind == "ceiling" and o.replicas is not None and d.want > o.replicas:
            d = d.then("override", o.replicas, f"ceiling until {_clock(o.until)} by {o.author}: {o.reason}")
    return d


def zero(d: Decision, rules: RuleSet, world: World, memory: Memory) -> Decision:
    """The last replica leaves only after demand was a true zero for a while."""
    if d.want > 0 and d.recommended > 0:
        return replace(d, idle_since=None)
    since = memory.idle_since if memory.idle_since is not None else world.now
    d = replace(d, idle_since=since)
    if d.want > 0 or d.current == 0 or d.commanded:
        return d
    wait = rules.scale_in.to_zero_after_s
    if world.now - since >= wait:
        return d
    text = f"idle for {world.now - since:.0f} of {wait:.0f} s: the last replica stays"
    return d.then("zero", 1, text).later(since + wait)


def bounds(d: Decision, rules: RuleSet, world: World, memory: Memory) -> Decision:
    """Minimum and maximum, which a schedule may move; the rule file's own maximum is never passed."""
    floors = [p for p in d.proposals if p.sense == "floor"]
    ceilings = [p for p in d.proposals if p.sense == "ceiling"]
    low = max(floors, key=lambda p: p.replicas, default=None)
    high = min(ceilings, key=lambda p: p.replicas, default=None)
    most = min(rules.bounds.max, high.replicas) if high else rules.bounds.max
    least = min(low.replicas if low else rules.bounds.min, most)
    if d.want > most:
        by = f"{high.source}: {high.text}" if high and most == high.replicas else "limits.max"
        return d.then("bounds", most, f"at most {most} ({by})")
    if d.want < least:
        by = f"{low.source}: {low.text}" if low else "limits.min"
        return d.then("bounds", least, f"at least {least} ({by})")
    return d


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


IN_ORDER: tuple[Limit, ...] = (guard, override, stabilization, cool_off, rates, flap, pause, zero, bounds)
