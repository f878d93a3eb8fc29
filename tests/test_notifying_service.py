"""A whole service that tells people: through a restart, while its Alertmanager is down, and beside a hung receiver."""

from __future__ import annotations

import itertools
import os
from collections.abc import Iterator
from pathlib import Path
from threading import Event
from typing import Any

import httpx
import pytest

from tests.notified import free_port, serving
from tests.peers.pages import Pages, answer, until
from tests.serviceworld import ServiceWorld
from tests.test_notifying_alertmanager import alertmanager

WITHIN_S = 60.0
WHO = {"author": "ada", "comment": "load test"}


_numbers = itertools.count()


@pytest.fixture
def world(tmp_path: Path) -> Iterator[ServiceWorld]:
    made = ServiceWorld(tmp_path, f"127.{230 + next(_numbers) % 20}.{os.getpid() // 250 % 250}.{1 + os.getpid() % 250}")
    made.write_rules(most=1)
    yield made
    made.end()


def waiting(requests: int) -> Any:
    """The page of a gateway in front of the pool."""
    return answer(f"requests_waiting {requests}\n".encode())


def watching(pages: Pages, **alerting: Any) -> dict[str, Any]:
    target = {"url": pages.url("/metrics"), "labels": {"pool": "chat", "instance": "gateway"}, "interval": "1s"}
    return {"targets": [target], "alerting": alerting}


@pytest.mark.peer
def test_an_alert_arrives_though_the_service_was_restarted_while_its_alertmanager_was_down(
    world: ServiceWorld, tmp_path: Path
) -> None:
    port = free_port()
    manager = {"name": "am", "kind": "alertmanager", "url": f"http://127.0.0.1:{port}"}
    with Pages({"/metrics": waiting(60)}) as pages:
        settings = watching(pages, receivers=[manager])
        with world.running(**settings) as client:
            until(lambda: client.ask("GET", "/deliveries")["deliveries"], "a message", WITHIN_S)
        with world.running(**settings) as client, alertmanager(tmp_path, port=port) as url:

            def believed() -> list[dict[str, str]]:
                found = httpx.get(f"{url}/api/v2/alerts", trust_env=False).json()
                return [a["labels"] for a in found]

            labels = {"alertname": "long queue", "pool": "chat", "severity": "critical"}
            until(lambda: believed() == [labels], "the alert", WITHIN_S)

            def states() -> set[str]:
                return {d["state"] for d in client.ask("GET", "/deliveries")["deliveries"]}

            until(lambda: "delivered" in states(), "a delivered message", WITHIN_S)


def test_beside_a_receiver_that_hangs_pools_tick_and_others_are_told(world: ServiceWorld) -> None:
    hang = Event()
    with Pages({"/metrics": waiting(60)}) as pages, serving(hang=hang) as stuck, serving() as quick:
        receivers = [
            {"name": "stuck", "url": stuck.url, "timeout": "60s"},
            {"name": "quick", "url": quick.url, "match": "severity=critical", "group_interval": "0s"},
        ]
        with world.running(**watching(pages, receivers=receivers)) as client:
            quick.wait_for(lambda: len(quick.bodies) == 1)
            client.until_ticked(5)
            (one,) = client.ask("GET", "/deliveries", params={"receiver": "stuck"})["deliveries"]
            assert (one["state"], one["host"]) == ("waiting", f"http://127.0.0.1:{stuck.port}")
            assert {a["name"]: a["receivers"] for a in client.ask("GET", "/alerts")["alerts"]} == {
                "long queue": ["stuck", "quick"]
            }
            body = {"matchers": ["pool=chat"], "for": "1h"} | WHO
            name = client.ask("POST", "/silences", 201, json=body)["id"]
            assert client.ask("GET", "/alerts")["alerts"][0]["silenced_by"] == [name]
            hang.set()
