"""One question on its way: what is asked for which signal, when it is due again, and how it does."""

from __future__ import annotations

import math
import zlib
from dataclasses import dataclass

from autoscaler.clock import monotonic
from autoscaler.signals import answer
from autoscaler.types import Labels, Query, SeriesKey
from collectors.prometheus.promql import Expression

MIN_INTERVAL_S = 1.0


@dataclass(frozen=True, slots=True)
class QueryStatus:
    """How one signal's question does. asked: what is sent. error: why there is no answer now, empty = there is."""

    pool: str
    signal: str
    asked: str
    error: str = ""
    last_at: float | None = None
    duration_s: float = 0.0
    answers: int = 0
    failures: int = 0


@dataclass(slots=True, eq=False)
class Asked:
    """One query on its way: when it is due again, and whether its past was fetched."""

    query: Query
    expression: Expression
    interval_s: float
    due: float
    keys: tuple[SeriesKey, ...]
    labels: Labels
    status: QueryStatus
    running: bool = False
    refusals: int = 0
    past_known: bool = False
    newest_at: float = -math.inf

    @property
    def source(self) -> str:
        return f"prometheus:{self.query.pool}/{self.query.signal}"


def entered(query: Query, found: Expression, interval_s: float) -> Asked:
    """A question that was not asked yet. interval_s: 0 = at the pace of the pool."""
    interval_s = interval_s or max(MIN_INTERVAL_S, query.interval_s)
    labels = (("pool", query.pool),)
    names = (answer(query.signal), answer(query.signal, "low"), answer(query.signal, "up"))
    keys = tuple(SeriesKey(name, labels) for name in names)
    # Spread over the interval by name, so that a thousand pools are not asked for at once.
    phase = zlib.crc32(f"{query.pool}/{query.signal}".encode()) / 2**32
    due = monotonic() + phase * min(interval_s, MIN_INTERVAL_S)
    status = QueryStatus(query.pool, query.signal, found.value, error="not asked yet")
    return Asked(query, found, interval_s, due, keys, labels, status)
