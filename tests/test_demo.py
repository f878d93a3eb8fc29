"""The demo: its numbers and its screen by hand-made values, and all of it end to end with real processes."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from io import StringIO
from pathlib import Path

import psutil
import pytest
from rich.console import Console

from autoscaler.clock import SystemClock
from autoscaler.demo.driver import Progress, Score
from autoscaler.demo.run import DemoOptions, about, rule_file
from autoscaler.demo.summary import Usage, moves, summarise
from autoscaler.demo.trail import Trail, bars, highest
from autoscaler.demo.view import Scene, View, decision_line, render, status_line
from autoscaler.errors import InputError
from autoscaler.types import Decision, Fleet, Instance, InstanceState, Reading, Reason


def decision(number: int, current: int, want: int, at: float = 100.0) -> Decision:
    reasons = (Reason("current", current, "the size in force"), Reason("enough for the demand", want, "load 12/s"))
    readings = {"load": Reading(at, 12.34, "fresh"), "queue": Reading(at, None, "missing")}
    return Decision("chat", number, at, current, want, 1, 0, reasons, readings=readings)


def fleet(*states: InstanceState) -> Fleet:
    return Fleet(0.0, tuple(Instance(f"i{n}", "chat", "local/worker", s, 0.0) for n, s in enumerate(states)))


SCENE = Scene(
    Progress(30.0, 90.0, sent=200, ok=190, lost=2, sent_per_s=8.0, latency_p99_s=1.25),
    fleet("ready", "ready", "pending", "draining"),
    decision(7, 2, 3),
    news=(decision(7, 2, 3),),
)


def test_replica_seconds_are_of_everything_that_runs_and_the_peak_of_what_serves() -> None:
    usage = Usage()
    usage.see(10.0, fleet("pending"))
    usage.see(14.0, fleet("ready", "pending"))
    usage.see(16.0, fleet("ready", "draining", "failed"))
    usage.see(17.0, fleet())
    usage.see(99.0, fleet())
    assert usage.replica_seconds == 1 * 4.0 + 2 * 2.0 + 2 * 1.0
    assert usage.peak_replicas == 1


def test_only_decisions_that_change_the_size_under_load_count_as_moves() -> None:
    rows = [decision(1, 0, 1, at=1.0), decision(2, 1, 3), decision(3, 3, 3), decision(4, 3, 5), decision(5, 5, 4)]
    assert moves(rows, since=50.0) == (2, 1)


def test_the_summary_has_the_promised_keys_in_json_and_every_number_in_its_table() -> None:
    score = Score()
    for latency_s, ok in ((1.0, True), (2.0, True), (30.0, False)):
        score.count_sent(0.0)
        score.count_answer(0.0, latency_s, ok)
    summary = summarise(score, Usage(), [decision(1, 1, 2)], since=0.0, duration_s=90.0, seed=3)
    found = json.loads(summary.to_json())
    assert found["requests_sent"] == found["requests_ok"] + found["requests_lost"] == 3
    assert found["latency_p50_s"] == 2.0
    promised = "requests_sent requests_ok requests_lost latency_p50_s latency_p99_s replica_seconds scale_outs"
    assert {*promised.split(), "scale_ins", "peak_replicas", "decisions"} <= found.keys()
    assert (found["scale_outs"], found["scale_ins"], found["decisions"]) == (1, 0, 1)
    console = Console(file=StringIO(), width=100)
    console.print(summary.table())
    assert "Requests lost" in console.file.getvalue()  # type: ignore[attr-defined]


def test_a_decision_is_told_in_one_line_with_its_reason() -> None:
    assert decision_line(decision(7, 2, 3)) == "#7    out 2 -> 3    enough for the demand: load 12/s"
    assert decision_line(decision(8, 3, 3)) == "#8        stay at 3 enough for the demand: load 12/s"
    assert decision_line(decision(9, 3, 2)) == "#9    in  3 -> 2    enough for the demand: load 12/s"


def test_the_status_line_says_what_is_known_and_marks_what_is_not() -> None:
    line = status_line(SCENE)
    facts = "30 s demand 12.3/s ready 2 pending 1 draining 1 queue ? latency p99 1.2 s sent 200 lost 2"
    assert " ".join(line.split()) == facts
    assert "ready ?" in status_line(Scene(None, None, None))


def test_the_screen_shows_counts_decisions_and_gpus() -> None:
    console = Console(file=StringIO(), width=120)
    console.print(
        render(Scene(SCENE.progress, SCENE.fleet, SCENE.decision, gpus=("H200 141 GiB",)), (decision(7, 2, 3),))
    )
    text = console.file.getvalue()  # type: ignore[attr-defined]
    for word in ("demand", "12.3/s", "60 s left", "2 -> 3", "load 12/s", "H200 141 GiB"):
        assert word in text


@pytest.mark.parametrize(
    ("width", "height", "seen", "unseen"),
    [
        pytest.param(120, 40, ["About it.", "draining ┃ queue", "wanted  ▁·█", "#1 ", "#7 "], [], id="an ordinary one"),
        pytest.param(60, 40, ["About it.", "draining 1  queue ?", "#7 "], ["wanted"], id="narrow: numbers as text"),
        pytest.param(120, 20, ["draining ┃ queue", "#5 ", "#7 "], ["#4 "], id="low: the newest decisions"),
    ],
)
def test_the_screen_fits_its_terminal(width: int, height: int, seen: list[str], unseen: list[str]) -> None:
    console = Console(file=StringIO(), width=width, height=height)
    trail = Trail(10.0)
    trail.see(5.0, 12.0, 1.0, 1.0, 3.0)
    trail.see(25.0, 12.0, 8.0, 1.0, 3.0)
    told = tuple(decision(n, n, n + 1) for n in range(1, 8))
    console.print(render(SCENE, told, trail, ("About it.",), console.size))
    text = console.file.getvalue()  # type: ignore[attr-defined]
    assert [word for word in seen if word not in text] == []
    assert [word for word in unseen if word in text] == []
    assert len(text.splitlines()) <= height


def test_a_trail_shows_gaps_as_dots_and_shares_its_scale() -> None:
    trail = Trail(10.0)
    trail.see(0.0, 5.0, 2.0, 0.0, None)
    trail.see(9.0, 5.0, 9.0, 9.0, 9.0)
    trail.see(30.0, 5.0, 8.0, 4.0, 0.0)
    top = highest(trail.wanted, trail.ready)
    assert (bars(trail.wanted, top), bars(trail.ready, top), top) == ("▂··█", " ··▄", 8.0)
    assert bars(trail.queue, highest(trail.queue)) == "··· "


def test_plain_lines_begin_with_what_there_is_to_be_seen() -> None:
    console = Console(file=StringIO(), width=200)
    with View(console, live=False, about=about(DemoOptions(duration_s=60.0, speed=2.0))):
        pass
    text = console.file.getvalue()  # type: ignore[attr-defined]
    assert "1 h 16 min of them in 1 min" in text
    assert "rules/demo.yaml" in text


@pytest.mark.parametrize("live", [pytest.param(True, id="live"), pytest.param(False, id="plain lines")])
def test_the_view_shows_every_change_and_a_stay_once_per_reason(live: bool) -> None:
    console = Console(file=StringIO(), width=120, force_terminal=live)
    with View(console, live=live) as view:
        for _ in range(3):
            view.show(SCENE)
        assert [d.number for d in view._decisions] == [7]
        view.show(replace(SCENE, news=(decision(8, 3, 3), decision(9, 3, 3), decision(10, 3, 2), decision(11, 2, 1))))
        assert [d.number for d in view._decisions] == [7, 8, 10, 11]
    if not live:
        lines = console.file.getvalue().splitlines()  # type: ignore[attr-defined]
        assert [line[:3].strip() for line in lines] == ["#7", "3", "#8", "#10", "#11"]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        pytest.param(DemoOptions(duration_s=5.0), "--duration: 5 s is not between 30 s and 3600 s", id="too short"),
        pytest.param(DemoOptions(speed=0.0), "--speed: 0 is not between 0.25 and 20", id="no speed"),
        pytest.param(DemoOptions(json_path=Path("/nowhere/at/all.json")), "--json: the folder of", id="no folder"),
    ],
)
def test_a_wrong_option_is_refused_before_anything_starts(options: DemoOptions, message: str) -> None:
    with pytest.raises(InputError) as refused:
        options.check()
    assert message in str(refused.value)


def test_the_rule_file_is_found_and_states_its_compressed_times() -> None:
    text = rule_file().read_text()
    assert "in production" in text
    assert "pool: chat" in text


# --- end to end ---------------------------------------------------------------------------------------------------


@contextmanager
def running_demo(*arguments: str) -> Iterator[tuple[subprocess.Popen[str], str]]:
    """The command in a process of its own, and the mark that everything it starts carries in its environment."""
    mark = uuid.uuid4().hex
    process = subprocess.Popen(
        [sys.executable, "-m", "autoscaler.cli.main", "demo", "--headless", *arguments],
        env={**os.environ, "DEMO_TEST_MARK": mark},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    try:
        yield process, mark
    finally:
        process.kill()
        process.communicate()
        for left in marked(mark):
            left.kill()


def marked(mark: str) -> list[psutil.Process]:
    found = []
    for process in psutil.process_iter():
        try:
            if process.environ().get("DEMO_TEST_MARK") == mark and process.status() != psutil.STATUS_ZOMBIE:
                found.append(process)
        except psutil.Error:
            continue
    return found


def workers(mark: str) -> list[psutil.Process]:
    found = []
    for process in marked(mark):
        try:
            if "autoscaler.demo.worker" in process.cmdline():
                found.append(process)
        except psutil.Error:
            continue
    return found


@pytest.mark.alone
@pytest.mark.timeout(240)
def test_a_short_demo_scales_out_and_in_loses_no_request_and_leaves_nothing_running(tmp_path: Path) -> None:
    file = tmp_path / "summary.json"
    with running_demo("--duration", "60s", "--json", str(file)) as (process, mark):
        output, _ = process.communicate(timeout=200)
        assert process.returncode == 0, output
        assert marked(mark) == [], output
    summary = json.loads(file.read_text())
    assert summary["requests_lost"] == 0, output
    assert summary["requests_ok"] == summary["requests_sent"] > 500
    assert summary["scale_outs"] >= 1, output
    assert summary["scale_ins"] >= 1, output
    assert 3 <= summary["peak_replicas"] <= 8
    assert summary["latency_p50_s"] <= summary["latency_p99_s"] < 30.0
    assert summary["replica_seconds"] > 60.0
    assert summary["decisions"] >= summary["scale_outs"] + summary["scale_ins"]


@pytest.mark.alone
@pytest.mark.timeout(120)
@pytest.mark.parametrize(
    "number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP], ids=["Ctrl-C", "SIGTERM", "a closed terminal"]
)
def test_an_interrupted_demo_leaves_nothing_running(number: signal.Signals) -> None:
    clock = SystemClock()
    with running_demo("--duration", "60s") as (process, mark):
        until = clock.now() + 60.0
        while not workers(mark) and process.poll() is None and clock.now() < until:
            clock.wait(clock.now() + 0.1)
        assert workers(mark), process.communicate(timeout=60)[0]
        process.send_signal(number)
        output, _ = process.communicate(timeout=60)
        assert process.returncode == 130, output
        assert marked(mark) == [], output
