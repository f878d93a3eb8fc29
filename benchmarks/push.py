"""Remote write: samples per second from the body of a request to the store, on one core, with Prometheus's own bodies.

A real Prometheus scrapes pages of a GPU fleet and sends what it has to a receiver that only keeps the bodies. They are
then given to the collector as the API gives them, and its batches to the store as the loop does. Bodies of the first
seconds make every series known and are not counted: a Prometheus that runs sends the same series for days.
"""

from __future__ import annotations

import json
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import cramjam

from autoscaler.clock import SimClock, SystemClock, cpu_seconds
from autoscaler.store import Store
from autoscaler.types import Post
from benchmarks.exposition import Fleet
from benchmarks.prometheus import free_port, missing, process, until
from benchmarks.table import Row
from collectors.push import Push

NODES = 40
BODIES = 260
ROUNDS = 3
TARGET_PER_S = 500_000.0


@dataclass(slots=True)
class Recorded:
    """Bodies in the order of their arrival, the headers of the first, and the time by our clock of each."""

    headers: dict[str, str] = field(default_factory=dict)
    bodies: list[bytes] = field(default_factory=list)
    at: list[float] = field(default_factory=list)


def run() -> list[Row]:
    """All rows; empty without a Prometheus."""
    if "prometheus" in missing():
        return []
    recorded = _record()
    rounds = [_replay(recorded) for _ in range(ROUNDS)]
    samples, lost, spent_s, decode_s = min(rounds, key=lambda r: r[2] / r[0])
    raw = sum(len(bytes(cramjam.snappy.decompress_raw(body))) for body in recorded.bodies)
    return [
        Row(f"remote write to store, bodies of {NODES} nodes", samples / spent_s, "samples/s", target=TARGET_PER_S),
        Row("of it until batches are made", samples / decode_s, "samples/s"),
        Row("samples that were late, or refused by the store", lost, "samples", target=0.0, lower_is_better=True),
        Row("bytes of a sample, decompressed", raw / (500 * len(recorded.bodies)), "bytes"),
    ]


def _replay(recorded: Recorded) -> tuple[int, int, float, float]:
    """Samples that were taken, lost on the way, CPU seconds in all, and of it until batches are made."""
    clock = SimClock(recorded.at[0])
    push, store = Push(clock), Store(None)
    warm = len(recorded.bodies) // 3
    taken = 0
    spent_s = decode_s = 0.0
    posts = [Post("remote_write", body, recorded.headers) for body in recorded.bodies]
    for n, (post, at) in enumerate(zip(posts, recorded.at, strict=True)):
        if n == warm:
            taken = push.status()[0].samples
            spent_s = decode_s = 0.0
        clock.at = at
        began = cpu_seconds()
        receipt = push.receive(post)
        batches = push.collect(at)
        decoded = cpu_seconds()
        for batch in batches:
            store.add(batch)
        decode_s += decoded - began
        spent_s += cpu_seconds() - began
        if receipt.status != 204:
            raise SystemExit(f"a body of Prometheus was refused: {receipt.detail}")
    status, stats = push.status()[0], store.stats()
    lost = sum(status.skipped.values()) + stats.late + stats.unusable + stats.over_limit + stats.malformed
    return status.samples - taken, lost, spent_s, decode_s


def _record() -> Recorded:
    recorded = Recorded()
    with tempfile.TemporaryDirectory() as folder, _serving(recorded) as port:
        labels = [
            {"targets": [f"127.0.0.1:{port}"], "labels": {"instance": f"node-{n}", "__metrics_path__": f"/{n}"}}
            for n in range(NODES)
        ]
        config = {
            "global": {"scrape_interval": "1s", "external_labels": {"pool": "bench"}},
            "scrape_configs": [{"job_name": "dcgm", "static_configs": labels}],
            "remote_write": [{"url": f"http://127.0.0.1:{port}/api/v1/write"}],
        }
        path = Path(folder)
        (path / "p.yml").write_text(json.dumps(config), encoding="utf-8")
        command = ["prometheus", f"--config.file={path}/p.yml", f"--storage.tsdb.path={path}/data"]
        command.append(f"--web.listen-address=127.0.0.1:{free_port()}")
        with process(command, path / "p.log") as started:
            until(lambda: len(recorded.bodies) >= BODIES, started)
    return recorded


@contextmanager
def _serving(recorded: Recorded) -> Iterator[int]:
    """Pages for GET, and a receiver that keeps bodies for POST, on a free port of loopback."""
    clock, fleet, asked = SystemClock(), Fleet(NODES), [0] * NODES

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            node = int(self.path[1:])
            asked[node] += 1
            self._answer(200, fleet.page(node, asked[node]))

        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["content-length"]))
            recorded.headers = {name.lower(): value for name, value in self.headers.items()}
            recorded.bodies.append(body)
            recorded.at.append(clock.now())
            self._answer(204, b"")

        def _answer(self, status: int, body: bytes) -> None:
            self.send_response(status)
            self.send_header("Content-Type", "text/plain; version=0.0.4")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
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
