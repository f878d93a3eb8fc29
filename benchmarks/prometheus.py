"""A real Prometheus with a real Alertmanager, started for one benchmark on free ports of loopback and stopped again."""

from __future__ import annotations

import json
import shutil
import socket
import subprocess
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

import httpx

from autoscaler.clock import SystemClock, monotonic

PROGRAMS = ("prometheus", "prometheus-alertmanager")
READY_S = 60.0
STOP_S = 10.0


def missing() -> list[str]:
    """Which of the programs are not installed."""
    return [program for program in PROGRAMS if shutil.which(program) is None]


def versions() -> str:
    """What `--version` of each installed program says first."""
    found = []
    for program in PROGRAMS:
        if shutil.which(program) is not None:
            told = subprocess.run([program, "--version"], check=True, capture_output=True, text=True)
            found.append(" ".join((told.stdout or told.stderr).split()[:3]))
    return "; ".join(found) or "none"


def free_port() -> int:
    """A port of loopback that was free a moment ago."""
    with socket.create_server(("127.0.0.1", 0)) as probe:
        return int(probe.getsockname()[1])


@contextmanager
def process(
    command: Sequence[str], log: Path, folder: Path | None = None, env: Mapping[str, str] | None = None
) -> Iterator[subprocess.Popen[bytes]]:
    """A process whose output goes to `log`; at the end it gets TERM, then KILL."""
    with log.open("wb") as written:
        started = subprocess.Popen(command, stdout=written, stderr=subprocess.STDOUT, cwd=folder, env=env)
    try:
        yield started
    except BaseException:
        print(log.read_text()[-4000:])
        raise
    finally:
        started.terminate()
        try:
            started.wait(STOP_S)
        except subprocess.TimeoutExpired:
            started.kill()
            started.wait()


def until(ready: Callable[[], bool], started: subprocess.Popen[bytes], within_s: float = READY_S) -> None:
    """Return once `ready()` holds; what refuses the connection is not ready yet. RuntimeError when it never is."""
    clock, deadline = SystemClock(), monotonic() + within_s
    while True:
        try:
            if ready():
                return
        except httpx.TransportError:
            pass
        if started.poll() is not None or monotonic() > deadline:
            raise RuntimeError(f"{started.args!r} is not ready, exit code {started.poll()}")
        clock.wait(clock.now() + 0.1)


@contextmanager
def alerting(target: str, hook: str, expressions: Sequence[str], folder: Path) -> Iterator[None]:
    """Prometheus reads http://TARGET/metrics and judges every second; Alertmanager posts at once to TARGET/HOOK.

    Each expression is an alert in a rule group of its own. Yields when the target is up and Prometheus knows its
    Alertmanager, which takes it some five seconds.
    """
    theirs, am_port, port = folder / "prometheus", free_port(), free_port()
    theirs.mkdir()
    receiver = {"name": "hook", "webhook_configs": [{"url": f"http://{target}{hook}", "send_resolved": False}]}
    route = {"receiver": "hook", "group_by": ["..."], "group_wait": "0s", "group_interval": "1s"}
    _write(theirs / "am.yml", {"route": route, "receivers": [receiver]})
    groups = [{"name": f"bench-{n}", "rules": [{"alert": "trial", "expr": e}]} for n, e in enumerate(expressions)]
    _write(theirs / "rules.yml", {"groups": groups})
    scrape = {"job_name": "bench", "static_configs": [{"targets": [target]}]}
    config = {
        "global": {"scrape_interval": "1s", "scrape_timeout": "900ms", "evaluation_interval": "1s"},
        "rule_files": [str(theirs / "rules.yml")],
        "alerting": {"alertmanagers": [{"static_configs": [{"targets": [f"127.0.0.1:{am_port}"]}]}]},
        "scrape_configs": [scrape],
    }
    _write(theirs / "p.yml", config)
    manager = ["prometheus-alertmanager", f"--config.file={theirs}/am.yml", f"--storage.path={theirs}/am"]
    manager += [f"--web.listen-address=127.0.0.1:{am_port}", "--cluster.listen-address="]
    server = ["prometheus", f"--config.file={theirs}/p.yml", f"--storage.tsdb.path={theirs}/data"]
    server += [f"--web.listen-address=127.0.0.1:{port}", "--rules.alert.resend-delay=5s"]

    def answers(url: str) -> bool:
        return httpx.get(url, trust_env=False).status_code == 200

    def data(path: str) -> dict[str, list[dict[str, str]]]:
        answer = httpx.get(f"http://127.0.0.1:{port}{path}", trust_env=False).json()
        found: dict[str, list[dict[str, str]]] = answer["data"]
        return found

    # Alertmanager first: an alert that Prometheus cannot send is sent again only after the resend delay.
    with process(manager, theirs / "am.log") as first:
        until(lambda: answers(f"http://127.0.0.1:{am_port}/-/ready"), first)
        with process(server, theirs / "p.log") as second:
            until(lambda: answers(f"http://127.0.0.1:{port}/-/ready"), second)
            until(lambda: bool(data("/api/v1/alertmanagers")["activeAlertmanagers"]), second)
            until(lambda: any(t["health"] == "up" for t in data("/api/v1/targets")["activeTargets"]), second)
            yield


def _write(path: Path, content: object) -> None:
    """YAML is a superset of JSON."""
    path.write_text(json.dumps(content), encoding="utf-8")
