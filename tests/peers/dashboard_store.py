"""A real Prometheus that scrapes what a test runs, with the rules of dashboards/prometheus."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import urlsplit

import httpx

from tests.peers.metricstores import free_port, running
from tests.peers.programs import program

PATIENCE_S = 20.0


@dataclass(frozen=True, slots=True)
class Asking:
    """Questions to a Prometheus."""

    url: str
    client: httpx.Client = field(repr=False)

    def now(self, expr: str) -> Sequence[Mapping[str, object]]:
        """The answer to an instant query; AssertionError with Prometheus's own words when it refuses the query."""
        answer = self.client.post(f"{self.url}/api/v1/query", data={"query": expr})
        assert answer.status_code == 200, f"{expr}\n{answer.text}"
        found: Sequence[Mapping[str, object]] = answer.json()["data"]["result"]
        return found

    def broken_rules(self) -> list[str]:
        """Rules whose last evaluation failed, with Prometheus's own words."""
        groups = self.client.get(f"{self.url}/api/v1/rules").json()["data"]["groups"]
        rules = [rule for group in groups for rule in group["rules"]]
        assert rules
        return [f"{rule['name']}: {rule['lastError']}" for rule in rules if rule["health"] == "err"]


@contextmanager
def scraping(jobs: Mapping[str, str], rules: Path, folder: Path, every: str = "1s") -> Iterator[Asking]:
    """A Prometheus that reads these pages (job -> URL), whose labels win over its own, and evaluates the rules."""
    scraped = []
    for job, page in jobs.items():
        parts = urlsplit(page)
        where = [{"targets": [parts.netloc]}]
        scraped.append({"job_name": job, "metrics_path": parts.path, "honor_labels": True, "static_configs": where})
    paced = {"scrape_interval": every, "scrape_timeout": every, "evaluation_interval": every}
    config = folder / "prometheus.yml"
    config.write_text(json.dumps({"global": paced, "rule_files": [str(rules)], "scrape_configs": scraped}))
    port = free_port()
    url = f"http://127.0.0.1:{port}"
    command = [program("prometheus", "prometheus"), f"--config.file={config}", f"--storage.tsdb.path={folder / 'data'}"]
    with (
        running([*command, f"--web.listen-address=127.0.0.1:{port}"], f"{url}/-/ready", folder / "prometheus.log"),
        httpx.Client(trust_env=False, timeout=PATIENCE_S) as client,
    ):
        yield Asking(url, client)
