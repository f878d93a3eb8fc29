"""The stores of the ingest benchmark, started on the same pages: our whole service, Prometheus, VictoriaMetrics."""

from __future__ import annotations

import json
import multiprocessing
import os
import re
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import httpx

from autoscaler.tokens import LOCAL_TOKEN_FILE
from benchmarks import exposition, prometheus
from benchmarks.processes import Cost, cost

INTERVAL_S = exposition.STEP_S
READY_S = 180.0
AS_THEY_ARE = exposition.Manner()
PROBED = {
    "PROF_SM_ACTIVE": "gpu_sm_active_ratio",
    "PROF_DRAM_ACTIVE": "gpu_dram_active_ratio",
    "PROF_PIPE_TENSOR_ACTIVE": "gpu_tensor_active_ratio",
    "DEV_POWER_USAGE": "gpu_power_watts",
}
"""Fields that are read back from every store; printed and canonical values are the same numbers."""


@dataclass(frozen=True, slots=True)
class Probe:
    """One series that is read back: a signal of its pool in our store, the raw series in the others."""

    pool: int
    name: str
    node: int
    gpu: int
    field: str

    @property
    def selector(self) -> str:
        return f'DCGM_FI_{self.field}{{Hostname="node-{self.node:04d}",gpu="{self.gpu}"}}'


@dataclass(frozen=True, slots=True)
class Peer:
    """A store that runs: its process, its address, and where it says how much it has taken in."""

    name: str
    pid: int
    address: str
    counter: str
    token: str = field(default="", repr=False)

    def stored(self) -> float:
        """Samples taken in since its start, as it counts them itself."""
        return _metric(f"http://{self.address}/metrics", self.counter)

    def printed(self, lines: int) -> float:
        """The share of its samples that stood on a page of `lines` series in all: our service computes others from
        them, such as a GPU's saturation, and those count for nothing here."""
        if self.name != "sigmascale":
            return 1.0
        return min(1.0, lines / _metric(f"http://{self.address}/metrics", "sigmascale_store_series"))

    def cost(self) -> Cost:
        return cost(self.pid)


def _metric(url: str, pattern: str) -> float:
    page = httpx.get(url, timeout=30.0, trust_env=False).text
    return sum(float(found) for found in re.findall(rf"^{pattern} (\S+)$", page, re.MULTILINE))


# --- the three stores -----------------------------------------------------------------------------------------------


def pool_of(node: int, nodes: int, pools: int) -> int:
    """Pools are blocks of neighbouring nodes."""
    return node * pools // nodes


def rules(pool: int, probes: Sequence[Probe]) -> str:
    """A pool whose signals are read from all its GPUs, and which is never in want of anything."""
    signals: dict[str, dict[str, object]] = {
        "sm": {"metric": "gpu_sm_active_ratio", "aggregate": "mean"},
        "dram": {"metric": "gpu_dram_active_ratio", "aggregate": "max"},
        "watts": {"metric": "gpu_power_watts", "aggregate": "sum"},
        "energy": {"metric": "gpu_energy_joules_total", "rate": "1m"},
    }
    for probe in probes:
        signals[probe.name] = {
            "metric": PROBED[probe.field],
            "where": {"host": f"node-{probe.node:04d}", "gpu": str(probe.gpu)},
        }
    return json.dumps(
        {
            "pool": f"pool-{pool}",
            "limits": {"min": 0, "max": 4},
            "replica": {"gpus": 0},
            "offers": {"from": [{"local": {"type": "none", "command": "sleep 1"}}]},
            "signals": signals,
            "rules": [
                {"name": "saturated", "when": {"sm": {"above": 0.99}, "for": "1m"}, "scale_out": {"by": 1}},
                {"name": "hot", "when": {"watts": {"above": 1e9}, "for": "1m"}, "scale_out": {"by": 1}},
            ],
        }
    )


@contextmanager
def sigmascale(port: int, nodes: int, pools: int, probes: Sequence[Probe], folder: Path) -> Iterator[Peer]:
    """The service with all pages in its configuration; yields when it has started."""
    (folder / "rules").mkdir(parents=True)
    for pool in range(pools):
        text = rules(pool, [probe for probe in probes if probe.pool == pool])
        (folder / "rules" / f"pool-{pool}.yaml").write_text(text, encoding="utf-8")
    api = prometheus.free_port()
    targets = [
        {
            "url": f"http://127.0.0.1:{port}/{node}",
            "labels": {"pool": f"pool-{pool_of(node, nodes, pools)}", "instance": f"node-{node}"},
            "interval": f"{INTERVAL_S:g}s",
        }
        for node in range(nodes)
    ]
    config = {"data_dir": "data", "rules": "rules", "listen": f"127.0.0.1:{api}", "targets": targets}
    (folder / "config.yaml").write_text(json.dumps(config), encoding="utf-8")
    command = [sys.executable, "-m", "autoscaler.cli.main", "run", "--config", str(folder / "config.yaml")]
    clean = {k: v for k, v in os.environ.items() if not k.startswith("SIGMASCALE_")}
    with prometheus.process(command, folder / "log", Path(__file__).parent.parent, clean) as started:
        url = f"http://127.0.0.1:{api}/metrics"
        prometheus.until(lambda: httpx.get(url, trust_env=False).status_code == 200, started, READY_S)
        token = (folder / "data" / LOCAL_TOKEN_FILE).read_text(encoding="ascii").strip()
        yield Peer("sigmascale", started.pid, f"127.0.0.1:{api}", "sigmascale_samples_total", token)


def _scrape_config(port: int, nodes: int, pools: int) -> str:
    found = [
        {
            "targets": [f"127.0.0.1:{port}"],
            "labels": {
                "__metrics_path__": f"/{node}",
                "instance": f"node-{node}",
                "pool": f"pool-{pool_of(node, nodes, pools)}",
            },
        }
        for node in range(nodes)
    ]
    every = f"{INTERVAL_S:g}s"
    jobs = [{"job_name": "nodes", "static_configs": found}]
    return json.dumps({"global": {"scrape_interval": every, "scrape_timeout": "4s"}, "scrape_configs": jobs})


@contextmanager
def theirs(name: str, port: int, nodes: int, pools: int, folder: Path) -> Iterator[Peer]:
    """Prometheus or VictoriaMetrics on the same pages."""
    folder.mkdir(parents=True)
    (folder / "scrape.yml").write_text(_scrape_config(port, nodes, pools), encoding="utf-8")
    address = f"127.0.0.1:{prometheus.free_port()}"
    if name == "prometheus":
        command = [name, f"--config.file={folder}/scrape.yml", f"--storage.tsdb.path={folder}/data"]
        command += [f"--web.listen-address={address}"]
        ready, counter = "/-/ready", "prometheus_tsdb_head_samples_appended_total(?:{.*})?"
    else:
        command = [name, f"-promscrape.config={folder}/scrape.yml", f"-storageDataPath={folder}/data"]
        command += [f"-httpListenAddr={address}", "-retentionPeriod=1", "-search.latencyOffset=0"]
        ready, counter = "/health", r'vm_rows_inserted_total{type="promscrape"}'
    with prometheus.process(command, folder / "log") as started:
        url = f"http://{address}{ready}"
        prometheus.until(lambda: httpx.get(url, trust_env=False).status_code == 200, started, READY_S)
        yield Peer(name, started.pid, address, counter)


@contextmanager
def pages(nodes: int, manner: exposition.Manner = AS_THEY_ARE) -> Iterator[tuple[int, int]]:
    """Port and process id of the exposition server."""
    context = multiprocessing.get_context("spawn")
    ours, server_end = context.Pipe()
    server = context.Process(target=exposition.serve, args=(server_end, nodes, manner), daemon=True)
    server.start()
    try:
        assert server.pid is not None
        yield ours.recv(), server.pid
    finally:
        server.terminate()
        server.join()
