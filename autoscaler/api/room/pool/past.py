"""What a pool's charts are made of: sizes, signals, what decisions judged, what was and is foretold."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from autoscaler.api.deps import ApiDeps
from autoscaler.api.room.pool.grid import Grid, Values, lines, steps
from autoscaler.board import PoolView
from autoscaler.journal import KEEP_UNCHANGED_S
from autoscaler.journal_past import Short
from autoscaler.measure import OUTLOOK_MAX_AGE_S, ahead_s, level_now
from autoscaler.ruleset import RuleSet, Signal
from autoscaler.shadow.account import demand_of, demand_signal
from autoscaler.store.steps import PREFIX, REPEATED_S
from autoscaler.types import Decision, Frame, Learned

MOST_SAMPLED = 200
"""Decisions of a span that are read in full, for bands, forecasts and capacity: 0.2 ms each."""

MOST_SHORT = 20_000
REACH = 3.0
"""Intervals between two points that are still joined: a series that is late for longer is not fresh any more."""

QUANTILES = (0.5, 0.9, 0.99)
"""Of the forecast that are drawn, or the nearest there are."""


@dataclass(frozen=True, slots=True)
class Past:
    """Everything of one pool and span. sampled: decisions in full, oldest first. short: all of them, oldest first."""

    view: PoolView
    since: float
    until: float
    now: float
    sampled: tuple[Decision, ...]
    short: tuple[Short, ...]
    learned: Learned
    history: Callable[[str, float, float], tuple[Values, Values]]
    """Of the store: signal, since, until."""


def past(view: PoolView, deps: ApiDeps, since: float, until: float) -> Past:
    """What is known of a span. Raises StorageError when the journal cannot be read."""
    pool, journal = view.rules.pool, deps.journal.past
    short = journal.short(pool, since=since - 2 * KEEP_UNCHANGED_S, until=until + 1e-3, limit=MOST_SHORT)[::-1]
    found = journal.full(pool, _spread(short))
    newest = view.decision
    if newest is not None and newest.number not in found and since <= newest.at <= until:
        found[newest.number] = newest
    return Past(
        view=view,
        since=since,
        until=until,
        now=deps.clock.now(),
        sampled=tuple(found[number] for number in sorted(found)),
        short=tuple(short),
        learned=deps.foresight.learned(pool) if deps.foresight is not None else Learned(),
        history=lambda signal, begin, end: deps.store.history(pool, signal, begin, end),
    )


def _spread(short: Sequence[Short]) -> set[int]:
    """The numbers of at most `MOST_SAMPLED` decisions, evenly over time."""
    if len(short) <= MOST_SAMPLED:
        return {s.number for s in short}
    at = np.array([s.at for s in short])
    places = np.searchsorted(at, np.linspace(at[0], at[-1], MOST_SAMPLED))
    return {short[place].number for place in np.minimum(places, len(short) - 1)}


def measured(p: Past, base: Grid, signal: Signal) -> Values:
    """The values of a signal."""
    at, values = p.history(signal.name, p.since - 600.0, p.until + 600.0)
    return lines(base, at, values, REACH * interval_s(at, p.view.rules))


def interval_s(at: Values, rules: RuleSet) -> float:
    """How far points usually are apart, at least a second; the pool's tick where that cannot be told."""
    return max(1.0, float(np.median(np.diff(at)))) if at.size > 2 else rules.tick_s


def size(p: Past, base: Grid, name: str) -> Values:
    """Replicas wanted, ready or pending: of every tick where those are kept, of journalled decisions before."""
    at, values = p.history(PREFIX + name, p.since - 2 * REPEATED_S, p.until + 1e-3)
    known_at = float(at[0]) if at.size else math.inf
    rows = steps(base, at, values, 2 * REPEATED_S)
    if known_at <= p.since:
        return rows
    older_at, older = _column(p, lambda d: _size_of(d, name))
    if name == "want":
        older_at, older = np.array([s.at for s in p.short]), np.array([float(s.want) for s in p.short])
    before = steps(base, older_at, older, max(2 * KEEP_UNCHANGED_S, _apart_s(older_at)))
    return np.where(base.at < known_at, before, rows)


def _size_of(decision: Decision, name: str) -> float | None:
    if decision.blind and name != "want":
        return None
    return float({"want": decision.want, "ready": decision.ready, "pending": decision.pending}[name])


def capacity(p: Past, base: Grid, ready: Values) -> Values:
    """Work per second that the ready replicas serve, as decisions counted on it."""
    at, each = _column(p, lambda d: demand_of(p.view.rules, d)[1])
    return ready * steps(base, at, each, max(2 * KEEP_UNCHANGED_S, _apart_s(at)))


def bounds(p: Past, base: Grid, signal: str) -> tuple[Values, Values]:
    """The band of a signal as decisions judged it, the tightest of several conditions."""
    lower = _column(p, lambda d: _tightest((j.lower for j in d.judged if j.signal == signal), max))
    upper = _column(p, lambda d: _tightest((j.upper for j in d.judged if j.signal == signal), min))
    reach_s = max(2 * KEEP_UNCHANGED_S, _apart_s(lower[0]))
    return lines(base, *lower, reach_s), lines(base, *upper, reach_s)


def _tightest(of: Iterable[float | None], choose: Callable[[list[float]], float]) -> float | None:
    known = [bound for bound in of if bound is not None]
    return choose(known) if known else None


def foretold(p: Past, base: Grid, signal: Signal) -> Values:
    """What earlier decisions expected for each instant, from one look-ahead before it."""
    ahead = ahead_s(signal, p.view.rules, p.learned.lead_times)

    def read(decision: Decision) -> float | None:
        reading = decision.readings.get(signal.name)
        return reading.value if reading is not None else None

    at, values = _column(p, read)
    return lines(base, at + ahead, values, max(2 * KEEP_UNCHANGED_S, _apart_s(at)))


@dataclass(frozen=True, slots=True)
class Ahead:
    """What is foretold from now on. at: (time,), the first is now. quantiles: by name, rows of the same length."""

    at: tuple[float, ...]
    rows: tuple[tuple[float, tuple[float | None, ...]], ...]
    of: str
    version: str


def ahead(p: Past, signal: Signal) -> Ahead | None:
    """The quantiles of the newest forecast; None where it is too old, or none was made."""
    outlook = p.learned.outlooks.get(signal.name)
    reading = p.view.decision.readings.get(signal.forecast or "") if p.view.decision is not None else None
    if outlook is None or reading is None or reading.value is None or p.now - outlook.at > OUTLOOK_MAX_AGE_S:
        return None
    at, values = p.history(signal.forecast or "", p.now - 600.0, p.now + 1.0)
    frame = Frame(0.0, at, values[None, :], np.array([p.now]), (reading.quality,))
    level = max(level_now(outlook, frame, reading.value, p.now), outlook.floor)
    rows = []
    for place in sorted({_nearest(outlook.quantiles, wanted) for wanted in QUANTILES}):
        foreseen = tuple(_finite(level * growth) for growth in outlook.growth[place])
        # Drawn from what is measured now. Growth is counted on the mean of two minutes, as decisions do.
        rows.append((outlook.quantiles[place], (reading.value, *foreseen)))
    return Ahead((p.now, *(p.now + h for h in outlook.horizons_s)), tuple(rows), outlook.of, outlook.version)


def forecast_of(rules: RuleSet) -> Signal | None:
    """The forecast signal that is drawn with demand."""
    demand = demand_signal(rules)
    if demand is None:
        return None
    return next((s for s in rules.signals if s.forecast == demand.name), None)


def _nearest(quantiles: Sequence[float], wanted: float) -> int:
    return min(range(len(quantiles)), key=lambda place: abs(quantiles[place] - wanted))


def _finite(value: float) -> float | None:
    return value if math.isfinite(value) else None


def _column(p: Past, read: Callable[[Decision], float | None]) -> tuple[Values, Values]:
    """One number of the sampled decisions, NaN where it is not known."""
    at = np.array([d.at for d in p.sampled])
    return at, np.array([math.nan if (v := read(d)) is None else v for d in p.sampled])


def _apart_s(at: Values) -> float:
    """How far apart points may be that are joined: sampled ones are further apart than journalled ones."""
    return REACH * float(np.median(np.diff(at))) if at.size > 2 else 0.0
