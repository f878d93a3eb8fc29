"""`sigmascale compare`: two rule files on a trace and on what a real store recorded, and every mistake with it."""

from __future__ import annotations

import json
import math
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from autoscaler.backtest.recorded import recorded
from autoscaler.clock import SystemClock
from autoscaler.queries import definition
from autoscaler.rulefile.reader import read_rules
from autoscaler.store import Store
from autoscaler.store.daystore import DayStore, utc_day
from autoscaler.types import Past
from tests.cliworld import Say, speaker
from tests.shadowworld import rule_text

# Two hours: 8/s, half an hour of 20/s in the middle.
AMOUNTS = [480.0] * 45 + [1200.0] * 30 + [480.0] * 45
TRACE = "t_s,requests\n" + "".join(f"{60 * n},{amount:g}\n" for n, amount in enumerate(AMOUNTS))
HOUR_S, DAY_S = 3600.0, 86_400.0


def ruled(each: float = 3.0, hold: str = "2m") -> str:
    """Rules that are decided often enough for a boot of two minutes."""
    return rule_text(each, hold).replace("tick: 15s", "tick: 30s")


Compare = Callable[..., tuple[int, str, str]]


@pytest.fixture
def say(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Say:
    return speaker(monkeypatch, capsys)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Rules A plan 3/s for a replica, rules B 2/s; a replica serves 4/s. And a trace."""
    (tmp_path / "a.yaml").write_text(ruled(), encoding="utf-8")
    (tmp_path / "b.yaml").write_text(ruled(each=2.0, hold="10m"), encoding="utf-8")
    (tmp_path / "trace.csv").write_text(TRACE, encoding="utf-8")
    return tmp_path


@pytest.fixture
def compare(say: Say, folder: Path) -> Compare:
    """`sigmascale compare a.yaml b.yaml WORDS`."""
    return lambda *words: say("compare", folder / "a.yaml", folder / "b.yaml", *words)


@pytest.fixture
def on_trace(compare: Compare, folder: Path) -> Compare:
    return lambda *words: compare("--trace", folder / "trace.csv", "--warmup", "10m", *words)


def record(folder: Path, hours: float, until: float, rate: Callable[[float], float] = lambda _: 8.0) -> Path:
    """A data folder in which the real store wrote the load of the pool, every 15 s; NaN is a gap."""
    rules = read_rules(folder / "a.yaml")
    at = until - 15.0 * np.arange(int(hours * 240), 0, -1, dtype=np.float64)
    values = np.array([rate(t) for t in at.tolist()])
    data = folder / "data"
    store = Store(data / "metrics", history_s=30 * DAY_S)
    store.fill(Past("chat", "load", at, values, definition(rules.signals[0])))
    store.close()
    return data


# --- on a trace -------------------------------------------------------------------------------------------------


def test_both_are_told_side_by_side_with_the_difference_and_the_reasons(on_trace: Compare) -> None:
    code, out, err = on_trace()
    assert (code, err) == (0, "")
    for measure in ("violated", "cost", "replica-hours", "USD", "launches", "changes", "longest wait"):
        assert measure in out
    assert "B - A" in out
    assert "3 requests/s each" in out, "why A wanted less"
    assert "2 requests/s each" in out, "why B wanted more"
    assert "which offer is chosen" not in out, "there is one offer"


def test_the_files_hold_both_results_and_their_difference(on_trace: Compare, folder: Path) -> None:
    on_trace("--out", folder / "out")
    assert {p.name for p in (folder / "out").iterdir()} == {"compare.json", "a-timeline.csv", "b-timeline.csv"}
    told = json.loads((folder / "out" / "compare.json").read_text("utf-8"))
    for key, change in told["difference"].items():
        assert change == pytest.approx(told["b"][key] - told["a"][key]), key
    assert told["difference"]["replica_hours"] > 0
    assert told["difference"]["violated_share"] <= 0
    assert told["a"]["settings"]["boot_s"] == told["b"]["settings"]["boot_s"] == 120.0
    assert told["a"]["settings"]["start"] == told["b"]["settings"]["start"]
    first = told["differing_most"][0]
    for side in "ab":
        rows = np.loadtxt(folder / "out" / f"{side}-timeline.csv", delimiter=",", skiprows=1)
        assert rows[rows[:, 0] <= first["at_s"]][-1, 2] == first[side], "the size that was wanted then"
    distances = [abs(d["a"] - d["b"]) for d in told["differing_most"]]
    assert distances == sorted(distances, reverse=True)


def test_each_side_is_what_a_back_test_of_it_alone_is(on_trace: Compare, say: Say, folder: Path) -> None:
    _, out, _ = on_trace("--json", "--start", "3")
    told = json.loads(out)
    for side in "ab":
        alone = ("--rules", folder / f"{side}.yaml", "--warmup", "10m", "--start", "3", "--json")
        _, one, _ = say("backtest", folder / "trace.csv", *alone)
        expected = json.loads(one)
        same = {"replica_hours", "violated_share", "launches", "changes", "worst_wait_s", "usd"}
        assert {k: told[side][k] for k in same} == {k: expected[k] for k in same}


def test_equal_rules_differ_in_nothing(say: Say, folder: Path) -> None:
    words = ("--trace", folder / "trace.csv", "--warmup", "10m")
    _, out, _ = say("compare", folder / "a.yaml", folder / "a.yaml", *words, "--json")
    told = json.loads(out)
    assert set(told["difference"].values()) == {0}
    assert told["differing_most"] == []
    assert "both files say the same" in told["notes"]
    _, out, _ = say("compare", folder / "a.yaml", folder / "a.yaml", *words)
    assert "both wanted the same size at every tick" in out


def test_signals_and_rules_that_cannot_be_judged_are_named_with_why(on_trace: Compare, folder: Path) -> None:
    more = "rules:\n  - {name: hot, when: {cache: {above: 90%}}, scale_out: {by: 1}}\n"
    text = (
        ruled(each=2.0)
        .replace("rules:\n", more)
        .replace("  queue:", "  cache: {metric: kv_cache_used_ratio, aggregate: mean}\n  queue:")
    )
    (folder / "b.yaml").write_text(text, encoding="utf-8")
    code, out, err = on_trace()
    assert (code, err) == (0, "")
    assert "note: B: signal cache is missing: demand alone does not tell kv_cache_used_ratio" in out
    assert "note: B: rule 'hot' needs cache: it cannot be judged" in out
    _, out, _ = on_trace("--json")
    assert json.loads(out)["signals_not_judged"] == {
        "a": {},
        "b": {"cache": "demand alone does not tell kv_cache_used_ratio"},
    }


# --- on what was recorded ---------------------------------------------------------------------------------------


def test_what_the_store_wrote_is_played_on_its_own_days(compare: Compare, folder: Path) -> None:
    now = SystemClock().now()
    peak = lambda t: 20.0 if now - 2 * HOUR_S < t < now - HOUR_S else 8.0  # noqa: E731
    data = record(folder, 5, now, peak)
    code, out, err = compare("--data", data, "--since", "3h", "--json")
    assert (code, err) == (0, "")
    told = json.loads(out)
    assert told["demand"]["signal"] == "load"
    assert told["demand"]["bucket_s"] == 15.0
    scored = told["a"]["scored"]
    assert scored["to_s"] - scored["from_s"] == pytest.approx(3 * HOUR_S, abs=60), "what came before is warm-up"
    epoch = told["demand"]["unix_epoch"]
    assert epoch + scored["to_s"] == pytest.approx(now, abs=60)
    assert utc_day(epoch).weekday() == 0, "time 0 is a Monday, so the days of the week are those of the record"
    assert told["a"]["demand_work"] == pytest.approx((20 + 8 + 8) * HOUR_S, rel=0.02)
    assert told["difference"]["replica_hours"] > 0
    assert any("a rate over 1 min" in note for note in told["notes"])


def test_gaps_are_counted_and_told(compare: Compare, folder: Path) -> None:
    now = SystemClock().now()
    data = record(folder, 4, now, lambda t: math.nan if now - 2 * HOUR_S < t < now - 1.5 * HOUR_S else 8.0)
    code, out, err = compare("--data", data, "--since", "4h")
    assert (code, err) == (0, "")
    assert "1 gap, the longest 29 min 45 s" in out


@pytest.mark.parametrize(
    ("hours", "gap_h", "text"),
    [
        pytest.param(0.5, 0.0, "30 min are recorded; a comparison needs 1 h at least", id="too little history"),
        pytest.param(4.0, 3.0, "are gaps; name a span that was recorded", id="mostly gaps"),
    ],
)
def test_a_record_that_is_not_enough_is_refused(
    compare: Compare, folder: Path, hours: float, gap_h: float, text: str
) -> None:
    now = SystemClock().now()
    data = record(folder, hours, now, lambda t: math.nan if 0 < now - t - HOUR_S / 4 < gap_h * HOUR_S else 8.0)
    code, out, err = compare("--data", data, "--since", "4h")
    assert (code, out) == (2, "")
    assert text in err


def test_a_signal_that_was_never_recorded_is_named_with_what_was(compare: Compare, folder: Path) -> None:
    data = record(folder, 2, SystemClock().now())
    for name in ("a.yaml", "b.yaml"):
        changed = (folder / name).read_text("utf-8").replace("rate: 1m", "rate: 5m")
        (folder / name).write_text(changed, encoding="utf-8")
    code, _, err = compare("--data", data, "--since", "2h")
    assert code == 2
    assert "nothing is recorded of chat, signal load, in that span; recorded of it are load, maybe measured" in err


def test_a_span_in_which_nothing_was_recorded_is_refused(compare: Compare, folder: Path) -> None:
    data = record(folder, 2, SystemClock().now() - 20 * DAY_S)
    code, _, err = compare("--data", data, "--since", "1h")
    assert code == 2
    assert "nothing is recorded of chat, signal load, in that span" in err


def test_days_before_today_are_read_while_a_service_holds_todays_file(compare: Compare, folder: Path) -> None:
    """Another process has the newest file open for writing, as a running service has."""
    for name in ("a.yaml", "b.yaml"):
        slow = (folder / name).read_text("utf-8").replace("tick: 30s", "tick: 5m")
        (folder / name).write_text(slow, encoding="utf-8")
    now = SystemClock().now()
    data = record(folder, 30, now)
    today = DayStore(data / "metrics", 28).path(utc_day(now - 15))
    held = (
        f"import duckdb, sys; open_file = duckdb.connect({str(today)!r}); print('held', flush=True); sys.stdin.read()"
    )
    holder = subprocess.Popen([sys.executable, "-c", held], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    try:
        assert holder.stdout is not None
        assert holder.stdout.readline() == "held\n"
        code, out, err = compare("--data", data, "--since", "30h", "--warmup", "0s", "--json")
    finally:
        holder.communicate("")
    assert (code, err) == (0, "")
    notes = json.loads(out)["notes"]
    assert any(f"{today.name} is in use by the service that runs on this folder and left out" in note for note in notes)
    # Right after midnight hardly anything is in today's file.
    assert any("are not recorded" in note for note in notes) or now % DAY_S < 3600


def test_what_was_learned_of_the_world_is_taken_from_the_journal(compare: Compare, folder: Path) -> None:
    from autoscaler.foresight.rows import lead_time_row
    from autoscaler.journal import Journal
    from autoscaler.types import LeadTime

    data = record(folder, 2, SystemClock().now())
    journal = Journal(f"sqlite:///{data / 'journal.db'}")
    journal.teach([lead_time_row("chat", "sim/small/on_demand", LeadTime(333.0, 400.0), 1.0)])
    journal.close()
    _, out, _ = compare("--data", data, "--since", "2h", "--json")
    assert json.loads(out)["b"]["settings"]["boot_s"] == 333.0
    _, out, _ = compare("--data", data, "--since", "2h", "--boot", "1m", "--json")
    assert json.loads(out)["b"]["settings"]["boot_s"] == 60.0


# --- mistakes ---------------------------------------------------------------------------------------------------


def other_pool(folder: Path) -> None:
    (folder / "b.yaml").write_text(ruled().replace("pool: chat", "pool: other"), encoding="utf-8")


def no_demand(folder: Path) -> None:
    for name in ("a.yaml", "b.yaml"):
        text = ruled().replace("  load:  {metric: requests_arrived_total, rate: 1m}\n", "")
        text = text.replace("signal: load, per_replica: 3 requests/s", "signal: queue, per_replica: 5")
        (folder / name).write_text(text, encoding="utf-8")
    (folder / "data" / "metrics").mkdir(parents=True)


def as_it_is(folder: Path) -> None:
    """Nothing is changed."""


@pytest.mark.parametrize(
    ("prepare", "words", "text"),
    [
        pytest.param(other_pool, (), "is of pool 'chat' and", id="rules of two pools"),
        pytest.param(no_demand, ("--data", "data"), "nothing in it tells how much comes", id="no signal of demand"),
        pytest.param(as_it_is, ("--data", "data"), "--data data: is no data folder of a service", id="no data folder"),
        pytest.param(as_it_is, ("--since", "soon"), "--since: 'soon' is not a duration", id="no duration"),
        pytest.param(as_it_is, ("--since", "1m"), "--since: 1m is not between 1h and", id="too short a span"),
        pytest.param(
            as_it_is,
            ("--trace", "trace.csv", "--server"),
            "--trace and --server: demand has one source",
            id="two sources",
        ),
        pytest.param(as_it_is, ("--trace", "no.csv"), "no.csv: there is no such file", id="no such trace"),
        pytest.param(as_it_is, ("--live", "chat"), "leave the rule files out", id="live with rule files"),
        pytest.param(as_it_is, ("--capacity", "0"), "--capacity: 0 is not above 0", id="no capacity"),
        pytest.param(
            as_it_is, ("--trace", "trace.csv", "--out", "a.yaml"), "--out a.yaml: is a file", id="out is a file"
        ),
        pytest.param(
            as_it_is, ("--server", "--url", "http://127.0.0.1:9"), "no service answers", id="nobody at the address"
        ),
    ],
)
def test_a_mistake_is_a_sentence_with_the_next_step(
    say: Say,
    folder: Path,
    monkeypatch: pytest.MonkeyPatch,
    prepare: Callable[[Path], None],
    words: tuple[str, ...],
    text: str,
) -> None:
    monkeypatch.chdir(folder)
    prepare(folder)
    code, out, err = say("compare", "a.yaml", "b.yaml", *words)
    assert code == (1 if "--server" in words and "--trace" not in words else 2)
    assert out == ""
    assert text in err
    assert "Traceback" not in err


def test_one_file_is_nothing_to_compare(say: Say, folder: Path) -> None:
    code, _, err = say("compare", folder / "a.yaml")
    assert (code, err) == (2, "two rule files are compared; name both, or a pool with --live POOL\n")


# --- points to buckets ------------------------------------------------------------------------------------------


@settings(derandomize=True, max_examples=60, deadline=None)
@given(
    step_s=st.sampled_from([1.0, 5.0, 15.0, 20.0, 60.0]),
    jitter=st.floats(0.0, 0.4),
    seed=st.integers(0, 1000),
    known=st.floats(0.7, 1.0),
)
def test_the_trace_holds_the_demand_of_the_points(step_s: float, jitter: float, seed: int, known: float) -> None:
    rng = np.random.default_rng(seed)
    count = int(2 * HOUR_S / step_s)
    at = 1_790_000_000.0 + step_s * (np.arange(count) + jitter * rng.random(count))
    rate = np.where(rng.random(count) < known, 8.0, np.nan)
    rate[0] = rate[-1] = 8.0
    found = recorded(at, rate, float(at[0]), float(at[-1]) + step_s, "here")
    trace = found.trace
    assert trace.step_s >= 15.0
    assert trace.step_s % 15.0 == 0.0
    assert trace.step_s >= step_s
    inside = trace.amount[~trace.missing]
    assert inside == pytest.approx(8.0 * trace.step_s)
    assert found.epoch + trace.at_s[0] <= at[0] < found.epoch + trace.at_s[0] + trace.step_s
    assert found.epoch + trace.end_s > at[-1]
    assert trace.bridged().amount.sum() == pytest.approx(8.0 * (trace.end_s - trace.at_s[0]))


def test_a_file_without_a_bound_takes_it_from_the_command(on_trace: Compare, folder: Path) -> None:
    for name in ("a.yaml", "b.yaml"):
        unbounded = (folder / name).read_text("utf-8").replace("{min: 1, max: 20}", "{min: 1}")
        (folder / name).write_text(unbounded, encoding="utf-8")
    code, _, err = on_trace()
    assert code == 2
    assert "has no upper bound" in err
    code, out, err = on_trace("--max", "7", "--json")
    assert (code, err) == (0, "")
    assert json.loads(out)["a"]["settings"]["max"] == 7
