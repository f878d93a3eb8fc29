"""A running service whose rule file goes: its workers stay until a person lets them go."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from itertools import count
from pathlib import Path

import httpx
import pytest

from tests.peers.pages import until
from tests.serviceworld import WITHIN_S, Client, ServiceWorld

_numbers = count()
WHO = {"author": "ada", "reason": "moved to another region"}


@pytest.fixture
def world(tmp_path: Path) -> Iterator[ServiceWorld]:
    """A folder and a loopback address that no other test uses, so that ports never collide."""
    host = f"127.{215 + next(_numbers) % 30}.{os.getpid() // 250 % 250}.{1 + os.getpid() % 250}"
    made = ServiceWorld(tmp_path, host)
    made.write_rules(least=2)
    (tmp_path / "rules" / "spare.yaml").write_text("pool: spare\nlimits: {min: 0, max: 1}\n", encoding="utf-8")
    yield made
    made.end()


def alone(client: Client) -> list[str]:
    return [p["pool"] for p in client.ask("GET", "/ownerless")["pools"]]


def judged(client: Client) -> bool:
    return "chat" in [p["pool"] for p in client.ask("GET", "/pools")["pools"]]


def test_workers_of_a_pool_without_rules_stay_until_they_are_released(world: ServiceWorld) -> None:
    with world.running() as client:
        until(lambda: judged(client), "a judged pool", WITHIN_S)
        client.until_ready(2)
        world.rules.unlink()
        until(lambda: alone(client) == ["chat"], "a pool without rules", WITHIN_S)
        ready = httpx.get(f"http://{client.address}/readyz", trust_env=False).json()
        assert "2 instances of pool chat" in ready["warnings"][0]
        page = httpx.get(f"http://{client.address}/metrics", trust_env=False).text
        assert 'sigmascale_ownerless_instances{pool="chat"} 2.0' in page
        assert len(world.workers()) == 2
        client.ask("POST", "/ownerless/chat/release", json=WHO)
        # Their page tells nobody how much is in flight, so they are drained until the deadline; it can be taken back.
        until(lambda: judged(client) and client.pool()["draining"] == 2, "drains", WITHIN_S)
        end = {"author": "ada", "reason": "by mistake"}
        client.ask("DELETE", "/pools/chat/overrides/release", expected=204, params=end)
        assert len(world.workers()) == 2
        world.write_rules(least=2)
        until(lambda: judged(client), "a judged pool", WITHIN_S)
        client.until_ready(2)
        assert alone(client) == []
    assert len(world.workers()) == 2


def test_a_worker_that_is_killed_is_a_crash_and_nobodys_hand(world: ServiceWorld) -> None:
    with world.running() as client:
        until(lambda: judged(client), "a judged pool", WITHIN_S)
        client.until_ready(2)
        (first, *_) = world.workers()
        os.kill(first, signal.SIGKILL)
        until(lambda: first not in world.workers() and len(world.workers()) == 2, "a replacement", WITHIN_S)
        client.until_ready(2)
        reasons = [r["source"] for d in client.decisions() for r in d["reasons"]]
        assert not [source for source in reasons if source.startswith("manual:")]
