"""`sigmascale simulate`: every form of demand, wrong ones, and a result that people and scripts can trust."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from autoscaler.cli import simulated_view
from autoscaler.cli.demand import read_demand
from autoscaler.cli.simulated import Played, Point
from autoscaler.errors import InputError
from autoscaler.sim import Score
from autoscaler.simulation import START
from autoscaler.types import Decision, Reason
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
  - {name: enough, target: {signal: load, per_replica: auto}}
scale_in: {stabilization: 2m, cool_off: 2m}
"""
TRACE = "t_s,requests\n0,600\n60,1200\n120,600\n"


@pytest.fixture
def say(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Say:
    return speaker(monkeypatch, capsys)


@pytest.fixture
def rules(tmp_path: Path) -> Path:
    file = tmp_path / "chat.yaml"
    file.write_text(RULES, encoding="utf-8")
    return file


@pytest.fixture
def simulate(say: Say, rules: Path) -> Callable[..., tuple[int, str, str]]:
    """`sigmascale simulate` of the rules above, ten minutes unless told."""
    return lambda *words: say("simulate", rules, "--for", "10m", *words)


Simulate = Callable[..., tuple[int, str, str]]


# --- demand -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "rates"),
    [
        pytest.param("20", {0: 20, 1000: 20}, id="a number is the same all the time"),
        pytest.param("2.5e1", {0: 25}, id="a number may have an exponent"),
        pytest.param("0", {0: 0}, id="nothing is a demand too"),
        pytest.param(
            "step:8,40", {0: 8, 249: 8, 251: 40, 599: 40, 601: 8}, id="a step is a quarter in and ends at 60 %"
        ),
        pytest.param("ramp:8,40", {0: 8, 450: 24, 900: 40}, id="a ramp rises from a tenth on"),
        pytest.param("daily:20,0.5", {50_400 - START % 86_400: 30, 7_200 - START % 86_400: 10}, id="a day peaks at 14"),
    ],
)
def test_a_demand_is_read_as_it_is_written(text: str, rates: dict[float, float]) -> None:
    demand = read_demand(text, "requests", 1.0, 1000.0)
    assert {at: demand(START + at) for at in rates} == pytest.approx(rates)


def test_flapping_demand_changes_every_five_minutes() -> None:
    demand = read_demand("flapping:8,40", "requests", 1.0, 3600.0)
    seen = [demand(START + 300.0 * n) for n in range(4)]
    assert sorted(set(seen)) == [8.0, 40.0]
    assert seen[:2] == seen[2:]


def test_a_trace_is_played_at_its_scale(tmp_path: Path) -> None:
    file = tmp_path / "day.csv"
    file.write_text(TRACE, encoding="utf-8")
    demand = read_demand(str(file), "requests", 0.5, 600.0)
    assert [demand(START + t) for t in (0, 61, 121, 10_000)] == [5.0, 10.0, 5.0, 5.0]


WRITE = "write requests per second such as 20, one of step:8,40, flapping:8,40, ramp:8,40, daily:20,0.5, "


@pytest.mark.parametrize(
    ("text", "message"),
    [
        pytest.param("", f"--demand '': is no demand; {WRITE}or the path of a trace", id="nothing"),
        pytest.param("nan", f"--demand 'nan': is no demand; {WRITE}or the path of a trace", id="not a number"),
        pytest.param("-5", "--demand '-5': -5 requests/s is not between 0 and 100,000; write another", id="negative"),
        pytest.param("1e9", "--demand '1e9': 1e+09 requests/s is not between 0 and 100,000; write another", id="huge"),
        pytest.param("step:5", "--demand 'step:5': needs two numbers; write step:8,40", id="one number"),
        pytest.param("ramp:5,x", "--demand 'ramp:5,x': needs two numbers; write ramp:8,40", id="a word as number"),
        pytest.param("step:", "--demand 'step:': needs two numbers; write step:8,40", id="no numbers"),
        pytest.param(
            "step:-1,5", "--demand 'step:-1,5': -1 requests/s is not between 0 and 100,000; write another", id="below 0"
        ),
        pytest.param(
            "stpe:1,2", "--demand 'stpe:1,2': stpe is not a shape of demand; did you mean step:8,40?", id="a slip"
        ),
        pytest.param(
            "daily:20,50",
            "--demand 'daily:20,50': a swing of 50 is not between 0 and 1; write daily:20,0.5, which goes from 10 to "
            "30 requests/s",
            id="a swing in percent",
        ),
        pytest.param("no.csv", "--demand 'no.csv': there is no such file; check the path", id="no such trace"),
        pytest.param("/", "--demand '/': is a folder; name one trace in it, a CSV file", id="a folder"),
    ],
)
def test_a_wrong_demand_is_refused_with_the_next_step(text: str, message: str) -> None:
    with pytest.raises(InputError) as refused:
        read_demand(text, "requests", 1.0, 600.0)
    assert str(refused.value) == message


def test_a_trace_without_the_column_names_those_it_has(simulate: Simulate, tmp_path: Path) -> None:
    file = tmp_path / "day.csv"
    file.write_text(TRACE, encoding="utf-8")
    code, out, err = simulate("--demand", file, "--column", "tokens")
    assert (code, out) == (2, "")
    assert err == f"{file}:1:1: tokens: is not a value column of this file; it has requests\n"


# --- the command ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("words", "message"),
    [
        pytest.param(["--boot", "banana"], "--boot: 'banana' is not a duration; write 30s, 5m or 2h", id="boot"),
        pytest.param(["--boot", "2d"], "--boot: 2d is not between 0s and 1d; write another", id="a boot of days"),
        pytest.param(["--for", "1s"], "--for: 1s is not between 1m and 31d; write another", id="too short"),
        pytest.param(["--capacity", "0"], "--capacity: 0 requests/s is not above 0; leave it out", id="no capacity"),
        pytest.param(["--scale", "-1"], "--scale: -1 is not between 0 and 100000; 1 plays the trace", id="scale"),
        pytest.param(["--seed", "-1"], "Invalid value for '--seed'", id="a negative seed"),
        pytest.param(["--max", "0"], "Invalid value for '--max'", id="no replicas at most"),
        pytest.param(["--journal", "/none/j.db"], "--journal /none/j.db: its folder does not exist", id="no folder"),
    ],
)
def test_a_wrong_option_is_exit_code_2_with_what_to_do(simulate: Simulate, words: list[str], message: str) -> None:
    code, out, err = simulate(*words)
    assert (code, out) == (2, "")
    assert message in err
    assert "Traceback" not in err


def test_a_folder_of_rules_is_refused(say: Say, tmp_path: Path) -> None:
    code, _, err = say("simulate", tmp_path)
    assert (code, err) == (2, f"{tmp_path}: is a folder; name one rule file in it, a simulation has one pool\n")


def test_a_pool_starts_with_what_its_demand_needs_and_loses_nothing_at_first(simulate: Simulate) -> None:
    """30 requests/s at 3.2 planned per replica: a pool that starts from nothing would lose most of them for minutes."""
    code, out, _ = simulate("--demand", "30", "--json")
    found = json.loads(out)
    assert code == 0
    assert found["start_replicas"] == 10
    assert found["score"]["requests_lost"] == found["score"]["requests_aborted"] == 0
    assert found["timeline"][0]["ready"] == 10
    from_nothing = json.loads(simulate("--demand", "30", "--start", "0", "--json")[1])
    assert from_nothing["score"]["requests_lost"] > 500


def test_a_boot_takes_the_lead_time_of_the_first_offer_unless_told(simulate: Simulate) -> None:
    assert json.loads(simulate("--json")[1])["boot_s"] == 60.0
    assert json.loads(simulate("--json", "--boot", "90s")[1])["boot_s"] == 90.0


def test_a_machine_of_one_of_two_providers_counts_once(simulate: Simulate) -> None:
    found = json.loads(simulate("--demand", "10", "--json")[1])
    assert found["score"]["launches"] <= 2
    assert found["score"]["replica_seconds"] == pytest.approx(4 * 600, rel=0.3)


def test_equal_seeds_give_equal_output_and_others_do_not(simulate: Simulate) -> None:
    first = simulate("--json", "--seed", 7)
    assert first == simulate("--json", "--seed", 7)
    assert first[1] != simulate("--json", "--seed", 8)[1]


def test_the_result_shows_the_chart_every_change_with_its_reason_and_the_score(simulate: Simulate) -> None:
    code, out, err = simulate("--demand", "step:8,40")
    assert (code, err) == (0, "")
    assert out.startswith("Pool chat for 10 min, from 3 replicas; a boot takes about 1 min\n")
    assert "replicas   • needed at 3.2 requests/s each   ▒ ready" in out
    assert "rule:enough: load " in out
    assert "requests, " in out
    assert "less than " in out
    assert "sigmascale explain chat --journal FILE --decision " in out
    assert max(len(line) for line in out.splitlines() if line[8:10] == " │") <= 80


def test_a_kept_journal_explains_every_change(simulate: Simulate, say: Say, tmp_path: Path) -> None:
    journal = tmp_path / "try.db"
    changes = json.loads(simulate("--demand", "step:8,40", "--journal", journal, "--json")[1])["changes"]
    assert changes
    code, out, _ = say("explain", "chat", "--journal", journal, "--decision", changes[0]["decision"])
    assert code == 0
    assert f"from {changes[0]['from']} to {changes[0]['want']} replicas" in out
    code, _, err = simulate("--journal", journal)
    assert (code, err) == (2, f"--journal {journal} exists; name a new file, a simulation never adds to a journal\n")


def test_a_boot_beyond_the_limit_of_orders_is_noted(simulate: Simulate, rules: Path) -> None:
    rules.write_text(RULES + "launch: {register: 90s}\n", encoding="utf-8")
    notes = json.loads(simulate("--boot", "2m", "--json")[1])["notes"]
    assert notes[0].startswith("a boot takes 2 min here, and the rules give an order up after 1 min 30 s")


def test_signals_that_a_simulation_does_not_have_are_noted(simulate: Simulate, rules: Path) -> None:
    power = RULES.replace("signals:", "signals:\n  heat: {metric: gpu_power_watts}")
    rules.write_text(power, encoding="utf-8")
    notes = json.loads(simulate("--json")[1])["notes"]
    assert [note for note in notes if note.startswith("heat ")] == [
        "heat was never known, so rules that need it only held: no source gives gpu_power_watts"
    ]


def test_rules_that_asked_for_more_than_the_limit_are_noted(simulate: Simulate, rules: Path) -> None:
    rules.write_text(RULES.replace("max: 20", "max: 4"), encoding="utf-8")
    code, out, _ = simulate("--demand", "step:8,40")
    assert code == 0
    assert "note: the rules asked for up to " in out
    assert ", limits.max is 4" in out


# --- the view, by hand-made values ------------------------------------------------------------------------------


def played(*points: tuple[float, int, int, int]) -> Played:
    """A simulation of which only (at, ready, sent, lost) are known; a replica is planned at 1 request/s."""
    marks = tuple(Point(at, ready, 0, sent, lost) for at, ready, sent, lost in points)
    return Played("chat", 40.0, 5.0, 1, 1.0, Score(), marks, (), (), None)


def test_the_chart_draws_demand_over_ready_replicas_and_marks_losses() -> None:
    shown = simulated_view.chart(played((0, 1, 0, 0), (10, 1, 10, 0), (20, 1, 40, 0), (30, 3, 70, 9), (40, 3, 80, 9)))
    assert shown.splitlines()[1:] == [
        "       3 │ ••▒",
        "       2 │  ▒▒",
        "       1 │•▒▒•",
        "         └────",
        "            x",
        "          0 s 40 s",
    ]


def test_a_simulation_of_one_point_has_no_chart() -> None:
    assert simulated_view.chart(played((0, 1, 0, 0))) == ""


def test_a_size_that_never_changed_is_said() -> None:
    assert "The size never changed." in simulated_view.text(played((0, 1, 0, 0)))


def test_many_changes_are_cut_and_counted() -> None:
    change = Decision("chat", 1, START, 1, 2, 1, 0, (Reason("current", 1, ""), Reason("rule:x", 2, "load")))
    lines = [*simulated_view.changes(replace(played((0, 1, 0, 0)), changes=(change,) * 50))]
    assert len(lines) == simulated_view.CHANGES_SHOWN + 1
    assert lines[-1].strip() == "...  and 20 more; --json has them all"


def test_the_timeline_of_a_long_simulation_stays_small_and_has_its_end() -> None:
    points = tuple((float(n), 1, n, 0) for n in range(1201))
    timeline = json.loads(simulated_view.to_json(played(*points)))["timeline"]
    assert len(timeline) <= simulated_view.TIMELINE_POINTS
    assert timeline[-1]["at_s"] == 1200.0
