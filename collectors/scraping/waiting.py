"""Batches that wait to be collected, and how the loop is woken for them: in bursts, as they arrive."""

from __future__ import annotations

import asyncio
import threading
from collections import deque

from autoscaler.types import Batch

BURST_S = 0.02
"""The longest that an arrived page waits for the others of its burst before the loop is woken."""


class Waiting:
    """One thread puts, another takes; beyond `limit` the oldest are dropped and counted in `dropped`.

    `wake` is set for what is put: at once, or within BURST_S where more is on its way.
    """

    def __init__(self, limit: int, wake: threading.Event | None) -> None:
        self.dropped = 0
        self._limit = limit
        self._wake = wake
        self._lock = threading.Lock()
        self._queue: deque[Batch] = deque()
        self._burst: asyncio.TimerHandle | None = None

    def take(self) -> tuple[Batch, ...]:
        """Everything since the last call, oldest first."""
        with self._lock:
            batches = tuple(self._queue)
            self._queue.clear()
        return batches

    def put(self, batch: Batch, more_from: asyncio.AbstractEventLoop | None = None) -> None:
        """At the end. more_from: the loop on which others are under way, None = this was the last of its burst."""
        with self._lock:
            self._queue.append(batch)
            if len(self._queue) > self._limit:
                self._drop_oldest()
        if more_from is None:
            self._wake_up()
        elif self._burst is None:
            self._burst = more_from.call_later(BURST_S, self._wake_up)

    def _wake_up(self) -> None:
        if self._burst is not None:
            self._burst.cancel()
            self._burst = None
        if self._wake is not None:
            self._wake.set()

    def _drop_oldest(self) -> None:
        # A later page makes up for a lost one, but nothing repeats that a target is gone.
        place = next((n for n, batch in enumerate(self._queue) if batch.state != "gone"), 0)
        del self._queue[place]
        self.dropped += 1
