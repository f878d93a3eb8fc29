"""`sigmascale signals` asks a real service what its rules read and what there is to read."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from autoscaler.cli.signals import _lines, _pool
from autoscaler.types import Batch, SeriesKey
from tests.apiworld import api_world
from tests.cliworld import Say, speaker
from tests.peers.pages import Pages, answer, until
from tests.serviceworld import Client, ServiceWorld

STAMPED = b"requests_waiting 7\nrequests_running 3\nrequest_success_total 40\norders_total 5\n"
BUCKETS = b"".join(
    b'vllm:time_to_first_token_seconds_bucket{le="%s"} %d\n' % pair for pair in ((b"0.1", 5), (b"+Inf", 9))
)
UNSTAMPED = b"gpu_power_watts 300\n" + BUCKETS + b"vllm:time_to_first_token_seconds_sum 2\n"


@dataclass(frozen=True, slots=True)
class Running:
    """A service that scrapes one page of its pool and one without a pool."""

    client: Client
    say: Say

    def signals(self, *words: str) -> str:
        code, out, err = self.say("signals", *words, "--url", f"http://{self.client.address}")
        assert (code, err) == (0, "")
        return out

    def plain(self, *words: str) -> dict[str, Any]:
        found = json.loads(self.signals(*words, "--json"))
        assert isinstance(found, dict)
        return found


def queue_of(client: Client) -> object:
    """The value of the signal `queue` at the last decision."""
    readings = client.ask("GET", "/pools/chat/signals")["readings"]
    return next((reading["value"] for reading in readings if reading["signal"] == "queue"), None)


@pytest.fixture(scope="module")
def address(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Client]:
    world = ServiceWorld(tmp_path_factory.mktemp("signals"), "127.0.0.42")
    world.write_rules(least=0, most=1)
    text = world.rules.read_text(encoding="utf-8").replace(
        "signals:\n", "signals:\n  absent: {metric: requests_rejected_total, rate: 1m}\n"
    )
    world.rules.write_text(text, encoding="utf-8")
    try:
        with Pages({"/pool": answer(STAMPED), "/node": answer(UNSTAMPED)}) as pages:
            pool = {"url": pages.url("/pool"), "labels": {"pool": "chat", "instance": "gateway"}, "interval": "1s"}
            # A list that somebody else keeps need not say whose its targets are.
            listed = [{"targets": [f"127.0.0.1:{pages.port}"], "labels": {"__metrics_path__": "/node"}}]
            (world.folder / "nodes.json").write_text(json.dumps(listed), encoding="utf-8")
            lists = [{"files": ["nodes.json"], "interval": "2s"}]
            with world.running(targets=[pool], discovery=lists) as client:
                until(lambda: len(client.ask("GET", "/signals")["metrics"]) >= 7, "metrics of both targets")
                until(lambda: queue_of(client) == 7.0, "a reading")
                yield client
    finally:
        world.end()


@pytest.fixture
def service(address: Client, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Running:
    return Running(address, speaker(monkeypatch, capsys))


def test_the_signals_of_a_pool_have_value_unit_quality_age_and_source(service: Running) -> None:
    lines = service.signals().splitlines()
    assert lines[0] == "pool chat"
    assert lines[1].split() == ["SIGNAL", "VALUE", "UNIT", "QUALITY", "AGE", "SOURCE"]
    (queue,) = [line.split() for line in lines if line.startswith("queue ")]
    assert (queue[1:4], queue[-1]) == (["7", "requests", "fresh"], "requests_waiting")
    (absent,) = [line.split() for line in lines if line.startswith("absent ")]
    assert absent[1:4] == ["-", "requests/s", "missing"]
    assert "  absent: no source gives requests_rejected_total" in lines


def test_every_metric_is_there_with_its_cardinality_and_the_unstamped_ones_as_such(service: Running) -> None:
    out = service.signals()
    unstamped, _, stamped = out.partition("sources of pool chat give\n")
    assert "sources give without a pool\n" in unstamped
    rows = {line.split()[0]: line.split() for line in unstamped.splitlines()[-6:] if line}
    assert rows["METRIC"] == ["METRIC", "UNIT", "KIND", "SERIES", "FROM", "AGE"]
    assert rows["gpu_power_watts"][1:5] == ["watts", "gauge", "1", "1"]
    assert rows["time_to_first_token_seconds"][1:4] == ["seconds", "hist", "2"]
    rows = {line.split()[0]: line.split() for line in stamped.splitlines() if line}
    # The pool's own worker joins the gateway when it is up.
    assert rows["requests_waiting"][1:5] in (["requests", "gauge", n, n] for n in ("1", "2"))
    assert rows["orders_total"][1:4] == ["count", "1", "1"]
    assert rows["requests_arrived_total"][1:3] == ["requests", "count"]


def test_no_line_is_wider_than_a_terminal(service: Running) -> None:
    assert max(map(len, service.signals().splitlines())) <= 80


def test_with_all_the_parts_of_a_histogram_and_the_sources_are_there(service: Running) -> None:
    out = service.signals("--all")
    assert "time_to_first_token_seconds_bucket" in out
    assert "/pool" in out


def test_json_is_what_the_service_says(service: Running) -> None:
    found = service.plain()
    assert found["more_metrics"] == 0
    (pool,) = found["pools"]
    assert {r["signal"] for r in pool["readings"]} >= {"queue", "absent"}
    power = next(m for m in found["metrics"] if m["metric"] == "gpu_power_watts")
    assert (power["pool"], power["unit"], power["kind"], power["series"], power["sources"]) == (
        "",
        "watts",
        "gauge",
        1,
        1,
    )
    assert found["metrics"] == sorted(found["metrics"], key=lambda m: (m["pool"], m["metric"]))


def test_a_pool_that_is_not_there_ends_with_code_2_and_names_those_that_are(service: Running) -> None:
    code, out, err = service.say("signals", "chta", "--url", f"http://{service.client.address}")
    assert (code, out) == (2, "")
    assert "there is no pool 'chta'" in err
    assert "chat" in err


def test_without_a_service_the_next_step_is_named(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    code, _, err = speaker(monkeypatch, capsys)("signals", "--url", "http://127.0.0.1:1")
    assert code == 1
    assert "start it with `sigmascale run`" in err


def test_what_the_self_check_finds_stands_under_the_signals() -> None:
    finding = {"signal": "queue", "kind": "absent", "text": "no target of pool chat gives it; " + "and so on " * 20}
    pool = {"pool": "chat", "decision": 1, "readings": [], "findings": [finding]}
    lines = list(_lines({"pools": [pool], "metrics": [], "more_metrics": 3}, False))
    assert "  ! queue (absent): no target of pool chat gives it; and so on and so on and so" in lines
    assert lines[-1] == "3 more metrics are there; name a pool"
    assert max(map(len, lines)) <= 80


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        ("http://me:secret@10.0.0.1:8000/m@n", "http://10.0.0.1:8000/m@n"),
        ("prometheus:chat/queue", "prometheus:chat/queue"),
        ("node-1", "node-1"),
    ],
)
def test_a_password_in_the_name_of_a_source_is_not_shown(tmp_path: Path, source: str, expected: str) -> None:
    world = api_world(tmp_path)
    world.deps.store.add(Batch(source, 1.0, 5.0, (SeriesKey("a"),), np.ones(1)))
    (shown,) = world.client().get("signals").json()["metrics"]
    assert shown["examples"] == [expected]


def test_the_api_lists_metrics_up_to_a_limit_and_says_how_many_it_leaves_out(tmp_path: Path) -> None:
    world = api_world(tmp_path)
    client = world.client()
    keys = (SeriesKey("a"), SeriesKey("b"), SeriesKey("c", (("pool", "other"),)))
    world.deps.store.add(Batch("node-1", 1.0, 5.0, keys, np.ones(3)))
    found = client.get("signals", limit=1).json()
    assert ([m["metric"] for m in found["metrics"]], found["more_metrics"]) == (["a"], 2)
    assert [m["metric"] for m in client.get("signals", pool="chat").json()["metrics"]] == ["a", "b"]
    assert client.get("signals", pool="chat").json()["pools"][0]["pool"] == "chat"
    assert client.get("signals", pool="nope").status_code == 404
    assert client.get("signals", limit=0).status_code == 422


@pytest.mark.parametrize(("screen", "width"), [("30", 80), ("200", 200)])
def test_lines_are_as_wide_as_the_screen_and_never_narrower_than_a_small_one(
    screen: str, width: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", screen)
    found = {
        "pool": "chat",
        "readings": [],
        "findings": [{"signal": "queue", "kind": "absent", "text": "no target gives it; " * 20}],
    }
    lines = list(_pool(found, []))
    assert width - 20 < max(map(len, lines)) <= width
