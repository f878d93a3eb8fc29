"""Remote write through HTTP: a process of its own with the API, the push collector, the store and what drains them.

That is the service without its loop and its chores. It is held on one core, and its user and system seconds are
counted, all threads. Each sender has one connection that it keeps and sends its next request when it was answered, as
a shard of Prometheus does, but without waiting for time to pass.
"""

from __future__ import annotations

import multiprocessing
import os
import socket
import threading
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from multiprocessing.connection import Connection

from autoscaler.clock import SystemClock, cpu_seconds, monotonic
from benchmarks.remote_write import Sent

SECRET = "secret-of-the-benchmark"
PATIENCE_S = 30.0


@dataclass(frozen=True, slots=True)
class Passed:
    """What went through: samples, those lost on the way, CPU seconds of the service, seconds by the clock."""

    samples: int
    lost: int
    cpu_s: float
    took_s: float


def through_http(senders: Sequence[Sequence[Sent]]) -> Passed:
    """All senders at once, to a service that begins anew; the first third of their requests is not counted."""
    context = multiprocessing.get_context("spawn")
    ours, theirs = context.Pipe()
    service = context.Process(target=_serve, args=(theirs,), daemon=True)
    service.start()
    try:
        port = ours.recv()
        with ThreadPoolExecutor(len(senders)) as pool:
            connections = [socket.create_connection(("127.0.0.1", port), PATIENCE_S) for _ in senders]
            list(pool.map(_send, connections, [requests[: len(requests) // 3] for requests in senders]))
            before, began = _told(ours), monotonic()
            list(pool.map(_send, connections, [requests[len(requests) // 3 :] for requests in senders]))
            after, took_s = _told(ours), monotonic() - began
        for connection in connections:
            connection.close()
    finally:
        service.terminate()
        service.join()
    return Passed(after.samples - before.samples, after.lost, after.cpu_s - before.cpu_s, took_s)


def _send(connection: socket.socket, requests: Sequence[Sent]) -> None:
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    for sent in requests:
        headers = {**sent.headers, "authorization": f"Bearer {SECRET}"}
        head = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
        connection.sendall(f"POST /api/v1/write HTTP/1.1\r\n{head}\r\n".encode() + sent.body)
        answer = b""
        while not answer.endswith(b"\r\n\r\n"):
            more = connection.recv(4096)
            answer += more
            if not more or not answer.startswith(b"HTTP/1.1 204"[: len(answer)]):
                raise SystemExit(f"a request of Prometheus was refused: {answer.decode(errors='replace')}")


@dataclass(frozen=True, slots=True)
class _Stand:
    """Of the service since its start."""

    samples: int
    lost: int
    cpu_s: float


def _told(service: Connection) -> _Stand:
    service.send(None)
    stand = service.recv()
    assert isinstance(stand, _Stand)
    return stand


def _serve(asked: Connection) -> None:
    """Tell the port, then how things stand whenever that is asked; does not return."""
    from autoscaler.api.app import ApiDeps, create_app
    from autoscaler.api.serve import Server
    from autoscaler.board import Board
    from autoscaler.journal import Journal
    from autoscaler.rulefile.watch import RuleBook
    from autoscaler.store import Store
    from autoscaler.tokens import Token, digest
    from collectors.push import Push

    os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
    clock, wake, store = SystemClock(), threading.Event(), Store(None)
    push = Push(clock, wake)
    push.start()
    draining = threading.Lock()

    def drain() -> None:
        while True:
            clock.wait(clock.now() + 1.0, wake)
            with draining:
                for batch in push.collect(clock.now()):
                    store.add(batch)

    threading.Thread(target=drain, daemon=True).start()
    tokens = (Token("operator", "prometheus", digest(SECRET)),)
    deps = ApiDeps(Board(), Journal(), store, clock, RuleBook(()), "benchmark", tokens, receiver=push)
    server = Server(create_app(deps), "127.0.0.1", 0)
    server.start()
    asked.send(server.port)
    while True:
        asked.recv()
        # What was answered last is still on its way to the store.
        while push.queued:
            clock.wait(clock.now() + 0.001)
        with draining:
            status, stats = push.status()[0], store.stats()
            lost = sum(status.skipped.values()) + stats.late + stats.unusable + stats.over_limit + stats.malformed
            asked.send(_Stand(status.samples, lost, cpu_seconds()))
