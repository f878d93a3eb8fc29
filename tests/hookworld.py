"""A server on loopback that is asked to drain, and instances to ask it about."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from autoscaler.types import Instance


@dataclass
class Draining:
    """What the server was asked, and what it answers: (status, body, headers), the last one for ever."""

    port: int = 0
    asked: list[tuple[str, str]] = field(default_factory=list)
    headers: list[dict[str, str]] = field(default_factory=list)
    answers: list[tuple[int, bytes, dict[str, str]]] = field(default_factory=lambda: [(200, b"", {})])
    hanging: threading.Event | None = None

    @property
    def address(self) -> str:
        return f"127.0.0.1:{self.port}"

    def instance(self, **changes: Any) -> Instance:
        """A draining instance that serves there."""
        given: dict[str, Any] = {"id": "i-1", "pool": "chat", "offer": "local/process", "state": "draining"}
        return Instance(**{**given, "since": 10.0, "address": self.address, **changes})


@contextmanager
def draining() -> Iterator[Draining]:
    """The server, at work until the end of the block. One that hangs is let go then."""
    world = Draining()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            self.rfile.read(int(self.headers.get("Content-Length") or 0))
            world.asked.append((self.command, self.path))
            world.headers.append(dict(self.headers))
            if world.hanging is not None:
                world.hanging.wait(30.0)
            status, body, more = world.answers.pop(0) if len(world.answers) > 1 else world.answers[0]
            self.send_response(status)
            for name, value in more.items():
                self.send_header(name, value)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002
            """Quiet."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    world.port = int(server.server_address[1])
    thread = threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True)
    thread.start()
    try:
        yield world
    finally:
        if world.hanging is not None:
            world.hanging.set()
        server.shutdown()
        thread.join(5.0)
        server.server_close()
