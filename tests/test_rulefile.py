"""Rule files become values: the long language, its defaults, its folders."""

from __future__ import annotations

import dataclasses
import math
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from autoscaler.conditions import Condition, Group, leaves
from autoscaler.errors import InputError
from autoscaler.forecasters.drift import Drift
from autoscaler.forecasters.select import Select
from autoscaler.movement import Bounds, BurstGuard, ScaleIn, ScaleOut, WarmPool
from autoscaler.policies.schedule import Schedule
from autoscaler.policies.step import Step
from autoscaler.policies.target import Target
from autoscaler.rulefile.reader import Defaults, check_file, check_text, read_folder, read_rules, rule_files
from autoscaler.ruleset import Hosted, RuleSet, SeriesAlert, Signal
from autoscaler.thresholds.likelihood import Likelihood
from autoscaler.thresholds.robust import Robust
from autoscaler.thresholds.seasonal import Seasonal
from autoscaler.thresholds.sigma import Sigma
from autoscaler.thresholds.static import Static
from autoscaler.types import Offer

DATA = Path(__file__).parent / "data"
RULES = Path(__file__).parent.parent / "rules"
HEAD = "pool: chat\nlimits: {min: 1, max: 9}\n"
SIGNALS = (
    "signals: {gpu: {metric: gpu_sm_active_ratio, aggregate: mean}, queue: {metric: requests_waiting},"
    " load: {metric: requests_arrived_total, rate: 1m}}\n"
)


def rules_of(text: str, **defaults: object) -> RuleSet:
    return read_rules(HEAD + text, defaults=Defaults(**defaults))  # type: ignore[arg-type]


def test_a_minimal_file_has_every_default_of_the_decision_law() -> None:
    rules = read_rules("pool: chat\nlimits: {max: 9}\n", file="chat.yaml")
    plain = RuleSet("chat", Bounds(1, 9), hash=rules.hash, file="chat.yaml")
    assert rules == plain


def test_the_example_of_the_language_means_what_it_says() -> None:
    rules = read_rules(DATA / "chat-design.yaml")
    assert (rules.pool, rules.match, rules.gpus_per_replica, rules.capacity) == (
        "chat-70b",
        (("app", "chat-70b"),),
        4,
        None,
    )
    assert rules.bounds == Bounds(2, 40, 900.0)
    assert rules.choose == "cheapest"
    assert [o.key for o in rules.offers] == [
        "aws/p4d.24xlarge/us-east-1/spot",
        "aws/p4d.24xlarge/us-east-1/on_demand",
        "aws/p4de.24xlarge/us-east-1/spot",
        "aws/p4de.24xlarge/us-east-1/on_demand",
        "azure/Standard_NC96ads_A100_v4/eastus/on_demand",
    ]
    assert [o.replicas for o in rules.offers] == [2, 2, 2, 2, 1]
    assert rules.signal("load") == Signal("load", "requests_arrived_total", rate_s=60.0)
    assert rules.signal("ttft99") == Signal("ttft99", "time_to_first_token_seconds", quantile=0.99, over_s=60.0)
    assert rules.signal("orders") == Signal("orders", promql="sum(rate(orders_total[5m]))")
    assert rules.signal("ahead") == Signal("ahead", forecast="load", quantile=0.95)
    saturation, latency, ahead, office = rules.rules
    assert saturation.policy == Step(by=2)
    assert saturation.when is not None
    assert saturation.when.for_s == 60.0
    assert isinstance(saturation.when.test, Group)
    assert saturation.when.test.need == 2
    assert [t.threshold for t in leaves(saturation.when.test)] == [Static(-math.inf, 0.85), Static(-math.inf, 50.0)]
    assert (latency.policy, latency.alert) == (Step(by_ratio=0.25), "critical")
    assert latency.when is not None
    (leaf,) = leaves(latency.when.test)
    assert (leaf.threshold, leaf.lookback_s, leaf.direction) == (Sigma(3.0), 1800.0, "above")
    assert (ahead.policy, ahead.stages) == (Target("ahead"), (0.25, 0.5, 1.0))
    assert office.policy == Schedule("0 8 * * mon-fri", 43200.0, "Asia/Shanghai", min=6)
    assert rules.alerts == (
        SeriesAlert(
            "gpu_power_watts outside 3 sigma", "gpu_power_watts", "outside", Sigma(3.0), 3600.0, 120.0, text="3 sigma"
        ),
    )
    assert rules.scale_in == ScaleIn(stabilization_s=600.0, drain_s=300.0)
    assert rules.warm_pool == WarmPool(1, "forecast", "stopped")


@pytest.mark.parametrize(
    "path", sorted(p for p in RULES.glob("*.yaml") if ".test." not in p.name), ids=lambda p: p.stem
)
def test_the_rule_files_that_are_shipped_have_no_errors(path: Path) -> None:
    assert check_file(path).errors == ()


def test_every_section_reaches_its_value() -> None:
    rules = rules_of(
        "priority: -3\ntick: 5s\nutilisation_target: 75%\nreplica: {gpus: 2, capacity: 1000 tokens/s}\n"
        "scale_out: {window: 30s, tolerance: 5%, rate: {replicas: 2, percent: 50%, per: 30s}, max_move: 3,\n"
        "            burst: off}\n"
        "scale_in: {tolerance: 0.2, rate: {replicas: 3, percent: 5%, per: 2m}, cool_off: 1m, settle: 2s,\n"
        "           victim: newest, by: 2, to_zero_after: 10m}\n"
        "flap: {moves: 6, per: 30m}\n"
        "launch: {limit: 1m, register: 2m, shortage: 10s, shortage_max: 1m, shortage_reset: 1h, per_hour: 30,\n"
        "         shortage_most: 4, quota: 30m, sick_count: 5, sick_share: 50%, repair_share: 0.3}\n"
        "warm_pool: {min: 2, state: running}\n"
    )
    assert (rules.priority, rules.tick_s, rules.utilisation_target) == (-3, 5.0, 0.75)
    assert (rules.gpus_per_replica, rules.capacity, rules.capacity_unit) == (2, 1000.0, "tokens/s")
    assert rules.scale_out == ScaleOut(30.0, 0.05, 2, 0.5, 30.0, 3, None)
    assert rules.scale_in == ScaleIn(
        tolerance=0.2,
        rate_replicas=3,
        rate_ratio=0.05,
        rate_per_s=120.0,
        cool_off_s=60.0,
        settle_s=2.0,
        victim="newest",
        by=2,
        to_zero_after_s=600.0,
    )
    assert dataclasses.astuple(rules.flap) == (6, 1800.0)
    assert dataclasses.astuple(rules.launch) == (60.0, 120.0, 10.0, 60.0, 3600.0, 30, 4, 1800.0, 0.5, 5, 0.3)
    assert rules.warm_pool == WarmPool(2, "fixed", "running")
    assert rules_of("scale_out: {burst: {ratio: 3}}").scale_out.burst == BurstGuard(30.0, 3.0, 60.0)


@pytest.mark.parametrize(
    ("signal", "expected"),
    [
        pytest.param(
            "{metric: requests_waiting, aggregate: p95}",
            Signal("s", "requests_waiting", aggregate="quantile", quantile=0.95),
            id="p95 is a quantile across series",
        ),
        pytest.param(
            "{metric: requests_waiting, aggregate: p999}",
            Signal("s", "requests_waiting", aggregate="quantile", quantile=0.999),
            id="p999 is 99.9 %",
        ),
        pytest.param(
            "{metric: requests_waiting, aggregate: p5}",
            Signal("s", "requests_waiting", aggregate="quantile", quantile=0.05),
            id="p5 is 5 %",
        ),
        pytest.param(
            "{metric: queue_length, where: {model: no, gpu: 0, version: 1.10}}",
            Signal("s", "requests_waiting", where=(("gpu", "0"), ("model", "no"), ("version", "1.10"))),
            id="labels are the text that was written",
        ),
        pytest.param(
            "{metric: requests_waiting, max_age: 20s, max_hold: 1m, fallback: [other]}",
            Signal("s", "requests_waiting", max_age_s=20.0, max_hold_s=60.0, fallback=("other",)),
            id="ages and fallbacks",
        ),
        pytest.param(
            "{forecast: other, at: 10m}", Signal("s", forecast="other", ahead_s=600.0), id="ten minutes ahead"
        ),
        pytest.param(
            "{forecast: other, of: mean, forecaster: drift}",
            Signal("s", forecast="other", of="mean", forecaster=Drift()),
            id="the mean ahead by a forecaster",
        ),
        pytest.param(
            "{forecast: other, forecaster: {use: select, seed: 7, risk: 98%}}",
            Signal("s", forecast="other", forecaster=Select(seed=7, risk=0.98)),
            id="a forecaster with settings",
        ),
    ],
)
def test_signals_are_read(signal: str, expected: Signal) -> None:
    rules = rules_of(f"signals: {{other: {{metric: requests_running}}, s: {signal}}}\n")
    assert rules.signal("s") == expected


def test_ages_of_the_file_are_the_default_of_its_signals() -> None:
    rules = rules_of("data: {max_age: 7s, max_hold: 8s}\nsignals: {a: {metric: requests_waiting}}\n")
    assert rules.signal("a") == Signal("a", "requests_waiting", max_age_s=7.0, max_hold_s=8.0)


@pytest.mark.parametrize(
    ("test", "threshold", "lookback_s"),
    [
        pytest.param("queue: {above: 50}", Static(-math.inf, 50.0), 0.0, id="above a number"),
        pytest.param("queue: {below: 50}", Static(50.0, math.inf), 0.0, id="below a number"),
        pytest.param("queue: {outside: [10, 20]}", Static(10.0, 20.0), 0.0, id="outside of two"),
        pytest.param("gpu: {above: 85%}", Static(-math.inf, 0.85), 0.0, id="above a share"),
        pytest.param("gpu: {above: 0.85}", Static(-math.inf, 0.85), 0.0, id="above a bare share"),
        pytest.param("queue: {above: 2.5 sigma}", Sigma(2.5), 3600.0, id="sigma over an hour"),
        pytest.param("gpu: {above: 3 sigma, lookback: 5m}", Sigma(3.0, clip_at=1.0), 300.0, id="a ratio clips at 1"),
        pytest.param(
            "queue: {outside: 3 robust, min_points: 9, min_width: 5%}",
            Robust(3.0, 9, min_width_ratio=0.05),
            3600.0,
            id="a width relative to the centre",
        ),
        pytest.param(
            "queue: {outside: 3 robust, min_width: 7}", Robust(3.0, min_width=7.0), 3600.0, id="a width in units"
        ),
        pytest.param("queue: {outside: 3 seasonal}", Seasonal(3.0), 7 * 86400.0, id="seasonal over a week"),
        pytest.param(
            "queue: {above: 3 seasonal, lookback: 28d}", Seasonal(3.0), 28 * 86400.0, id="seasonal over four weeks"
        ),
        pytest.param(
            "queue: {above: {use: seasonal, k: 4, window_s: 900}}",
            Seasonal(4.0, window_s=900.0),
            7 * 86400.0,
            id="seasonal as a plug-in with a setting",
        ),
        pytest.param("queue: {outside: 3 likelihood}", Likelihood(3.0), 3600.0, id="likelihood over an hour"),
    ],
)
def test_thresholds_are_read(test: str, threshold: object, lookback_s: float) -> None:
    rules = rules_of(f"{SIGNALS}rules: [{{name: a, when: {{{test}}}, alert: info}}]\n")
    assert rules.rules[0].when is not None
    (leaf,) = leaves(rules.rules[0].when.test)
    assert (leaf.threshold, leaf.lookback_s) == (threshold, lookback_s)


@pytest.mark.parametrize(
    ("when", "shape"),
    [
        pytest.param("{queue: {above: 1}}", "queue", id="one signal"),
        pytest.param("{queue: {above: 1}, load: {above: 2}}", "2(queue load)", id="several signals must all hold"),
        pytest.param("{any: [{queue: {above: 1}}, {load: {above: 2}}]}", "1(queue load)", id="any"),
        pytest.param(
            "{at_least: 2, of: [{queue: {above: 1}}, {load: {above: 2}}, {gpu: {above: 85%}}]}",
            "2(queue load gpu)",
            id="a quorum",
        ),
        pytest.param(
            "{all: [{any: [{queue: {above: 1}}, {load: {above: 2}}]}, {gpu: {above: 85%}}], for: 1m}",
            "2(1(queue load) gpu)",
            id="nested",
        ),
    ],
)
def test_conditions_nest(when: str, shape: str) -> None:
    rules = rules_of(f"{SIGNALS}rules: [{{name: a, when: {when}, alert: info}}]\n")
    condition = rules.rules[0].when
    assert condition is not None
    assert shape_of(condition) == shape


def shape_of(condition: Condition) -> str:
    def told(test: object) -> str:
        if isinstance(test, Group):
            return f"{test.need}({' '.join(told(p) for p in test.parts)})"
        return str(getattr(test, "signal", ""))

    return told(condition.test)


def test_two_tests_that_differ_only_in_their_lookback_have_keys_of_their_own() -> None:
    rules = rules_of(
        SIGNALS + "rules:\n"
        "  - {name: a, when: {queue: {above: 3 sigma, lookback: 5m}}, alert: info}\n"
        "  - {name: b, when: {queue: {above: 3 sigma, lookback: 1h}}, alert: info}\n"
    )
    keys = {leaf.key for c in rules.conditions for leaf in leaves(c.test)}
    assert len(keys) == 2


def test_budgets_of_an_hour_and_a_day_reach_the_bounds() -> None:
    text = "pool: chat\nlimits: {max: 9, budget: 90 USD/h, budget_per_day: 1200 USD/d, on_exceeded: shrink}\n"
    rules = read_rules(text, defaults=Defaults())
    assert dataclasses.astuple(rules.bounds) == (1, 9, 90.0, 1200.0, "shrink")


def test_offers_are_expanded_and_carry_the_providers_own_settings() -> None:
    rules = rules_of(
        "replica: {gpus: 0}\noffers:\n  choose: listed\n  from:\n"
        "    - local: {command: [python, -m, 'my worker'], ready: /ok, gpus: 0, env: {A: b}, lead_time: 8s,\n"
        "              price: 3.67 USD/h}\n"
        "    - aws: {types: [x1, x2], zones: [a, b], purchase: spot, replicas: 3, gpus: 4}\n",
        region="eu-1",
    )
    local, *cloud = rules.offers
    settings_ = (("command", "python -m 'my worker'"), ("env.A", "b"), ("gpus", "0"), ("ready", "/ok"))
    assert local == Offer("local", "process", usd_per_hour=3.67, lead_time_s=8.0, settings=settings_)
    assert [o.key for o in cloud] == [f"aws/{t}/eu-1/{z}/spot" for t in ("x1", "x2") for z in ("a", "b")]
    assert {o.replicas for o in cloud} == {3}


def test_the_configurations_bound_stands_in_where_a_file_has_none() -> None:
    assert read_rules("pool: chat\n", defaults=Defaults(max=7)).bounds == Bounds(1, 7)
    with pytest.raises(InputError, match="has no upper bound"):
        read_rules("pool: chat\n")


def test_the_hash_names_the_bytes_and_the_defaults_and_not_the_file() -> None:
    text = "pool: chat\nlimits: {max: 7}\n"
    first = read_rules(text, file="a.yaml")
    assert read_rules(text, file="b.yaml").hash == first.hash
    assert read_rules(text + "# later\n").hash != first.hash
    assert read_rules(text, defaults=Defaults(region="x")).hash != first.hash


def test_a_folder_is_read_by_pool_without_its_tests_and_hidden_files(tmp_path: Path) -> None:
    (tmp_path / "a.yaml").write_text("pool: a\nlimits: {max: 1}\n")
    (tmp_path / "b.yml").write_text("pool: b\nlimits: {max: 2}\n")
    (tmp_path / "a.test.yaml").write_text("not: rules\n")
    (tmp_path / ".hidden.yaml").write_text("not: rules\n")
    assert {pool: r.bounds.max for pool, r in read_folder(tmp_path).items()} == {"a": 1, "b": 2}
    assert rule_files(tmp_path / "a.yaml") == (tmp_path / "a.yaml",)


def test_two_files_that_own_one_pool_are_an_error_that_names_both(tmp_path: Path) -> None:
    for name in ("one.yaml", "two.yaml"):
        (tmp_path / name).write_text("pool: chat\nlimits: {max: 1}\n")
    with pytest.raises(InputError) as caught:
        read_folder(tmp_path)
    one, two = tmp_path / "one.yaml", tmp_path / "two.yaml"
    advice = "one file owns a pool, remove or rename one"
    assert str(caught.value).splitlines() == [
        f"{one}:1:1: pool: pool 'chat' is also owned by {two}; {advice}",
        f"{two}:1:1: pool: pool 'chat' is also owned by {one}; {advice}",
    ]


def test_the_errors_of_every_file_are_reported_at_once(tmp_path: Path) -> None:
    (tmp_path / "a.yaml").write_text("pool: a\n")
    (tmp_path / "b.yaml").write_text("pool: b\nlimits: {max: many}\n")
    with pytest.raises(InputError) as caught:
        read_folder(tmp_path)
    assert [Path(f.file).name for f in caught.value.faults] == ["a.yaml", "b.yaml"]


def test_a_folder_without_rules_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="holds no rule file; add one that starts with 'pool: NAME'"):
        read_folder(tmp_path)
    with pytest.raises(InputError, match="is neither a file nor a folder; check the path"):
        read_folder(tmp_path / "nowhere")


EXAMPLE = (DATA / "chat-design.yaml").read_text()


@settings(derandomize=True, max_examples=60, deadline=None)
@given(cut=st.integers(0, len(EXAMPLE)), put=st.text(alphabet="{}[]:-, \n%a1", max_size=4), drop=st.integers(0, 6))
def test_a_damaged_file_gives_rules_or_placed_faults_and_never_anything_else(cut: int, put: str, drop: int) -> None:
    checked = check_text(EXAMPLE[:cut] + put + EXAMPLE[cut + drop :], file="f.yaml")
    assert (checked.rules is None) == bool(checked.errors)
    assert all(f.line >= 1 and f.column >= 1 and f.text for f in checked.faults)


def test_a_replica_says_what_it_runs_and_what_its_users_are_promised() -> None:
    rules = rules_of(
        "replica: {gpus: 4, model: llama-3.1-70b, precision: fp8, gpu: A100-80, objective: {itl: 40ms, ttft: 2s},"
        " request: {input: 512, output: 128}}\n"
    )
    assert rules.hosted == Hosted("llama-3.1-70b", "fp8", "A100-80", 4, 0.04, 2.0, None, 512.0, 128.0)
    assert rules_of("replica: {objective: {itl: off, latency: 1s}}\n").hosted == Hosted(itl_s=None, latency_s=1.0)
