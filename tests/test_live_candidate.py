"""A candidate in a running service: marked everywhere, acting nowhere, followed over reloads and a restart."""

from __future__ import annotations

import asyncio
import json
import os
from collections.abc import Iterator
from itertools import count
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest

from autoscaler.clock import SystemClock, monotonic
from autoscaler.queries import definition
from autoscaler.rulefile.reader import read_rules
from autoscaler.store import Store
from autoscaler.types import Past
from tests.apiworld import RULES as RECORDED
from tests.cliworld import Say, speaker
from tests.peers.pages import Pages, until
from tests.serviceworld import RULES, WITHIN_S, WORKER, Client, ServiceWorld

_numbers = count()
RATE = 18.0
"""More than any rule file here may serve, so that its `max` decides and a scrape which comes late changes nothing."""
DEMAND = """\
signals:
  load: {metric: requests_arrived_total, rate: 5s}
rules:
  - {name: enough, target: {signal: load, per_replica: 1 requests/s}}
"""
"""In place of the signals and rules of the usual pool, whose replicas serve 5/s."""


@pytest.fixture
def world(tmp_path: Path) -> Iterator[ServiceWorld]:
    host = f"127.{210 + next(_numbers) % 40}.{os.getpid() // 250 % 250}.{1 + os.getpid() % 250}"
    made = ServiceWorld(tmp_path, host)
    (tmp_path / "rules" / "candidates").mkdir(parents=True)
    made.rules.write_text(text(most=2) + "shadow: {file: candidates/next.yaml}\n", encoding="utf-8")
    candidate(made).write_text(text(most=4), encoding="utf-8")
    yield made
    made.end()


@pytest.fixture
def say(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Say:
    return speaker(monkeypatch, capsys)


def candidate(world: ServiceWorld) -> Path:
    return world.rules.parent / "candidates" / "next.yaml"


def text(most: int) -> str:
    """The pool of the tests, at so many replicas at most."""
    whole = RULES.format(least=1, most=most, more="", register="20s", tick="200ms", worker=WORKER)
    head, _, rest = whole.partition("signals:\n")
    return head + DEMAND + rest[rest.index("scale_in:") :]


def gateway(pages: Pages) -> dict[str, Any]:
    """A setting: a page whose counter rises by `RATE` per second."""
    began = monotonic()

    async def rising(writer: asyncio.StreamWriter) -> None:
        body = f"# TYPE requests_arrived_total counter\nrequests_arrived_total {RATE * (monotonic() - began):.3f}\n"
        writer.write(f"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: {len(body)}\r\n\r\n".encode())
        writer.write(body.encode())
        await writer.drain()

    pages.answers["/metrics"] = rising
    labels = {"pool": "chat", "instance": "gateway"}
    return {"targets": [{"url": pages.url("/metrics"), "labels": labels, "interval": "1s", "timeout": "900ms"}]}


def shadow(client: Client) -> dict[str, Any]:
    return dict(client.ask("GET", "/pools/chat/shadow"))


def until_shadow(client: Client, holds: Any, what: str) -> dict[str, Any]:
    """The first report for which `holds` is true."""
    seen: dict[str, Any] = {}

    def look() -> bool:
        if client.pool():
            seen.update(shadow(client))
        return bool(seen and holds(seen))

    try:
        until(look, what, WITHIN_S)
    except AssertionError as error:
        raise AssertionError(f"{error}; last seen {seen}") from None
    return seen


def page_of(client: Client, path: str) -> httpx.Response:
    return httpx.get(f"http://{client.address}{path}", trust_env=False, timeout=WITHIN_S)


def test_a_candidate_runs_beside_its_pool_over_two_reloads_and_a_restart(world: ServiceWorld, say: Say) -> None:
    with Pages() as pages:
        given = gateway(pages)
        with world.running(**given) as client:
            found = until_shadow(client, lambda s: s["candidate"]["ready"] == 4, "four imagined replicas")
            client.until_ready(2)
            assert len(world.workers()) == 2, "nothing is done for a candidate"
            marked_everywhere(client)
            assert found["demand"] == "load"
            assert found["problem"] == ""
            told_by_the_command(client, say)
            first, since = found["candidate"]["rules"]["hash"], shadow(client)["compared"]["since"]

            candidate(world).write_text(text(most=5), encoding="utf-8")
            found = until_shadow(
                client,
                lambda s: s["candidate"]["rules"]["hash"] != first and s["compared"]["since"] > since,
                "the new candidate",
            )
            second = until_shadow(client, lambda s: s["candidate"]["want"] == 5, "five imagined replicas")

            candidate(world).write_text("pool: chat\nlimits: {min: 9, max: 5}\n", encoding="utf-8")
            broken = until_shadow(client, lambda s: s["problem"], "a problem")
            assert "9 is more than max 5" in broken["problem"]
            assert broken["candidate"]["rules"]["hash"] == second["candidate"]["rules"]["hash"]
            ready = page_of(client, "/readyz").json()
            assert ready["ready"]
            assert any("candidate of pool chat" in warning for warning in ready["warnings"])
            assert client.ask("GET", "/rules")["problems"] == []
            candidate(world).write_text(text(most=5), encoding="utf-8")
            until_shadow(client, lambda s: not s["problem"], "a mended candidate")
            last = until_shadow(client, lambda s: s["candidate"]["ready"] == 5, "five imagined replicas")
        with world.running(**given) as client:
            again = until_shadow(client, lambda s: s["candidate"]["ready"] is not None, "the candidate after a restart")
            assert again["candidate"]["ready"] == 5, "the fleet was kept"
            kept = until_shadow(client, lambda s: s["compared"] is not None, "the account after a restart")
            assert kept["compared"]["since"] == last["compared"]["since"]
            assert kept["compared"]["unwatched_s"] > 0


def marked_everywhere(client: Client) -> None:
    """A candidate is a pool that is known to be none."""
    pools = {p["pool"]: p["shadow_of"] for p in client.ask("GET", "/pools")["pools"]}
    assert pools == {"chat": "", "chat~shadow": "chat"}
    assert "imagined" in client.ask("GET", "/pools/chat~shadow/endpoints", expected=404)["detail"]
    assert client.ask("GET", "/pools/chat~shadow/explain")["text"].startswith("chat~shadow, decision")
    assert client.ask("GET", "/pools/chat~shadow/decisions")["decisions"]
    assert "warnings" not in page_of(client, "/readyz").json()
    metrics = page_of(client, "/metrics").text
    assert "~shadow" not in metrics
    assert 'sigmascale_shadow_wanted_replicas{pool="chat",side="candidate"} 4.0' in metrics
    assert 'sigmascale_shadow_wanted_replicas{pool="chat",side="active"} 2.0' in metrics


def told_by_the_command(client: Client, say: Say) -> None:
    code, out, err = say("compare", "--live", "chat", "--url", f"http://{client.address}")
    assert (code, err) == (0, "")
    assert "replica-hours" in out
    assert "candidate" in out
    assert "at most 4 (limits.max)" in out, "why the candidate wants what it wants"
    code, _, err = say("compare", "--live", "other", "--url", f"http://{client.address}")
    assert code == 2
    assert "there is no pool 'other'" in err


def test_a_service_that_starts_with_a_broken_candidate_scales_as_if_there_were_none(world: ServiceWorld) -> None:
    candidate(world).write_text("pool: other\n", encoding="utf-8")
    with Pages() as pages, world.running(**gateway(pages)) as client:
        client.until_ready(2)
        found = shadow(client)
        assert found["candidate"]["want"] is None
        assert found["problem"]
        assert found["compared"] is None
        assert [p["pool"] for p in client.ask("GET", "/pools")["pools"]] == ["chat"]
        world.rules.write_text(text(most=2), encoding="utf-8")
        refused = "name one in its rule file"
        until(lambda: refused in str(httpx.get(f"http://{client.address}/api/v1/pools/chat/shadow").text), refused)


def test_a_running_service_is_asked_for_the_demand_that_it_recorded(world: ServiceWorld, say: Say) -> None:
    """More points than one answer holds, in a folder whose newest file the service keeps to itself."""
    world.rules.write_text(RECORDED, encoding="utf-8")
    next_rules = world.folder / "next.yaml"
    next_rules.write_text(RECORDED.replace("per_replica: auto", "per_replica: 4 requests/s"), encoding="utf-8")
    load = read_rules(world.rules).signals[0]
    at = SystemClock().now() - np.arange(2 * 3600, 0, -1, dtype=np.float64)
    store = Store(world.data / "metrics")
    store.fill(Past("chat", "load", at, np.full(at.size, 12.0), definition(load)))
    store.close()
    words = ("compare", world.rules, next_rules, "--since", "2h", "--json")
    with world.running(shadow="true") as client:
        client.until_ticked(1)
        code, out, err = say(*words, "--server", "--url", f"http://{client.address}")
        assert (code, err) == (0, "")
        asked = json.loads(out[out.index("{\n") :])
        assert f"http://{client.address}: chat, load" in asked["demand"]["from"]
    code, out, err = say(*words, "--data", world.data)
    assert (code, err) == (0, "")
    read = json.loads(out[out.index("{\n") :])
    assert asked["a"]["demand_work"] == pytest.approx(read["a"]["demand_work"], rel=0.02)
    assert asked["a"]["demand_work"] == pytest.approx(12.0 * 3600, rel=0.05), "half of what is there is warm-up"
    assert asked["difference"]["replica_hours"] == pytest.approx(read["difference"]["replica_hours"], rel=0.05)
