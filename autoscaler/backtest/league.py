"""The league: every peer's law with a sweep of its settings, beside the clairvoyant and a static peak."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np

from autoscaler.backtest.fluid import Demand, demand_of
from autoscaler.backtest.light import play
from autoscaler.backtest.run import Setting, Tested, Timeline
from autoscaler.backtest.score import clairvoyant, hours_of, ticks_of
from autoscaler.baselines import BY_NAME
from autoscaler.baselines.bounds import Planned
from autoscaler.baselines.seen import Policy
from autoscaler.errors import InputError
from autoscaler.trace import Trace

CLAIRVOYANT, STATIC = "clairvoyant", "static-peak"
BOUNDS = (CLAIRVOYANT, STATIC)
FULL = 0.9
"""Demand above this share of ready capacity is bad time, and a static peak leaves this much room."""


@dataclass(frozen=True, slots=True)
class Row:
    """How one policy with one setting did over one trace, from the end of the warm-up on.

    value: of the swept setting, NaN without one. violated: share of the work that waited more than 5 s. bad_time: share
    of ticks at which demand was above 0.9 x ready capacity. cost: replica-hours over the clairvoyant's. launches:
    replicas ordered. changes: of the wanted size. worst_shortage: the most replicas' worth of demand above the ready
    ones.
    """

    trace: str
    policy: str
    value: float
    boot_s: float
    violated: float
    bad_time: float
    cost: float
    replica_hours: float
    launches: int
    changes: int
    worst_shortage: float


def names_of_league(names: Sequence[str] = ()) -> tuple[str, ...]:
    """The policies of a league, those of its bounds included; raises InputError for a name that is none."""
    every = (*BY_NAME, *BOUNDS)
    unknown = [name for name in names if name not in every]
    if unknown:
        raise InputError(f"{', '.join(unknown)}: no such policy; there are {', '.join(every)}")
    return tuple(names) or tuple(name for name in every if name in BOUNDS or not BY_NAME[name].alike)


def league(
    trace: Trace,
    settings: Sequence[Setting],
    names: Sequence[str] = (),
    name: str = "trace",
    jobs: int | None = None,
    progress: Callable[[int, int], None] = lambda done, of: None,
) -> list[Row]:
    """Every policy with each value of its sweep, in each of the worlds (such as three boot times).

    Runs in `jobs` processes by joblib; None leaves that, and the engine (loky, Ray, Dask), to `joblib.parallel_config`.
    progress: told how many runs of how many ended.
    """
    from joblib import Parallel, delayed

    demand = demand_of(trace)
    tasks = [(name, demand, setting, policy) for setting in settings for policy in names_of_league(names)]
    total = sum(runs_of(policy) for *_, policy in tasks)
    done, found = 0, []
    for rows in Parallel(n_jobs=jobs, return_as="generator")(delayed(sweep)(*task) for task in tasks):
        found += rows
        done += len(rows)
        progress(done, total)
    return found


def runs_of(policy: str) -> int:
    """How many values the sweep of a policy tries."""
    return 1 if policy in BOUNDS else len(BY_NAME[policy].values)


def sweep(name: str, demand: Demand, setting: Setting, policy: str) -> list[Row]:
    """One policy over one workload with every value of its sweep."""
    best = _clairvoyant(demand, setting)
    found = []
    for value, fresh, world in _tried(demand, setting, policy):
        pool, timeline = play(fresh, demand, world)
        violated = pool.violated / pool.arrived if pool.arrived > 0 else math.nan
        hours = pool.paid_s / 3600.0
        found.append(_row(name, policy, value, world, timeline, (violated, hours, best)))
    return found


def row_of(name: str, policy: str, tested: Tested) -> Row:
    """The row of a back-test in the ordinary loop, comparable with all others."""
    told = (tested.score.violated, tested.score.replica_hours, tested.score.clairvoyant_hours)
    return _row(name, policy, math.nan, tested.setting, tested.timeline, told)


def _tried(demand: Demand, setting: Setting, policy: str) -> Iterator[tuple[float, Policy, Setting]]:
    start_s = demand.edges_s[0]
    if policy == CLAIRVOYANT:
        at_s, sizes = _plan(demand, setting)
        # What it wants at the first tick serves from the first moment on, as for everyone who starts.
        yield math.nan, Planned(at_s, sizes, setting.tick_s), replace(setting, start=sizes[0])
    elif policy == STATIC:
        peak = max(demand.rate) / (FULL * setting.capacity)
        size = min(max(math.ceil(peak), setting.low), setting.high)
        yield math.nan, Planned((start_s,), (size,), setting.tick_s), replace(setting, start=size)
    else:
        for value in BY_NAME[policy].values:
            yield value, BY_NAME[policy].fresh(value), setting


def _plan(demand: Demand, setting: Setting) -> tuple[tuple[float, ...], tuple[int, ...]]:
    at_s = ticks_of(_span(demand), setting.tick_s)
    sizes = clairvoyant(demand, setting.capacity, setting.boot_s, setting.tick_s, at_s, setting.low, setting.high)
    return tuple(at_s.tolist()), tuple(sizes.tolist())


def _clairvoyant(demand: Demand, setting: Setting) -> float:
    at_s, sizes = _plan(demand, setting)
    start_s, end_s = demand.edges_s[0], demand.edges_s[-1]
    return hours_of(np.array(sizes), np.array(at_s), start_s + setting.warmup_s, end_s)


def _span(demand: Demand) -> Trace:
    """A trace of one bucket as long as the demand: all that the times of ticks depend on."""
    start_s, end_s = demand.edges_s[0], demand.edges_s[-1]
    return Trace(np.array([start_s]), np.zeros(1), end_s - start_s, np.zeros(1, dtype=bool))


def _row(
    name: str,
    policy: str,
    value: float,
    setting: Setting,
    timeline: Timeline,
    told: tuple[float, float, float],
) -> Row:
    violated, hours, best = told
    counted = timeline.at_s >= float(timeline.at_s[0]) + setting.warmup_s
    need = timeline.demand[counted] / setting.capacity
    ready = timeline.ready[counted]
    # What the first counted tick ordered shows only beside the tick before.
    first = max(int(np.argmax(counted)) - 1, 0)
    size, wanted = (timeline.ready + timeline.pending)[first:], timeline.wanted[first:]
    return Row(
        trace=name,
        policy=policy,
        value=value,
        boot_s=setting.boot_s,
        violated=violated,
        bad_time=float(np.mean(need > FULL * ready)),
        cost=hours / best if best > 0 else math.nan,
        replica_hours=hours,
        launches=int(np.maximum(np.diff(size), 0).sum()),
        changes=int(np.count_nonzero(np.diff(wanted))),
        worst_shortage=float(np.max(need - ready, initial=0.0)),
    )
