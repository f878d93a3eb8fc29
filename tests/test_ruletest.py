"""Rule unit tests: the format, and the real engine under it."""

from __future__ import annotations

from pathlib import Path

import pytest

from autoscaler.errors import InputError
from autoscaler.rulefile.cases import case_files, read_cases
from autoscaler.rulefile.trial import Result, run_tests

RULES = Path(__file__).parent.parent / "rules"
POOL = """pool: chat
limits: {min: 1, max: 9}
tick: 10s
scale_in: {stabilization: 1m, cool_off: 0s}
signals:
  queue: {metric: requests_waiting}
  load: {metric: requests_arrived_total, rate: 1m}
  ahead: {forecast: load}
rules:
  - {name: size, target: {signal: load, per_replica: 10}}
  - {name: burst, when: {queue: {above: 50}, for: 30s}, scale_out: {by: 2}, cooldown: 5m, alert: warning}
"""


def run(folder: Path, tests: str, rules: str = POOL) -> tuple[Result, ...]:
    (folder / "chat.yaml").write_text(rules)
    (folder / "chat.test.yaml").write_text(tests)
    return run_tests(folder)


def one(folder: Path, signals: str, expect: str, more: str = "fleet: 2, boot: 1m") -> Result:
    text = f"tests: [{{name: t, {more}, signals: {signals}, expect: [{expect}]}}]\n"
    (result,) = run(folder, text)
    return result


@pytest.mark.parametrize("result", run_tests(RULES), ids=lambda result: f"{Path(result.file).name}: {result.name}")
def test_the_tests_of_the_shipped_rules_pass(result: Result) -> None:
    assert result.passed, str(result)


@pytest.mark.parametrize(
    ("signals", "expect"),
    [
        pytest.param(
            "{load: 40, queue: 0}", "{at: 0s, want: 4, ready: 2}, {at: 60s, ready: 4}", id="orders serve after boot"
        ),
        pytest.param(
            "{load: 20, queue: 80}", "{at: 20s, want: 2}, {at: 30s, want: 4}, {at: 5m, want: 4}", id="hold times"
        ),
        pytest.param(
            "{load: {0s: 20, 1m: {from: 20, to: 60, over: 4m}}, queue: 0}",
            "{at: 1m, want: 2}, {at: 3m, want: 4}, {at: 5m, want: 6}, {at: 8m, want: 6}",
            id="a ramp rises and stays",
        ),
        pytest.param("{load: {0s: 20, 1m: 40}, queue: 0}", "{at: 59s, want: 2}, {at: 1m, want: 4}", id="a step"),
        pytest.param(
            "{load: {0s: 40, 2m: 10}, queue: 0}",
            "{at: 160s, want: 4}, {at: 8m, want: 1, ready: 1}",
            id="scale-in waits",
        ),
        pytest.param(
            "{load: {0s: 40, 2m: missing}, queue: 0}",
            "{at: 3m, want: 4}, {at: 20m, want: 4, because: [load is missing]}",
            id="no data is not zero",
        ),
        pytest.param("{load: 40, queue: missing}", "{at: 5m, want: 4}", id="missing from the start"),
        pytest.param(
            "{load: 20, queue: 80}",
            "{at: 10s, alerts: {burst: pending}}, {at: 40s, alerts: {burst: firing}}",
            id="alerts have a life",
        ),
        pytest.param(
            "{load: [20, 40], queue: 0}",
            "{at: 10s, want: 4, because: ['rule:size'], not_because: [burst]}",
            id="in turn",
        ),
    ],
)
def test_expectations_meet_the_real_engine(signals: str, expect: str, tmp_path: Path) -> None:
    result = one(tmp_path, signals, expect)
    assert result.passed, str(result)


def test_a_failed_expectation_says_what_was_expected_what_came_and_why(tmp_path: Path) -> None:
    result = one(
        tmp_path,
        "{load: 40, queue: 0}",
        "{at: 1m, want: 9, ready: 8, because: [budget], not_because: ['4 replicas'], alerts: {burst: firing}}",
    )
    assert not result.passed
    assert [(f.expected, f.got) for f in result.failures] == [
        ("want 9", "want 4"),
        ("ready 8", "ready 4"),
        ("a reason with 'budget'", "none"),
        ("no reason with '4 replicas'", "one"),
        ("alert 'burst' firing", "inactive"),
    ]
    text = str(result)
    assert text.splitlines()[0] == f"{tmp_path / 'chat.test.yaml'}:1: FAILED: t"
    assert "  line 1, at 1m: expected want 9, got want 4" in text
    assert "rule:size" in text


def test_a_forecast_may_be_given_as_what_it_reads(tmp_path: Path) -> None:
    rules = POOL.replace("signal: load", "signal: ahead")
    signals = "{load: 20, queue: 0, ahead: {0s: 20, 1m: 50}}"
    text = f"tests: [{{name: t, fleet: 2, signals: {signals}, expect: [{{at: 1m, want: 5}}]}}]"
    (result,) = run(tmp_path, text, rules)
    assert result.passed, str(result)


def test_capacity_may_be_given_as_if_it_had_been_learned(tmp_path: Path) -> None:
    rules = POOL.replace("per_replica: 10", "per_replica: auto")
    text = "tests: [{name: t, capacity: 10 requests/s, signals: {load: 20, queue: 0}, expect: [{at: 0s, want: 3}]}]"
    (result,) = run(tmp_path, text, rules)
    assert result.passed, str(result)


def test_the_test_file_may_bound_rules_that_name_no_bound(tmp_path: Path) -> None:
    rules = "rules: [{metric: cpu_usage, threshold: 80%, action: scale_out, cooldown: 300s}]\n"
    text = "max: 3\ntests: [{name: t, signals: {cpu_usage: 90%}, expect: [{at: 1m, want: 2}, {at: 20m, want: 3}]}]\n"
    (result,) = run(tmp_path, text, rules)
    assert result.passed, str(result)
    with pytest.raises(InputError, match="has no upper bound and is not run without one"):
        run(tmp_path, text.removeprefix("max: 3\n"), rules)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        pytest.param(
            "tests: [{name: t}]\n",
            "1:9: tests[0].expect: is missing; add 'expect: [{at: 5m, want: 2}]'",
            id="nothing expected",
        ),
        pytest.param(
            "tests: [{name: t, expect: []}]\n", "1:27: tests[0].expect: is empty; add [{at: 5m, want: 2}]", id="empty"
        ),
        pytest.param(
            "tests: [{name: t, expect: [{at: 5m}]}]\n",
            "1:28: tests[0].expect[0]: expects nothing; add want, ready, because, not_because or alerts",
            id="says nothing",
        ),
        pytest.param(
            "tests: [{name: t, signals: {quue: 1}, expect: [{at: 5m, want: 1}]}]\n",
            "1:29: tests[0].signals.quue: 'quue' is not a signal of {rules}; did you mean queue?",
            id="unknown signal",
        ),
        pytest.param(
            "tests: [{name: t, expect: [{at: 5m, alerts: {brust: firing}}]}]\n",
            "1:46: tests[0].expect[0].alerts.brust: 'brust' is not an alert of {rules}; did you mean burst?",
            id="unknown alert",
        ),
        pytest.param(
            "tests: [{name: t, signals: {queue: {soon: 1}}, expect: [{at: 5m, want: 1}]}]\n",
            "1:36: tests[0].signals.queue: 'soon' is not a duration; write 30s, 5m or 2h",
            id="a time that is none",
        ),
        pytest.param(
            "tests: [{name: t, signals: {queue: {from: 1, to: 2}}, expect: [{at: 5m, want: 1}]}]\n",
            "1:36: tests[0].signals.queue: has from, to; a ramp is {from: 0, to: 9, over: 5m}",
            id="half a ramp",
        ),
        pytest.param(
            "tests: [{name: t, start: 2026-01-05T08:00:00, expect: [{at: 5m, want: 1}]}]\n",
            "1:26: tests[0].start: '2026-01-05T08:00:00' has no time zone; "
            "write 2026-01-05T08:00:00Z or 2026-01-05T08:00:00+08:00",
            id="a start without a zone",
        ),
        pytest.param(
            "tests: [{name: t, expect: [{at: 30d, want: 1}]}]\n",
            "1:33: tests[0].expect[0].at: is past 7 days; a rule test is shorter",
            id="too long",
        ),
        pytest.param(
            "rules: ../other.yaml\ntests: []\n",
            "1:8: rules: '../other.yaml' is not the name of a file beside this one; call the tests NAME.test.yaml",
            id="rules elsewhere",
        ),
        pytest.param(
            "tests: [{nam: t, expect: [{at: 5m, want: 1}]}]\n",
            "1:10: tests[0].nam: is not a known key; did you mean name?",
            id="a misspelt key",
        ),
    ],
)
def test_a_broken_test_file_is_answered_with_its_place(text: str, message: str, tmp_path: Path) -> None:
    (tmp_path / "chat.yaml").write_text(POOL)
    path = tmp_path / "chat.test.yaml"
    path.write_text(text)
    with pytest.raises(InputError) as caught:
        read_cases(path)
    assert f"{path}:{message.replace('{rules}', str(tmp_path / 'chat.yaml'))}" in str(caught.value).splitlines()


def test_the_tests_beside_a_rule_file_are_found(tmp_path: Path) -> None:
    for name in ("chat.yaml", "chat.test.yaml", "other.yaml"):
        (tmp_path / name).write_text("")
    assert case_files(tmp_path) == case_files(tmp_path / "chat.yaml") == (tmp_path / "chat.test.yaml",)
    assert case_files(tmp_path / "other.yaml") == ()
