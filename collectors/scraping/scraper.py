"""The scraper: asks every target for its page at its own pace, on a thread and an event loop of its own.

The event loop's timers pace the targets: they are monotonic, so that a step of the wall clock bunches nothing. What a
sample is dated with comes from the Clock.
"""

from __future__ import annotations

import asyncio
import math
import threading
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from typing import Literal

import numpy as np
import structlog

from autoscaler.clock import monotonic
from autoscaler.ports import Clock
from autoscaler.types import Batch, Labels
from collectors.pages.reader import Limits, PageReader, Room
from collectors.pages.resolve import ENGINE_LABEL, resolver
from collectors.scraping import heap
from collectors.scraping.fetch import Page, PageError, Session, fetch, open_session
from collectors.scraping.lacking import Lacking
from collectors.scraping.targets import Target
from collectors.scraping.waiting import Waiting

__all__ = ["Scraper", "Target", "TargetStatus"]

log = structlog.get_logger(__name__)

MAX_PAGE_BYTES = 64 << 20
QUEUE_LIMIT = 2048
LARGE_PAGE_BYTES = 512 << 10
"""Pages from here on (some 2,000 lines, 20 ms when new) are read on a thread of their own."""
STOP_S = 0.9
NOT_ASKED = "not asked yet"
SLOTS = 20
"""Targets of one interval are asked in so many bursts: a page that is read right after another costs a third of one
for which the processor was woken from its sleep."""
START_S = 10.0
TIDY_S = 30.0


@dataclass(frozen=True, slots=True)
class TargetStatus:
    """How a target does. `last_at`: when it last answered with a page, None = never. `error`: why it is not up.

    lines, rejected: sample lines of its last page, and how many of them could not be read. duration_s: of its last
    scrape, reading included.
    """

    url: str
    labels: Labels
    up: bool = False
    last_at: float | None = None
    error: str = NOT_ASKED
    lines: int = 0
    rejected: int = 0
    duration_s: float = 0.0


class Scraper:
    """A collector of pages. `start` it, `collect` at every tick, `stop` it.

    targets: the pages, or a function that says which there are now; it is called about every `refresh_s` on the
    scraper's thread and must not wait for anything. An arriving batch sets `wake`. When nobody collects, the oldest
    batches beyond `queue_limit` are dropped and counted. room: what all targets may cost together; series beyond it are
    counted there, and their lines among the rejected ones of their target.
    """

    def __init__(
        self,
        targets: Callable[[], Iterable[Target]] | Sequence[Target],
        clock: Clock,
        wake: threading.Event | None = None,
        *,
        max_page_bytes: int = MAX_PAGE_BYTES,
        queue_limit: int = QUEUE_LIMIT,
        refresh_s: float = 1.0,
        room: Room | None = None,
    ) -> None:
        self._targets = targets if callable(targets) else lambda: targets
        self._clock = clock
        self._max_page_bytes = max_page_bytes
        self._refresh_s = refresh_s
        self._lock = threading.Lock()
        self._waiting = Waiting(queue_limit, wake)
        self._lacking = Lacking()
        self._statuses: dict[Target, TargetStatus] = {}
        self._watchers: dict[Target, asyncio.Task[None]] = {}
        self._readers = ThreadPoolExecutor(1, "scrape-large-page")
        self._loop: asyncio.AbstractEventLoop | None = None
        self._stopping: asyncio.Event | None = None
        self._thread: threading.Thread | None = None
        self._under_way = 0
        self._told_refused, self._tidy_at = 0, 0.0
        self.room = room or Room()

    # --- the caller's side --------------------------------------------------------------------------------------

    def start(self) -> None:
        """Start scraping; returns when the scraper's loop runs."""
        if self._thread is not None:
            raise RuntimeError("the scraper was started before; make a new one")
        running = threading.Event()
        self._thread = threading.Thread(target=self._run, args=(running,), name="scrape", daemon=True)
        self._thread.start()
        running.wait(START_S)

    def stop(self) -> None:
        """Stop within a second, requests under way included. What has arrived can still be collected."""
        if self._thread is None or self._loop is None or self._stopping is None:
            return
        if self._thread.is_alive():
            self._loop.call_soon_threadsafe(self._stopping.set)
            self._thread.join(STOP_S)

    def collect(self, now: float) -> tuple[Batch, ...]:
        """Every batch that arrived since the last call, oldest first."""
        return self._waiting.take()

    @property
    def dropped(self) -> int:
        """Batches that nobody collected in time."""
        return self._waiting.dropped

    def status(self) -> tuple[TargetStatus, ...]:
        """How each target does now."""
        with self._lock:
            return tuple(self._statuses.values())

    # --- the scraper's thread -----------------------------------------------------------------------------------

    def _run(self, running: threading.Event) -> None:
        loop = self._loop = asyncio.new_event_loop()
        # Names are looked up on these threads: a name server that hangs for some targets must not hold up the rest.
        loop.set_default_executor(ThreadPoolExecutor(32, "scrape-names"))
        self._stopping = asyncio.Event()
        try:
            loop.run_until_complete(self._main(self._stopping, running))
        finally:
            self._readers.shutdown(wait=False, cancel_futures=True)
            loop.close()

    async def _main(self, stopping: asyncio.Event, running: threading.Event) -> None:
        async with open_session() as session:
            running.set()
            while not stopping.is_set():
                self._refresh(session)
                asked = all(status.error != NOT_ASKED for status in self.status())
                self._lacking.tell(asyncio.get_running_loop().time(), complete=asked)
                try:
                    await asyncio.wait_for(stopping.wait(), self._refresh_s)
                except TimeoutError:
                    self._tidy(asyncio.get_running_loop().time())
            for watcher in self._watchers.values():
                watcher.cancel()
            await asyncio.gather(*self._watchers.values(), return_exceptions=True)

    def _tidy(self, now: float) -> None:
        """Once in TIDY_S: give memory back that first pages left behind, and say if there was no room for series."""
        if now < self._tidy_at:
            return
        self._tidy_at = now + TIDY_S
        heap.give_back()
        new = self.room.refused - self._told_refused
        if new:
            self._told_refused += new
            advice = "scrape fewer targets, or let them show fewer series; /api/v1/targets counts rejected lines"
            log.warning("series refused", refused=new, known=self.room.series, next_step=advice)

    def _refresh(self, session: Session) -> None:
        try:
            wanted = dict.fromkeys(self._targets())
        except Exception:
            log.exception("targets unknown", next_step="scraping goes on with the targets known before")
            return
        sources = {target.source for target in wanted}
        for target in [t for t in self._watchers if t not in wanted]:
            self._watchers.pop(target).cancel()
            with self._lock:
                del self._statuses[target]
            # One that is only asked at another pace, or more patiently, stays what it is until it answers again.
            if target.source not in sources:
                self._put(_silent(target, self._clock.now(), "gone"))
        for target in [t for t in wanted if t not in self._watchers]:
            with self._lock:
                self._statuses[target] = TargetStatus(target.url, target.labels)
            self._watchers[target] = asyncio.create_task(self._watch(session, target))

    async def _watch(self, session: Session, target: Target) -> None:
        loop = asyncio.get_running_loop()
        limits = Limits(page_bytes=self._max_page_bytes)
        meaning = resolver(dict(target.labels).get(ENGINE_LABEL, ""))
        reader = PageReader(target.source, target.labels, target.interval_s, meaning, limits, self.room)
        phase = math.floor(target.phase * SLOTS) / SLOTS
        due = loop.time() + (phase * target.interval_s - loop.time()) % target.interval_s
        try:
            while True:
                await asyncio.sleep(due - loop.time())
                self._under_way += 1
                try:
                    batch = await self._scrape(session, target, reader)
                finally:
                    self._under_way -= 1
                self._put(batch)
                # A scrape that took longer than the interval skips beats; it keeps its phase and never runs twice.
                due += target.interval_s * max(1, math.ceil((loop.time() - due) / target.interval_s))
        finally:
            session.forget(target)
            # Behind a large page that may still be read there.
            with suppress(RuntimeError):
                self._readers.submit(reader.close)

    async def _scrape(self, session: Session, target: Target, reader: PageReader) -> Batch:
        began = monotonic()
        at = self._clock.now()
        before = self._statuses[target]
        last_at, lines, rejected, problem = before.last_at, before.lines, before.rejected, ""
        try:
            page = await fetch(session, target, self._max_page_bytes)
            batch = await self._read(reader, page, at)
        except PageError as error:
            batch, problem = _silent(target, at, "down"), str(error)
        except Exception as error:
            log.exception("page unread", target=target.source, next_step="report this with the page")
            batch = _silent(target, at, "down")
            problem = f"the page could not be read ({type(error).__name__}: {error})"
        else:
            if not lines:  # nor did the page before have any: an exporter that has just started prints nothing
                self._lacking.note(target, reader.lacking(), asyncio.get_running_loop().time())
            last_at, lines, rejected = at, reader.lines, reader.rejected
            if rejected and not before.rejected:
                log.warning("lines rejected", target=target.source, lines=rejected, first=reader.first_rejected)
        took_s = monotonic() - began
        after = TargetStatus(target.url, target.labels, not problem, last_at, problem, lines, rejected, took_s)
        self._note(target, before, after)
        return batch

    async def _read(self, reader: PageReader, page: Page, at: float) -> Batch:
        if len(page.body) < LARGE_PAGE_BYTES:
            batch = reader.read(page.body, at, page.openmetrics)
        else:
            loop = asyncio.get_running_loop()
            batch = await loop.run_in_executor(self._readers, reader.read, page.body, at, page.openmetrics)
        if batch.unread and reader.rejected == reader.lines:
            raise PageError(f"there is no room for any of its {reader.lines} lines: {reader.first_rejected}")
        if reader.lines and reader.rejected == reader.lines:
            raise PageError(f"not one line of {reader.lines} is a sample: {reader.first_rejected}; check the path")
        return batch

    def _note(self, target: Target, before: TargetStatus, after: TargetStatus) -> None:
        with self._lock:
            self._statuses[target] = after
        if after.error and after.error != before.error:
            log.warning("target down", target=target.source, reason=after.error)
        elif after.up and not before.up:
            # The first page of each of hundreds of targets is no news; that one is back, is.
            (log.debug if before.error == NOT_ASKED else log.info)("target up", target=target.source, lines=after.lines)

    def _put(self, batch: Batch) -> None:
        self._waiting.put(batch, self._loop if self._under_way else None)


def _silent(target: Target, at: float, state: Literal["down", "gone"]) -> Batch:
    return Batch(target.source, at, target.interval_s, (), np.empty(0), target.labels, state)
