"""Drain hooks of a running service over real workers: called at the drain, told in the journal, never in the way."""

from __future__ import annotations

import os
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from itertools import count
from pathlib import Path

import httpx
import pytest

from autoscaler.hooks import Hooked
from tests.peers.pages import until
from tests.serviceworld import WITHIN_S, Client, ServiceWorld

_numbers = count()
PIN = {"kind": "pin", "for": "10m", "author": "ada", "reason": "test"}


@pytest.fixture
def world(tmp_path: Path) -> Iterator[ServiceWorld]:
    host = f"127.{60 + next(_numbers) % 150}.{os.getpid() // 250 % 250}.{1 + os.getpid() % 250}"
    made = ServiceWorld(tmp_path, host)
    yield made
    made.end()


def hooked(world: ServiceWorld, hook: str, drain: str) -> None:
    """The pool's rules with a drain hook and a deadline."""
    world.write_rules()
    text = world.rules.read_text().replace("drain: 60s", f"drain: {drain}, drain_hook: {hook}")
    assert "drain_hook" in text
    world.rules.write_text(text)


def pinned(client: Client, replicas: int) -> None:
    client.ask("PUT", "/pools/chat/overrides/size", json={**PIN, "replicas": replicas})


def told(world: ServiceWorld) -> list[str]:
    """What the journal holds of drain hooks, oldest first."""
    found = world.services[-1].journal.outcomes("chat")
    return [outcome.text for outcome in reversed(found) if outcome.text.startswith("drain hook")]


def endings(world: ServiceWorld) -> list[str]:
    """Why instances were terminated."""
    journal = world.services[-1].journal
    plans = [journal.plan("chat", d.number) for d in journal.decisions("chat", limit=1000)]
    return [r.text for p in plans if p is not None for r in p.reasons if r.source == "terminate"]


def test_a_busy_instance_is_told_to_drain_and_goes_when_it_has_finished(world: ServiceWorld) -> None:
    hooked(world, "{http: 'http://{address}/release', every: 100ms}", "60s")
    with ThreadPoolExecutor(2) as pool, world.running() as client:
        pinned(client, 2)
        client.until_ready(2)
        addresses = client.endpoints()
        work = {a: pool.submit(httpx.post, f"http://{a}/work", timeout=60.0, trust_env=False) for a in addresses}
        client.until_pool(lambda p: [i["in_flight"] for i in p["instances"]] == [1, 1], "two busy workers")
        pinned(client, 1)
        client.until_ready(1)
        (left,) = client.endpoints()
        (gone,) = set(addresses) - {left}
        # Only the hook lets it go of its work, and the deadline is far away.
        assert work[gone].result(WITHIN_S).text == "done"
        assert not work[left].done()
        assert told(world) == [f"drain hook: POST http://{gone}/release: 200"]
        httpx.post(f"http://{left}/release", trust_env=False)


def test_a_hook_that_fails_holds_an_idle_instance_to_its_deadline_and_not_longer(world: ServiceWorld) -> None:
    hooked(world, "{http: 'http://{address}/no-such-page', every: 100ms}", "3s")
    with world.running() as client:
        pinned(client, 2)
        client.until_ready(2)
        pinned(client, 1)
        client.until_pool(lambda p: p["draining"] == 1, "a drain")
        client.until_ready(1)
        # Without the hook it had gone half a second after it left the endpoints: nothing was in flight.
        assert ["drain deadline of 3 s" in text for text in endings(world)] == [True]
        assert told(world)[0].startswith("drain hook failed, it is called again: POST http://")
        assert told(world)[0].endswith("/no-such-page: 404")
        until(lambda: len(world.workers()) == 1, "one worker", WITHIN_S)


def test_a_command_may_be_the_hook(world: ServiceWorld, tmp_path: Path) -> None:
    file = tmp_path / "called"
    command = f"[sh, -c, 'echo \"$0 $1\" > {file}; echo drained', '{{pool}}', '{{address}}']"
    hooked(world, f"{{command: {command}}}", "60s")
    with world.running() as client:
        pinned(client, 2)
        client.until_ready(2)
        addresses = client.endpoints()
        pinned(client, 1)
        client.until_ready(1)
        (gone,) = set(addresses) - set(client.endpoints())
        assert file.read_text() == f"chat {gone}\n"
        assert told(world) == ["drain hook: sh: exit code 0, drained"]


def test_a_shadow_calls_nobody(world: ServiceWorld) -> None:
    hooked(world, "{http: 'http://{address}/release'}", "60s")
    acting, shadow = world.service(), None
    assert isinstance(acting.hands["local"], Hooked)
    acting.stop()
    shadow = world.service(shadow=True)
    assert not isinstance(shadow.hands["local"], Hooked)
