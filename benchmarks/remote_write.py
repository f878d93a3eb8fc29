"""What a real Prometheus sends by remote write: it scrapes pages of a GPU fleet, and its requests are kept.

It writes to several receivers at once, with requests of several sizes. Of each size there are two senders with half of
the nodes each, as two Prometheus would be; the requests of one stay in their order.
"""

from __future__ import annotations

import json
import tempfile
import threading
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

from autoscaler.clock import SystemClock
from benchmarks.exposition import Fleet
from benchmarks.prometheus import free_port, process, until

SIZES = (500, 2000, 5000)
SENDERS = 2
SAMPLES = 180_000
"""Of each sender and size."""


@dataclass(frozen=True, slots=True)
class Sent:
    """A request: when it came by our clock, its headers by lower-case name, its body."""

    at: float
    headers: Mapping[str, str]
    body: bytes


Recorded = dict[int, list[list[Sent]]]
"""By samples of a request, of each sender: its requests in the order of their arrival."""


def record(nodes: int) -> Recorded:
    """Half a minute of a Prometheus that scrapes so many nodes each second."""
    kept: dict[str, list[Sent]] = defaultdict(list)
    with tempfile.TemporaryDirectory() as folder, _serving(nodes, kept) as port:
        path = Path(folder)
        (path / "p.yml").write_text(json.dumps(_configuration(nodes, port)), encoding="utf-8")
        command = ["prometheus", f"--config.file={path}/p.yml", f"--storage.tsdb.path={path}/data"]
        command.append(f"--web.listen-address=127.0.0.1:{free_port()}")
        with process(command, path / "p.log") as started:
            until(lambda: all(len(kept[_path(*one)]) * one[0] >= SAMPLES for one in _queues()), started)
    return {size: [kept[_path(size, sender)] for sender in range(SENDERS)] for size in SIZES}


def in_order(senders: Sequence[Sequence[Sent]]) -> list[Sent]:
    """Requests of all senders in the order of their arrival."""
    return sorted((sent for requests in senders for sent in requests), key=lambda sent: sent.at)


def _queues() -> list[tuple[int, int]]:
    return [(size, sender) for size in SIZES for sender in range(SENDERS)]


def _path(size: int, sender: int) -> str:
    return f"/{size}/{sender}"


def _configuration(nodes: int, port: int) -> object:
    labels = [
        {"targets": [f"127.0.0.1:{port}"], "labels": {"instance": f"node-{n}", "__metrics_path__": f"/{n}"}}
        for n in range(nodes)
    ]
    writes = [
        {
            "url": f"http://127.0.0.1:{port}{_path(size, sender)}",
            "name": f"{size}-{sender}",
            "queue_config": {"max_samples_per_send": size, "capacity": 4 * size, "max_shards": 1},
            "metadata_config": {"send": False},
            "write_relabel_configs": [
                {"source_labels": ["instance"], "target_label": "__tmp", "modulus": SENDERS, "action": "hashmod"},
                {"source_labels": ["__tmp"], "regex": str(sender), "action": "keep"},
                {"regex": "__tmp", "action": "labeldrop"},
            ],
        }
        for size, sender in _queues()
    ]
    return {
        "global": {"scrape_interval": "1s", "external_labels": {"pool": "bench"}},
        "scrape_configs": [{"job_name": "dcgm", "static_configs": labels}],
        "remote_write": writes,
    }


@contextmanager
def _serving(nodes: int, kept: dict[str, list[Sent]]) -> Iterator[int]:
    """Pages for GET, and a receiver that keeps requests for POST, on a free port of loopback."""
    clock, fleet, asked = SystemClock(), Fleet(nodes), [0] * nodes

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            node = int(self.path[1:])
            asked[node] += 1
            self._answer(200, fleet.page(node, asked[node]))

        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["content-length"]))
            headers = {name.lower(): value for name, value in self.headers.items()}
            kept[self.path].append(Sent(clock.now(), headers, body))
            self._answer(204, b"")

        def _answer(self, status: int, body: bytes) -> None:
            self.send_response(status)
            self.send_header("Content-Type", "text/plain; version=0.0.4")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            # A Prometheus that is being stopped hangs up on its pages.
            with suppress(ConnectionError):
                self.wfile.write(body)

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002
            """Quiet."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True)
    thread.start()
    try:
        yield server.server_port
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
