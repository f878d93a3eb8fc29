"""The reference page and the schema say what the code does."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import jsonschema
import pytest
import yaml

from autoscaler.rulefile.docs import json_schema, reference, schema_text

ROOT = Path(__file__).parent.parent
Golden = Callable[[Path, str], None]


def test_the_reference_page_is_up_to_date(golden: Golden) -> None:
    golden(ROOT / "docs" / "rules.md", reference())


def test_the_schema_for_editors_is_up_to_date(golden: Golden) -> None:
    golden(ROOT / "docs" / "rules.schema.json", schema_text())


def test_the_schema_is_a_schema() -> None:
    jsonschema.Draft202012Validator.check_schema(json_schema())


@pytest.mark.parametrize(
    "path",
    [
        *sorted(p for p in (ROOT / "rules").glob("*.yaml") if ".test." not in p.name),
        ROOT / "tests/data/chat-design.yaml",
    ],
    ids=lambda path: path.stem,
)
def test_the_rule_files_fit_the_schema(path: Path) -> None:
    jsonschema.validate(yaml.safe_load(path.read_text()), json_schema())


@pytest.mark.parametrize(
    ("text", "where"),
    [
        pytest.param("{pool: a, limit: {max: 4}}", [], id="an unknown key"),
        pytest.param("{pool: a, tick: soon}", ["tick"], id="not a duration"),
        pytest.param("{pool: a, limits: {max: -1}}", ["limits", "max"], id="a negative size"),
        pytest.param("{pool: a, limits: {max: null}}", ["limits", "max"], id="null"),
        pytest.param("{pool: a, scale_in: {victim: random}}", ["scale_in", "victim"], id="an unknown word"),
        pytest.param(
            "{pool: a, rules: [{name: b, when: {gpu: {abov: 1}}}]}", ["rules", 0, "when", "gpu"], id="in a test"
        ),
    ],
)
def test_editors_see_what_is_wrong(text: str, where: list[str | int]) -> None:
    errors = list(jsonschema.Draft202012Validator(json_schema()).iter_errors(yaml.safe_load(text)))
    assert [list(e.absolute_path) for e in errors] == [where]


def test_every_key_has_a_meaning() -> None:
    rows = [line for line in reference().splitlines() if line.startswith("| `")]
    assert len(rows) > 100
    assert not [row for row in rows if row.rstrip(" |").count("|") < 4]
