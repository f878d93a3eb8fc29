"""One back-test: the ordinary loop over a recorded workload, on the simulated clock."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from autoscaler.backtest.fluid import Demand, FluidPool, demand_of
from autoscaler.backtest.foretold import ASK_S, Foretold, coming_of
from autoscaler.backtest.record import Change, Decide, Foreseen, Record, Timeline
from autoscaler.backtest.score import Score, clairvoyant, hours_of, score, ticks_of
from autoscaler.backtest.world import FluidWorld
from autoscaler.clock import SimClock
from autoscaler.dispatch import Inline
from autoscaler.engine import decide as engine
from autoscaler.errors import SigmascaleError
from autoscaler.foresight.worker import Foresight
from autoscaler.journal_learned import Unread
from autoscaler.ledger import Fleeting
from autoscaler.loop import Loop
from autoscaler.movement import WarmPool
from autoscaler.ruleset import RuleSet
from autoscaler.store import Store
from autoscaler.timetable import phase_s
from autoscaler.trace import Trace
from autoscaler.types import Offer

__all__ = ["Change", "Decide", "Foreseen", "Setting", "Tested", "Timeline", "backtest"]

MONDAY = 1_789_948_800.0
"""Midnight in UTC of the Monday (2026-09-21) that the time 0 of every trace falls on, so that equal traces are played
on equal days."""

HISTORY_S = 28 * 86_400.0
"""What a service keeps on disk of a pool's signals is in memory here."""

PROVIDER = "backtest"


@dataclass(frozen=True, slots=True)
class Setting:
    """What is played. capacity: work per second of one replica. start: replicas that serve at the start.

    warmup_s: what is played and not counted. low, high: the bounds of the pool.
    """

    capacity: float
    boot_s: float
    start: int
    low: int
    high: int
    tick_s: float
    warmup_s: float


@dataclass(frozen=True, slots=True)
class Tested:
    """A back-test that has ended.

    clairvoyant: (tick,). Score, launches, changes and peak (most replicas paid for at once) count from `count_from_s`
    on, `all_changes` are those of the whole trace. recommended: the most that the rules asked for. short_ticks: at how
    many fewer replicas were ordered than wanted. never_known: signals without any value, and why.
    """

    pool: str
    setting: Setting
    count_from_s: float
    end_s: float
    demand_work: float
    timeline: Timeline
    clairvoyant: NDArray[np.int64]
    score: Score
    usd: float
    peak: int
    launches: int
    changes: int
    all_changes: tuple[Change, ...]
    foreseen: Foreseen | None
    recommended: int
    short_ticks: int
    never_known: Mapping[str, str]
    versions: Mapping[str, str]


def backtest(
    trace: Trace,
    rules: RuleSet,
    setting: Setting,
    decide: Decide = engine,
    progress: Callable[[float], None] = lambda _: None,
) -> Tested:
    """Plays a trace from its start to its end; `progress` is told the trace's time at every tick.

    SigmascaleError when the law breaks: a pool that only stands still tells nothing of it.
    """
    demand = demand_of(trace)
    start_s, count_from_s = demand.edges_s[0], demand.edges_s[0] + setting.warmup_s
    fluid = FluidPool(demand, setting.capacity, setting.boot_s, setting.start, count_from_s)
    played = ruled(rules, setting)
    # The service ticks each pool at a phase of its own; the trace begins at one of those ticks.
    origin = MONDAY + (phase_s(rules.pool, setting.tick_s) - start_s - MONDAY) % setting.tick_s
    clock = SimClock(origin + start_s)
    world = FluidWorld(rules.pool, fluid, clock, origin, setting.tick_s, played.offers[0], metrics(rules))
    record = Record(world, decide, progress)
    in_force, store = {played.pool: played}, Store(None, history_s=HISTORY_S)
    loop = Loop(
        clock=clock,
        rules=lambda: in_force,
        collectors=(record,),
        store=store,
        journal=Fleeting(),
        hands={PROVIDER: Inline(world, clock)},
        decide=record.decide,
        max_launches=setting.high,
        by_hand=False,
    )
    at_s = ticks_of(trace, setting.tick_s)
    if decide is engine:
        ahead = Foretold(coming_of(played, demand, at_s, origin))
        foresight = Foresight(lambda: in_force, store, Unread(), ahead, ASK_S)
        loop.learned, loop.saw, loop.work = foresight.learned, foresight.saw, foresight.work
    loop.run(until=origin + float(at_s[-1]) + setting.tick_s / 2)
    if loop.stats.failures:
        told = loop.board.pools()[played.pool].error
        raise SigmascaleError(
            f"{loop.stats.failures} of {len(at_s)} ticks broke, the result would mean nothing: {told}"
        )
    record.note()
    fluid.advance(trace.end_s)
    return _result(record, demand, at_s, setting, played.offers[0])


def ruled(rules: RuleSet, setting: Setting) -> RuleSet:
    """The rules as they are played: one offer in place of the file's, at the price of its first, and nothing warm."""
    price = rules.offers[0].usd_per_hour / rules.offers[0].replicas if rules.offers else 0.0
    return replace(
        rules,
        bounds=replace(rules.bounds, min=setting.low, max=setting.high),
        capacity=setting.capacity,
        tick_s=setting.tick_s,
        warm_pool=WarmPool(),
        offers=(Offer(PROVIDER, "replica", usd_per_hour=price, lead_time_s=setting.boot_s),),
    )


def metrics(rules: RuleSet) -> frozenset[str]:
    """The metrics that the rules read, histograms by their own name."""
    read = [s.metric for s in rules.signals if s.metric is not None] + [a.metric for a in rules.alerts]
    return frozenset(name.removesuffix("_bucket") for name in read)


def _result(record: Record, demand: Demand, at_s: NDArray[np.float64], setting: Setting, offer: Offer) -> Tested:
    assert len(record.rows) == len(at_s), f"{len(record.rows)} ticks noted of {len(at_s)}"
    fluid, count_from_s = record.world.fluid, demand.edges_s[0] + setting.warmup_s
    end_s = demand.edges_s[-1]
    want, ready, pending = (np.array([row[n] for row in record.rows], np.int64) for n in range(3))
    queue = np.array([row[3] for row in record.rows])
    now = np.array([demand.at(t) for t in at_s.tolist()])
    best = clairvoyant(demand, setting.capacity, setting.boot_s, setting.tick_s, at_s, setting.low, setting.high)
    counted = at_s >= count_from_s
    first = len(at_s) - int(counted.sum())
    judged = score(fluid, hours_of(best, at_s, count_from_s, end_s))
    return Tested(
        pool=record.world.pool,
        setting=setting,
        count_from_s=count_from_s,
        end_s=end_s,
        demand_work=fluid.arrived,
        timeline=Timeline(at_s, now, want, ready, pending, queue),
        clairvoyant=best,
        score=judged,
        usd=judged.replica_hours * offer.usd_per_hour,
        peak=int((ready + pending)[counted].max(initial=0)),
        launches=record.launched[-1] - (record.launched[first - 1] if first else 0),
        changes=sum(change.at_s >= count_from_s for change in record.changes),
        all_changes=tuple(record.changes),
        foreseen=record.foreseen(),
        recommended=record.recommended,
        short_ticks=record.short,
        never_known=dict(record.unknown),
        versions=dict(record.versions),
    )
