"""What open pages hear, over real sockets: changes, troubles, silence that is none, and the end of the service."""

from __future__ import annotations

import json
import socket
import threading
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from queue import Empty, Queue
from types import MappingProxyType
from typing import Any

import httpx
import pytest

from autoscaler.api import serve
from autoscaler.api.room import live
from autoscaler.api.serve import Server
from autoscaler.clock import monotonic
from tests.apiworld import SECRETS, ApiWorld, api_world
from tests.peers.pages import until, without_waiting

WITHIN_S = 60.0
TOKEN = {"Authorization": f"Bearer {SECRETS['viewer']}"}


@pytest.fixture
def world(tmp_path: Path) -> ApiWorld:
    """Looks and beats come quickly; how often is told by the constants of the module, and is not what is tested."""
    made = api_world(tmp_path)
    made.app.state.streams = live.Streams(pace_s=0.02, beat_s=0.2)
    return made


@pytest.fixture
def server(world: ApiWorld, monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    """A server that would wait for a minute for what is still under way when it is stopped."""
    monkeypatch.setattr(serve, "STOP_S", WITHIN_S)
    running = Server(world.app, "127.0.0.1", 0)
    running.start()
    yield running
    running.stop()


@dataclass
class Page:
    """An open page: what it heard, oldest first, and whether its stream has ended."""

    heard: Queue[dict[str, Any]] = field(default_factory=Queue)
    ended: threading.Event = field(default_factory=threading.Event)
    opened: threading.Event = field(default_factory=threading.Event)
    leave: threading.Event = field(default_factory=threading.Event)

    def listen(self, url: str) -> None:
        """Reads the stream until one side ends it."""
        with (
            httpx.Client(trust_env=False, timeout=WITHIN_S) as client,
            client.stream("GET", f"{url}/ui/events", headers=TOKEN) as answer,
        ):
            assert answer.status_code == 200
            assert answer.headers["content-type"].startswith("text/event-stream")
            self.opened.set()
            for line in answer.iter_lines():
                if line.startswith("data: "):
                    self.heard.put(json.loads(line[6:]))
                if self.leave.is_set():
                    break
        self.ended.set()

    def until(self, holds: Any, what: str) -> dict[str, Any]:
        """The first event for which `holds` is true."""
        deadline = monotonic() + WITHIN_S
        while monotonic() < deadline:
            try:
                event = self.heard.get(timeout=1.0)
            except Empty:
                continue
            if holds(event):
                return event
        pytest.fail(f"not heard within {WITHIN_S:g} s: {what}")


@contextmanager
def page(server: Server) -> Iterator[Page]:
    opened = Page()
    thread = threading.Thread(target=opened.listen, args=(server.url,), daemon=True)
    thread.start()
    assert opened.opened.wait(WITHIN_S)
    try:
        yield opened
    finally:
        opened.leave.set()
        thread.join(WITHIN_S)


def test_a_page_hears_at_once_that_all_is_well_and_then_what_changed(world: ApiWorld, server: Server) -> None:
    board = world.deps.board
    with page(server) as one, page(server) as other:
        for opened in (one, other):
            first = opened.until(lambda _: True, "the first event")
            assert (first["ready"], first["reasons"], first["pools"]) == (True, [], [])
            assert first["build"].startswith("0.0.test-")
        board.publish(replace(board.pools()["chat"], at=world.clock.now()))
        for opened in (one, other):
            assert opened.until(lambda e: e["pools"], "the change")["pools"] == ["chat"]
        board.remove("chat")
        assert one.until(lambda e: e["pools"], "that a pool is gone")["pools"] == ["chat"]


def test_a_page_hears_when_the_loop_is_stuck_although_the_service_answers(world: ApiWorld, server: Server) -> None:
    with page(server) as opened:
        opened.until(lambda e: e["ready"], "a service that does its work")
        world.clock.at += 3600.0
        told = opened.until(lambda e: not e["ready"], "that nothing is judged")
        assert told["reasons"] == ["pool chat was last judged 1h ago; look for errors in the log"]
        board = world.deps.board
        board.publish(replace(board.pools()["chat"], at=world.clock.now(), fleet=None))
        opened.until(lambda e: e["reasons"] == ["1 pool is blind and stays as found: chat"], "a blind pool")


def test_a_quiet_service_is_heard_again_and_again(server: Server) -> None:
    with page(server) as opened:
        for _ in range(4):
            opened.until(lambda e: e["pools"] == [], "a beat")


def test_there_are_so_many_streams_and_no_more(
    world: ApiWorld, server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(live, "MAX_STREAMS", 2)
    streams = world.app.state.streams
    with page(server), page(server) as second:
        refused = httpx.get(f"{server.url}/ui/events", headers=TOKEN, timeout=WITHIN_S, trust_env=False)
        assert (refused.status_code, refused.headers["retry-after"]) == (503, "30")
        assert "2 pages listen already" in refused.json()["detail"]
        second.leave.set()
        until(lambda: streams.open == 1, "a place that is free again", WITHIN_S)
        with page(server):
            assert streams.open == 2
    until(lambda: streams.open == 0, "the end of all", WITHIN_S)


def test_nobody_looks_at_the_board_while_nobody_listens(world: ApiWorld, server: Server) -> None:
    streams = world.app.state.streams
    with page(server):
        assert not streams._poller.done()
    until(streams._poller.done, "the end of the look-out", WITHIN_S)
    with page(server) as again:
        again.until(lambda _: True, "a look-out that began anew")


def test_a_stream_needs_somebody_who_may_look(server: Server) -> None:
    refused = httpx.get(f"{server.url}/ui/events", timeout=WITHIN_S, trust_env=False)
    assert refused.status_code == 401


def test_a_stop_ends_open_streams_instead_of_waiting_for_them(server: Server) -> None:
    with page(server) as one, page(server) as other:
        one.until(lambda _: True, "the first event")
        with without_waiting(WITHIN_S):
            server.stop()
        assert one.ended.wait(WITHIN_S)
        assert other.ended.wait(WITHIN_S)


def test_a_stop_is_not_held_up_by_a_page_that_does_not_read(world: ApiWorld, server: Server) -> None:
    """Many pools with long names: events fill what the kernel and the server keep for a slow reader."""
    board, streams = world.deps.board, world.app.state.streams
    views = {f"{number:04d}{'x' * 180}": board.pools()["chat"] for number in range(2000)}
    with closing(socket.socket()) as deaf:
        deaf.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        deaf.connect((server.host, server.port))
        deaf.sendall(f"GET /ui/events HTTP/1.1\r\nHost: x\r\nAuthorization: {TOKEN['Authorization']}\r\n\r\n".encode())
        until(lambda: streams.open == 1, "the stream", WITHIN_S)
        (listener,) = streams._listeners
        stuck = 0

        def waits() -> bool:
            nonlocal stuck
            board._views = MappingProxyType({name: replace(view) for name, view in views.items()})
            stuck = stuck + 1 if listener.sending and len(listener.pools) == len(views) else 0
            return stuck > 20

        until(waits, "a write that waits for its reader", WITHIN_S)
        with without_waiting(WITHIN_S):
            server.stop()
    assert streams.open == 0


def test_a_page_that_does_not_read_is_hung_up_on(
    world: ApiWorld, server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(live, "SLOW_S", 0.2)
    board, streams = world.deps.board, world.app.state.streams
    views = {f"{number:04d}{'x' * 180}": board.pools()["chat"] for number in range(2000)}
    with closing(socket.socket()) as deaf, page(server) as reader:
        deaf.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        deaf.connect((server.host, server.port))
        deaf.sendall(f"GET /ui/events HTTP/1.1\r\nHost: x\r\nAuthorization: {TOKEN['Authorization']}\r\n\r\n".encode())
        until(lambda: streams.open == 2, "both streams", WITHIN_S)

        def alone() -> bool:
            board._views = MappingProxyType({name: replace(view) for name, view in views.items()})
            return bool(streams.open == 1)

        until(alone, "the end of the one that does not read", WITHIN_S)
        connections = server._uvicorn.server_state.connections
        until(lambda: len(connections) == 1, "one connection, without what the other one never took", WITHIN_S)
        reader.heard = Queue()
        reader.until(lambda e: len(e["pools"]) == len(views), "the other page, which hears on")
