"""Pushing over HTTP: who may, how much at once, and what a sender is told when it has to wait."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import pytest
from prometheus_client.parser import text_string_to_metric_families

from autoscaler.api.serve import Server
from autoscaler.clock import SimClock
from autoscaler.counts import Counts
from autoscaler.types import Post, Receipt
from collectors.push import Push
from collectors.push.sources import Limits, Sources
from tests.apiworld import SECRETS, AppClient, api_world
from tests.peers.pages import until, without_waiting
from tests.pushed import HEADERS, START, body, piece
from tests.serviceworld import ServiceWorld

PATHS = ("/api/v1/write", "/api/v1/push", "/api/v1/alerts/webhook", "/v1/metrics", "/api/v1/otlp/v1/metrics")
GOOD = {"source": "node-1", "labels": {"pool": "chat"}, "samples": [{"metric": "a", "value": 1, "at": START}]}


@dataclass(slots=True)
class Taken:
    """An API with a push collector that has no thread, on a clock that stands."""

    push: Push
    client: AppClient

    def post(self, path: str, **more: Any) -> httpx.Response:
        return self.client.ask("POST", path, **more)


@pytest.fixture
def taken(tmp_path: Path) -> Taken:
    push = Push(SimClock(START))
    world = api_world(tmp_path, receiver=push, counts=lambda: Counts(push=push))
    return Taken(push, world.client(SECRETS["operator"]))


# --- who may ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize(("secret", "status"), [(None, 401), (SECRETS["viewer"], 403)], ids=["no token", "a viewer"])
def test_pushing_needs_an_operator(tmp_path: Path, path: str, secret: str | None, status: int) -> None:
    push = Push(SimClock(START))
    answer = api_world(tmp_path, receiver=push).client(secret).ask("POST", path, content=b"x")
    assert answer.status_code == status
    assert answer.headers["content-type"] == "application/problem+json"
    assert not any(n for s in push.status() for n in s.refused.values()), "nobody even looked at the body"


def test_an_operator_may(taken: Taken) -> None:
    assert taken.post("push", json=GOOD).status_code == 204
    assert taken.post("write", content=body(*piece(0.0, "a")), headers=HEADERS).status_code == 204
    alert = {"version": "4", "alerts": [{"status": "firing", "labels": {"alertname": "A"}}]}
    assert taken.post("alerts/webhook?pool=chat", json=alert).status_code == 204
    answer = taken.post("/v1/metrics", json={})
    assert (answer.status_code, answer.json()) == (200, {})
    assert {b.source.partition("{")[0] for b in taken.push.collect(START)} == {"node-1", "alerts"}


def test_a_service_without_a_receiver_says_so(tmp_path: Path) -> None:
    answer = api_world(tmp_path, receiver=None).client().ask("POST", "push", json=GOOD)
    assert (answer.status_code, answer.json()["detail"][:28]) == (503, "this service takes no pushes")


# --- wrong bodies -------------------------------------------------------------------------------------------------


def test_a_wrong_body_is_problem_details_with_every_fault(taken: Taken) -> None:
    answer = taken.post("push", json=GOOD | {"interval_s": 0, "samples": [{"metric": "a", "value": "x"}]})
    assert (answer.status_code, answer.headers["content-type"]) == (422, "application/problem+json")
    assert [e["where"] for e in answer.json()["errors"]] == ["interval_s", "samples[0].value"]


@pytest.mark.parametrize("path", ["alerts/webhook?pol=chat", "write?pol=chat"])
def test_a_typo_in_the_address_is_refused(taken: Taken, path: str) -> None:
    answer = taken.post(path, json={})
    assert (answer.status_code, answer.json()["errors"][0]["where"]) == (422, "query.pol")


@pytest.mark.parametrize("path", PATHS)
def test_no_push_is_asked_for_by_get(taken: Taken, path: str) -> None:
    answer = taken.client.get(path)
    assert (answer.status_code, answer.headers["allow"]) == (405, "POST")
    assert answer.headers["content-type"] == "application/problem+json"


def test_the_document_says_of_every_push_who_may_and_how_it_ends(taken: Taken) -> None:
    operations = [taken.client.app.openapi()["paths"][path]["post"] for path in PATHS]
    assert all({"bearer": []} in operation["security"] for operation in operations)
    assert all({"401", "403", "413", "422", "429", "503"} <= operation["responses"].keys() for operation in operations)


@pytest.mark.parametrize(
    ("path", "mebibytes"), [("write", 16), ("push", 8), ("/v1/metrics", 16), ("alerts/webhook", 1)]
)
@pytest.mark.parametrize("announced", [True, False], ids=["announced", "in pieces"])
def test_a_body_beyond_the_limit_is_refused_before_it_is_read(
    taken: Taken, path: str, mebibytes: int, announced: bool
) -> None:
    async def pieces() -> Any:
        for _ in range(mebibytes + 1):
            yield b"\0" * (1 << 20)

    content = b"\0" * ((mebibytes << 20) + 1) if announced else pieces()
    answer = taken.post(path, content=content, headers=HEADERS)
    assert answer.status_code == 413
    assert f"{mebibytes << 20:,} bytes, which is the limit" in answer.json()["detail"]


def test_a_body_beyond_the_usual_limit_is_taken(taken: Taken) -> None:
    samples = [
        {"metric": "a", "labels": {"n": str(n), "filler": "x" * 300}, "value": n, "at": START} for n in range(4000)
    ]
    assert len(json.dumps(samples)) > 1 << 20
    assert taken.post("push", json=GOOD | {"samples": samples}).status_code == 204
    (batch,) = taken.push.collect(START)
    assert len(batch.keys) == 4000


# --- back-pressure ------------------------------------------------------------------------------------------------


def test_while_the_loop_takes_nothing_senders_wait_and_nothing_is_half_taken(taken: Taken) -> None:
    push = taken.push
    push._sources = Sources(Limits(queued_batches=3), push._renumbered)
    push._json._sources = push._sources
    answers = [taken.post("push", json=GOOD | {"at": START, "source": f"s{n}"}) for n in range(5)]
    assert [a.status_code for a in answers] == [204, 204, 204, 429, 429]
    assert answers[-1].headers["retry-after"] == "1"
    assert (
        "batches with 3 values wait to be taken in; nothing of this request was taken" in answers[-1].json()["detail"]
    )
    assert len(push.collect(START)) == 3
    assert taken.post("push", json=GOOD | {"source": "s3"}).status_code == 204
    assert [b.source.partition("{")[0] for b in push.collect(START)] == ["s3"]


@dataclass(slots=True)
class Slow:
    """A receiver that decodes until it is let go."""

    go: threading.Event = field(default_factory=threading.Event)
    busy: threading.Event = field(default_factory=threading.Event)

    def receive(self, post: Post) -> Receipt:
        self.busy.set()
        self.go.wait(30.0)
        return Receipt()


def test_a_body_that_takes_long_to_decode_delays_no_other_answer(tmp_path: Path) -> None:
    slow = Slow()
    server = Server(api_world(tmp_path, receiver=slow).app, "127.0.0.1", 0)
    server.start()
    headers = {"Authorization": f"Bearer {SECRETS['operator']}"}
    try:
        with httpx.Client(base_url=server.url, headers=headers, trust_env=False) as client:
            sent = threading.Thread(
                target=lambda: httpx.post(f"{server.url}/api/v1/push", headers=headers, timeout=30.0)
            )
            sent.start()
            assert slow.busy.wait(10.0)
            with without_waiting(30.0):
                assert client.get("/api/v1/pools", timeout=30.0).status_code == 200
            slow.go.set()
            sent.join(10.0)
    finally:
        slow.go.set()
        server.stop()


# --- counts -------------------------------------------------------------------------------------------------------


def test_the_page_of_own_metrics_counts_what_came(taken: Taken) -> None:
    taken.post("push", json=GOOD)
    taken.post("push", json={})
    taken.post("write", content=b"x", headers={})
    taken.post("write", content=body(*piece(0.0, "a"), *piece(-5000.0, "b")), headers=HEADERS)
    page = taken.client.ask("GET", "/metrics").text
    found = {
        (s.name.removeprefix("sigmascale_"), *(v for _, v in sorted(s.labels.items()))): s.value
        for family in text_string_to_metric_families(page)
        for s in family.samples
        if "push" in s.name
    }
    assert {k: v for k, v in found.items() if v} == {
        ("push_requests_total", "json", "taken"): 1.0,
        ("push_requests_total", "json", "malformed"): 1.0,
        ("push_requests_total", "remote_write", "taken"): 1.0,
        ("push_requests_total", "remote_write", "unsupported"): 1.0,
        ("push_samples_total", "json"): 1.0,
        ("push_samples_total", "remote_write"): 1.0,
        ("push_skipped_total", "remote_write", "too_old"): 1.0,
        ("push_queued_batches",): 1.0,
        ("push_sources",): 2.0,
    }


# --- the whole service --------------------------------------------------------------------------------------------


@pytest.fixture
def world(tmp_path: Path) -> Iterator[ServiceWorld]:
    made = ServiceWorld(tmp_path, "127.0.0.1")
    yield made
    made.end()


def test_a_running_service_decides_on_what_is_pushed_at_once(world: ServiceWorld) -> None:
    """The rules tick every 20 s and a woken tick needs a fifth of that: only a sample's arrival can be that early."""
    world.write_rules(tick="20s")
    with world.running() as client:
        client.until_pool(lambda p: p["want"] is not None, "a first decision")
        labels = {"pool": "chat", "instance": "gateway"}
        pushed = {"source": "gateway", "interval_s": 5, "labels": labels}

        def read() -> Any:
            client.ask("POST", "/push", 204, json=pushed | {"samples": [{"metric": "requests_waiting", "value": 12}]})
            readings = client.ask("GET", "/pools/chat/signals")["readings"]
            reading = next(r for r in readings if r["signal"] == "queue")
            return reading["value"] == 12.0 and reading["quality"] == "fresh"

        until(read, "a reading of what was pushed", 12.0)
