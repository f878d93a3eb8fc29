"""Every pushed source, by name, and their rows on the way to the loop; bounded in every direction."""

from __future__ import annotations

import math
from collections import Counter, deque
from collections.abc import Callable
from dataclasses import dataclass, field
from threading import Lock

from autoscaler.types import Batch, Labels
from collectors.pages.resolve import resolve
from collectors.push.refusal import RefusedError
from collectors.push.source import Source

RETRY_AFTER_S = 1
CHECK_S = 0.25
"""Between two looks for sources that fell silent."""


@dataclass(frozen=True, slots=True)
class Limits:
    """What all sources together may take. window_s: age of the oldest sample that is of use; ahead_s: how far the
    clock of a sender may be ahead of ours. queued_values, queued_batches: of rows that the loop has not taken yet."""

    sources: int = 10_000
    series: int = 200_000
    window_s: float = 1200.0
    ahead_s: float = 60.0
    queued_values: int = 2_000_000
    queued_batches: int = 20_000


@dataclass(slots=True)
class Tally:
    """What is counted about one kind of post."""

    taken: int = 0
    refused: Counter[str] = field(default_factory=Counter)
    samples: int = 0
    skipped: Counter[str] = field(default_factory=Counter)


class Queue:
    """Batches for the loop, counted so that senders can be told to wait. One thread may take while another puts."""

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self._batches: deque[Batch] = deque()
        self._lock = Lock()
        self.values = 0

    def __len__(self) -> int:
        return len(self._batches)

    @property
    def full(self) -> bool:
        """Whether senders have to wait."""
        return self.values >= self._limits.queued_values or len(self._batches) >= self._limits.queued_batches

    def put(self, batch: Batch) -> None:
        """At the end of the queue."""
        with self._lock:
            self._batches.append(batch)
            self.values += batch.values.size

    def take(self) -> tuple[Batch, ...]:
        """Everything, oldest first."""
        with self._lock:
            batches = tuple(self._batches)
            self._batches.clear()
            self.values = 0
        return batches


class Sources:
    """The sources of all kinds. `renumbered` is told when a source forgot series or was forgotten itself."""

    def __init__(self, limits: Limits, renumbered: Callable[[Source], None] = lambda _: None) -> None:
        self.limits = limits
        self.queue = Queue(limits)
        self.renumbered = renumbered
        self._by_name: dict[str, Source] = {}
        self._busy: dict[str, Source] = {}
        self._checked_at = -math.inf

    def __len__(self) -> int:
        return len(self._by_name)

    @property
    def series(self) -> int:
        """Series of all sources."""
        return sum(len(source.series) for source in self._by_name.values())

    @property
    def waiting(self) -> int:
        """Samples that wait for the rest of their row."""
        return sum(source.waiting for source in self._busy.values())

    def refuse_when_full(self) -> None:
        """Raises RefusedError when the loop has not taken what came before."""
        if self.queue.full or self.waiting > self.limits.queued_values:
            text = f"{len(self.queue):,} batches with {self.queue.values:,} values wait to be taken in"
            rule = "nothing of this request was taken; send it again"
            raise RefusedError(429, "full", f"{text}; {rule}", retry_after_s=RETRY_AFTER_S)

    def get(
        self,
        name: str,
        labels: Labels,
        skipped: Counter[str],
        *,
        interval_s: float | None = None,
        hold_s: float = 0.0,
        patience_s: float = 0.0,
        scraped: bool = False,
    ) -> Source | None:
        """The source of this name, a new one if need be; None at the limit."""
        source = self._by_name.get(name)
        if source is None and len(self._by_name) < self.limits.sources:
            source = self._by_name[name] = Source(
                name,
                labels,
                resolve,
                interval_s=interval_s,
                hold_s=hold_s,
                patience_s=patience_s,
                scraped=scraped,
                skipped=skipped,
            )
        return source

    def touch(self, source: Source) -> None:
        """Something came from this source."""
        self._busy[source.name] = source

    def flush(self, now: float) -> int:
        """Queue every row that is complete or due; how many batches. Stops while the queue is full."""
        before = len(self.queue)
        for name, source in tuple(self._busy.items()):
            for batches in source.flush(now):
                for batch in batches:
                    self.queue.put(batch)
                if self.queue.full:
                    return len(self.queue) - before
            if not source.waiting:
                del self._busy[name]
                if source.forget_outdated() is not None:
                    self.renumbered(source)
        return len(self.queue) - before

    def check(self, now: float) -> int:
        """Queue what silence means, at most every quarter of a second; how many batches."""
        if 0.0 <= now - self._checked_at < CHECK_S:
            return 0
        self._checked_at = now
        before = len(self.queue)
        for name, source in tuple(self._by_name.items()):
            batch = None if source.waiting else source.check(now)
            if batch is not None:
                self.queue.put(batch)
                if batch.state == "gone":
                    del self._by_name[name]
                    self._busy.pop(name, None)
                    self.renumbered(source)
        return len(self.queue) - before

    def due_at(self, now: float) -> float:
        """When `flush` or `check` has something to do at the latest."""
        soonest = min((source.due_at() for source in self._busy.values()), default=math.inf)
        return min(soonest, now + CHECK_S if self._by_name else math.inf)
