"""A real Prometheus and a real VictoriaMetrics on free ports of loopback, filled with samples of the past minutes."""

from __future__ import annotations

import json
import socket
import subprocess
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx

from tests.peers.pages import until
from tests.peers.programs import program

STOP_S = 10.0


@dataclass(frozen=True, slots=True)
class Series:
    """One series: its name with labels as an exposition page prints them, and samples (time, value)."""

    name: str
    points: tuple[tuple[float, float], ...]

    @property
    def family(self) -> str:
        return self.name.partition("{")[0]


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as probe:
        return int(probe.getsockname()[1])


@contextmanager
def running(command: list[str], ready: str, log: Path) -> Iterator[None]:
    """The program until the `with` block ends, once `ready` answers 200."""
    with log.open("wb") as written, subprocess.Popen(command, stdout=written, stderr=subprocess.STDOUT) as started:
        try:
            until(lambda: _answers(ready) or started.poll() is not None, f"{command[0]} is ready", 30.0)
            assert started.poll() is None, log.read_text()[-3000:]
            yield
        finally:
            started.terminate()
            try:
                started.wait(STOP_S)
            except subprocess.TimeoutExpired:
                started.kill()


def _answers(url: str) -> bool:
    try:
        return httpx.get(url, trust_env=False).status_code == 200
    except httpx.TransportError:
        return False


@contextmanager
def prometheus(series: Iterable[Series], folder: Path) -> Iterator[str]:
    """The URL of a Prometheus whose storage holds these series, as promtool writes them; it scrapes nothing."""
    server, tool = program("prometheus", "prometheus"), program("prometheus", "promtool")
    page, data, config = folder / "past.om", folder / "data", folder / "p.yml"
    page.write_text(_openmetrics(series))
    config.write_text(json.dumps({"scrape_configs": []}))
    making = [tool, "tsdb", "create-blocks-from", "openmetrics", str(page), str(data)]
    made = subprocess.run(making, check=False, capture_output=True, text=True)
    assert made.returncode == 0, made.stderr
    port = free_port()
    url = f"http://127.0.0.1:{port}"
    command = [server, f"--config.file={config}", f"--storage.tsdb.path={data}"]
    with running([*command, f"--web.listen-address=127.0.0.1:{port}"], f"{url}/-/ready", folder / "prometheus.log"):
        yield url


@contextmanager
def victoriametrics(series: Iterable[Series], folder: Path) -> Iterator[str]:
    """The URL of a VictoriaMetrics that was sent these series; fresh samples show at once."""
    server = program("victoria-metrics", "victoria-metrics", "victoria-metrics-prod")
    port = free_port()
    url = f"http://127.0.0.1:{port}"
    command = [server, f"-httpListenAddr=127.0.0.1:{port}", f"-storageDataPath={folder / 'vm'}", "-retentionPeriod=1"]
    with running([*command, "-search.latencyOffset=0"], f"{url}/health", folder / "vm.log"):
        lines = [f"{s.name} {value:.17g} {int(at * 1000)}\n" for s in series for at, value in s.points]
        httpx.post(f"{url}/api/v1/import/prometheus", content="".join(lines), trust_env=False).raise_for_status()
        httpx.get(f"{url}/internal/force_flush", trust_env=False).raise_for_status()
        yield url


def _openmetrics(series: Iterable[Series]) -> str:
    """Untyped families, each with all of its samples together, as the format demands."""
    families: dict[str, list[Series]] = {}
    for one in series:
        families.setdefault(one.family, []).append(one)
    lines = []
    for family, members in families.items():
        lines.append(f"# TYPE {family} unknown")
        lines += [f"{one.name} {value:.17g} {at:.3f}" for one in members for at, value in one.points]
    return "\n".join([*lines, "# EOF", ""])
