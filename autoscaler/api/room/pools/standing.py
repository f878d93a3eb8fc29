"""How a pool stands, in one word, with the sentence behind it and how much it wants a person's eye. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, get_args

from autoscaler.api.health import LATE_AT_LEAST_S, LATE_TICKS
from autoscaler.board import PoolView
from autoscaler.explain import clock_text
from autoscaler.types import Decision, Fleet, Override
from autoscaler.words import seconds

Word = Literal[
    "in error",
    "not judged",
    "blind",
    "short of machines",
    "frozen",
    "paused",
    "at its limit",
    "growing",
    "shrinking",
    "held",
    "ok",
    "scaled to zero",
]
WORDS: tuple[Word, ...] = get_args(Word)
"""Trouble first: the position of a word is its rank."""

DAY_S = 86400.0

UNKNOWN = ("missing", "frozen")
"""Qualities of a reading that says nothing."""


@dataclass(frozen=True, slots=True)
class Standing:
    """A pool's state: a word, and why it is that one; empty = nothing more to say."""

    word: Word
    why: str = ""

    @property
    def rank(self) -> int:
        """0 is the most trouble."""
        return WORDS.index(self.word)

    @property
    def shape(self) -> str:
        """The class of its mark, so that nothing is told by colour alone."""
        return self.word.replace(" ", "-")


def late(view: PoolView, now: float) -> bool:
    """Whether the pool's last tick is further back than a service that does its work leaves it."""
    return now - view.at > max(LATE_AT_LEAST_S, LATE_TICKS * view.rules.tick_s)


def hour(at: float, now: float) -> str:
    """An instant of the next hours as briefly as it is clear: 14:05 UTC, further away with its day."""
    text = clock_text(at)
    return f"{text[11:16]} UTC" if abs(at - now) < DAY_S / 2 else f"{text[:16]} UTC"


def standing(view: PoolView, overrides: Sequence[Override], now: float) -> Standing:
    """The pool's state; of several the one that matters most. overrides: of this pool, in force."""
    if view.error:
        return Standing("in error", view.error)
    if late(view, now):
        return Standing("not judged", f"last judged {seconds(now - view.at)} ago")
    decision, fleet = view.decision, view.fleet
    if decision is None or fleet is None or decision.blind:
        why = decision.reasons[-1].text if decision is not None else "the provider has not reported its fleet yet"
        return Standing("blind", why)
    return (
        _unread(view, decision, fleet)
        or _short(view, decision, fleet, now)
        or _stopped(overrides, now)
        or _moving(decision, fleet, now)
    )


def _stopped(overrides: Sequence[Override], now: float) -> Standing | None:
    """By a person: everything, or one direction."""
    words: tuple[tuple[str, Word], ...] = (("freeze", "frozen"), ("pause", "paused"))
    for kind, word in words:
        found = [o for o in overrides if o.kind == kind]
        if found:
            o = max(found, key=lambda o: o.until)
            way = f"scale {o.direction}, " if kind == "pause" and o.direction != "both" else ""
            return Standing(word, f"{way}until {hour(o.until, now)} by {o.author}: {o.reason}")
    return None


def _moving(d: Decision, fleet: Fleet, now: float) -> Standing:
    last = d.reasons[-1]
    kept = last.source in ("stabilization", "cool_off", "rates", "flap", "budget", "bounds", "override", "zero")
    if kept and d.want < d.recommended and last.source in ("bounds", "budget", "override"):
        return Standing("at its limit", f"{d.recommended} would be needed: {last.text}")
    # Of machines with two replicas each one replica too many stays: that is no way to go.
    step = min((i.replicas for i in fleet.instances if i.state in ("ready", "pending")), default=1)
    if fleet.size - d.want >= max(1, step) or fleet.count("draining"):
        return Standing("shrinking", f"to {d.want}")
    if d.want > fleet.size or fleet.pending:
        return Standing("growing", f"to {d.want}")
    if kept and d.want != d.recommended and last.source != "bounds":
        until = f" until {hour(d.next_change_at, now)}" if d.next_change_at is not None else ""
        return Standing("held", f"{last.source}{until}")
    if d.want == 0 and fleet.size == 0:
        return Standing("scaled to zero")
    return Standing("ok")


def _unread(view: PoolView, decision: Decision, fleet: Fleet) -> Standing | None:
    """Measured signals that say nothing. A pool without replicas has nobody who could tell of them."""
    measured = [s.name for s in view.rules.signals if s.forecast is None]
    found = [n for n in measured if n in decision.readings and decision.readings[n].quality in UNKNOWN]
    return Standing("blind", f"no usable value of {', '.join(found)}") if found and fleet.ready else None


def _short(view: PoolView, decision: Decision, fleet: Fleet, now: float) -> Standing | None:
    """Why what is wanted cannot be ordered; None = it is, or can be."""
    if decision.want <= fleet.size or view.memory is None:
        return None
    offers = {o.key for o in view.rules.offers}
    full = [q.offer for q in view.memory.quotas.values() if q.most <= q.had]
    waits = [s for s in view.memory.shortages.values() if s.offer in offers and s.until > now]
    if full:
        why = f"quota reached: {full[0]}"
    elif waits:
        first = min(waits, key=lambda s: s.until)
        more = f" and {len(waits) - 1} more" if len(waits) > 1 else ""
        why = f"{first.offer}{more} could not be had, asked again in {seconds(first.until - now)}"
    else:
        why = "" if offers else "the pool has no offers, so nothing can be launched"
    return Standing("short of machines", why) if why else None
