"""A whole service whose pages come from lists, and whose signals come from a real Prometheus, restart included."""

import json
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from autoscaler.clock import SystemClock
from tests.peers.metricstores import Series, prometheus
from tests.peers.pages import Pages, answer, until
from tests.serviceworld import WORKER, ServiceWorld

RULES = """\
pool: chat
match: {{app: chat}}
tick: 1s
limits: {{min: 0, max: 5}}
offers: {{from: [{{local: {{type: tiny, command: '{{python}} {worker} --host {{host}} --port {{port}}'}}}}]}}
signals:
  queue: {{metric: requests_waiting}}
  orders: {{promql: 'sum(rate(orders_total[1m]))'}}
rules:
  - {{name: queue, when: {{queue: {{above: 1000}}}}, alert: warning}}
  - {{name: orders, when: {{orders: {{above: 1000}}}}, alert: warning}}
"""


@pytest.fixture
def world(tmp_path: Path) -> Iterator[ServiceWorld]:
    made = ServiceWorld(tmp_path, "127.0.0.1")
    made.rules.parent.mkdir()
    made.rules.write_text(RULES.format(worker=WORKER))
    yield made
    made.end()


def test_a_listed_page_reaches_the_rules_of_the_pool_that_matches_it(world: ServiceWorld, tmp_path: Path) -> None:
    listing = tmp_path / "sd.json"
    with Pages({"/metrics": answer(b"vllm:num_requests_waiting 7\n")}) as pages:
        listing.write_text("[]")
        discovery = [{"files": str(listing), "labels": {"app": "chat"}, "interval": "1s"}]
        with world.running(discovery=discovery) as client:
            client.until_pool(lambda pool: pool["at"] > 0, "a first tick")
            listing.write_text(json.dumps([{"targets": [f"127.0.0.1:{pages.port}"]}]))

            def seen() -> bool:
                readings = {r["signal"]: r for r in client.ask("GET", "/pools/chat/signals")["readings"]}
                return bool(readings) and readings["queue"]["value"] == 7.0

            until(seen, "the queue of the listed page", 20.0)


def test_after_a_restart_the_past_comes_from_the_prometheus(world: ServiceWorld, tmp_path: Path) -> None:
    clock = SystemClock()
    now = clock.now()
    times = np.arange(now - 1800.0, now + 60.0, 5.0)
    data = (
        Series('up{app="chat"}', tuple((t, 1.0) for t in times)),
        Series('vllm:num_requests_waiting{app="chat"}', tuple((t, 4.0) for t in times)),
        Series("orders_total", tuple((t, 3.0 * (t - times[0])) for t in times)),
    )
    with prometheus(data, tmp_path) as url:
        settings = {"collectors": {"store": {"use": "prometheus", "url": url, "backfill_s": "20m"}}}
        for _ in range(2):
            with world.running(**settings) as client:

                def seen() -> bool:
                    readings = {r["signal"]: r for r in client.ask("GET", "/pools/chat/signals")["readings"]}
                    return {readings[n]["quality"] for n in ("queue", "orders") if n in readings} == {"fresh"}

                client.until_pool(lambda pool: pool["at"] > 0, "a first tick")
                until(seen, "both signals", 20.0)
                past = client.ask("GET", f"/pools/chat/signals/orders?since={now - 1100:.0f}&until={now:.0f}")
                values = [v for v in past["values"] if v is not None]
                assert len(values) > 500
                assert np.allclose(values, 3.0, rtol=0.1)
