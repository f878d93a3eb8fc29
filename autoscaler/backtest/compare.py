"""Two rule files in the same world: the same demand, capacity and boot, each with its own bounds and ticks."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from autoscaler.backtest import files, notes
from autoscaler.backtest.files import Source
from autoscaler.backtest.run import Setting, Tested, backtest
from autoscaler.ruleset import RuleSet
from autoscaler.trace import Trace

FORMAT = 1
APART_S = 600.0
SHOWN = 5


@dataclass(frozen=True, slots=True)
class Differing:
    """A time at which both wanted different sizes, and the steps that led there, each since its last change."""

    at_s: float
    a: int
    b: int
    why_a: str
    why_b: str


@dataclass(frozen=True, slots=True)
class Compared:
    """Two back-tests of one demand. notes: what holds for both; notes_a, notes_b: what only one of them must know."""

    a: Tested
    b: Tested
    source_a: Source
    source_b: Source
    differing: tuple[Differing, ...]
    notes: tuple[str, ...]
    notes_a: tuple[str, ...]
    notes_b: tuple[str, ...]


def compare(
    a: Source,
    b: Source,
    setting_a: Setting,
    setting_b: Setting,
    more: Sequence[str] = (),
    progress: Callable[[float], None] = lambda _: None,
) -> Compared:
    """Plays the demand under both; `progress` is told seconds of the trace that are played, of twice its length."""
    trace: Trace = a.trace
    start_s = float(trace.at_s[0])
    length_s = trace.end_s - start_s
    early_a, early_b = list(notes.before(a.rules, trace, setting_a)), list(notes.before(b.rules, trace, setting_b))
    tested_a = backtest(trace, a.rules, setting_a, progress=lambda at: progress(at - start_s))
    tested_b = backtest(trace, b.rules, setting_b, progress=lambda at: progress(length_s + at - start_s))
    told_a, told_b = [*early_a, *notes.after(tested_a, a.rules)], [*early_b, *notes.after(tested_b, b.rules)]
    both = [note for note in told_a if note in told_b]
    return Compared(
        tested_a,
        tested_b,
        a,
        b,
        tuple(differing(tested_a, tested_b)),
        (*more, *_different_worlds(a.rules, b.rules, setting_a.capacity), *both),
        tuple(note for note in told_a if note not in both),
        tuple(note for note in told_b if note not in both),
    )


def _different_worlds(a: RuleSet, b: RuleSet, capacity: float) -> Iterator[str]:
    """What the files say differently of a world that both are played in."""
    if a.hash == b.hash:
        yield "both files say the same"
    said = {rules.capacity for rules in (a, b) if rules.capacity is not None}
    if said - {capacity}:
        yield f"a declared capacity is not judged: a replica serves {capacity:g} per second under both rules"
    if (a.bounds.min, a.bounds.max) != (b.bounds.min, b.bounds.max):
        yield "the bounds differ, so each cost is over a clairvoyant within its own"
    if a.tick_s != b.tick_s:
        yield f"A ticks every {a.tick_s:g} s and B every {b.tick_s:g} s; metrics are scraped at each tick"
    if [(o.key, o.usd_per_hour) for o in a.offers[:1]] != [(o.key, o.usd_per_hour) for o in b.offers[:1]]:
        yield "the first offers differ: each side pays the price of its own, both boot equally long"
    elif len(a.offers) > 1 or len(b.offers) > 1:
        yield "which offer is chosen is not judged: one simulated offer, at the price of the first, stands for all"


def differing(a: Tested, b: Tested, most: int = SHOWN) -> Iterator[Differing]:
    """The times at which the wanted sizes were furthest apart, the furthest first, none close to another."""
    at_s = np.union1d(a.timeline.at_s, b.timeline.at_s)
    at_s = at_s[at_s >= max(a.count_from_s, b.count_from_s)]
    sizes_a, sizes_b = _held(a, at_s), _held(b, at_s)
    distance = np.abs(sizes_a - sizes_b)
    apart_s = max(APART_S, (float(at_s[-1]) - float(at_s[0])) / 50.0) if at_s.size else APART_S
    for _ in range(most):
        place = int(np.argmax(distance)) if at_s.size else 0
        if not at_s.size or distance[place] <= 0:
            return
        at = float(at_s[place])
        yield Differing(at, int(sizes_a[place]), int(sizes_b[place]), _why(a, at), _why(b, at))
        distance = np.where(np.abs(at_s - at) < apart_s, 0, distance)


def _held(tested: Tested, at_s: NDArray[np.float64]) -> NDArray[np.int64]:
    """The size that was wanted at each time."""
    place = np.clip(np.searchsorted(tested.timeline.at_s, at_s, side="right") - 1, 0, None)
    return tested.timeline.wanted[place]


def _why(tested: Tested, at_s: float) -> str:
    """The steps of the last change up to a time."""
    last = None
    for change in tested.all_changes:
        # A decision's time may lie a rounding error after the tick that took it.
        if change.at_s > at_s + 1e-3:
            break
        last = change
    if last is None:
        return "no change since the start"
    ago_s = max(0.0, at_s - last.at_s)
    steps = "; ".join(last.reasons[1:] or last.reasons)
    return f"{last.before} to {last.after}{f' {ago_s:.0f} s before' if ago_s >= 1 else ''}: {steps}"


def summary(compared: Compared, origin: dict[str, object]) -> dict[str, object]:
    """The whole result as JSON's own types; `origin` says where the demand is from."""
    a = files.summary(compared.a, compared.source_a, compared.notes_a)
    b = files.summary(compared.b, compared.source_b, compared.notes_b)
    return {
        "format": FORMAT,
        "pool": compared.a.pool,
        "demand": origin,
        "a": a,
        "b": b,
        "difference": {key: _minus(b[key], a[key]) for key in KEYS},
        "differing_most": [
            {"at_s": d.at_s, "a": d.a, "b": d.b, "why_a": d.why_a, "why_b": d.why_b} for d in compared.differing
        ],
        "signals_not_judged": {
            "a": notes.not_given(compared.source_a.rules),
            "b": notes.not_given(compared.source_b.rules),
        },
        "notes": list(compared.notes),
    }


KEYS = (
    "violated_share",
    "cost_over_clairvoyant",
    "replica_hours",
    "usd",
    "launches",
    "changes",
    "peak_replicas",
    "unmet_work",
    "worst_wait_s",
    "wait_p99_s",
)


def _minus(b: object, a: object) -> float | None:
    if not isinstance(a, (int, float)) or not isinstance(b, (int, float)):
        return None
    found = b - a
    return None if math.isnan(found) else found
