"""One source of raw series: what it gives, where its columns are, how it does."""

from __future__ import annotations

import math
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from autoscaler.store.pace import Pace
from autoscaler.types import Labels, SeriesKey

Indices = NDArray[np.intp]


@dataclass(slots=True, eq=False)
class Source:
    """One source and its block of columns, `lo` to `lo + room`, of which `columns` are in use, in the ring of its
    interval.

    The first `listed` columns are what the source gives now, in the order of its batches; behind them stand series that
    it stopped giving, kept for a while because a series that vanished is not a series at zero. `take` picks the listed
    values out of a batch when some were refused. unread: series that nobody had room to read, by metric. groups:
    (pool, metric) -> positions in the block. pulse: positions of the counters that never stand still while the source
    lives. epoch: changes when columns or their past do.
    """

    name: str
    interval_s: float
    index: int
    labels: Labels = ()
    unread: tuple[tuple[str, int], ...] = ()
    lo: int = 0
    room: int = 0
    listed: int = 0
    keys: tuple[SeriesKey, ...] | None = None
    columns: tuple[SeriesKey, ...] = ()
    take: Indices | None = None
    counters: Indices = field(default_factory=lambda: np.empty(0, np.intp))
    work: tuple[tuple[str, Indices], ...] = ()
    busy: tuple[tuple[str, Indices], ...] = ()
    pulse: Indices = field(default_factory=lambda: np.empty(0, np.intp))
    pace: Pace = field(default_factory=lambda: Pace(0.0))
    groups: dict[tuple[str, str], Indices] = field(default_factory=dict)
    at: float = -math.inf
    heard_at: float = -math.inf
    down_since: float | None = None
    late_at: float = math.inf
    late_run: int = 0
    epoch: int = 0
