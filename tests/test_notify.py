"""Delivery of alerts: to a real receiver over real HTTP, in the form that Alertmanager itself sends."""

from __future__ import annotations

import json
import logging
import socket
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Condition, Event, Thread
from typing import Any

import httpx
import pytest

from autoscaler.clock import SimClock, SystemClock
from autoscaler.errors import InputError
from autoscaler.notify import Notifier, Patience
from autoscaler.types import Alert
from autoscaler.webhook import payload
from tests.peers.programs import program

SECRET = "T0P-s3cret"


def alert(gpu: int = 0, **changes: Any) -> Alert:
    values: dict[str, Any] = {
        "key": f"power{gpu}",
        "pool": "chat",
        "name": "power",
        "severity": "warning",
        "state": "firing",
        "since": 1_700_000_000.25,
        "text": "gpu_power_watts 520 is above its band 370 to 430",
        "labels": (("gpu", str(gpu)), ("instance", "node:9400")),
        "value": 520.0,
        "started_at": 1_700_000_000.25,
        "notified_at": 1_700_000_000.25,
    }
    return Alert(**(values | changes))


@dataclass
class Receiver:
    """A webhook receiver that keeps what it gets and answers from `answers` first, 200 afterwards."""

    answers: list[int] = field(default_factory=list)
    bodies: list[dict[str, Any]] = field(default_factory=list)
    attempts: int = 0
    hang: Event | None = None
    changed: Condition = field(default_factory=Condition)
    port: int = 0

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/hook/{SECRET}?token={SECRET}"

    def take(self, body: bytes) -> int:
        with self.changed:
            self.attempts += 1
            status = self.answers.pop(0) if self.answers else 200
            if status == 200:
                self.bodies.append(json.loads(body))
            self.changed.notify_all()
        return status

    def wait_for(self, true: Callable[[], bool], timeout_s: float = 20.0) -> None:
        with self.changed:
            assert self.changed.wait_for(true, timeout_s), f"attempts {self.attempts}, messages {len(self.bodies)}"


@contextmanager
def receiver(*answers: int, hang: Event | None = None) -> Iterator[Receiver]:
    got = Receiver(list(answers), hang=hang)

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["content-length"]))
            if got.hang is not None:
                got.hang.wait(30)
            status = got.take(body)
            self.send_response(status)
            if status == 302:
                self.send_header("location", f"http://127.0.0.1:{got.port}/elsewhere")
            self.send_header("content-length", "0")
            self.end_headers()

        def log_message(self, *args: object) -> None:
            """Quiet."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    got.port = server.server_port
    thread = Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    try:
        yield got
    finally:
        if hang is not None:
            hang.set()
        server.shutdown()
        thread.join()
        server.server_close()


@contextmanager
def running(notifier: Notifier) -> Iterator[Notifier]:
    notifier.start()
    try:
        yield notifier
    finally:
        notifier.stop()


def settled(notifier: Notifier, true: Callable[[Any], bool]) -> Any:
    """The first receiver's status once it is as expected."""
    for _ in range(2000):
        status = notifier.status()[0]
        if true(status):
            return status
        Event().wait(0.005)
    raise AssertionError(f"not reached: {notifier.status()}")


def free_port() -> int:
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        port: int = sock.getsockname()[1]
        return port


# --- delivery ---------------------------------------------------------------------------------------------------


def test_an_alert_reaches_every_receiver() -> None:
    with receiver() as one, receiver() as two, running(Notifier([one.url, two.url], SystemClock())) as notifier:
        notifier.send([alert()])
        one.wait_for(lambda: len(one.bodies) == 1)
        two.wait_for(lambda: len(two.bodies) == 1)
        for got in (one, two):
            assert got.bodies[0]["alerts"][0]["labels"]["alertname"] == "power"
        assert settled(notifier, lambda s: s.delivered == 1).queued == 0


@pytest.mark.parametrize("status", [500, 503, 429])
def test_a_receiver_in_trouble_is_tried_again_with_growing_waits(status: int) -> None:
    clock = SimClock(1000.0)
    with receiver(status, status, status) as got, running(Notifier([got.url], clock)) as notifier:
        notifier.send([alert()])
        got.wait_for(lambda: len(got.bodies) == 1)
        done = settled(notifier, lambda s: s.delivered == 1)
        assert (got.attempts, done.failed_attempts, done.last_error) == (4, 3, f"HTTP {status}")
        assert clock.now() == 1000.0 + 1 + 2 + 4
        assert done.last_delivered_at == clock.now()


def test_messages_keep_their_order_through_trouble() -> None:
    with receiver(500, 500) as got, running(Notifier([got.url], SimClock())) as notifier:
        notifier.send([alert()])
        notifier.send([alert(state="resolved")])
        got.wait_for(lambda: len(got.bodies) == 2)
        assert [b["status"] for b in got.bodies] == ["firing", "resolved"]


@pytest.mark.parametrize("status", [400, 404, 302])
def test_a_refused_message_is_not_repeated(status: int) -> None:
    with receiver(status) as got, running(Notifier([got.url], SimClock())) as notifier:
        notifier.send([alert()])
        notifier.send([alert(1)])
        got.wait_for(lambda: len(got.bodies) == 1)
        done = settled(notifier, lambda s: s.delivered == 1)
        assert (got.attempts, done.refused, done.last_error) == (2, 1, f"HTTP {status}")


def test_a_message_is_given_up_when_it_is_old() -> None:
    clock = SimClock()
    url = f"http://127.0.0.1:{free_port()}/{SECRET}"
    with running(Notifier([url], clock, patience=Patience(expires_s=300.0))) as notifier:
        notifier.send([alert()])
        done = settled(notifier, lambda s: s.expired == 1)
        assert (done.queued, done.delivered, done.last_error) == (0, 0, "ConnectError")
        assert 300.0 <= clock.now() < 400.0


def test_a_receiver_that_hangs_blocks_neither_the_sender_nor_another_receiver() -> None:
    hang = Event()
    with receiver(hang=hang) as slow, receiver() as quick:
        notifier = Notifier([slow.url, quick.url], SystemClock(), patience=Patience(timeout_s=0.2, queue=5))
        with running(notifier):
            for n in range(50):
                notifier.send([alert(n)])
            quick.wait_for(lambda: quick.bodies[-1]["alerts"][0]["labels"]["gpu"] == "49" if quick.bodies else False)
            stuck = settled(notifier, lambda s: s.failed_attempts >= 1)
            assert stuck.queued <= 5
            assert stuck.dropped >= 44
            assert stuck.last_error == "ReadTimeout"


def test_a_stop_delivers_what_is_queued() -> None:
    with receiver() as got:
        notifier = Notifier([got.url], SystemClock())
        for n in range(20):
            notifier.send([alert(n)])
        notifier.start()
        notifier.stop()
        assert len(got.bodies) == 20


def test_a_stop_does_not_wait_for_a_dead_receiver() -> None:
    clock = SystemClock()
    notifier = Notifier([f"http://127.0.0.1:{free_port()}/"], clock, patience=Patience(first_wait_s=60.0))
    with running(notifier):
        notifier.send([alert()])
        settled(notifier, lambda s: s.failed_attempts == 1)
        began = clock.now()
    assert clock.now() - began < 3
    assert notifier.status()[0].queued == 1


def test_without_receivers_nothing_is_queued() -> None:
    with running(Notifier([], SystemClock())) as notifier:
        notifier.send([alert()])
        assert notifier.status() == ()


def test_secrets_in_urls_are_never_written(
    caplog: pytest.LogCaptureFixture, capsys: pytest.CaptureFixture[str]
) -> None:
    """Neither our own log lines nor those of the HTTP library, nor a status, show more than the host."""
    with (
        caplog.at_level(logging.DEBUG),
        receiver(500, 404) as got,
        running(Notifier([got.url], SimClock())) as notifier,
    ):
        notifier.send([alert()])
        done = settled(notifier, lambda s: s.refused == 1)
    output = capsys.readouterr()
    written = caplog.text + output.out + output.err + repr(done) + repr(notifier.status())
    assert SECRET not in written
    assert f"http://127.0.0.1:{got.port}" in written


def test_a_url_that_is_none_is_refused_without_being_shown() -> None:
    with pytest.raises(InputError) as caught:
        Notifier([f"hooks.example/{SECRET}"], SystemClock())
    assert "http://" in str(caught.value)
    assert SECRET not in str(caught.value)


# --- against Alertmanager ---------------------------------------------------------------------------------------


@pytest.fixture
def alertmanager(tmp_path: Path) -> Iterator[Callable[[str], str]]:
    """Starts a real Alertmanager that posts to a webhook URL; gives its base URL."""
    executable = program("prometheus-alertmanager", "prometheus-alertmanager", "alertmanager")
    started: list[subprocess.Popen[bytes]] = []
    output = tmp_path / "alertmanager.log"

    def start(webhook: str) -> str:
        config = tmp_path / "am.yml"
        config.write_text(
            "route: {receiver: test, group_wait: 0s, group_by: [alertname, pool]}\n"
            f"receivers: [{{name: test, webhook_configs: [{{url: '{webhook}'}}]}}]\n"
        )
        port = free_port()
        with output.open("wb") as log:
            started.append(
                subprocess.Popen(
                    [
                        executable,
                        f"--config.file={config}",
                        f"--web.listen-address=127.0.0.1:{port}",
                        "--cluster.listen-address=",
                        f"--storage.path={tmp_path / 'data'}",
                    ],
                    stdout=log,
                    stderr=log,
                )
            )
        base = f"http://127.0.0.1:{port}"
        for _ in range(400):
            if started[0].poll() is not None:
                break
            try:
                if httpx.get(f"{base}/-/ready", timeout=2).status_code == 200:
                    return base
            except httpx.TransportError:
                pass
            Event().wait(0.05)
        raise AssertionError(f"Alertmanager did not get ready:\n{output.read_text()}")

    yield start
    for process in started:
        process.terminate()
        try:
            process.wait(10)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait(10)


@pytest.mark.peer
def test_our_payload_has_the_shape_of_alertmanager_s_own(alertmanager: Callable[[str], str]) -> None:
    """The same alert, posted to a real Alertmanager and sent by us, arrives with the same keys, types and identity."""
    ours = alert()
    with receiver() as got:
        base = alertmanager(got.url)
        sent = json.loads(payload([ours], "http://scale.example"))["alerts"][0]
        told = {"labels": sent["labels"], "annotations": sent["annotations"], "generatorURL": "http://scale.example"}
        assert httpx.post(f"{base}/api/v2/alerts", json=[told], timeout=5).status_code == 200
        got.wait_for(lambda: len(got.bodies) == 1)
        with running(Notifier([got.url], SystemClock(), external_url="http://scale.example")) as notifier:
            notifier.send([ours])
            got.wait_for(lambda: len(got.bodies) == 2)
    theirs, mine = got.bodies
    assert shape(mine) == shape(theirs)
    for key in ("status", "version", "groupLabels", "commonLabels", "commonAnnotations", "groupKey", "truncatedAlerts"):
        assert mine[key] == theirs[key], key
    for key in ("status", "labels", "annotations", "endsAt", "fingerprint"):
        assert mine["alerts"][0][key] == theirs["alerts"][0][key], key


def shape(value: Any) -> Any:
    """Keys and types without values; label sets count by their type alone."""
    if isinstance(value, dict):
        return {key: shape(inner) for key, inner in sorted(value.items())}
    if isinstance(value, list):
        return [shape(inner) for inner in value]
    return type(value).__name__
