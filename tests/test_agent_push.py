"""How the agent pushes: to a real HTTP server that takes, refuses, hangs or is away."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from structlog.testing import capture_logs

from autoscaler.agent import push
from autoscaler.agent.push import QUEUE_LIMIT, TIMEOUT_S, Body, Pusher
from autoscaler.agent.settings import read_token
from autoscaler.errors import InputError
from tests.peers.pages import until, without_waiting


class Receiver(ThreadingHTTPServer):
    """Answers pushes with `answers`, the last one for ever; an answer is (status, body, headers). None: hang."""

    daemon_threads = True

    def __init__(self, port: int = 0) -> None:
        self.answers: list[tuple[int, bytes, dict[str, str]] | None] = [(204, b"", {})]
        self.bodies: list[dict[str, Any]] = []
        self.headers: list[dict[str, str]] = []
        self.paths: list[str] = []
        self.connections = 0
        self.release = threading.Event()
        super().__init__(("127.0.0.1", port), _Handler)
        self.url = f"http://127.0.0.1:{self.server_address[1]}"
        threading.Thread(target=lambda: self.serve_forever(0.02), daemon=True).start()

    def close(self) -> None:
        self.release.set()
        self.shutdown()
        self.server_close()


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: Receiver

    def setup(self) -> None:
        super().setup()
        self.server.connections += 1

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        answers = self.server.answers
        answer = answers.pop(0) if len(answers) > 1 else answers[0]
        self.server.headers.append(dict(self.headers))
        self.server.paths.append(self.path)
        self.server.bodies.append(json.loads(body))
        if answer is None:
            self.server.release.wait(30)
            return
        status, text, headers = answer
        self.send_response(status)
        for name, value in {**headers, "Content-Length": str(len(text))}.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(text)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - http.server's name
        """Nothing on the screen."""


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    made = Receiver()
    try:
        yield made
    finally:
        made.close()


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Waits of milliseconds; their lengths have a test of their own."""
    monkeypatch.setattr(push, "FIRST_WAIT_S", 0.01)
    monkeypatch.setattr(push, "LAST_WAIT_S", 0.05)


@pytest.fixture
def pushers() -> Iterator[list[Pusher]]:
    made: list[Pusher] = []
    yield made
    for pusher in made:
        pusher.stop()


def pusher(made: list[Pusher], url: str, token: str | None = None, seed: int = 0) -> Pusher:
    made.append(Pusher(url, lambda: token, "$SIGMASCALE_AGENT_TOKEN", np.random.default_rng(seed)))
    made[-1].start()
    return made[-1]


def body(number: int = 0) -> Body:
    return Body(json.dumps({"number": number}).encode(), 1)


def test_pushes_arrive_in_order_over_one_connection_with_the_token(receiver: Receiver, pushers: list[Pusher]) -> None:
    sender = pusher(pushers, receiver.url + "/", "a-secret-of-20-letters")
    for n in range(5):
        sender.offer(body(n))
    until(lambda: sender.counts.taken == 5, "five pushes")
    assert [b["number"] for b in receiver.bodies] == [0, 1, 2, 3, 4]
    assert set(receiver.paths) == {"/api/v1/push"}
    assert receiver.connections == 1
    assert receiver.headers[0]["Authorization"] == "Bearer a-secret-of-20-letters"
    assert receiver.headers[0]["Content-Type"] == "application/json"
    assert (sender.counts.samples, sender.waiting, sender.counts.failed) == (5, 0, 0)


def test_without_a_token_none_is_sent(receiver: Receiver, pushers: list[Pusher]) -> None:
    pusher(pushers, receiver.url).offer(body())
    until(lambda: bool(receiver.headers), "a push")
    assert "Authorization" not in receiver.headers[0]


@pytest.mark.parametrize(
    "answer",
    [
        pytest.param((500, b"", {}), id="a service that broke"),
        pytest.param((503, b"", {"Retry-After": "0"}), id="one that starts"),
        pytest.param((429, b'{"detail": "the queue is full"}', {"Retry-After": "1"}), id="one that has too much"),
        pytest.param((401, b"", {}), id="one that does not know the token"),
        pytest.param((403, b"", {}), id="one that may not let us"),
    ],
)
def test_what_may_pass_is_tried_again_with_the_same_push(
    receiver: Receiver, pushers: list[Pusher], answer: tuple[int, bytes, dict[str, str]]
) -> None:
    receiver.answers = [answer, answer, (204, b"", {})]
    sender = pusher(pushers, receiver.url)
    sender.offer(body(7))
    until(lambda: sender.counts.taken == 1, "the push was taken")
    assert [b["number"] for b in receiver.bodies] == [7, 7, 7]
    assert (sender.counts.failed, sender.counts.refused, sender.counts.dropped) == (2, 0, 0)


@pytest.mark.parametrize("status", [400, 404, 413, 415, 422, 301])
def test_what_the_service_will_never_take_is_counted_and_left(
    receiver: Receiver, pushers: list[Pusher], status: int
) -> None:
    receiver.answers = [
        (status, b'{"title": "Bad", "detail": "samples[0]: no metric", "status": 400}', {"Location": "/elsewhere"}),
        (204, b"", {}),
    ]
    with capture_logs() as lines:
        sender = pusher(pushers, receiver.url)
        sender.offer(body(1))
        sender.offer(body(2))
        until(lambda: sender.counts.taken == 1, "the next one")
    assert [b["number"] for b in receiver.bodies] == [1, 2]
    assert sender.counts.refused == 1
    assert lines[0]["reason"] == f"the service refuses a push with {status}: samples[0]: no metric"


def test_a_refused_token_names_its_file_and_a_new_one_is_found(
    receiver: Receiver, pushers: list[Pusher], tmp_path: Path
) -> None:
    file = tmp_path / "push-token"
    file.write_text("the-old-secret-token\n")
    file.chmod(0o600)
    receiver.answers = [(401, b"", {})]
    with capture_logs() as lines:
        sender = Pusher(receiver.url, lambda: read_token(file), f"the file {file}", np.random.default_rng(0))
        pushers.append(sender)
        sender.start()
        sender.offer(body())
        until(lambda: sender.counts.failed >= 3, "refused a few times")
        file.write_text("the-new-secret-token\n")
        receiver.answers = [(204, b"", {})]
        until(lambda: sender.counts.taken == 1, "taken with the new token")
    assert receiver.headers[-1]["Authorization"] == "Bearer the-new-secret-token"
    assert [line["event"] for line in lines] == ["push failed", "pushes arrive"], "once, and not at each try"
    assert lines[0]["reason"].startswith(f"the service refuses the token of the file {file} (401); it must be one with")
    assert "secret-token" not in repr(lines)
    assert "secret-token" not in repr(sender)


def test_a_token_file_that_vanished_is_no_end(receiver: Receiver, pushers: list[Pusher], tmp_path: Path) -> None:
    file = tmp_path / "push-token"
    with capture_logs() as lines:
        sender = Pusher(receiver.url, lambda: read_token(file), f"the file {file}", np.random.default_rng(0))
        pushers.append(sender)
        sender.start()
        sender.offer(body())
        until(lambda: sender.counts.failed >= 1, "no token")
        file.touch(0o600)
        file.write_text("a-new-token")
        until(lambda: sender.counts.taken == 1, "taken")
    assert "cannot be read" in lines[0]["reason"]


def test_a_service_that_is_away_is_told_with_the_next_step(pushers: list[Pusher]) -> None:
    with capture_logs() as lines:
        sender = Pusher("http://127.0.0.1:9", lambda: None, "nowhere", np.random.default_rng(0))
        pushers.append(sender)
        sender.start()
        sender.offer(body())
        until(lambda: sender.counts.failed >= 1, "tried")
    assert lines[0]["reason"] == "the service does not answer: Connection refused; check --push and whether it runs"


def test_while_the_service_is_away_the_newest_wait_and_the_oldest_are_dropped(pushers: list[Pusher]) -> None:
    away = Receiver()
    port, url = away.server_address[1], away.url
    away.close()
    sender = pusher(pushers, url)
    for n in range(QUEUE_LIMIT + 40):
        sender.offer(body(n))
    until(lambda: sender.counts.failed >= 2, "tried")
    assert sender.waiting <= QUEUE_LIMIT
    assert sender.counts.dropped >= 39
    back = Receiver(port)
    try:
        until(lambda: sender.waiting == 0 and sender.counts.taken >= QUEUE_LIMIT, "all that waited")
        numbers = [b["number"] for b in back.bodies]
        assert numbers == sorted(numbers)
        assert numbers[-1] == QUEUE_LIMIT + 39
        assert len(numbers) + sender.counts.dropped == QUEUE_LIMIT + 40
    finally:
        back.close()


def test_the_queue_has_a_size_in_bytes_too(pushers: list[Pusher], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(push, "QUEUE_BYTES", 1000)
    sender = Pusher("http://127.0.0.1:9", lambda: None, "", np.random.default_rng(0))
    for _ in range(10):
        sender.offer(Body(b"x" * 400, 1))
    assert (sender.waiting, sender.counts.dropped) == (2, 8)
    sender.offer(Body(b"x" * 4000, 1))
    assert sender.waiting == 1, "one that is too large alone is still tried"


def test_a_service_that_hangs_holds_nobody_up(receiver: Receiver, pushers: list[Pusher]) -> None:
    receiver.answers = [None]
    sender = pusher(pushers, receiver.url)
    sender.offer(body())
    until(lambda: bool(receiver.bodies), "the push hangs")
    with without_waiting(TIMEOUT_S):
        for n in range(1000):
            sender.offer(body(n))
        sender.stop()


def test_waits_grow_to_a_limit_and_differ_from_node_to_node(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(push, "LAST_WAIT_S", 60.0)

    def waits(seed: int) -> list[float]:
        sender = Pusher("http://127.0.0.1:9", lambda: None, "", np.random.default_rng(seed))
        sender._wait_s = 0.5
        with capture_logs():
            return [sender._put_off("away") for _ in range(12)]

    first = waits(1)
    for n, wait_s in enumerate(first):
        longest = min(0.5 * 2**n, 60.0)
        assert longest / 2 <= wait_s <= longest
    assert first == waits(1)
    assert first != waits(2)


@pytest.mark.parametrize(
    "url",
    [
        "localhost:9377",
        "ftp://a:9377",
        "http://",
        "http://a:99999",
        "http://ada:secret@a:9377",
        "http://a:9377?x=1",
        "http://[::1",
        "https://a:0",
    ],
)
def test_an_address_that_is_none_is_refused_and_not_repeated(url: str) -> None:
    with pytest.raises(InputError, match=r"--push: is not the address of a service") as caught:
        Pusher(url, lambda: None, "", np.random.default_rng(0))
    assert "secret" not in str(caught.value)


@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        (b'{"detail": "why"}', "why"),
        (b'{"title": "What"}', "What"),
        (b'["list"]', '["list"]'),
        (b"<html>\xff", "a web page; is there a sigmascale service at the address of --push?"),
        (b"", "without a reason"),
        (b"x" * 1000, "x" * 300),
    ],
)
def test_the_reason_of_a_refusal_is_shown_in_short(answer: bytes, reason: str) -> None:
    assert push._reason(answer) == reason
