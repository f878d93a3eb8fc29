"""Alerts on a board, receivers that answer as a test says, and a notifier between them."""

from __future__ import annotations

import json
import socket
import ssl
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Condition, Event, Thread, current_thread
from typing import Any

from autoscaler.alerting import Address, Alerting, Receiver
from autoscaler.board import Board, PoolView
from autoscaler.clock import SimClock
from autoscaler.journal import Journal
from autoscaler.movement import Bounds
from autoscaler.notifying.groups import Note, group_key
from autoscaler.notifying.lane import Patience
from autoscaler.notifying.notifier import Notifier
from autoscaler.ports import Clock
from autoscaler.ruleset import RuleSet
from autoscaler.types import Alert, Decision, Reason
from tests.peers.pages import until

SECRET = "T0P-s3cret"
AT = 1_700_000_000.25
WITHIN_S = 60.0


def alert(gpu: int = 0, **changes: Any) -> Alert:
    """A firing alert that was announced."""
    values: dict[str, Any] = {
        "key": f"power{gpu}",
        "pool": "chat",
        "name": "power",
        "severity": "warning",
        "state": "firing",
        "since": AT,
        "text": "gpu_power_watts 520 is above its band 370 to 430",
        "labels": (("gpu", str(gpu)), ("instance", "node:9400")),
        "value": 520.0,
        "started_at": AT,
        "notified_at": AT,
    }
    return Alert(**(values | changes))


def over(found: Alert, at: float = AT + 60) -> Alert:
    """The same alert, resolved."""
    return Alert(**{n: getattr(found, n) for n in Alert.__slots__} | {"state": "resolved", "since": at, "text": "well"})


def note(*alerts: Alert) -> Note:
    """A message on alerts of one name and pool."""
    pairs = (("alertname", alerts[0].name), ("pool", alerts[0].pool))
    return Note(group_key(pairs), pairs, alerts)


def publish(board: Board, *alerts: Alert, pool: str = "chat", at: float = AT, judged: bool = True) -> None:
    """Puts a pool with these alerts on the board, as a tick does."""
    decision = Decision(pool, 1, at, 1, 1, 1, 0, (Reason("rules", 1, "as it is"),)) if judged else None
    board.publish(PoolView(RuleSet(pool, Bounds(1, 9)), at, decision, alerts=alerts))


@dataclass
class Server:
    """A receiver that keeps what it gets, and answers from `answers` first, 200 afterwards."""

    answers: list[int] = field(default_factory=list)
    bodies: list[Any] = field(default_factory=list)
    raw: list[bytes] = field(default_factory=list)
    headers: list[dict[str, str]] = field(default_factory=list)
    attempts: int = 0
    more: dict[str, str] = field(default_factory=dict)
    text: bytes = b""
    hang: Event | None = None
    changed: Condition = field(default_factory=Condition)
    port: int = 0

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/hook/{SECRET}?token={SECRET}"

    def take(self, body: bytes, headers: dict[str, str]) -> int:
        with self.changed:
            self.attempts += 1
            self.headers.append(headers)
            status = self.answers.pop(0) if self.answers else 200
            if status == 200:
                self.raw.append(body)
                self.bodies.append(json.loads(body))
            self.changed.notify_all()
        return status

    def wait_for(self, true: Callable[[], bool], within_s: float = WITHIN_S) -> None:
        """Returns when it holds."""
        with self.changed:
            assert self.changed.wait_for(true, within_s), f"attempts {self.attempts}, messages {len(self.bodies)}"


@contextmanager
def serving(
    *answers: int, hang: Event | None = None, port: int = 0, text: bytes = b"", tls: Path | None = None, **more: str
) -> Iterator[Server]:
    """A running receiver. hang: it answers nothing until that is set. tls: certificate and key. more: headers."""
    got = Server(list(answers), hang=hang, more=more, text=text)

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["content-length"]))
            if got.hang is not None:
                got.hang.wait(WITHIN_S)
            status = got.take(body, {k.lower(): v for k, v in self.headers.items()})
            self.send_response(status)
            for name, value in got.more.items():
                self.send_header(name.replace("_", "-"), value)
            self.send_header("content-length", str(len(got.text)))
            self.end_headers()
            self.wfile.write(got.text)

        def log_message(self, *args: object) -> None:
            """Quiet."""

    class Quiet(ThreadingHTTPServer):
        def handle_error(self, *args: object) -> None:
            """A client that went away is what some tests are about."""

    server = Quiet(("127.0.0.1", port), Handler)
    server.daemon_threads = True
    got.port = server.server_port
    if tls is not None:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(tls)
        server.socket = context.wrap_socket(server.socket, server_side=True)
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


def receiver(*urls: str, name: str = "test", **settings: Any) -> Receiver:
    """A receiver of kind webhook that is told of every change at once, unless said otherwise."""
    given: dict[str, Any] = {"kind": "webhook", "group_interval_s": 0.0}
    return Receiver(name=name, addresses=tuple(Address(url) for url in urls), **(given | settings))


class LaneClock(SimClock):
    """Time that moves when an address waits for its next attempt; the notifier itself waits for news, as ever."""

    def wait(self, until: float, wake: Event | None = None) -> bool:
        if wake is None or current_thread().name != "notify":
            return super().wait(until, wake)
        woken = wake.wait(0.2)
        wake.clear()
        return woken


PATIENT = Patience(jitter=0.0)


@dataclass
class Desk:
    """A board, a journal and the notifier between them and the receivers."""

    notifier: Notifier
    board: Board
    journal: Journal

    def show(self, *alerts: Alert, pool: str = "chat") -> None:
        """A tick leaves these alerts, and tells the notifier."""
        publish(self.board, *alerts, pool=pool)
        self.notifier.send(alerts or (alert(),))

    def settled(self, true: Callable[[Any], bool], number: int = 0) -> Any:
        """The status of an address once it is as expected."""
        until(lambda: true(self.notifier.status()[number]), f"a status, {self.notifier.status()}", WITHIN_S)
        return self.notifier.status()[number]

    def states(self) -> list[str]:
        """The states of all messages in the journal, oldest first."""
        return [m.state for _, m in reversed(self.journal.notified.messages())]


@contextmanager
def desk(
    clock: Clock,
    *receivers: Receiver,
    journal: Journal | None = None,
    folder: Path | None = None,
    patience: Patience = PATIENT,
    start: bool = True,
    **alerting: Any,
) -> Iterator[Desk]:
    """A running notifier. folder: where its journal is kept; without one in memory."""
    kept = journal or Journal("sqlite://" if folder is None else f"sqlite:///{folder / 'journal.db'}")
    board = Board()
    given = Alerting(receivers, **alerting)
    notifier = Notifier(given, board, kept.notified, clock, pools=lambda: ("chat",), patience=patience)
    if start:
        notifier.start()
    try:
        yield Desk(notifier, board, kept)
    finally:
        notifier.stop()
        if journal is None:
            kept.close()


def free_port() -> int:
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        port: int = sock.getsockname()[1]
        return port
