"""Engines without tokens: what rate keeps the 95th percentile of the latency within its goal.

The measured pairs of rate and p95 are the concurrency curve. Queueing makes the latency rise with the rate, so points
are taken upwards in rate with the worst latency so far, and lambda* lies where that line crosses the goal. Beyond the
highest rate that was seen nothing is promised.
"""

from __future__ import annotations

import math
from collections import Counter
from dataclasses import dataclass, replace

import numpy as np

from autoscaler.capacity.replica import Objective
from autoscaler.types import Capacity

KEPT = 64
BUCKETS = 16


@dataclass(frozen=True, slots=True)
class Point:
    """One interval of one replica: requests/s that it finished, and the p95 of their latency."""

    at: float
    rate: float
    latency_s: float


@dataclass(frozen=True, slots=True)
class CurveState:
    """The points kept, and the rate to believe before there is one (declared, or of a similar model)."""

    prior_rate: float
    points: tuple[Point, ...] = ()
    taken: int = 0
    at: float = 0.0

    @property
    def version(self) -> str:
        """`prior` or `curve:120`."""
        return f"curve:{self.taken}" if self.taken else "prior"


def learn_curve(state: CurveState, point: Point) -> CurveState:
    """The state with one more point; broken, old and idle ones change nothing. At most 64 points in 16 buckets."""
    values = (point.at, point.rate, point.latency_s)
    if not all(math.isfinite(v) for v in values) or point.rate <= 0 or point.latency_s <= 0 or point.at <= state.at:
        return state
    points = (*state.points, point)
    if len(points) > KEPT:
        top = max(p.rate for p in points)
        full, _ = Counter(_bucket(p, top) for p in points).most_common(1)[0]
        oldest = next(k for k, p in enumerate(points) if _bucket(p, top) == full)
        points = points[:oldest] + points[oldest + 1 :]
    return replace(state, points=points, taken=state.taken + 1, at=point.at)


def curve_capacity(state: CurveState, objective: Objective, unit: str = "requests/s") -> Capacity:
    """The highest rate within `objective.latency_s`; low: on the curve of each bucket's 80th percentile of latency.

    Without points half of the prior rate is the low estimate. Without a goal for the latency it is the highest rate.
    """
    if not state.points:
        return Capacity(0.5 * state.prior_rate, state.prior_rate, unit, state.version)
    goal = objective.latency_s if objective.latency_s is not None else math.inf
    median = _crossing(state.points, goal, 0.5)
    return Capacity(min(_crossing(state.points, goal, 0.8), median), median, unit, state.version)


def _crossing(points: tuple[Point, ...], goal_s: float, quantile: float) -> float:
    top = max(p.rate for p in points)
    buckets: dict[int, list[Point]] = {}
    for point in points:
        buckets.setdefault(_bucket(point, top), []).append(point)
    last_rate, last_s, worst_s = 0.0, 0.0, 0.0
    for _, some in sorted(buckets.items()):
        rate = float(np.mean([p.rate for p in some]))
        worst_s = max(worst_s, float(np.quantile([p.latency_s for p in some], quantile)))
        if worst_s > goal_s:
            # Straight between two points. Below the first one from the origin, so that lower rates come to be seen.
            share = (goal_s - last_s) / (worst_s - last_s)
            return last_rate + max(0.0, share) * (rate - last_rate)
        last_rate, last_s = rate, worst_s
    return last_rate


def _bucket(point: Point, top: float) -> int:
    return min(BUCKETS - 1, int(BUCKETS * point.rate / top))
