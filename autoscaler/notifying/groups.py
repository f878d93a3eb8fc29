"""What a receiver is told of a group of alerts, and when: grouping, waiting, repeating, ends. Pure.

As Alertmanager does: news of a new group waits `group_wait`, later news `group_interval`, an unchanged group is told
again after `repeat_interval`. Unlike there an alert whose silence ends is news, and the end of an alert that a receiver
was told of is told although it is muted: else an incident that was opened would stay open.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache

from autoscaler.alerting import Receiver
from autoscaler.notifying.identity import Identity, identity, labels
from autoscaler.notifying.matching import selects
from autoscaler.types import Alert, Told

MAX_GROUPS = 2000
"""Groups of one receiver. Who groups by a label with more values than that has written no groups at all."""

RESEND_S = 60.0
"""How often an Alertmanager is told again what fires, as Prometheus's --rules.alert.resend-delay."""
KEEP_ENDED_S = 900.0
"""How long it is told of an end, as Prometheus's resolvedRetention (rules/alerting.go)."""

Pairs = tuple[tuple[str, str], ...]


@dataclass(frozen=True, slots=True)
class Look:
    """What is known of all alerts at one time. judged: whether what a pool's list does not name is known to be over."""

    now: float
    alerts: Sequence[tuple[Alert, Mapping[str, str]]]
    by_identity: Mapping[Identity, Alert]
    muted: Callable[[Identity], bool]
    judged: Callable[[str], bool]

    @classmethod
    def of(
        cls, alerts: Sequence[Alert], now: float, muted: Callable[[Identity], bool], judged: Callable[[str], bool]
    ) -> Look:
        """With the labels of every alert, which all receivers look at."""
        return cls(now, [(a, labels(a)) for a in alerts], {identity(a): a for a in alerts}, muted, judged)


@dataclass(frozen=True, slots=True)
class Note:
    """One message to be written: the labels of a group and the alerts to tell of, firing ones first."""

    key: str
    labels: Pairs
    alerts: tuple[Alert, ...]


@dataclass(frozen=True, slots=True)
class Round:
    """What one look means to one receiver. told: of groups that changed, None = to be forgotten. next_at: when
    something is due though nothing happens. left_out: groups beyond the limit."""

    notes: tuple[Note, ...]
    told: Mapping[str, Told | None]
    next_at: float
    left_out: int = 0


def announced(alert: Alert) -> bool:
    """Whether it fires and is to be told: a firing within the rule's `silence` is not."""
    at, began = alert.notified_at, alert.started_at
    return alert.state == "firing" and at is not None and began is not None and at >= began


def turn(receiver: Receiver, told: Mapping[str, Told], look: Look) -> Round:
    """What a receiver is to be told now. told: what it was told before, by group."""
    members: dict[str, list[Alert]] = {}
    named: dict[str, Pairs] = {}
    for alert, its in look.alerts:
        if announced(alert) and selects(receiver.match, its):
            pairs = _pairs(receiver, its)
            key = group_key(pairs)
            members.setdefault(key, []).append(alert)
            named[key] = pairs
    notes: list[Note] = []
    changed: dict[str, Told | None] = {}
    next_at, new, left_out = float("inf"), 0, 0
    for key in dict.fromkeys([*told, *members]):
        before = told.get(key)
        if before is None and len(told) + new >= MAX_GROUPS:
            left_out += 1
            continue
        new += before is None
        known = before or Told(receiver.name, key, named[key])
        after, note, due = _group(receiver, known, members.get(key, []), look)
        if note is not None:
            notes.append(note)
        if after != before:
            changed[key] = after
        next_at = min(next_at, due)
    return Round(tuple(notes), changed, next_at, left_out)


@lru_cache(maxsize=20_000)
def group_key(pairs: Pairs) -> str:
    """A group's name, as Alertmanager writes it for a route without matchers."""
    return "{}:{" + ", ".join(f"{name}={json.dumps(value)}" for name, value in pairs) + "}"


def _pairs(receiver: Receiver, its: Mapping[str, str]) -> Pairs:
    if receiver.kind == "alertmanager":  # it groups by itself
        return ()
    names = sorted(its) if receiver.group_by == ("...",) else receiver.group_by
    return tuple((name, its.get(name, "")) for name in names)


def _group(
    receiver: Receiver, before: Told, members: Sequence[Alert], look: Look
) -> tuple[Told | None, Note | None, float]:
    """The group after this look (None = nothing is left of it), the message if one is due, and when one may be."""
    now, believed = look.now, {identity(a): a for a in before.firing}
    firing = [a for a in members if not look.muted(identity(a))]
    there = {identity(a) for a in members}
    quiet = there - {identity(a) for a in firing}
    unknown = [
        a for i, a in believed.items() if i not in there and i not in look.by_identity and not look.judged(a.pool)
    ]
    kept = there | {identity(a) for a in unknown}
    ended = [_ended(a, look.by_identity.get(i), now) for i, a in believed.items() if i not in kept]
    muted = {*before.muted, *(quiet & believed.keys())}
    news = any(_is_news(a, believed.get(identity(a))) or identity(a) in muted for a in firing)
    if news or (ended and receiver.send_resolved):
        since = now if before.since is None else min(before.since, now)
        due = since + receiver.group_wait_s if before.at is None else before.at + receiver.group_interval_s
        # A clock that went back must not stretch a wait.
        due = min(due, now + max(receiver.group_wait_s, receiver.group_interval_s))
    else:
        since = None
        due = _repeat_at(receiver, before, bool(firing) or bool(before.ended), now)
    if due > now:
        gone = {identity(a) for a in ended} if not receiver.send_resolved else set()
        left = tuple(a for i, a in believed.items() if i not in gone)
        after = replace(before, firing=left, muted=tuple(sorted(muted - gone)), since=since)
        return (after if left or firing or before.ended else None), None, due
    repeats = receiver.kind == "alertmanager"
    over = [*(e for e in before.ended if now - e.since < KEEP_ENDED_S and identity(e) not in there), *ended]
    over = over if receiver.send_resolved else []
    hushed = [a for i, a in believed.items() if i in quiet]
    after = Told(
        receiver.name,
        before.key,
        before.labels,
        firing=(*firing, *unknown, *hushed),
        muted=tuple(sorted(identity(a) for a in hushed)),
        ended=tuple(over) if repeats else (),
        at=now,
    )
    note = Note(before.key, before.labels, (*firing, *over)) if firing or over else None
    left_over = after.firing or after.ended
    return (after if left_over else None), note, _repeat_at(receiver, after, bool(left_over), now)


def _repeat_at(receiver: Receiver, told: Told, anything: bool, now: float) -> float:
    if told.at is None or not anything:
        return float("inf")
    repeat_s = RESEND_S if receiver.kind == "alertmanager" else receiver.repeat_interval_s
    return min(told.at, now) + repeat_s


def _is_news(alert: Alert, believed: Alert | None) -> bool:
    """Whether it is not what the receiver was told: not told, fired anew, or announced again."""
    if believed is None or alert.started_at != believed.started_at:
        return True
    return (alert.notified_at or 0.0) > (believed.notified_at or 0.0)


def _ended(believed: Alert, known: Alert | None, now: float) -> Alert:
    """The end of an alert that the receiver believes to fire."""
    if known is not None and known.state == "resolved":
        return replace(known, started_at=believed.started_at)
    return replace(believed, state="resolved", since=now, value=None, text=f"over: {believed.text}", calm_since=None)
