"""What is seen: series, frames, readings, bands, and what is learned from them."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property
from typing import Literal

import numpy as np
from numpy.typing import NDArray

FloatArray = NDArray[np.float64] | NDArray[np.float32]
Labels = tuple[tuple[str, str], ...]
"""Label pairs, sorted by name."""


Quality = Literal["fresh", "partial", "stale", "frozen", "missing"]
Of = Literal["mean", "peak", "need"]
"""What a forecast is about: the level at the horizon, the highest until then, or the rate that serves all till then."""


@dataclass(frozen=True, slots=True)
class SeriesKey:
    """Identity of one raw series: its canonical (or original) name and its labels, target labels included.

    A counter is stored as increments, so the flag belongs to the identity: it decides what a sample means.
    """

    metric: str
    labels: Labels = ()
    counter: bool = False

    def label(self, name: str) -> str | None:
        """The value of one label, or None."""
        return dict(self.labels).get(name)


@dataclass(frozen=True, slots=True)
class Batch:
    """What one source said at one time, in base units.

    `keys` is the *same object* for as long as the source keeps its layout, so that the store can keep the mapping
    from keys to columns by identity. `values` is float64 (len(keys),); NaN means that the source gave no usable
    value this time. `down`: the source did not answer. `gone`: it will not be asked again, forget its series. unread:
    by metric, how many series more the source has that there was no room to read; what they say is unknown.
    """

    source: str
    at: float
    interval_s: float
    keys: tuple[SeriesKey, ...]
    values: FloatArray
    labels: Labels = ()
    state: Literal["up", "down", "gone"] = "up"
    unread: tuple[tuple[str, int], ...] = ()


@dataclass(frozen=True, slots=True)
class Query:
    """What one pool wants to know of a store that answers queries; `Past` and `Batch` bring the answers.

    promql: the expression of a rule file; None = the store may aggregate the metric for us, as the other fields say
    (their meaning is that of a signal in a rule file). match: labels of the targets that belong to the pool.
    interval_s: how often the pool looks. lookback_s: how much of the past its rules use. definition: a fingerprint of
    what the signal measures. workload: the pool that the targets belong to, where it is another one; see RuleSet.
    """

    pool: str
    signal: str
    interval_s: float
    lookback_s: float
    promql: str | None = None
    metric: str | None = None
    where: Labels = ()
    match: Labels = ()
    aggregate: str = "sum"
    rate_s: float | None = None
    quantile: float | None = None
    over_s: float | None = None
    definition: str = ""
    workload: str = ""


@dataclass(frozen=True, slots=True)
class Past:
    """What a source remembers of a pool's signal from times when we did not ask: at, values (time,), ascending.

    definition: of the query that was asked; empty = as the signal is defined now.
    """

    pool: str
    signal: str
    at: FloatArray
    values: FloatArray
    definition: str = ""


@dataclass(frozen=True, slots=True)
class Frame:
    """Recent values of some series that share a sampling interval.

    at: (time,) ascending. values: (series, time), NaN is a gap. last_at: (series,) time of the newest value, NaN if
    there is none. quality, detail: (series,); detail says in words why a series is less than fresh. lower, upper:
    bounds of the newest value where it is uncertain, such as the bucket of a quantile; None = exact.
    """

    interval_s: float
    at: FloatArray
    values: FloatArray
    last_at: FloatArray
    quality: tuple[Quality, ...]
    detail: tuple[str, ...] = ()
    keys: tuple[SeriesKey, ...] = ()
    lower: FloatArray | None = None
    upper: FloatArray | None = None


class Keys(tuple[SeriesKey, ...]):
    """The keys of many series in the order of their rows. It knows where each label set stands, once that was asked."""

    def rows(self, wanted: Iterable[Labels]) -> dict[Labels, int]:
        """The row of each label set that is there."""
        # Alerts usually hold the very tuples of the keys. Those are found by identity, as numbers in one sorted array:
        # hashing every label of 100,000 series takes longer than judging them. Both sides are alive, so an equal id is
        # the same tuple.
        asked = list(wanted)
        if not self or not asked:
            return {}
        ids, order = self._by_id
        numbers = np.fromiter(map(id, asked), np.int64, len(asked))
        places = np.minimum(np.searchsorted(ids, numbers), len(self) - 1)
        same = ids[places] == numbers
        found = {labels: int(order[n]) for labels, n, is_same in zip(asked, places, same, strict=True) if is_same}
        if len(found) < len(asked):
            found |= {labels: self._by_labels[labels] for labels in asked if labels in self._by_labels}
        return found

    @cached_property
    def _by_id(self) -> tuple[NDArray[np.int64], NDArray[np.intp]]:
        ids = np.fromiter((id(key.labels) for key in self), np.int64, len(self))
        order = np.argsort(ids, kind="stable")
        return ids[order], order

    @cached_property
    def _by_labels(self) -> dict[Labels, int]:
        return {key.labels: row for row, key in enumerate(self)}


@dataclass(frozen=True, slots=True)
class Moments:
    """Of each series (series,): how many finite values it has, their mean and population standard deviation.

    resolution: the relative distance of neighbouring values in the type that they are kept in.
    """

    count: NDArray[np.int64]
    mean: NDArray[np.float64]
    spread: NDArray[np.float64]
    resolution: float


@dataclass(frozen=True, slots=True)
class Newest:
    """The newest value of many series, and the moments of those before it in a lookback.

    at: when the newest of them was taken, NaN = there is none. values, last_at: (series,); NaN = no value of that time,
    or none at all. fresh: (series,) whether the quality is that.
    """

    at: float
    values: FloatArray
    last_at: FloatArray
    fresh: NDArray[np.bool_]
    keys: Keys
    past: Moments


@dataclass(frozen=True, slots=True)
class Reading:
    """The value of a signal as of a time.

    `value` is None when the quality is missing or frozen, and when it is fresh but there was nothing to measure: the
    sources answered and no request came whose latency could be told.
    """

    at: float
    value: float | None
    quality: Quality
    lower: float | None = None
    upper: float | None = None
    detail: str = ""


@dataclass(frozen=True, slots=True)
class Bands:
    """Bounds of the normal, (series,) each, in the unit of the values; NaN = cannot judge yet.

    `clipped` (series,) marks series whose lookback sat on a physical limit (a ratio at 1.0), so that a value inside
    the band does not prove that there is no more demand.
    """

    lower: FloatArray
    upper: FloatArray
    clipped: NDArray[np.bool_] | None = None


@dataclass(frozen=True, slots=True)
class Outlook:
    """Growth factors on the present level, (quantile, horizon), from a forecaster's worker at time `at`.

    NaN = no forecast. floor: the level that they multiply is at least this, since growth from nothing has no factor.
    level: what growth was counted on then, in the unit of the signal. spread: standard deviation of the logarithm of
    growth at the longest horizon. NaN = not told.
    """

    at: float
    version: str
    of: Of
    horizons_s: tuple[float, ...]
    quantiles: tuple[float, ...]
    growth: tuple[tuple[float, ...], ...]
    floor: float = 0.0
    level: float = math.nan
    spread: float = math.nan


@dataclass(frozen=True, slots=True)
class Capacity:
    """Work per second that one replica serves at its objective, as a low and a median quantile, and its unit.

    drifting: it changed a moment ago and too little was seen since: no reason to take replicas away.
    """

    low: float
    median: float
    unit: str
    version: str = "declared"
    drifting: bool = False


@dataclass(frozen=True, slots=True)
class LeadTime:
    """Seconds from request to serving of one offer, as quantiles.

    arrivals: (age, seconds from the request by which 90 % of those have come that had not at that age), ages ascending
    from 0; infinite = of those nothing is expected any more. Empty = not known.
    """

    p50_s: float
    p90_s: float
    version: str = "prior"
    arrivals: tuple[tuple[float, float], ...] = ()

    def total_s(self, age_s: float) -> float | None:
        """Seconds from the request by which one that is that old and does not serve yet should; None = not known."""
        known = [total for age, total in self.arrivals if age <= age_s]
        return known[-1] if known else None
