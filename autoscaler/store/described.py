"""What the store says of itself: what it has of each metric, and its counts."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class SeriesInfo:
    """What the store has of one metric of one pool; `newest_at` NaN without a value. Pool "" is not stamped."""

    pool: str
    metric: str
    series: int
    interval_s: float
    newest_at: float
    sources: tuple[str, ...]
    counter: bool = False


@dataclass(frozen=True, slots=True)
class StoreStats:
    """Series and sources now; samples since the start, refused ones by reason; points that wait for the disk.

    unusable: infinite values and negative counters. late: not newer than the last of their source. malformed: whole
    batches. repeated: what only said again what was known. lost: points that never reached the disk.
    """

    series: int
    sources: int
    stored: int
    unusable: int
    late: int
    over_limit: int
    malformed: int
    memory_bytes: int
    waiting: int
    lost: int
    repeated: int = 0
