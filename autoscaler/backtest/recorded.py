"""Demand as a service recorded it: points of a pool's signal, which is a rate, made into a trace of even buckets."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from autoscaler.backtest.run import MONDAY
from autoscaler.errors import InputError
from autoscaler.trace import Trace
from autoscaler.words import counted
from autoscaler.words import seconds as span

LEAST_S = 3600.0
MOST_GAPS = 0.5
BUCKET_S = 15.0
WEEK_S = 7 * 86_400.0


@dataclass(frozen=True, slots=True)
class Recorded:
    """A trace whose time 0 is midnight of a Monday in UTC, so that schedules meet their own days.

    epoch: what a time of the trace is added to for Unix seconds. before_s: how much of it came before the span.
    """

    trace: Trace
    epoch: float
    before_s: float
    notes: tuple[str, ...]


def recorded(at: NDArray[np.float64], rate: NDArray[np.float64], since: float, until: float, called: str) -> Recorded:
    """The trace of a rate, (point,) Unix seconds ascending and work per second, NaN where nothing was known.

    Buckets are the usual distance of two points, in multiples of 15 s; a bucket is the mean of its points, and one
    without any is a gap. Raises InputError when it is too little to compare on;
    `called` says where the points are from.
    """
    if not at.size or np.isnan(rate).all():
        raise InputError(f"{called}: nothing is recorded for the last {span(until - since)}; name a longer --since")
    if (rate < 0).any():
        raise InputError(f"{called}: is below 0 at times, which no demand is; name a trace with --trace instead")
    usual_s = float(np.median(np.diff(at))) if at.size > 1 else BUCKET_S
    step_s = BUCKET_S * max(1, math.ceil(usual_s / BUCKET_S - 1e-6))
    begin = math.floor(float(at[0]) / step_s) * step_s
    amount = _buckets(at, rate, begin, step_s)
    missing = np.isnan(amount)
    length_s, begin_counted = step_s * len(amount), max(since, begin)
    if length_s < LEAST_S:
        raise InputError(f"{called}: {span(length_s)} are recorded; a comparison needs {span(LEAST_S)} at least")
    counted_part = missing[int((begin_counted - begin) // step_s) :]
    share = float(counted_part.mean()) if counted_part.size else 1.0
    if share > MOST_GAPS:
        raise InputError(
            f"{called}: {share:.0%} of the last {span(until - since)} are gaps; name a span that was recorded, --since"
        )
    start_s = (begin - MONDAY) % WEEK_S
    at_s = start_s + step_s * np.arange(len(amount), dtype=np.float64)
    trace = Trace(at_s, amount, step_s, missing)
    return Recorded(
        trace, begin - start_s, max(0.0, since - begin), tuple(_notes(missing, step_s, begin, since, until))
    )


def _buckets(at: NDArray[np.float64], rate: NDArray[np.float64], begin: float, step_s: float) -> NDArray[np.float64]:
    """(bucket,) amounts, NaN in a gap."""
    known = np.isfinite(rate)
    bucket = ((at - begin) // step_s).astype(np.intp)
    length = int(bucket[-1]) + 1
    points = np.bincount(bucket[known], minlength=length)
    total = np.bincount(bucket[known], rate[known], minlength=length)
    return np.where(points > 0, total / np.maximum(points, 1) * step_s, np.nan)


def _notes(missing: NDArray[np.bool_], step_s: float, begin: float, since: float, until: float) -> list[str]:
    found = []
    if begin - since > 2 * step_s:
        found.append(f"the record begins {span(begin - since)} after the span of {span(until - since)} does")
    left = until - (begin + step_s * len(missing))
    if left > 10 * step_s:
        found.append(f"the last {span(left)} are not recorded")
    longest, gaps = _runs(missing)
    if gaps:
        found.append(f"{counted(gaps, 'gap')}, the longest {span(longest * step_s)}")
    return found


def _runs(missing: NDArray[np.bool_]) -> tuple[int, int]:
    """The length of the longest run of gaps, and how many runs there are."""
    edges = np.flatnonzero(np.diff(np.concatenate(([False], missing, [False]))))
    lengths = edges[1::2] - edges[::2]
    return (int(lengths.max()), int(lengths.size)) if lengths.size else (0, 0)
