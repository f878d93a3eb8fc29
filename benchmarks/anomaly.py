"""From an anomaly on a page to the message at a webhook: a whole `sigmascale run` beside Prometheus and Alertmanager.

    python -m benchmarks.anomaly

One server shows one page with a series per trial; both sides read it every second and judge every second. Each trial
raises its series over a fixed threshold and waits for nobody; the instants are spread evenly over the second, so that
chance does not decide. A message that never comes is a miss. Prometheus judges each series in a rule group of its own:
the lag from scrape to evaluation is fixed for a group by the hash of its name, so that one group shows one lag only.
"""

from __future__ import annotations

import json
import os
import sys
import tempfile
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import httpx
import numpy as np

from autoscaler.clock import SystemClock, monotonic
from benchmarks import prometheus
from benchmarks.table import Row, show

TRIALS = 40
RAISED = 100.0
THRESHOLD = 50
PHASE = 0.6180339887
"""Multiples of the golden section fall evenly into the second, however many there are."""
LATEST_S = 15.0
READY_S = 60.0
RATIO = 0.65
OURS, THEIRS = "/ours", "/theirs"
RULES = f"""\
pool: bench
tick: 1s
limits: {{min: 0, max: 1}}
replica: {{gpus: 0, capacity: 1 requests/s}}
offers: {{from: [{{local: {{type: none, command: 'sleep 1'}}}}]}}
signals:
  load: {{metric: requests_arrived_total, rate: 1m}}
rules:
  - {{name: demand, target: {{signal: load, per_replica: auto}}}}
alerts:
  - {{each: trial, above: {THRESHOLD}, severity: critical}}
"""


@dataclass
class Stage:
    """The page, and when each side's receiver heard of each trial first."""

    values: list[float] = field(default_factory=lambda: [0.0] * TRIALS)
    heard: dict[str, dict[int, float]] = field(default_factory=lambda: {OURS: {}, THEIRS: {}})
    port: int = 0

    @property
    def address(self) -> str:
        return f"127.0.0.1:{self.port}"

    def page(self) -> bytes:
        """Every trial's series, as an exporter would show it."""
        lines = [f'trial{{n="{n}"}} {value}' for n, value in enumerate(self.values)]
        return ("# TYPE trial gauge\n" + "\n".join(lines) + "\n").encode()

    def hear(self, side: str, body: bytes, at: float) -> None:
        """Alertmanager's webhook format, which both sides speak."""
        for alert in json.loads(body)["alerts"]:
            if alert["status"] == "firing":
                self.heard[side].setdefault(int(alert["labels"]["n"]), at)


@contextmanager
def staged() -> Iterator[Stage]:
    """A stage on a free port: GET is the page, POST to a side's path is a message to its receiver."""
    stage = Stage()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            self._answer(stage.page())

        def do_POST(self) -> None:
            at = monotonic()
            stage.hear(self.path, self.rfile.read(int(self.headers["content-length"])), at)
            self._answer(b"")

        def _answer(self, body: bytes) -> None:
            head = f"HTTP/1.1 200 OK\r\nContent-Type: text/plain; version=0.0.4\r\nContent-Length: {len(body)}\r\n\r\n"
            # One write: a head and a body apart wait 40 ms for each other.
            self.wfile.write(head.encode() + body)

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002
            """Quiet."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    stage.port = server.server_port
    thread = threading.Thread(target=server.serve_forever, args=(0.05,))
    thread.start()
    try:
        yield stage
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


@contextmanager
def sigmascale(stage: Stage, folder: Path) -> Iterator[None]:
    """A service that reads the page and tells our receiver; yields once it has read the page."""
    (folder / "rules").mkdir()
    (folder / "rules" / "bench.yaml").write_text(RULES, encoding="utf-8")
    url, labels = f"http://{stage.address}/metrics", {"pool": "bench"}
    port = prometheus.free_port()
    config = {
        "data_dir": "data",
        "rules": "rules",
        "listen": f"127.0.0.1:{port}",
        "webhooks": [f"http://{stage.address}{OURS}"],
        "targets": [{"url": url, "labels": labels, "interval": "1s", "timeout": "900ms"}],
    }
    (folder / "config.yaml").write_text(json.dumps(config), encoding="utf-8")
    command = [sys.executable, "-m", "autoscaler.cli.main", "run", "--config", str(folder / "config.yaml")]
    clean = {k: v for k, v in os.environ.items() if not k.startswith("SIGMASCALE_")}
    here = Path(__file__).parent.parent
    with prometheus.process(command, folder / "sigmascale.log", here, clean) as started:

        def up() -> bool:
            answer = httpx.get(f"http://127.0.0.1:{port}/api/v1/targets", trust_env=False)
            return any(target["up"] for target in answer.json()["targets"])

        prometheus.until(up, started, READY_S)
        yield


def race(stage: Stage, sides: tuple[str, ...]) -> dict[str, list[float]]:
    """Seconds from each anomaly to its message, by side; NaN for a miss."""
    clock = SystemClock()
    began = clock.now() + 1.0
    raised = []
    for n in range(TRIALS):
        clock.wait(began + n + n * PHASE % 1.0)
        raised.append(monotonic())
        stage.values[n] = RAISED
    deadline = monotonic() + LATEST_S
    while any(len(stage.heard[side]) < TRIALS for side in sides) and monotonic() < deadline:
        clock.wait(clock.now() + 0.05)
    return {side: [stage.heard[side].get(n, np.nan) - raised[n] for n in range(TRIALS)] for side in sides}


def run() -> list[Row]:
    """p50, p90, max and misses of both sides in one run; without the peer's programs ours alone, and it is said."""
    missing = prometheus.missing()
    with tempfile.TemporaryDirectory() as name, staged() as stage, ExitStack() as ends:
        sides: tuple[str, ...] = (OURS,)
        if missing:
            print(f"no peer beside us: {' and '.join(missing)} not installed", file=sys.stderr)
        else:
            sides = (OURS, THEIRS)
            expressions = [f'trial{{n="{n}"}} > {THRESHOLD}' for n in range(TRIALS)]
            ends.enter_context(prometheus.alerting(stage.address, THEIRS, expressions, Path(name)))
        ends.enter_context(sigmascale(stage, Path(name)))
        took = race(stage, sides)
    return rows(took)


def rows(took: dict[str, list[float]]) -> list[Row]:
    """The table of both sides' delays; percentiles are of the messages that came, misses have a row of their own."""
    what = f"anomaly to webhook, {TRIALS} trials, 1 s scrape, 1 s tick"
    measures: tuple[tuple[str, Callable[[list[float]], float]], ...] = (
        ("p50", lambda found: float(np.nanpercentile(found, 50))),
        ("p90", lambda found: float(np.nanpercentile(found, 90))),
        ("max", lambda found: float(np.nanmax(found))),
        ("missed", lambda found: float(np.isnan(found).sum())),
    )
    made = []
    for name, measure in measures:
        peer = measure(took[THEIRS]) if THEIRS in took else None
        target = None if peer is None or name != "p50" else RATIO * peer
        unit = "trials" if name == "missed" else "s"
        made.append(Row(f"{what}, {name}", measure(took[OURS]), unit, 0.0 if name == "missed" else target, peer, True))
    return made


if __name__ == "__main__":
    show(run(), f"Anomaly to webhook; peer: {prometheus.versions()}")
