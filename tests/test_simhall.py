"""Exporters that fail, of an independent peer, through the real scraper and store."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

import numpy as np
import pytest

from autoscaler.clock import SystemClock
from autoscaler.store import Store
from autoscaler.types import Batch
from collectors.derived.presence import LOST_AFTER
from collectors.scraping.scraper import Scraper, Target, TargetStatus
from tests.peers.pages import until
from tests.peers.simhall import Hall, hall

NODES = ("node1", "node2", "node3", "node4")
INTERVAL_S = 0.15
TIMEOUT_S = 0.6


@pytest.fixture(scope="module")
def running() -> Iterator[Hall]:
    with hall() as made:
        yield made


@dataclass
class Watch:
    """A scraper over some nodes, everything that it gave, and a store that took it all in."""

    hall: Hall
    clock: SystemClock = field(default_factory=SystemClock)
    batches: list[Batch] = field(default_factory=list)
    store: Store = field(default_factory=lambda: Store(None))

    def __post_init__(self) -> None:
        targets = [
            Target(self.hall.url(node), (("instance", node), ("pool", "chat")), INTERVAL_S, TIMEOUT_S) for node in NODES
        ]
        self.scraper = Scraper(targets, self.clock)
        self.scraper.start()

    def of(self, node: str, since: float = 0.0) -> list[Batch]:
        """What a node gave since, oldest first."""
        for batch in self.scraper.collect(self.clock.now()):
            self.batches.append(batch)
            self.store.add(batch)
        return [b for b in self.batches if dict(b.labels)["instance"] == node and b.at > since]

    def status(self, node: str) -> TargetStatus:
        return next(status for status in self.scraper.status() if dict(status.labels)["instance"] == node)

    def await_(self, node: str, happened: Callable[[Batch], object], within: int, what: str) -> Batch:
        """The first batch since now of which it is so; it must be among the first `within`."""
        since = self.clock.now()
        found: list[Batch] = []

        def seen() -> object:
            later = self.of(node, since)
            found[:] = [batch for batch in later if happened(batch)][:1]
            assert found or len(later) <= within, f"{what}: not within {within} scrapes"
            return found

        until(seen, what, 20.0)
        place = self.of(node, since).index(found[0]) + 1
        assert place <= within, f"{what}: only at scrape {place}"
        return found[0]


def value(batch: Batch, metric: str, gpu: str = "2", **labels: str) -> float:
    """NaN where it is not told."""
    for key, told in zip(batch.keys, batch.values.tolist(), strict=True):
        own = dict(key.labels)
        if key.metric == metric and own.get("gpu") == gpu and labels.items() <= own.items():
            return float(told)
    return math.nan


@pytest.fixture
def watch(running: Hall) -> Iterator[Watch]:
    running.reset()
    made = Watch(running)
    try:
        until(lambda: all(any(b.state == "up" for b in made.of(node)) for node in NODES), "a page of every node", 20.0)
        yield made
    finally:
        made.scraper.stop()


def test_every_gpu_of_a_healthy_hall_is_up_and_its_page_lacks_what_it_lacks(watch: Watch) -> None:
    batch = watch.of("node1")[-1]
    up = [v for key, v in zip(batch.keys, batch.values.tolist(), strict=True) if key.metric == "gpu_up"]
    assert up == [1.0] * 4
    told = {key.metric for key in batch.keys}
    assert {"gpu_busy_ratio", "gpu_memory_used_bytes", "gpu_sm_active_ratio", "gpu_saturation_ratio"}.isdisjoint(told)


def test_xid_79_is_one_event_and_its_end_is_seen_within_two_scrapes(watch: Watch) -> None:
    fault = watch.hall.fault(kind="gpu_unhealthy", node="node1", gpu=2)
    batch = watch.await_("node1", lambda b: value(b, "gpu_last_xid") == 79.0, 2, "the code")
    assert value(batch, "gpu_last_xid", "1") == 0.0
    watch.await_("node1", lambda b: value(b, "gpu_xid_events_total", xid="79") == 1.0, 3, "the event")
    since = watch.clock.now()
    until(lambda: len(watch.of("node1", since)) >= 6, "some more scrapes")
    assert {value(b, "gpu_xid_events_total", xid="79") for b in watch.of("node1", since)} == {1.0}
    watch.hall.clear(fault)
    watch.await_("node1", lambda b: value(b, "gpu_last_xid") == 0.0, 2, "its end")
    frame = watch.store.raw("chat", "gpu_xid_events_total", (), watch.clock.now(), 60.0)
    assert float(np.nansum(frame.values)) == 1.0


def test_a_missing_gpu_is_lost_while_the_others_are_up_and_comes_back_within_two_scrapes(watch: Watch) -> None:
    fault = watch.hall.fault(kind="gpu_missing", node="node2", gpu=2)
    batch = watch.await_("node2", lambda b: value(b, "gpu_lost") == 1.0, LOST_AFTER + 1, "the loss")
    assert value(batch, "gpu_up") == 0.0
    assert [value(batch, "gpu_up", gpu) for gpu in ("0", "1", "3")] == [1.0] * 3
    assert math.isnan(value(batch, "gpu_power_watts")), "absent, and not 0"
    watch.hall.clear(fault)
    batch = watch.await_("node2", lambda b: value(b, "gpu_lost") == 0.0, 2, "its return")
    assert value(batch, "gpu_up") == 1.0
    assert value(batch, "gpu_power_watts") > 0.0


def test_a_degraded_link_shows_errors_and_less_traffic_until_it_is_repaired(watch: Watch) -> None:
    def errors(batch: Batch) -> float:
        return value(batch, "gpu_nvlink_errors_total", "0", kind="crc_flit")

    def traffic(batch: Batch) -> float:
        return value(batch, "gpu_nvlink_bytes_per_second", "0")

    before = watch.of("node3")[-1]
    fault = watch.hall.fault(kind="nvlink_degraded", node="node3", gpu=0)
    batch = watch.await_("node3", lambda b: errors(b) == 1500.0, 2, "the errors")
    assert traffic(batch) < traffic(before)
    watch.hall.clear(fault)
    batch = watch.await_("node3", lambda b: errors(b) == 0.0, 2, "the repair")
    assert traffic(batch) == traffic(before)
    where = (("gpu", "0"), ("instance", "node3"))
    frame = watch.store.raw("chat", "gpu_nvlink_errors_total", where, watch.clock.now(), 60.0)
    assert float(np.nansum(frame.values)) == 1500.0, "a counter that falls was reset, and gave no errors back"


@pytest.mark.parametrize(
    ("mode", "reason"), [("http_500", "500"), ("timeout", ""), ("refused", "404")], ids=["500", "timeout", "refused"]
)
def test_a_node_that_fails_is_down_and_the_others_stay_on_time(watch: Watch, mode: str, reason: str) -> None:
    fault = watch.hall.fault(kind="unreachable_node", node="node4", mode=mode)
    watch.await_("node4", lambda b: b.state == "down", 2, "the failure")
    assert not watch.status("node4").up
    assert reason in watch.status("node4").error
    since = watch.clock.now()
    until(lambda: len(watch.of("node1", since)) >= 8, "scrapes of another node")
    for node in NODES[:3]:
        at = [batch.at for batch in watch.of(node, since)]
        assert len(at) >= 6
        assert all(batch.state == "up" for batch in watch.of(node, since))
        assert np.median(np.diff(at)) < 2 * INTERVAL_S, f"{node} was held up"
    assert all(b.keys == () for b in watch.of("node4", since)), "nothing is made up for a node that is down"
    watch.hall.clear(fault)
    # A request that stalls when the fault ends is lost still, and tells so.
    watch.await_("node4", lambda b: b.state == "up", 3 if mode == "timeout" else 2, "the node again")
    assert watch.status("node4").up
    assert value(watch.of("node4")[-1], "gpu_lost") == 0.0, "a node that was down lost no GPU"
