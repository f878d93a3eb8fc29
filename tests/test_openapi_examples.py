"""The examples of the OpenAPI document: every operation has them, they keep to their schemas, a real app gave them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from jsonschema import Draft202012Validator

from autoscaler.api.app import ApiDeps, create_app
from autoscaler.api.description import TAGS
from autoscaler.board import Board
from autoscaler.clock import SimClock
from autoscaler.journal import Journal
from autoscaler.rulefile.watch import RuleBook
from autoscaler.store import Store
from tests.conftest import Golden
from tests.exampleworld import ASKED, FILE, recorded

DOCUMENT = create_app(ApiDeps(Board(), Journal(), Store(None), SimClock(), RuleBook(()), version="test")).openapi()
OPERATIONS = {
    operation["operationId"]: (path, operation)
    for path, operations in DOCUMENT["paths"].items()
    for operation in operations.values()
}
NO_JSON = {"remote_write": "compressed protobuf, answered with nothing", "metrics": "a page in Prometheus's format"}


def test_operations_keep_their_names() -> None:
    """Clients are generated from them: a name that changes breaks programs of others."""
    assert set(OPERATIONS) == {*ASKED, *NO_JSON}
    assert len(OPERATIONS) == sum(len(operations) for operations in DOCUMENT["paths"].values())


def test_the_examples_are_what_the_app_answers_now(tmp_path: Path, golden: Golden) -> None:
    golden(FILE, recorded(tmp_path))


def faults(schema: dict[str, Any], value: object) -> list[str]:
    whole = {**schema, "components": DOCUMENT["components"]}
    return [f"{error.json_path}: {error.message}" for error in Draft202012Validator(whole).iter_errors(value)]


@pytest.mark.parametrize("name", sorted(ASKED))
def test_every_operation_has_examples_that_keep_to_their_schemas(name: str) -> None:
    _, operation = OPERATIONS[name]
    if "requestBody" in operation:
        content = operation["requestBody"]["content"]["application/json"]
        assert faults(content["schema"], content["example"]) == []
    done = {status: answer for status, answer in operation["responses"].items() if status in ("200", "201", "204")}
    assert len(done) == 1
    for status, answer in done.items():
        content = answer.get("content", {}).get("application/json")
        assert (content is None) == (status == "204")
        if content is not None:
            assert faults(content["schema"], content["example"]) == []
    for parameter in operation.get("parameters", ()):
        if parameter["required"] or "example" in parameter:
            assert faults(parameter["schema"], parameter["example"]) == [], parameter["name"]


def test_a_wrong_example_would_be_found() -> None:
    content = OPERATIONS["put_override"][1]["requestBody"]["content"]["application/json"]
    assert faults(content["schema"], content["example"] | {"replicas": "many"})


def test_every_group_is_described_and_every_operation_is_in_one() -> None:
    assert {tag["name"] for tag in DOCUMENT["tags"]} == set(TAGS)
    assert {tag for _, operation in OPERATIONS.values() for tag in operation["tags"]} == set(TAGS)
    assert all(len(tag["description"]) > 20 for tag in DOCUMENT["tags"])


def test_every_operation_but_the_probes_says_that_it_needs_a_token() -> None:
    assert DOCUMENT["components"]["securitySchemes"]["bearer"]["scheme"] == "bearer"
    open_to_all = {name for name, (_, operation) in OPERATIONS.items() if not operation.get("security")}
    assert open_to_all == {"healthz", "readyz"}


def test_what_the_guards_take_and_answer_is_described() -> None:
    for name, (path, operation) in OPERATIONS.items():
        answers = operation["responses"]
        assert ("429" in answers) == (path not in ("/healthz", "/readyz")), name
        if "200" in answers and operation is DOCUMENT["paths"][path].get("get") and name != "metrics":
            assert {"304", "200"} <= set(answers), name
            assert "ETag" in answers["200"]["headers"], name
    keyed = {n for n, (_, o) in OPERATIONS.items() if "Idempotency-Key" in {p["name"] for p in o.get("parameters", ())}}
    changing = {"cordon", "replace", "start_roll", "resume_roll", "roll_back", "release", "adopt", "add_silence"}
    assert changing <= keyed
    assert not keyed & {"push", "remote_write", "receive_alerts", "otlp_metrics", "check_rules"}
