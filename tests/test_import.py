"""`sigmascale import`: what KEDA and HPA manifests become, what is said of the rest, and every mistake with them."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from autoscaler.errors import InputError
from autoscaler.migration.convert import Converted, convert
from autoscaler.migration.hpa import SUFFIXES, amount
from autoscaler.migration.manifests import Part, parse
from tests.cliworld import Say, speaker

DATA = Path(__file__).parent / "data" / "migration"
HEAD = "apiVersion: keda.sh/v1alpha1\nkind: ScaledObject\nmetadata: {name: s}\n"
HPA = "apiVersion: autoscaling/v2\nkind: HorizontalPodAutoscaler\nmetadata: {name: s}\n"


@pytest.fixture
def say(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Say:
    return speaker(monkeypatch, capsys)


def made(text: str) -> Converted:
    (one,) = convert(parse(text, "m.yaml"))
    return one


def scaled(trigger: str, more: str = "") -> Converted:
    """Of a ScaledObject with this trigger."""
    return made(f"{HEAD}spec:\n  scaleTargetRef: {{name: chat}}\n  triggers: [{trigger}]\n{more}")


def notes(one: Converted) -> str:
    return "\n".join(f"{note.kind}: {note.text}" for note in one.notes)


@pytest.mark.parametrize("name", ["keda", "hpa"])
def test_every_rule_file_that_is_made_is_taken_as_it_stands(name: str) -> None:
    found = convert(parse((DATA / f"{name}.yaml").read_text(), f"{name}.yaml"))
    assert found
    for one in found:
        assert one.checked.errors == (), one.text
        assert one.checked.rules is not None
        assert one.checked.rules.pool == one.pool


def test_a_scaled_object_keeps_its_bounds_pace_windows_and_query() -> None:
    (one,) = convert(parse((DATA / "keda.yaml").read_text(), "keda.yaml"))
    rules = one.checked.rules
    assert rules is not None
    assert (rules.bounds.min, rules.bounds.max, rules.tick_s) == (0, 24, 15.0)
    assert "replica: {gpus: 4}" in one.text
    assert rules.signals[0].promql is not None
    assert rules.signals[0].promql.startswith("sum(vllm:num_requests_waiting")
    assert "lasts: 12h, timezone: Europe/Berlin" in one.text
    assert "rate: {replicas: 2, percent: 0%, per: 1m}" in one.text
    assert "stabilization: 15m" in one.text
    assert "to_zero_after: 10m" in one.text


@pytest.mark.parametrize(
    "told",
    [
        "left out: a trigger of the type rabbitmq (value 20)",
        "different: without data it had 6 replicas",
        "different: a pool at zero woke up above 1",
        "to do: what may be launched",
        "collectors: {prometheus: {url: http://prometheus.monitoring:9090}}",
    ],
)
def test_what_is_not_as_it_was_is_told_in_the_file_and_with_its_place(told: str) -> None:
    (one,) = convert(parse((DATA / "keda.yaml").read_text(), "keda.yaml"))
    assert told in notes(one)
    assert told in one.text
    assert all(note.place.startswith("keda.yaml:") for note in one.notes)


@pytest.mark.parametrize(
    ("trigger", "told"),
    [
        pytest.param(
            "{type: kafka, metadata: {lagThreshold: '50'}}", "kafka (lagThreshold 50)", id="a queue of others"
        ),
        pytest.param("{type: memory, metricType: AverageValue, metadata: {value: 1Gi}}", "", id="an amount"),
        pytest.param(
            "{type: cron, metadata: {start: 0 8 * * *, end: 0 9 * * 1, desiredReplicas: '3'}}",
            "not always equally long",
            id="a window that varies",
        ),
    ],
)
def test_a_trigger_that_has_no_counterpart_is_left_out_and_told(trigger: str, told: str) -> None:
    if not told:
        with pytest.raises(InputError, match="is not a number"):
            scaled(trigger)
        return
    one = scaled(trigger)
    assert "left out: " in notes(one)
    assert told in notes(one)
    assert "no rule could be made of it" in notes(one)
    assert one.checked.rules is not None


def test_the_horizontal_autoscaler_that_keda_makes_counts_no_second_time() -> None:
    text = HPA.replace("{name: s}", "{name: s, labels: {scaledobject.keda.sh/name: s}}") + "spec: {maxReplicas: 3}\n"
    assert convert(parse(text, "m.yaml")) == ()


def test_pools_of_several_namespaces_are_named_after_both() -> None:
    found = convert(parse((DATA / "hpa.yaml").read_text(), "hpa.yaml"))
    assert [one.pool for one in found] == ["default-embed", "legacy-old"]


def test_an_imported_target_sizes_as_kubernetes_does(tmp_path: Path, say: Say) -> None:
    """ceil(sum of the shares / target): 4 replicas at 75 % of a target of 60 % are 5; within 10 % nothing moves."""
    one = made(
        f"{HPA}spec:\n  scaleTargetRef: {{kind: Deployment, name: chat}}\n  minReplicas: 2\n  maxReplicas: 30\n"
        "  metrics: [{type: Resource, resource: {name: cpu, target: {type: Utilization, averageUtilization: 60}}}]\n"
    )
    (tmp_path / "chat.yaml").write_text(one.text, encoding="utf-8")
    (tmp_path / "chat.test.yaml").write_text(
        "tests:\n"
        "  - {name: above, fleet: 4, signals: {cpu: 3.0}, expect: [{at: 1m, want: 5}]}\n"
        "  - {name: far above, fleet: 4, signals: {cpu: 4.0}, expect: [{at: 1m, want: 7}]}\n"
        "  - {name: within tolerance, fleet: 4, signals: {cpu: 2.6}, expect: [{at: 1m, want: 4}]}\n"
        "  - {name: below waits, fleet: 4, signals: {cpu: 0.6}, expect: [{at: 1m, want: 4}]}\n",
        encoding="utf-8",
    )
    code, out, err = say("test", tmp_path)
    assert code == 0, out + err


# --- the command ------------------------------------------------------------------------------------------------


def test_without_a_folder_the_rule_files_are_printed(say: Say) -> None:
    code, out, err = say("import", DATA / "hpa.yaml")
    assert (code, err) == (0, "")
    assert out.count("pool: ") == 2
    assert "\n---\n" in out


def test_with_a_folder_each_pool_has_its_file_and_none_is_overwritten(tmp_path: Path, say: Say) -> None:
    code, out, _ = say("import", DATA, "--out", tmp_path / "rules")
    assert code == 0
    assert sorted(p.name for p in (tmp_path / "rules").iterdir()) == [
        "default-embed.yaml",
        "inference-llama.yaml",
        "legacy-old.yaml",
    ]
    assert "notes at its end" in out
    before = (tmp_path / "rules" / "legacy-old.yaml").read_text()
    code, _, err = say("import", DATA / "hpa.yaml", "--out", tmp_path / "rules")
    assert code == 2
    assert "nothing was written" in err
    assert (tmp_path / "rules" / "legacy-old.yaml").read_text() == before


def test_as_json_notes_and_faults_are_data(say: Say) -> None:
    code, out, _ = say("import", DATA / "keda.yaml", "--json")
    (one,) = json.loads(out)
    assert (code, one["pool"], one["errors"]) == (0, "llama", [])
    assert {note["kind"] for note in one["notes"]} == {"to do", "different", "left out"}


@pytest.mark.parametrize(
    ("text", "told"),
    [
        pytest.param("kind: [", "is not YAML", id="no YAML"),
        pytest.param(HPA, "has no spec", id="no spec"),
        pytest.param(HPA + "spec: {minReplicas: 1}\n", "m.yaml:4:7: spec: has no maxReplicas", id="no bound"),
        pytest.param(HPA + "spec: {maxReplicas: many}\n", "spec.maxReplicas: is not a number", id="a bound of words"),
        pytest.param(HEAD + "spec: {triggers: [{type: prometheus}]}\n", "needs a query and a threshold", id="no query"),
        pytest.param(
            HEAD + "spec: {triggers: [{type: cron, metadata: {start: x, end: y, desiredReplicas: 1}}]}\n",
            "is not a schedule",
            id="no schedule",
        ),
        pytest.param(
            HEAD + "spec: {triggers: [{type: cron, metadata: {timezone: Mars, start: 0 8 * * *, end: 0 9 * * *, "
            "desiredReplicas: 1}}]}\n",
            "'Mars' is not a time zone",
            id="no zone",
        ),
        pytest.param("kind: Deployment\nmetadata: {name: x}\n", "found were Deployment", id="no scaler"),
        pytest.param("", "they are empty", id="nothing"),
        pytest.param("a: &a [*a]\n", "", id="a value inside itself"),
    ],
)
def test_a_manifest_that_cannot_be_read_is_told_with_its_place(tmp_path: Path, say: Say, text: str, told: str) -> None:
    (tmp_path / "m.yaml").write_text(text, encoding="utf-8")
    code, out, err = say("import", tmp_path / "m.yaml")
    assert code in (1, 2)
    assert out == ""
    assert told in err
    assert "Traceback" not in err


@pytest.mark.parametrize("path", ["missing.yaml", "."], ids=["no such file", "a folder without manifests"])
def test_a_path_without_manifests_is_told(tmp_path: Path, say: Say, path: str) -> None:
    code, _, err = say("import", tmp_path / path)
    assert code == 2
    assert str(tmp_path) in err


@given(st.integers(1, 9999), st.sampled_from(sorted(SUFFIXES)))
@settings(max_examples=60, deadline=None, derandomize=True)
def test_a_quantity_is_its_digits_times_its_suffix(digits: int, suffix: str) -> None:
    found = float(amount(Part(None, "m", 1, 1), f"{digits}{suffix}"))
    assert found == pytest.approx(digits * SUFFIXES[suffix], rel=1e-9)


@pytest.mark.parametrize("quantity", ["", "ten", "1X", "1e"])
def test_what_is_no_quantity_is_refused(quantity: str) -> None:
    with pytest.raises(InputError, match="is not a quantity"):
        amount(Part(None, "m", 1, 1), quantity)
