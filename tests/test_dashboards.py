"""Dashboards and rules: generated, sound, and about nothing that sigmascale does not export."""

from __future__ import annotations

import json
import re
import subprocess
from itertools import combinations
from typing import Any

import promql_parser
import pytest
import yaml
from grafana_foundation_sdk.cog.encoder import JSONEncoder
from grafana_foundation_sdk.cog.plugins import register_default_plugins
from grafana_foundation_sdk.models.dashboard import Dashboard

from autoscaler import ownmetrics
from autoscaler.agent import own as agent
from autoscaler.dashboards import recording
from autoscaler.dashboards.cells import MATRIX
from autoscaler.dashboards.grid import placed
from autoscaler.dashboards.panels import Panel, Row
from autoscaler.dashboards.styles import ref
from autoscaler.dashboards.written import boards, files
from autoscaler.signals import aggregated, metric
from collectors.prometheus.promql import spellings
from tests.grafanapages import FOLDER, MACROS, Asked, choices, committed, notes, panels, put_in, queries
from tests.peers.programs import program

BOARDS = committed()
ANY_VALUE = {**MACROS, "pool": "chat", "signal": "load", "host": "n1", "instance": "a", "provider": "aws"}
RULES = FOLDER / "prometheus" / "rules"
ALERTS = [rule for g in yaml.safe_load((RULES / "alerts.yml").read_text())["groups"] for rule in g["rules"]]
DOCUMENT = FOLDER.parent / "docs" / "dashboards.md"
OF_PROMETHEUS = {"up", "ALERTS"}
OWN = {m.full_name for m in (*ownmetrics.METRICS, *agent.METRICS)}
SPELLED = re.compile(r"DCGM_|vllm:|sglang:|trtllm_|nv_|tgi_|dynamo_|ray_")
EVERY_QUERY = [
    *(asked for tree in BOARDS.values() for asked in (*queries(tree), *notes(tree))),
    *(Asked(uid, "variables", series) for uid, tree in BOARDS.items() for series in choices(tree)),
]


def metrics(expr: str) -> set[str]:
    """The names of all series that an expression reads."""
    found: set[str] = set()

    def visit(node: promql_parser.Expr) -> bool:
        if isinstance(node, promql_parser.VectorSelector):
            found.add(node.name or "")
        if isinstance(node, promql_parser.MatrixSelector):
            found.add(node.vector_selector.name or "")
        return True

    promql_parser.walk(promql_parser.parse(expr), visit)
    return found


def exported(name: str) -> bool:
    """Whether somebody of ours prints it, Prometheus makes it, or one of our rules does."""
    ours = name in OWN or name in recording.names() or name in OF_PROMETHEUS
    return ours or metric(name) is not None or aggregated(name) is not None


def test_the_files_are_what_the_code_says() -> None:
    made = files()
    assert {f"grafana/{path.name}" for path in (FOLDER / "grafana").iterdir()} == {n for n in made if "grafana" in n}
    for name, text in made.items():
        assert (FOLDER / name).read_text(encoding="utf-8") == text, f"{name} is old: run `make docs`"


@pytest.mark.parametrize("uid", BOARDS)
def test_a_dashboard_survives_the_round_trip_through_the_sdk(uid: str) -> None:
    register_default_plugins()
    tree = json.loads(json.dumps(BOARDS[uid]))
    again = json.loads(JSONEncoder().encode(Dashboard.from_json(tree)))
    for note in tree["annotations"]["list"]:
        # What the Prometheus data source alone reads of an annotation is unknown to the SDK.
        for unknown in ("titleFormat", "textFormat", "step", "useValueForTime", "target"):
            del note[unknown]
    for note in again["annotations"]["list"]:
        note.pop("target", None)
    for panel in panels(again):
        if panel["type"] == "heatmap":
            assert panel["fieldConfig"]["defaults"].pop("custom") == {}  # added by the SDK when it reads one
    assert again == tree


@pytest.mark.parametrize("asked", EVERY_QUERY, ids=lambda asked: f"{asked.dashboard}/{asked.panel}")
def test_every_query_is_promql_about_what_we_export(asked: Asked) -> None:
    found = metrics(put_in(asked.expr, ANY_VALUE))
    assert found
    assert [name for name in found if not exported(name)] == []


def test_every_variable_that_a_query_reads_is_on_its_dashboard() -> None:
    for uid, tree in BOARDS.items():
        there = {variable["name"] for variable in tree["templating"]["list"]} | set(MACROS)
        for asked in (*queries(tree), *notes(tree)):
            assert set(re.findall(r"\$\{?(\w+)", asked.expr)) <= there, f"{uid}: {asked}"


@pytest.mark.parametrize("name", sorted(recording.names()))
def test_a_recording_rule_is_called_level_metric_operation(name: str) -> None:
    assert re.fullmatch(r"[a-z_]+:[a-z0-9_]+:[a-z0-9_]+", name)


def test_recording_rules_read_what_we_export_or_what_collectors_know_under_another_name() -> None:
    records = [record for group in recording.groups() for record in group.records]
    others = {name for record in records for name in metrics(record.expr) if not exported(name)}
    assert others
    assert [name for name in others if not SPELLED.match(name)] == []
    assert len({record.name for record in records}) == len(records)


def test_every_recorded_metric_of_engines_is_looked_for_under_all_names_that_collectors_know() -> None:
    running = next(r for g in recording.groups() for r in g.records if r.name == "pool:requests_running:sum")
    assert metrics(running.expr) == {one.name for one in spellings("requests_running")}


@pytest.mark.parametrize("rule", ALERTS, ids=lambda rule: rule["alert"])
def test_an_alert_says_how_bad_it_is_what_happened_and_what_to_do(rule: dict[str, Any]) -> None:
    assert [name for name in metrics(rule["expr"]) if not exported(name)] == []
    assert rule["for"]
    assert rule["labels"]["severity"] in {"warning", "critical"}
    assert set(rule["annotations"]) == {"summary", "description", "runbook_url"}
    page, _, anchor = rule["annotations"]["runbook_url"].partition("#")
    assert page == "docs/dashboards.md"
    text = DOCUMENT.read_text(encoding="utf-8")
    assert f"### {anchor}\n" in text.lower(), "a runbook's section is missing"
    assert f"| `{rule['alert']}` | {rule['labels']['severity']} |" in text, "the table of alerts lacks it"
    assert f'"{rule["alert"]}"' in _tests() or f"alertname: {rule['alert']}\n" in _tests(), "no unit test"


def _tests() -> str:
    return (FOLDER / "prometheus" / "tests" / "alerts.yml").read_text(encoding="utf-8")


@pytest.mark.peer
@pytest.mark.parametrize(
    "words",
    [
        pytest.param(["check", "rules", "rules/alerts.yml", "rules/recording.yml"], id="rules"),
        pytest.param(["check", "config", "prometheus.yml"], id="configuration"),
        pytest.param(["test", "rules", "tests/alerts.yml", "tests/recording.yml"], id="unit tests of the rules"),
    ],
)
def test_promtool_is_content(words: list[str]) -> None:
    command = [program("prometheus", "promtool"), *words]
    done = subprocess.run(command, check=False, cwd=FOLDER / "prometheus", capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize("uid", BOARDS)
def test_a_dashboard_has_one_id_a_panel_and_no_two_in_one_place(uid: str) -> None:
    tree = BOARDS[uid]
    every = list(panels(tree))
    assert len({panel["id"] for panel in every}) == len(every)
    for together in (tree["panels"], *(p["panels"] for p in tree["panels"] if p.get("panels"))):
        for one, other in combinations(together, 2):
            assert not _overlap(one["gridPos"], other["gridPos"]), (one["title"], other["title"])
        assert all(p["gridPos"]["x"] >= 0 and p["gridPos"]["x"] + p["gridPos"]["w"] <= 24 for p in together)


def _overlap(one: dict[str, int], other: dict[str, int]) -> bool:
    beside = one["x"] + one["w"] <= other["x"] or other["x"] + other["w"] <= one["x"]
    return not (beside or one["y"] + one["h"] <= other["y"] or other["y"] + other["h"] <= one["y"])


@pytest.mark.parametrize("uid", BOARDS)
def test_a_dashboard_can_be_imported_as_it_is(uid: str) -> None:
    tree = BOARDS[uid]
    assert "__inputs" not in tree
    assert tree["tags"] == ["sigmascale"]
    assert tree["description"]
    assert tree["refresh"]
    assert tree["templating"]["list"][0]["name"] == "datasource"
    assert len({variable["id"] for variable in tree["templating"]["list"]}) == len(tree["templating"]["list"])
    sources = set(re.findall(r'"uid": "([^"]*)"', json.dumps(tree))) - {uid}
    assert sources == {"${datasource}"}


@pytest.mark.parametrize("uid", BOARDS)
def test_every_panel_says_what_it_shows_in_which_unit_and_what_an_empty_one_means(uid: str) -> None:
    for panel in panels(BOARDS[uid]):
        if panel["type"] == "row":
            continue
        assert panel["description"].endswith("."), panel["title"]
        assert panel["fieldConfig"]["defaults"]["noValue"], panel["title"]
        assert panel["type"] == "heatmap" or panel["fieldConfig"]["defaults"]["unit"], panel["title"]
        assert all(target["legendFormat"] for target in panel["targets"]), panel["title"]


def test_links_between_dashboards_lead_somewhere() -> None:
    found = {uid: set(re.findall(r"/d/([\w-]+)", json.dumps(tree))) for uid, tree in BOARDS.items()}
    assert all(targets <= set(BOARDS) for targets in found.values())
    assert all(set(BOARDS) - {uid} <= targets for uid, targets in found.items())


def test_the_page_of_one_pool_is_never_asked_for_all_pools() -> None:
    for tree in BOARDS.values():
        for link in tree["links"]:
            assert ("${pool:queryparam}" in link["url"]) <= ("sigmascale-pool" not in link["url"])


def test_the_matrix_shows_every_metric_as_a_column_a_number_and_a_course() -> None:
    assert sum(map(len, MATRIX.values())) > 30
    shown = [(panel["type"], panel["title"]) for panel in panels(BOARDS["sigmascale-matrix"])]
    tables = {
        title
        for panel in panels(BOARDS["sigmascale-matrix"])
        if panel["type"] == "table"
        for title in (target["legendFormat"] for target in panel["targets"])
    }
    for cells in MATRIX.values():
        for cell in cells:
            assert ("stat", cell.name) in shown
            assert ("timeseries", cell.name) in shown
            assert cell.name in tables


def test_the_document_names_every_dashboard() -> None:
    text = DOCUMENT.read_text(encoding="utf-8")
    for board in boards():
        assert f"| {board.title.removeprefix('sigmascale / ')} | `{board.uid}` |" in text


def test_panels_that_do_not_fit_beside_each_other_begin_a_new_line() -> None:
    wide, low = (Panel("", "", "stat", (), width=16, height=h) for h in (8, 4))
    found = [(p.x, p.y) for _, p in placed(Row("", (wide, low, low)), 1)]
    assert found == [(0, 1), (0, 9), (0, 13)]


@pytest.mark.parametrize(("position", "name"), [(0, "A"), (25, "Z"), (26, "AA"), (27, "AB"), (51, "AZ"), (52, "BA")])
def test_queries_beyond_the_alphabet_get_two_letters(position: int, name: str) -> None:
    assert ref(position) == name
