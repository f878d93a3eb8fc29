"""The metadata services of EC2 and Azure on loopback, as strict as the real ones about tokens and headers."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlsplit

TIME = "2026-11-22T10:02:00Z"
TIME_S = 1795341720.0


@dataclass
class Metadata:
    """What a machine is told. cloud: whose service it is. tokens: those that are valid now.

    action, rebalance: of EC2, None = not announced. events: of Azure. broken: answered to all questions instead.
    """

    cloud: str = "aws"
    port: int = 0
    instance: str = "i-0123456789abcdef0"
    action: dict[str, Any] | None = None
    rebalance: dict[str, Any] | None = None
    events: list[dict[str, Any]] = field(default_factory=list)
    tokens: set[str] = field(default_factory=set)
    given: int = 0
    broken: tuple[int, bytes, dict[str, str]] | None = None
    asked: list[str] = field(default_factory=list)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def answer(self, method: str, path: str, headers: Any) -> tuple[int, bytes, dict[str, str]]:
        if self.broken is not None:
            return self.broken
        return self._aws(method, path, headers) if self.cloud == "aws" else self._azure(method, path, headers)

    def _aws(self, method: str, path: str, headers: Any) -> tuple[int, bytes, dict[str, str]]:
        if (method, path) == ("PUT", "/latest/api/token"):
            if not str(headers.get("X-aws-ec2-metadata-token-ttl-seconds", "")).isdigit():
                return 400, b"", {}
            self.given += 1
            token = f"token-{self.given}=="
            self.tokens.add(token)
            return 200, token.encode(), {}
        if method != "GET" or headers.get("X-aws-ec2-metadata-token") not in self.tokens:
            return 401, b"", {}
        found: dict[str, Any] = {
            "/latest/meta-data/instance-id": self.instance,
            "/latest/meta-data/spot/instance-action": self.action,
            "/latest/meta-data/events/recommendations/rebalance": self.rebalance,
        }
        if found.get(path) is None:
            return 404, b"<html>404</html>", {}
        text = found[path]
        return 200, (text if isinstance(text, str) else json.dumps(text)).encode(), {}

    def _azure(self, method: str, path: str, headers: Any) -> tuple[int, bytes, dict[str, str]]:
        parts = urlsplit(path)
        if method != "GET" or headers.get("Metadata") != "true" or "api-version" not in parse_qs(parts.query):
            return 400, b'{"error": "Bad request"}', {}
        if parts.path == "/metadata/instance/compute/name":
            return 200, self.instance.encode(), {}
        if parts.path == "/metadata/scheduledevents":
            return 200, json.dumps({"DocumentIncarnation": 1, "Events": self.events}).encode(), {}
        return 404, b"", {}


@contextmanager
def metadata(cloud: str = "aws", instance: str = "i-0123456789abcdef0") -> Iterator[Metadata]:
    """The service, at work until the end of the block."""
    world = Metadata(cloud, instance=instance)

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            world.asked.append(f"{self.command} {self.path}")
            status, body, more = world.answer(self.command, self.path, self.headers)
            self.send_response(status)
            for name, value in more.items():
                self.send_header(name, value)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def do_PUT(self) -> None:
            self.do_GET()

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
        server.shutdown()
        thread.join(5.0)
        server.server_close()
