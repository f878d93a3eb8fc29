"""The service as it runs: real workers, real HTTP, restarts, and beginnings that fail half-way."""

from __future__ import annotations

import os
import signal
import socket
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from itertools import count, pairwise
from pathlib import Path
from typing import Any

import httpx
import pytest

from autoscaler.clock import monotonic
from autoscaler.errors import InputError, SigmascaleError, StorageError
from tests.peers.pages import Pages, answer, until
from tests.serviceworld import WITHIN_S, ServiceWorld, receiver

_numbers = count()
WHO = {"author": "ada", "reason": "test"}


@pytest.fixture
def world(tmp_path: Path) -> Iterator[ServiceWorld]:
    """A folder and a loopback address that no other test uses, so that ports never collide."""
    host = f"127.{60 + next(_numbers) % 150}.{os.getpid() // 250 % 250}.{1 + os.getpid() % 250}"
    made = ServiceWorld(tmp_path, host)
    made.write_rules()
    yield made
    made.end()


def waiting(queue: int) -> Callable[..., Any]:
    return answer(f"requests_waiting {queue}\n".encode())


def watching(pages: Pages) -> dict[str, Any]:
    """A setting: the page /metrics as the pool's gateway, read each second."""
    labels = {"pool": "chat", "instance": "gateway"}
    return {"targets": [{"url": pages.url("/metrics"), "labels": labels, "interval": "1s", "timeout": "900ms"}]}


def test_a_pool_comes_up_and_its_endpoints_answer(world: ServiceWorld) -> None:
    world.write_rules(least=2)
    with world.running() as client:
        client.until_ready(2)
        endpoints = client.endpoints()
        assert len(endpoints) == 2
        for endpoint in endpoints:
            assert httpx.get(f"http://{endpoint}/health", trust_env=False).status_code == 200
        assert sorted(i["address"] for i in client.pool()["instances"]) == sorted(endpoints)
        assert httpx.get(f"http://{client.address}/readyz", trust_env=False).json() == {"ready": True, "reasons": []}
    assert len(world.workers()) == 2, "a stop of the service ends no worker"


def test_a_changed_rule_file_moves_the_running_pool_and_a_broken_one_keeps_the_last_good(world: ServiceWorld) -> None:
    with world.running() as client:
        client.until_ready(1)
        world.write_rules(least=3, most=5)
        client.until_pool(lambda p: (p["min"], p["max"]) == (3, 5), "the new bounds")
        good = client.until_ready(3)["rules"]["hash"]
        world.rules.write_text("pool: chat\nlimits: {min: 9, max: 5}\n", encoding="utf-8")
        until(lambda: client.ask("GET", "/rules")["problems"], "a problem", WITHIN_S)
        told = client.ask("GET", "/rules")
        assert [source["hash"] for source in told["sources"]] == [good]
        assert {problem["file"] for problem in told["problems"]} == {str(world.rules)}
        client.until_ticked(3)
        view = client.pool()
        assert (view["min"], view["max"], view["ready"], view["rules"]["hash"]) == (3, 5, 3, good)


def test_a_restarted_service_adopts_the_workers_that_run(world: ServiceWorld) -> None:
    world.write_rules(least=2)
    with world.running() as client:
        client.until_ready(2)
        before, endpoints = world.workers(), client.endpoints()
    with world.running() as client:
        client.until_ready(2)
        client.until_ticked(5)
        assert client.endpoints() == endpoints
        assert world.workers() == before, "the same processes, and no other"


def test_a_worker_that_never_becomes_ready_is_given_up_and_replaced_ever_more_rarely(world: ServiceWorld) -> None:
    """It is given a second; then the offer rests for 1, 2, 4 seconds, and the pool says why it is short."""
    world.write_rules(more=f" --boot-file {world.folder / 'never'}", register="1s")
    seen: set[str] = set()
    with world.running() as client:

        def four_seen() -> bool:
            seen.update(world.workers().values())
            return len(seen) >= 4

        until(four_seen, "a fourth worker", 30.0)
        plans = [client.ask("GET", f"/pools/chat/explain?decision={d['number']}")["plan"] for d in client.decisions()]
        ordered = [a["at"] for p in plans if p for a in p["actions"] if a["kind"] == "launch"]
        waits = [later - earlier for earlier, later in pairwise(ordered)][:3]
        assert len(waits) == 3
        assert all(wait >= 1.0 + rest for wait, rest in zip(waits, (1.0, 2.0, 4.0), strict=True)), waits
        assert any("not ready 1 s after it was ordered" in r["text"] for p in plans if p for r in p["reasons"])
        short = client.until_pool(lambda p: p["plan"] and p["plan"]["reasons"] and p["pending"] == 0, "a short pool")
        why = short["plan"]["reasons"][-1]["text"]
        assert why.startswith("1 replicas short: no offer can be had now, next try in ")
        assert why.endswith("what was launched of local/tiny/on_demand never became ready")
        assert client.endpoints() == []
        until(lambda: len(world.workers()) <= 1, "those that were given up are gone", WITHIN_S)


def test_an_override_acts_within_two_ticks_and_its_end_gives_the_pool_back(world: ServiceWorld) -> None:
    world.write_rules(tick="1s")
    with Pages({"/metrics": waiting(8)}) as pages, world.running(**watching(pages)) as client:
        client.until_ready(2)
        put = client.ask("PUT", "/pools/chat/overrides/game", json={"kind": "pin", "replicas": 4, "for": "10m", **WHO})
        client.until_pool(lambda p: p["want"] == 4, "the pin")
        (first,) = [d for d in client.decisions() if d["want"] == 4 and d["current"] == 2]
        assert first["at"] - put["created_at"] <= 2.0
        assert any(r["source"] == "override" and "by ada" in r["text"] for r in first["reasons"])
        client.until_ready(4)
        client.ask("DELETE", "/pools/chat/overrides/game", 204, params=WHO)
        client.until_ready(2)
        until(lambda: len(world.workers()) == 2, "the two that are not needed are gone", WITHIN_S)


def test_an_alert_reaches_the_webhook_and_so_does_its_end(world: ServiceWorld) -> None:
    with (
        Pages({"/metrics": waiting(1)}) as pages,
        receiver() as (url, messages),
        world.running(webhooks=[url], **watching(pages)) as client,
    ):
        client.until_ready(1)
        assert messages == []
        pages.answers["/metrics"] = waiting(60)
        until(lambda: len(messages) == 1, "the alert", WITHIN_S)
        assert client.ask("GET", "/alerts")["alerts"][0]["state"] == "firing"
        pages.answers["/metrics"] = waiting(1)
        until(lambda: len(messages) == 2, "its end", WITHIN_S)
    assert [m["status"] for m in messages] == ["firing", "resolved"]
    labels = {"alertname": "long queue", "pool": "chat", "severity": "critical"}
    assert messages[0]["alerts"][0]["labels"] == labels


def taken_port(world: ServiceWorld, ends: ExitStack) -> dict[str, Any]:
    taken = ends.enter_context(socket.create_server((world.host, 0)))
    return {"listen": "{}:{}".format(*taken.getsockname())}


def data_nowhere(_: ServiceWorld, __: ExitStack) -> dict[str, Any]:
    # Not even root may make a folder here.
    return {"data_dir": "/proc/sigmascale"}


def data_of_another(world: ServiceWorld, ends: ExitStack) -> dict[str, Any]:
    # In a process of its own: its threads come and go as they like.
    ends.enter_context(world.process())
    return {}


def journal_is_a_folder(world: ServiceWorld, _: ExitStack) -> dict[str, Any]:
    (world.data / "journal.db").mkdir(parents=True)
    return {}


def wrong_provider(_: ServiceWorld, __: ExitStack) -> dict[str, Any]:
    return {"providers": {"local": {"hots": "127.0.0.1"}, "sim": {}}}


def wrong_tls(world: ServiceWorld, _: ExitStack) -> dict[str, Any]:
    (world.folder / "file.pem").write_text("no certificate", encoding="utf-8")
    return {name: str(world.folder / "file.pem") for name in ("tls_cert", "tls_key")}


@pytest.mark.parametrize(
    ("spoil", "kind", "advice"),
    [
        pytest.param(taken_port, InputError, "stop it or choose another port with --listen HOST:PORT", id="port taken"),
        pytest.param(data_nowhere, InputError, "or name another", id="a folder that cannot be made"),
        pytest.param(data_of_another, InputError, "stop that one or name another with --data-dir", id="locked"),
        pytest.param(journal_is_a_folder, StorageError, "journal.db", id="a journal that does not open"),
        pytest.param(wrong_provider, InputError, "hots", id="a setting that no provider has"),
        pytest.param(wrong_tls, InputError, "both must be PEM files", id="no certificate"),
    ],
)
def test_a_service_that_cannot_start_says_what_to_do_and_leaves_nothing_running(
    world: ServiceWorld,
    spoil: Callable[[ServiceWorld, ExitStack], dict[str, Any]],
    kind: type[SigmascaleError],
    advice: str,
) -> None:
    """No thread, no worker and no lock: what was in the way is taken away, and the same folder starts."""
    with ExitStack() as ends:
        settings = spoil(world, ends)
        before, workers = set(threading.enumerate()), world.workers()
        with pytest.raises(kind) as refused:
            world.service(**settings).start()
        assert advice in str(refused.value)
        until(lambda: not [t for t in set(threading.enumerate()) - before if t.is_alive()], "no thread is left")
        assert world.workers() == workers or spoil is data_of_another
    with world.running(**({"data_dir": str(world.folder / "fresh")} if kind is StorageError else {})) as client:
        client.until_ready(1)


def test_a_service_that_was_never_started_can_be_stopped(world: ServiceWorld) -> None:
    before = set(threading.enumerate())
    world.service().stop()
    until(lambda: set(threading.enumerate()) <= before, "no thread is left")
    with world.running():
        assert world.data.is_dir()


def test_a_stop_in_the_middle_of_a_drain_leaves_it_to_the_next_run(world: ServiceWorld) -> None:
    """Both workers are busy, so that whichever goes still has a request when SIGTERM comes; nobody loses it."""
    world.write_rules(least=1)
    pin = {"kind": "pin", "for": "10m", **WHO}
    with ExitStack() as ends:
        pool = ends.enter_context(ThreadPoolExecutor(2))
        with world.process() as (process, client):
            client.until_pool(lambda p: p["ready"] == 1, "the first worker")
            client.ask("PUT", "/pools/chat/overrides/size", json={**pin, "replicas": 2})
            client.until_ready(2)
            addresses = client.endpoints()
            answers = [pool.submit(httpx.post, f"http://{a}/work", timeout=60.0, trust_env=False) for a in addresses]
            client.until_pool(lambda p: [i["in_flight"] for i in p["instances"]] == [1, 1], "two busy workers")
            client.ask("PUT", "/pools/chat/overrides/size", json={**pin, "replicas": 1})
            client.until_pool(lambda p: p["draining"] == 1, "a drain")
            began = monotonic()
            process.send_signal(signal.SIGTERM)
            assert process.wait(WITHIN_S) == 0
            assert monotonic() - began < 8.0
        assert len(world.workers()) == 2
        with world.process() as (_, client):
            client.until_pool(lambda p: (p["ready"], p["draining"]) == (1, 1), "the drain goes on")
            for address in addresses:
                httpx.post(f"http://{address}/release", trust_env=False)
            client.until_ready(1)
            until(lambda: len(world.workers()) == 1, "one worker", WITHIN_S)
        assert [answer.result().text for answer in answers] == ["done", "done"]


def test_a_kill_after_a_launch_and_a_restart_leave_exactly_one_worker(world: ServiceWorld) -> None:
    """The launch is in the journal before the process is there, and the process carries the launch's name."""
    loaded = world.folder / "loaded"
    world.write_rules(more=f" --boot-file {loaded}")
    with world.process() as (process, _):
        until(world.workers, "a worker", WITHIN_S)
        process.kill()
        process.wait(WITHIN_S)
    before = world.workers()
    assert len(before) == 1
    with world.process() as (_, client):
        client.until_pool(lambda p: p["pending"] == 1, "the worker that was launched before the kill")
        loaded.touch()
        client.until_ready(1)
        client.until_ticked(5)
        assert world.workers() == before
