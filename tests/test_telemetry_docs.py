"""docs/telemetry.md is what the tables in the code say, and these tables name only what there is."""

from __future__ import annotations

from pathlib import Path

import pytest

from autoscaler.signals import all_metrics, metric
from collectors.dcgm import FIELDS
from collectors.reference import DERIVED, NVML, reference

PAGE = Path(__file__).parent.parent / "docs" / "telemetry.md"


def test_the_page_is_what_the_tables_say() -> None:
    assert PAGE.read_text(encoding="utf-8") == reference()


def test_every_gpu_metric_has_a_row_with_a_source() -> None:
    rows = [line for line in reference().splitlines() if line.startswith("| `gpu_")]
    listed = {row.split("`")[1]: row for row in rows}
    own = {m.name for m in all_metrics() if m.name.startswith("gpu_collect_")} | {"gpu_sample_age_seconds"}
    assert set(listed) == {m.name for m in all_metrics() if m.name.startswith("gpu_")} - own
    without = [name for name, row in listed.items() if not any(cell.strip() for cell in row.split("|")[3:-1])]
    assert without == []


@pytest.mark.parametrize("field", FIELDS, ids=lambda field: str(field.id))
def test_every_field_is_on_the_page_with_its_number_and_spellings(field: object) -> None:
    found = next(one for one in FIELDS if one is field)
    names = " → ".join(f"`{name}`" for name in found.names)
    row = next(line for line in reference().splitlines() if line.startswith(f"| `{found.metric}`"))
    assert f"{names} ({found.id}" in row


@pytest.mark.parametrize("name", [*NVML, *DERIVED])
def test_every_name_is_canonical(name: str) -> None:
    assert metric(name) is not None
