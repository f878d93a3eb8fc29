"""A scraper at work on a test's pages, and what it gave."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from threading import Event

from autoscaler.clock import SimClock
from autoscaler.types import Batch
from collectors.scraping.scraper import Scraper, Target, TargetStatus
from tests.peers.pages import Pages, until

PAGE = b"# TYPE jobs gauge\njobs 3\njobs_done_total 41\n"
LABELS = (("instance", "a:1"), ("pool", "chat"))


def target(pages: Pages, path: str = "/metrics", interval_s: float = 0.05, timeout_s: float = 3.0) -> Target:
    return Target(pages.url(path), LABELS, interval_s, timeout_s)


@contextmanager
def scraping(*targets: Target, wake: Event | None = None, max_page_bytes: int = 64 << 20) -> Iterator[Scraper]:
    scraper = Scraper(targets, SimClock(1000.0), wake, max_page_bytes=max_page_bytes)
    scraper.start()
    try:
        yield scraper
    finally:
        scraper.stop()


def asked(scraper: Scraper, number: int = 0) -> TargetStatus:
    """The status of a target once it was asked."""
    until(lambda: scraper.status() and scraper.status()[number].error != "not asked yet", "first scrape")
    return scraper.status()[number]


def gather(scraper: Scraper, enough: Callable[[list[Batch]], object]) -> list[Batch]:
    batches: list[Batch] = []

    def more() -> object:
        batches.extend(scraper.collect(1000.0))
        return enough(batches)

    until(more, "batches")
    return batches
