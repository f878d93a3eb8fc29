"""`sigmascale simulate --serve` as a program: the ordinary service over a fleet that never existed."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest

from autoscaler.ownmetrics import METRICS
from collectors.pages import grammar
from tests.cliworld import Say, speaker
from tests.peers.pages import until
from tests.peers.programs import program

PATIENCE_S = 90.0
RULES = """\
pool: chat
tick: 1s
replica: {gpus: 1, capacity: 4 requests/s}
limits: {min: 1, max: 10}
offers:
  choose: listed
  from:
    - aws: {region: us-east-1, zone: us-east-1a, type: g6.xlarge, purchase: [spot, on_demand], launch_template: chat}
    - azure: {region: eastus, type: Standard_NC24ads_A100_v4, scale_set: chat}
signals:
  load:  {metric: requests_arrived_total, rate: 10s, aggregate: sum}
  queue: {metric: requests_waiting, aggregate: sum}
  ahead: {forecast: load, at: 60s, quantile: 0.5}
rules:
  - name: enough
    target: {signal: load, per_replica: auto, backlog: queue, clear: 10s}
  - name: unusual load
    when: {load: {outside: 3 sigma, lookback: 5m, min_points: 10}}
    alert: info
  - name: somebody asks for something
    when: {load: {above: 0}}
    alert: info
alerts:
  - {name: GPU too hot, each: gpu_temperature_celsius, above: 85, silence: 1h, severity: critical}
scale_out: {burst: off}
scale_in: {stabilization: 5s, cool_off: 5s, drain: 10s, settle: 1s}
launch: {limit: 60s, register: 120s, shortage: 2s, shortage_max: 10s, shortage_reset: 5m}
flap: {moves: 1000, per: 1h}
"""


@dataclass(frozen=True, slots=True)
class Served:
    """A fleet that is served: where, and by which process."""

    told: dict[str, str]
    process: subprocess.Popen[str]

    def get(self, path: str) -> Any:
        answer = httpx.get(f"{self.told['api']}{path}", timeout=30)
        assert answer.status_code == 200, (path, answer.text)
        return answer.json()

    def page(self, where: str, path: str) -> str:
        answer = httpx.get(f"{self.told[where]}{path}", timeout=30)
        assert answer.status_code == 200, (path, answer.text)
        return answer.text


def begin(folder: Path, *words: str) -> Served:
    """The program on free ports, once it says that it serves."""
    free = ("--listen", "127.0.0.1:0", "--pages", "127.0.0.1:0", "--json")
    where = {name: value for name, value in os.environ.items() if not name.startswith("SIGMASCALE_")}
    with (folder / "log").open("w") as log:
        process = subprocess.Popen(
            [sys.executable, "-m", "autoscaler.cli.main", "simulate", "--serve", *words, *free],
            stdout=subprocess.PIPE,
            stderr=log,
            text=True,
            env={**where, "TMPDIR": str(folder)},
        )
    assert process.stdout is not None
    line = process.stdout.readline()
    assert line, (folder / "log").read_text()
    return Served(json.loads(line), process)


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """One fleet for all tests of this module that only look; at this speed a day takes 150 s and a boot 7 s."""
    folder = tmp_path_factory.mktemp("served")
    (folder / "chat.yaml").write_text(RULES, encoding="utf-8")
    found = begin(folder, str(folder / "chat.yaml"), "--speed", "4", "--seed", "3")
    try:
        yield found
    finally:
        found.process.kill()
        found.process.wait(30)
        if found.process.stdout is not None:
            found.process.stdout.close()


def ready(served: Served) -> bool:
    return httpx.get(f"{served.told['api']}/readyz", timeout=30).status_code == 200


def test_the_service_becomes_ready_and_knows_the_pool(served: Served) -> None:
    until(lambda: ready(served), "the service is ready", PATIENCE_S)
    pools = served.get("/api/v1/pools")["pools"]
    assert [pool["pool"] for pool in pools] == ["chat"]


def test_the_pool_scales_and_machines_of_both_kinds_come(served: Served) -> None:
    def grown() -> bool:
        text = served.page("api", "/metrics")
        return 'sigmascale_decision_changes_total{direction="out",pool="chat"}' in text

    until(grown, "the pool grew", PATIENCE_S)
    until(lambda: "chat-" in served.page("pages", "/sd"), "machines are listed", PATIENCE_S)


def test_an_alert_on_a_hot_gpu_fires_and_resolves(served: Served) -> None:
    def states() -> set[str]:
        return {one["state"] for one in served.get("/api/v1/alerts")["alerts"] if one["name"] == "GPU too hot"}

    until(lambda: states() & {"firing", "resolved"}, "the alert fires", PATIENCE_S)
    until(lambda: "resolved" in states(), "the alert resolves", PATIENCE_S)


def test_every_page_is_one_that_our_parser_and_promtool_take(served: Served) -> None:
    for where in ("api", "pages"):
        text = served.page(where, "/metrics")
        assert list(grammar.samples(text))
        said = subprocess.run(
            [program("prometheus", "promtool"), "check", "metrics"],
            input=text,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        assert said.returncode in (0, 3), said.stderr
        assert "error while linting" not in said.stderr


def test_the_service_scraped_the_pages_of_machines_and_gateway(served: Served) -> None:
    def up() -> set[str]:
        return {s.name for s in grammar.samples(served.page("api", "/metrics")) if s.name.endswith("signal_value")}

    until(up, "a signal has a value", PATIENCE_S)


def test_what_dashboards_draw_is_exported(served: Served) -> None:
    wanted = {
        "pool_demand", "pool_capacity", "pool_utilisation_ratio", "pool_queue", "pool_gpus", "pool_saved_usd_per_hour",
        "signal_lower", "signal_upper", "offer_usd_per_hour", "offer_lead_time_seconds", "offer_quota_units",
        "provider_instances", "provider_usd_per_hour", "alert_state", "decision_changes_total",
        "decision_reasons_total",
    }  # fmt: skip
    assert wanted <= {metric.name for metric in METRICS}

    seen: set[str] = set()

    def missing() -> set[str]:
        page = grammar.samples(served.page("api", "/metrics"))
        seen.update(sample.name.removeprefix("sigmascale_") for sample in page)
        return wanted - seen

    until(lambda: not missing(), "every number was there once", PATIENCE_S)


def test_ctrl_c_ends_it_and_leaves_nothing_behind(tmp_path: Path) -> None:
    (tmp_path / "chat.yaml").write_text(RULES, encoding="utf-8")
    found = begin(tmp_path, str(tmp_path / "chat.yaml"), "--calm")
    assert Path(found.told["token_file"]).is_file()
    found.process.send_signal(signal.SIGINT)
    assert found.process.wait(60) == 0, (tmp_path / "log").read_text()
    assert found.process.stdout is not None
    assert found.process.stdout.read() == ""
    found.process.stdout.close()
    assert not Path(found.told["data"]).exists()
    assert "Traceback" not in (tmp_path / "log").read_text()


@pytest.fixture
def say(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Say:
    return speaker(monkeypatch, capsys)


@pytest.mark.parametrize(
    ("words", "said"),
    [
        pytest.param(["--serve", "--demand", "8"], "--demand: has no meaning with --serve", id="a demand"),
        pytest.param(
            ["rules/chat.yaml", "--speed", "2"], "--speed: only means something with --serve", id="no serving"
        ),
        pytest.param([], "no rule file is given", id="neither a file nor a fleet"),
        pytest.param(["--serve", "--listen", "here"], "--listen: 'here' is not HOST:PORT", id="no port"),
        pytest.param(["--serve", "--listen", "0.0.0.0:9377"], "can be reached from other machines", id="for others"),
        pytest.param(["--serve", "--pools", "0"], "--pools: 0 is not between 1 and 500", id="no pools"),
        pytest.param(["--serve", "--gpus", "99999"], "--gpus: 99999 is not between 1 and 10000", id="too many GPUs"),
        pytest.param(["--serve", "--speed", "99"], "--speed: 99 is not between 0.1 and 20", id="too fast"),
        pytest.param(["--serve", "none.yaml"], "none.yaml: is neither a file nor a folder", id="no such rules"),
        pytest.param(
            ["--serve", "rules/chat.yaml", "--gpus", "8"], "leave them out, or the rule files", id="two fleets"
        ),
    ],
)
def test_what_cannot_be_meant_is_told_in_one_line(say: Say, words: list[str], said: str) -> None:
    code, out, err = say("simulate", *words)
    assert code != 0
    assert said in err
    assert "Traceback" not in out + err


def test_a_port_that_is_taken_is_named(say: Say, tmp_path: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        code, _, err = say(
            "simulate",
            "--serve",
            "--listen",
            "127.0.0.1:0",
            "--pages",
            f"127.0.0.1:{port}",
            "--data",
            tmp_path / "data",
        )
        assert code != 0
        assert f"cannot listen on 127.0.0.1:{port}" in err
        assert "--pages" in err


def test_a_folder_of_another_fleet_is_not_taken_up(say: Say, tmp_path: Path) -> None:
    (tmp_path / "journal.db").write_bytes(b"")
    code, _, err = say("simulate", "--serve", "--data", tmp_path)
    assert code != 0
    assert "holds a journal already" in err
