"""The two short dialects load as they stand and mean the same engine."""

from __future__ import annotations

import math
from pathlib import Path

import pytest

from autoscaler.conditions import leaves
from autoscaler.errors import InputError
from autoscaler.movement import Bounds
from autoscaler.policies.step import Step
from autoscaler.rulefile.reader import Defaults, check_file, check_text, read_rules
from autoscaler.ruleset import Rule, RuleSet
from autoscaler.thresholds.static import Static

DIALECTS = Path(__file__).parent / "data" / "dialects"
NESTED = DIALECTS / "auto_scaling.yaml"
FLAT = DIALECTS / "rules_list.yaml"


def meaning(rules: RuleSet) -> list[tuple[str | None, object, object, float]]:
    """(metric, threshold, policy, cooldown) of each rule."""
    return [(metric(rules, r), threshold(r), r.policy, r.cooldown_s) for r in rules.rules]


def metric(rules: RuleSet, rule: Rule) -> str | None:
    assert rule.when is not None
    (leaf,) = leaves(rule.when.test)
    signal = rules.signal(leaf.signal)
    return signal.metric if signal is not None else None


def threshold(rule: Rule) -> object:
    assert rule.when is not None
    return leaves(rule.when.test)[0].threshold


def test_the_nested_dialect_means_thresholds_steps_and_offers() -> None:
    rules = read_rules(NESTED, defaults=Defaults(max=10, region="us-east-1", require_bound=True))
    assert (rules.pool, rules.bounds) == ("default", Bounds(1, 10))
    assert meaning(rules) == [
        ("gpu_busy_ratio", Static(-math.inf, 0.85), Step(by=2), 300.0),
        ("requests_waiting", Static(-math.inf, 50.0), Step(by=1), 600.0),
    ]
    assert [(o.provider, o.type, o.region, o.replicas) for o in rules.offers] == [
        ("aws", "p3.8xlarge", "us-east-1", 1),
        ("aws", "p4d.24xlarge", "us-east-1", 1),
        ("azure", "Standard_NC6s_v3", "us-east-1", 1),
    ]


def test_the_list_dialect_means_one_more_replica() -> None:
    rules = read_rules(FLAT, defaults=Defaults(max=10))
    assert meaning(rules) == [("host_cpu_ratio", Static(-math.inf, 0.8), Step(by=1), 300.0)]


def test_a_short_file_equals_its_long_form() -> None:
    long = read_rules(
        "pool: default\nlimits: {max: 10}\nsignals: {cpu_usage: {metric: host_cpu_ratio, aggregate: mean}}\n"
        "rules: [{name: cpu_usage, when: {cpu_usage: {above: 80%}}, scale_out: {by: 1}, cooldown: 300s}]\n"
    )
    short = read_rules(FLAT, defaults=Defaults(max=10))
    assert (short.signals, short.rules, short.bounds) == (long.signals, long.rules, long.bounds)


@pytest.mark.parametrize("path", [NESTED, FLAT], ids=lambda path: path.stem)
def test_without_a_bound_a_short_file_can_be_checked_but_not_run(path: Path) -> None:
    checked = check_file(path)
    assert checked.errors == ()
    assert any("has no upper bound, so it can be checked but not run" in w.text for w in checked.warnings)
    with pytest.raises(InputError, match="give --max N or a default in the configuration"):
        read_rules(path, defaults=Defaults(require_bound=True))


@pytest.mark.parametrize("path", [NESTED, FLAT], ids=lambda path: path.stem)
def test_the_check_says_that_nothing_scales_in(path: Path) -> None:
    assert any("step rules alone never scale in" in w.text for w in check_file(path).warnings)


def test_warnings_stand_where_the_person_wrote_the_cause() -> None:
    (warning,) = [w for w in check_file(NESTED).warnings if w.where.endswith("cooldown")]
    assert (warning.line, warning.where) == (7, "auto_scaling.metrics[0].gpu_utilization.scale_up.cooldown")


def test_the_same_metric_may_have_two_thresholds() -> None:
    text = (
        "rules:\n"
        "  - {metric: cpu_usage, threshold: 60%, action: scale_out, cooldown: 5m}\n"
        "  - {metric: cpu_usage, threshold: 90%, action: scale_out, cooldown: 0}\n"
    )
    rules = read_rules(text, defaults=Defaults(max=3))
    assert [r.name for r in rules.rules] == ["cpu_usage", "cpu_usage 2"]
    assert [s.name for s in rules.signals] == ["cpu_usage"]


def test_a_region_of_the_file_counts_more_than_the_default() -> None:
    text = NESTED.read_text().replace("    - type: azure\n", "    - type: azure\n      region: eastus\n")
    rules = read_rules(text, defaults=Defaults(max=3, region="us-east-1"))
    assert [o.region for o in rules.offers] == ["us-east-1", "us-east-1", "eastus"]


def test_a_file_that_names_its_pool_is_never_taken_for_a_short_one() -> None:
    checked = check_text("pool: a\n" + FLAT.read_text(), file="f.yaml", defaults=Defaults(max=3))
    assert [f.where for f in checked.errors if "not a known key" in f.text] == [
        "rules[0].metric",
        "rules[0].threshold",
        "rules[0].action",
    ]
