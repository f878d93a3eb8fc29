"""`sigmascale backtest`: a small trace from end to end, and every mistake that a person can make with it."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from autoscaler.backtest.record import Change
from autoscaler.backtest.report import marks, thin
from tests.cliworld import Say, speaker

RULES = """\
pool: chat
replica: {capacity: 4 requests/s}
limits: {min: 1, max: 20}
offers:
  from:
    - aws: {region: us-east-1, type: g5.xlarge, price: 2 USD/h, lead_time: 1m}
    - azure: {region: eastus, type: Standard_NC96ads_A100_v4, price: 4 USD/h}
signals:
  load:  {metric: requests_arrived_total, rate: 1m}
  queue: {metric: requests_waiting}
rules:
  - {name: enough, target: {signal: load, per_replica: auto, backlog: queue}}
scale_in: {stabilization: 2m, cool_off: 2m}
"""
# Two hours of 8/s, ten minutes of 60/s in the middle, a minute a bucket.
AMOUNTS = [480.0] * 55 + [3600.0] * 10 + [480.0] * 55
TRACE = "t_s,requests\n" + "".join(f"{60 * n},{amount:g}\n" for n, amount in enumerate(AMOUNTS))
ASKED = ("--start", "3", "--min", "1", "--max", "20", "--boot", "2m", "--tick", "15s", "--warmup", "10m")

Backtest = Callable[..., tuple[int, str, str]]


@pytest.fixture
def say(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Say:
    return speaker(monkeypatch, capsys)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "chat.yaml").write_text(RULES, encoding="utf-8")
    (tmp_path / "trace.csv").write_text(TRACE, encoding="utf-8")
    return tmp_path


@pytest.fixture
def play(say: Say, folder: Path) -> Backtest:
    """`sigmascale backtest` of the trace under the rules above."""
    return lambda *words: say("backtest", folder / "trace.csv", "--rules", folder / "chat.yaml", *ASKED, *words)


# --- the result -------------------------------------------------------------------------------------------------


def rows_of(path: Path) -> np.ndarray[tuple[int, int], np.dtype[np.float64]]:
    return np.loadtxt(path, delimiter=",", skiprows=1)


def test_a_back_test_writes_a_timeline_a_summary_and_a_report(play: Backtest, folder: Path) -> None:
    code, out, err = play("--out", folder / "out")
    assert (code, err) == (0, "")
    assert "violated" in out
    assert "replica-hours over the clairvoyant's" in out
    assert {path.name for path in (folder / "out").iterdir()} == {"timeline.csv", "summary.json", "report.html"}
    lines = (folder / "out" / "timeline.csv").read_text("utf-8").splitlines()
    assert lines[0] == "at_s,demand,wanted,ready,pending,queue"
    assert lines[1].startswith("0,8,3,3,0,0")
    assert len(lines) == 1 + 4 * len(AMOUNTS)


def test_the_timeline_agrees_with_the_summary(play: Backtest, folder: Path) -> None:
    """What the columns say, taken for itself, comes to the same figures: replica-hours, launches, changes, work."""
    play("--out", folder / "out")
    told = json.loads((folder / "out" / "summary.json").read_text("utf-8"))
    at, demand, wanted, ready, pending, queue = rows_of(folder / "out" / "timeline.csv").T
    counted = at >= told["scored"]["from_s"]
    assert told["scored"] == {"from_s": 600.0, "to_s": 7200.0, "ticks": int(counted.sum())}
    assert told["replica_hours"] == pytest.approx((ready + pending)[counted].sum() * 15 / 3600)
    assert told["demand_work"] == pytest.approx(demand[counted].sum() * 15)
    assert told["peak_replicas"] == (ready + pending)[counted].max()
    size = (ready + pending)[at >= 585]
    assert told["launches"] == np.maximum(np.diff(size), 0).sum()
    assert told["changes"] == np.count_nonzero(np.diff(wanted[at >= 585]))
    assert told["cost_over_clairvoyant"] == pytest.approx(told["replica_hours"] / told["clairvoyant_replica_hours"])
    assert told["usd"] == pytest.approx(2 * told["replica_hours"])
    # A queue can only be what came and was not served.
    assert (np.diff(queue) <= 15 * demand[:-1] + 1e-6).all()
    assert (np.diff(queue) >= 15 * (demand - 4.0 * (ready + pending))[:-1] - 1e-6).all()


def test_replicas_serve_one_boot_after_they_were_ordered(play: Backtest, folder: Path) -> None:
    play("--out", folder / "out")
    at, _, wanted, ready, pending, _ = rows_of(folder / "out" / "timeline.csv").T
    first = int(np.argmax(wanted > 3))
    assert pending[first] == wanted[first] - 3
    # Two minutes are eight ticks, and more may have been ordered meanwhile.
    assert ready[first + 7] == 3
    assert ready[first + 8] == wanted[first]
    assert at[first] > 55 * 60


def test_the_burst_of_the_trace_is_what_waits(play: Backtest, folder: Path) -> None:
    """3600 of work in ten minutes come to 3 replicas of 4/s: what comes in two minutes waits, then a boot is over."""
    play("--out", folder / "out")
    told = json.loads((folder / "out" / "summary.json").read_text("utf-8"))
    assert 0.1 < told["violated_share"] < 0.9
    assert told["worst_wait_s"] > 60
    assert told["unmet_work"] == 0
    assert told["wait_p50_s"] <= told["wait_p99_s"] <= told["worst_wait_s"]


def test_equal_input_gives_equal_files_byte_for_byte(play: Backtest, folder: Path) -> None:
    for name in ("one", "two"):
        play("--out", folder / name)
    for file in ("timeline.csv", "summary.json", "report.html"):
        assert (folder / "one" / file).read_bytes() == (folder / "two" / file).read_bytes(), file


def test_the_report_needs_no_other_file_and_carries_the_decisions(play: Backtest, folder: Path) -> None:
    play("--out", folder / "out")
    page = (folder / "out" / "report.html").read_text("utf-8")
    assert "{{" not in re.sub(r"<script>.*?</script>", "", page, flags=re.DOTALL)
    assert not re.search(r"""(?:src|href)\s*=\s*["']""", page)
    assert "Permission is hereby granted" in page
    assert "uPlot" in page
    found = re.search(r'<script id="data" type="application/json">(.*?)</script>', page, re.DOTALL)
    assert found is not None
    data = json.loads(found[1])
    assert len(data["at"]) == len(data["demand"]) == len(data["wanted"]) == len(data["queue"]) == 480
    assert any("load" in reason for _, _, _, reasons in data["changes"] for reason in reasons)


def test_json_is_the_summary(play: Backtest, folder: Path) -> None:
    code, out, _ = play("--out", folder / "out", "--json")
    assert code == 0
    assert json.loads(out) == json.loads((folder / "out" / "summary.json").read_text("utf-8"))


def test_what_is_not_said_comes_from_the_rule_file(say: Say, folder: Path) -> None:
    code, out, _ = say("backtest", folder / "trace.csv", "--rules", folder / "chat.yaml", "--json")
    assert code == 0
    # 8/s at 80 % of 4/s need 3 replicas; the warm-up is half of a trace that is shorter than six days.
    expected = {"capacity": 4, "boot_s": 60, "start": 3, "min": 1, "max": 20, "tick_s": 15, "warmup_s": 3600}
    assert json.loads(out)["settings"] == expected


def test_a_trace_that_does_not_begin_at_zero_keeps_its_times(say: Say, folder: Path) -> None:
    text = "t_s,requests\n" + "".join(f"{86_401.5 + 60 * n},{480}\n" for n in range(20))
    (folder / "later.csv").write_text(text, encoding="utf-8")
    code, _, _ = say(
        "backtest", folder / "later.csv", "--rules", folder / "chat.yaml", "--tick", "7s", "--out", folder / "out"
    )
    assert code == 0
    at = rows_of(folder / "out" / "timeline.csv")[:, 0]
    assert at.tolist() == pytest.approx([86_401.5 + 7 * n for n in range(172)])


def test_a_night_without_demand_shrinks_the_pool_to_its_floor(say: Say, folder: Path) -> None:
    """A source that only says zero for hours is idle, not silent."""
    amounts = [2400] * 30 + [0] * 240
    text = "t_s,requests\n" + "".join(f"{60 * n},{amount}\n" for n, amount in enumerate(amounts))
    (folder / "night.csv").write_text(text, encoding="utf-8")
    say("backtest", folder / "night.csv", "--rules", folder / "chat.yaml", "--warmup", "5m", "--out", folder / "out")
    _, _, wanted, ready, _, _ = rows_of(folder / "out" / "timeline.csv").T
    assert wanted.max() >= 12
    assert (wanted[-1], ready[-1]) == (1, 1)


def test_a_baseline_decides_in_place_of_the_rules(say: Say, folder: Path) -> None:
    code, out, err = say("backtest", folder / "trace.csv", "--policy", "keda", "--capacity", "4", *ASKED, "--json")
    assert (code, err) == (0, "")
    told = json.loads(out)
    assert told["policy"] == "keda"
    assert told["peak_replicas"] > 3


def test_a_league_has_every_baseline_the_rules_and_the_clairvoyant(say: Say, folder: Path) -> None:
    from joblib import parallel_config

    (folder / "brief.csv").write_text("t_s,requests\n0,480\n60,960\n120,480\n180,480\n", encoding="utf-8")
    words = ("--league", "--capacity", "4", "--boot", "30s", "--max", "20", "--out", folder / "out")
    with parallel_config(backend="sequential"):
        code, out, err = say("backtest", folder / "brief.csv", "--rules", folder / "chat.yaml", *words)
    assert (code, err) == (0, "")
    lines = (folder / "out" / "league.csv").read_text("utf-8").splitlines()
    assert lines[0].startswith("trace,policy,value,boot_s,violated,bad_time,cost,replica_hours,launches,changes")
    policies = {line.split(",")[1] for line in lines[1:]}
    assert {"hpa", "keda", "kpa", "aws-tracking", "clairvoyant", "static-peak", "rules:chat"} <= policies
    (best,) = [line.split(",") for line in lines if ",clairvoyant," in line]
    assert float(best[6]) == pytest.approx(1.0)
    assert "rules:chat" in out
    assert {path.name for path in (folder / "out").iterdir()} == {"league.csv"}


# --- what a trace cannot give -----------------------------------------------------------------------------------

BLIND = """
pool: chat
replica: {capacity: 4 requests/s}
limits: {min: 1, max: 20}
signals:
  load: {metric: requests_arrived_total, rate: 1m}
  kv:   {metric: kv_cache_used_ratio, aggregate: mean}
  asked: {promql: 'sum(rate(orders_total[5m]))'}
  busy: {metric: gpu_busy_ratio, aggregate: mean}
rules:
"""


@pytest.mark.parametrize(
    ("rules", "words"),
    [
        pytest.param(
            "  - {name: cache, when: {kv: {above: 90%}}, scale_out: {by: 1}}\n"
            "  - {name: enough, target: {signal: load, per_replica: auto}}\n",
            [
                "signal kv is missing: demand alone does not tell kv_cache_used_ratio",
                "rule 'cache' needs kv: it cannot",
            ],
            id="a rule on the KV cache only holds",
        ),
        pytest.param(
            "  - {name: orders, target: {signal: asked, per_replica: 5}}\n",
            ["a query has no store to ask", "the pool keeps its size, and the result says nothing of the rules"],
            id="rules that are all blind say nothing",
        ),
        pytest.param(
            "  - {name: hot, when: {all: [{kv: {above: 90%}}, {busy: {above: 80%}}]}, scale_out: {by: 1}}\n"
            "  - {name: enough, target: {signal: load, per_replica: auto}}\n",
            ["rule 'hot' needs kv: it is judged on the rest"],
            id="a condition that knows a part is judged on that",
        ),
    ],
)
def test_rules_that_the_trace_cannot_feed_are_named(say: Say, folder: Path, rules: str, words: list[str]) -> None:
    (folder / "blind.yaml").write_text(BLIND + rules, encoding="utf-8")
    code, _, err = say("backtest", folder / "trace.csv", "--rules", folder / "blind.yaml", *ASKED)
    assert code == 0
    for text in words:
        assert text in err


def test_devices_and_waits_can_be_ruled_on(say: Say, folder: Path) -> None:
    """Scale out on how busy the devices are and on how long work waits: both react to the burst, and both are known."""
    text = BLIND.replace("  kv:   {metric: kv_cache_used_ratio, aggregate: mean}\n", "").replace(
        "  asked: {promql: 'sum(rate(orders_total[5m]))'}\n",
        "  wait: {metric: request_queue_time_seconds, quantile: 0.9, over: 1m}\n",
    )
    text += "  - {name: hot, when: {busy: {above: 80%}}, scale_out: {by: 2}, cooldown: 2m}\n"
    text += "  - {name: slow, when: {wait: {above: 5s}}, scale_out: {by: 3}, cooldown: 2m}\n"
    text += "scale_in: {when: {busy: {below: 30%}}, by: 1}\n"
    (folder / "hot.yaml").write_text(text, encoding="utf-8")
    code, out, err = say("backtest", folder / "trace.csv", "--rules", folder / "hot.yaml", *ASKED, "--json")
    assert (code, err) == (0, "")
    told = json.loads(out)
    assert told["never_known"] == {}
    assert told["launches"] > 3


# --- mistakes ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("words", "message"),
    [
        pytest.param(["--column", "tokens"], "it has requests", id="no such column"),
        pytest.param(["--capacity", "-3"], "--capacity: -3 is not above 0", id="a capacity below 0"),
        pytest.param(["--capacity", "nan"], "--capacity: nan is not above 0", id="a capacity that is no number"),
        pytest.param(
            ["--start", "30"], "--start 30 is not between --min 1 and --max 20", id="a start above the maximum"
        ),
        pytest.param(["--min", "30"], "--min 30 is above --max 20", id="a minimum above the maximum"),
        pytest.param(["--warmup", "2h"], "leaves nothing to count", id="a warm-up as long as the trace"),
        pytest.param(["--boot", "soon"], "--boot: 'soon' is not a duration", id="a boot that is no duration"),
        pytest.param(["--tick", "0.1s"], "--tick: 0.1s is not between 1s and 1h", id="a tick too short"),
        pytest.param(["--out", "no/such/folder"], "make it or name another", id="nowhere to write"),
        pytest.param(["--league", "--policy", "hpa"], "leave --policy out", id="one baseline and all of them"),
        pytest.param(["--policy", "magic"], "magic: no such policy; there are hpa,", id="no such baseline"),
    ],
)
def test_a_mistake_is_a_sentence_and_exit_code_2(play: Backtest, words: list[str], message: str) -> None:
    code, _, err = play(*words)
    assert code == 2
    assert message in err
    assert "Traceback" not in err


@pytest.mark.parametrize(
    ("words", "message"),
    [
        pytest.param([], "what decides? name a rule file with --rules", id="nothing decides"),
        pytest.param(["--policy", "hpa"], "--max is missing", id="a baseline without bounds"),
        pytest.param(["--policy", "hpa", "--max", "9"], "--capacity is missing", id="a baseline without a capacity"),
        pytest.param(
            ["--policy", "hpa", "--max", "9", "--capacity", "4"], "--boot is missing", id="and without a boot"
        ),
        pytest.param(["--rules", "."], "is a folder; name one rule file", id="a folder of rules"),
    ],
)
def test_what_is_missing_is_asked_for(say: Say, folder: Path, words: list[str], message: str) -> None:
    code, _, err = say("backtest", folder / "trace.csv", *words)
    assert code == 2
    assert message in err


# --- the plots --------------------------------------------------------------------------------------------------


def test_a_long_trace_is_thinned_and_keeps_its_highs_and_lows() -> None:
    values = np.sin(np.arange(100_000) / 500.0)
    values[43_210], values[77_777] = 9.0, -9.0
    at, found = thin(np.arange(100_000.0), {"one": values, "gap": np.full(100_000, np.nan)}, 2000)
    assert len(at) == len(found["one"]) <= 2000
    assert (np.diff(at) > 0).all()
    assert (found["one"].max(), found["one"].min()) == (9.0, -9.0)
    assert np.isnan(found["gap"]).all()


def test_of_too_many_changes_the_largest_are_marked() -> None:
    changes = [Change(float(n), 10, 10 + (9 if n % 10 == 0 else 1), ()) for n in range(100)]
    assert [c.at_s for c in marks(changes, 10)] == [10.0 * n for n in range(10)]
