"""A real service forecasts in a process of its own, learns its lead times, and ends cleanly."""

from __future__ import annotations

import itertools
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest

from autoscaler.clock import SystemClock
from autoscaler.service import Service
from autoscaler.store import Store
from autoscaler.types import Past
from tests.foresightworld import past
from tests.peers.pages import until
from tests.serviceworld import WITHIN_S, Client, ServiceWorld

_numbers = itertools.count()
RULES = """\
signals:
  queue: {{metric: requests_waiting, where: {{instance: gateway}}}}
  load: {{metric: requests_arrived_total, rate: 10s, where: {{instance: gateway}}}}
  ahead: {{forecast: load, at: 10m, quantile: 0.9, forecaster: {forecaster}}}
"""


@pytest.fixture
def place(tmp_path: Path) -> Iterator[ServiceWorld]:
    made = ServiceWorld(tmp_path, f"127.{215 + next(_numbers)}.{os.getpid() // 250 % 250}.{1 + os.getpid() % 250}")
    yield made
    made.end()


def ruled(place: ServiceWorld, forecaster: str) -> None:
    """The usual rule file with a forecast in it, and six hours of history in the service's folder."""
    place.write_rules()
    lines = place.rules.read_text(encoding="utf-8")
    plain = "signals:\n  queue: {metric: requests_waiting, where: {instance: gateway}}\n"
    assert plain in lines
    place.rules.write_text(lines.replace(plain, RULES.format(forecaster=forecaster)), encoding="utf-8")
    store = Store(place.data / "metrics")
    given: Past = past(lambda at: 40.0 + at % 3600 / 100, 0.25, SystemClock().now())
    store.fill(given)
    store.close()


def learned(client: Client) -> dict[str, Any]:
    """What the service knows of the pool; empty before its first tick."""
    found = client.ask("GET", "/pools")["pools"]
    return dict(client.ask("GET", "/pools/chat/learned")) if found else {}


def children(service: Service) -> list[psutil.Process]:
    """Its processes of forecasts."""
    mine = psutil.Process().children()
    return [p for p in mine if p.is_running() and "autoscaler.foresight.process" in p.cmdline()]


def test_a_service_forecasts_and_learns_lead_times_and_a_restart_goes_on_with_them(place: ServiceWorld) -> None:
    ruled(place, "seasonal")
    service = place.service()
    service.start()
    client = Client(service.address, service.token)
    try:
        until(lambda: len(learned(client).get("outlooks", ())) == 2, "both outlooks", 90.0)
        client.until_ready(1)
        until(lambda: "prior:1" in str(learned(client)["lead_times"]), "one launch that was learned from", WITHIN_S)
        known = learned(client)
        assert service.loop.stats.failures == 0
        (process,) = children(service)
        text = subprocess.run(
            [sys.executable, "-m", "autoscaler.cli.main", "signals", "--url", f"http://{service.address}"],
            check=True,
            capture_output=True,
            text=True,
        ).stdout
        assert "ahead: forecast by seasonal@" in text
    finally:
        service.stop()
    until(lambda: not process.is_running(), "the end of the forecasts' process", WITHIN_S)
    assert known["outlooks"][0]["usable"]
    with place.running() as again:
        until(lambda: learned(again).get("outlooks"), "the outlooks of before", WITHIN_S)
        now = learned(again)
    assert now["lead_times"][0]["p50_s"] == known["lead_times"][0]["p50_s"]
    assert now["outlooks"][0]["version"].split("/")[0] == known["outlooks"][0]["version"].split("/")[0]


def test_a_process_of_forecasts_that_is_killed_comes_back_and_holds_up_no_tick(place: ServiceWorld) -> None:
    ruled(place, "drift")
    service = place.service()
    service.start()
    client = Client(service.address, service.token)
    try:
        until(lambda: learned(client).get("outlooks"), "an outlook", 60.0)
        (process,) = children(service)
        process.kill()
        before = client.pool()["at"]
        client.until_pool(lambda p: p["at"] > before + 1.0, "ticks that go on")
        assert service.loop.stats.failures == 0
        assert learned(client)["outlooks"], "the last outlook stays until it is too old"
    finally:
        service.stop()
