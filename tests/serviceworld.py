"""A real service over real worker processes, in a folder of its own, and everything that a test asks of it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import httpx
import psutil

from autoscaler.configfile import read_config
from autoscaler.service import Service
from providers.local import LocalProvider
from tests.peers.pages import until

REPOSITORY = Path(__file__).parent.parent
WORKER = REPOSITORY / "tests" / "peers" / "tiny_worker.py"
WITHIN_S = 20.0
RULES = """\
pool: chat
tick: {tick}
replica: {{gpus: 0, capacity: 5 requests/s}}
limits: {{min: {least}, max: {most}}}
offers:
  choose: listed
  from:
    - local: {{type: tiny, command: '{{python}} {worker} --host {{host}} --port {{port}}{more}', lead_time: 1s}}
data: {{max_age: 5s, max_hold: 15s}}
signals:
  queue: {{metric: requests_waiting, where: {{instance: gateway}}}}
rules:
  - name: a short queue
    target: {{signal: queue, per_replica: 5}}
  - name: long queue
    when: {{queue: {{above: 50}}}}
    alert: critical
scale_in: {{stabilization: 0s, cool_off: 0s, settle: 500ms, drain: 60s, rate: {{replicas: 8, per: 1s}}}}
flap: {{moves: 100, per: 1m}}
launch: {{limit: 5s, register: {register}, shortage: 1s, shortage_max: 4s, shortage_reset: 10m}}
"""


@dataclass(slots=True)
class ServiceWorld:
    """The folder, address and processes of one service, which may be started several times, one after the other."""

    folder: Path
    host: str
    services: list[Service] = field(default_factory=list)

    @property
    def rules(self) -> Path:
        return self.folder / "rules" / "chat.yaml"

    @property
    def data(self) -> Path:
        return self.folder / "data"

    def write_rules(
        self, least: int = 1, most: int = 6, more: str = "", register: str = "20s", tick: str = "200ms"
    ) -> None:
        """The rule file of the pool, whole at once. `more` is added to the worker's command."""
        self.rules.parent.mkdir(exist_ok=True)
        new = self.folder / "new"
        text = RULES.format(least=least, most=most, more=more, register=register, tick=tick, worker=WORKER)
        new.write_text(text, encoding="utf-8")
        new.replace(self.rules)

    def write_config(self, **settings: Any) -> Path:
        """The configuration file (YAML is a superset of JSON), with these settings besides the usual ones."""
        given = {
            "data_dir": str(self.data),
            "rules": str(self.rules.parent),
            "listen": "127.0.0.1:0",
            "providers": {"local": {"host": self.host, "grace_s": "2", "failed_for_s": "1"}},
        }
        path = self.folder / "config.yaml"
        path.write_text(json.dumps(given | settings), encoding="utf-8")
        return path

    def service(self, **settings: Any) -> Service:
        """A service that is not started yet."""
        self.services.append(Service(read_config(self.write_config(**settings), {})))
        return self.services[-1]

    @contextmanager
    def running(self, **settings: Any) -> Iterator[Client]:
        """A running service; at the end it is stopped and its workers go on."""
        service = self.service(**settings)
        service.start()
        try:
            yield Client(service.address, service.token)
        finally:
            service.stop()

    @contextmanager
    def process(self) -> Iterator[tuple[subprocess.Popen[str], Client]]:
        """`sigmascale run` as a process of its own; killed at the end if it still runs."""
        command = [sys.executable, "-m", "autoscaler.cli.main", "run", "--log-format", "json"]
        command += ["--config", str(self.write_config())]
        clean = {k: v for k, v in os.environ.items() if not k.startswith("SIGMASCALE_")}
        log = self.folder / f"log-{len(list(self.folder.glob('log-*')))}"
        with log.open("w") as written:
            process = subprocess.Popen(command, stderr=written, text=True, env=clean, cwd=REPOSITORY)
        try:
            until(lambda: '"started"' in log.read_text() or process.poll() is not None, "a started service", WITHIN_S)
            assert process.poll() is None, log.read_text()
            (line,) = [line for line in log.read_text().splitlines() if '"started"' in line]
            token = (self.data / "token").read_text(encoding="ascii").strip()
            yield process, Client(json.loads(line)["api"].removeprefix("http://"), token)
        finally:
            process.kill()
            process.wait(WITHIN_S)

    def workers(self) -> dict[int, str]:
        """Every worker process that this folder's services launched, by pid, and the file that describes it."""
        found = {}
        for process in psutil.process_iter():
            try:
                state = process.environ().get("SIGMASCALE_STATE", "")
                if state.startswith(f"{self.folder}/") and process.status() != psutil.STATUS_ZOMBIE:
                    found[process.pid] = Path(state).stem
            except psutil.Error:
                continue
        return found

    def end(self) -> None:
        """Nothing that a test started outlives it, whatever went wrong."""
        for service in self.services:
            service.stop()
        for state in self.folder.glob("*/local"):
            left_over = LocalProvider(state, host=self.host, grace_s=0.5)
            left_over.observe()
            left_over.close(kill=True)
        assert self.workers() == {}


@dataclass(frozen=True, slots=True)
class Client:
    """Asks a service over HTTP, as an operator of its machine."""

    address: str
    token: str

    def ask(self, method: str, path: str, expected: int = 200, **request: Any) -> Any:
        """The JSON of an answer, which must have the expected status."""
        url, headers = f"http://{self.address}/api/v1{path}", {"Authorization": f"Bearer {self.token}"}
        answer = httpx.request(method, url, headers=headers, timeout=WITHIN_S, trust_env=False, **request)
        assert answer.status_code == expected, answer.text
        return answer.json() if answer.content else None

    def pool(self) -> dict[str, Any]:
        """The pool as its last tick left it; empty before the first."""
        found = self.ask("GET", "/pools")["pools"]
        return dict(self.ask("GET", "/pools/chat")) if found else {}

    def decisions(self) -> list[dict[str, Any]]:
        """What the journal holds, oldest first."""
        return list(reversed(self.ask("GET", "/pools/chat/decisions", params={"limit": 500})["decisions"]))

    def endpoints(self) -> list[str]:
        """host:port of every routable replica."""
        return [target for group in self.ask("GET", "/pools/chat/endpoints") for target in group["targets"]]

    def until_pool(self, holds: Callable[[dict[str, Any]], object], what: str, within_s: float = WITHIN_S) -> Any:
        """The first view of the pool for which `holds` is true."""
        seen: dict[str, Any] = {}

        def look() -> bool:
            seen.update(self.pool())
            return bool(seen) and bool(holds(seen))

        until(look, what, within_s)
        return seen

    def until_ready(self, replicas: int) -> Any:
        """The view of a pool that has come to rest with so many ready replicas."""
        rest = {"ready": replicas, "pending": 0, "draining": 0}
        return self.until_pool(lambda p: all(p[key] == n for key, n in rest.items()), f"{replicas} ready replicas")

    def until_ticked(self, times: int) -> None:
        """Return when the pool was judged so many times more."""
        seen: set[float] = set()

        def ticked() -> bool:
            seen.add(self.pool()["at"])
            return len(seen) > times

        until(ticked, f"{times} more ticks", WITHIN_S)


@contextmanager
def receiver() -> Iterator[tuple[str, list[dict[str, Any]]]]:
    """The URL of a webhook receiver, and the messages that it was sent."""
    messages: list[dict[str, Any]] = []

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            messages.append(json.loads(self.rfile.read(int(self.headers["content-length"]))))
            self.send_response(200)
            self.send_header("content-length", "0")
            self.end_headers()

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002
            """Quiet."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, args=(0.05,))
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}/hook", messages
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
