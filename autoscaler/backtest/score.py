"""What a back-test is judged by: the share of work that waited, replica-hours, and those of one who knew the future."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from autoscaler.backtest.fluid import Demand, FluidPool
from autoscaler.trace import Trace

DEFAULT_WARMUP_S = 3 * 86_400.0
_ROUNDING = 1e-9


@dataclass(frozen=True, slots=True)
class Score:
    """Of everything from the end of the warm-up to the end of the trace.

    violated: share of the work that waited more than 5 s, NaN when none came. cost: replica-hours over those of the
    clairvoyant, NaN when that one needs none. unmet: work that still waits at the end. Waits in seconds.
    """

    violated: float
    replica_hours: float
    clairvoyant_hours: float
    cost: float
    unmet: float
    worst_wait_s: float
    wait_p50_s: float
    wait_p99_s: float


def score(pool: FluidPool, clairvoyant_hours: float) -> Score:
    """The score of a pool that came to the end of its trace."""
    hours = pool.paid_s / 3600.0
    p50_s, p99_s = wait_quantiles(pool, (0.5, 0.99))
    return Score(
        violated=pool.violated / pool.arrived if pool.arrived > 0 else math.nan,
        replica_hours=hours,
        clairvoyant_hours=clairvoyant_hours,
        cost=hours / clairvoyant_hours if clairvoyant_hours > 0 else math.nan,
        unmet=pool.queue,
        worst_wait_s=pool.worst_wait_s,
        wait_p50_s=p50_s,
        wait_p99_s=p99_s,
    )


def warmup_of(trace: Trace, warmup_s: float = DEFAULT_WARMUP_S) -> float:
    """The warm-up that a trace allows: at most half of it."""
    return min(warmup_s, (trace.end_s - float(trace.at_s[0])) / 2.0)


def ticks_of(trace: Trace, tick_s: float) -> NDArray[np.float64]:
    """(tick,) times of the ticks, from the start of a trace to before its end."""
    start_s = float(trace.at_s[0])
    count = math.ceil((trace.end_s - start_s) / tick_s - _ROUNDING)
    return start_s + tick_s * np.arange(count, dtype=np.float64)


def clairvoyant(
    demand: Demand, capacity: float, boot_s: float, tick_s: float, at_s: NDArray[np.float64], low: int, high: int
) -> NDArray[np.int64]:
    """(tick,) what one who knows the future wants at each tick `at_s`, from `low` to `high`.

    The most of ceil(demand / capacity) over [t, t + boot + tick], both ends included: what is ordered at a tick serves
    only a boot later, and the next tick can order again.
    """
    edges = np.array(demand.edges_s)
    # A rate that is a multiple of the capacity but for rounding needs no replica more.
    need = np.ceil(np.array(demand.rate) / capacity - _ROUNDING)
    first = np.clip(np.searchsorted(edges, at_s, side="right") - 1, 0, len(need) - 1)
    last = np.clip(np.searchsorted(edges, at_s + boot_s + tick_s, side="right") - 1, first, len(need) - 1)
    return np.clip(_range_max(need, first, last), low, high).astype(np.int64)


def hours_of(wanted: NDArray[np.int64], at_s: NDArray[np.float64], from_s: float, end_s: float) -> float:
    """Replica-hours of sizes (tick,) that hold from tick to tick, counted from one time to another."""
    edges = np.clip(np.append(at_s, end_s), from_s, end_s)
    return float(np.dot(wanted, np.diff(edges))) / 3600.0


def wait_quantiles(pool: FluidPool, shares: tuple[float, ...]) -> tuple[float, ...]:
    """Waits in seconds that these shares of the counted work did not pass; NaN without work.

    What still waits counts with the time that it waited so far.
    """
    if pool.arrived <= 0:
        return tuple(math.nan for _ in shares)
    work, first, last = pool.waits
    low, high = np.minimum(first, last), np.maximum(first, last)
    points = np.unique(np.concatenate([low, high, [0.0]]))
    # Work whose wait is at most w: per piece a straight line from `low` to `high`, a step where they are equal.
    wide = high > low
    slope = np.zeros(len(points))
    np.add.at(slope, np.searchsorted(points, low[wide]), work[wide] / (high - low)[wide])
    np.add.at(slope, np.searchsorted(points, high[wide]), -(work / np.where(wide, high - low, 1.0))[wide])
    steps = np.zeros(len(points))
    np.add.at(steps, np.searchsorted(points, low[~wide]), work[~wide])
    steps[0] += pool.arrived - float(work.sum())
    rise = np.append(0.0, np.cumsum(slope)[:-1] * np.diff(points))
    after = np.cumsum(rise + steps)
    before = after - steps
    return tuple(_quantile(points, before, after, share * pool.arrived) for share in shares)


def _quantile(
    points: NDArray[np.float64], before: NDArray[np.float64], after: NDArray[np.float64], aim: float
) -> float:
    """Where a function reaches `aim` that rises from after[k-1] to before[k] and steps to after[k] at points[k]."""
    place = min(int(np.searchsorted(after, aim * (1.0 - _ROUNDING))), len(points) - 1)
    if place == 0 or before[place] <= aim or before[place] <= after[place - 1]:
        return float(points[place])
    share = (aim - after[place - 1]) / (before[place] - after[place - 1])
    return float(points[place - 1] + share * (points[place] - points[place - 1]))


def _range_max(values: NDArray[np.float64], first: NDArray[np.int64], last: NDArray[np.int64]) -> NDArray[np.float64]:
    """(query,) maxima over the index ranges [first, last], from maxima over runs of 1, 2, 4, ... values."""
    levels = [values]
    longest = int((last - first).max(initial=0)) + 1
    while (1 << len(levels)) <= longest:
        half, below = 1 << (len(levels) - 1), levels[-1]
        levels.append(np.maximum(below[: len(below) - half], below[half:]))
    level = np.floor(np.log2(last - first + 1)).astype(np.int64)
    result = np.empty(len(first))
    for power, table in enumerate(levels):
        here = level == power
        result[here] = np.maximum(table[first[here]], table[last[here] - (1 << power) + 1])
    return result
