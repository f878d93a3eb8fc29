"""The text of `dcgmi dmon`, and the program that prints it: ours, which formats as DCGM's source does."""

from __future__ import annotations

import json
import math
import os
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from autoscaler.clock import SystemClock
from autoscaler.types import Batch
from collectors.dcgm.collector import Dcgm
from collectors.dcgm.dmon import Row, Table, number
from collectors.dcgm.process import Dmon
from collectors.dcgm.reading import Reading
from collectors.dcgm.source import UnreachableError
from tests.peers.pages import until

PROGRAM = Path(__file__).parent / "peers" / "dmon_program.py"


def rows(text: str, *fields: int) -> list[Row]:
    table = Table(fields)
    return [row for line in text.split("\n") if (row := table.line(line)) is not None]


# --- the text -------------------------------------------------------------------------------------------------------

LEFT = """\
#Entity         SMACT        SMOCC        UUID#                                           DVNAM
ID
GPU 0           0.930        N/A          GPU-c2f76b33-7953-256e-8f33-1343419b1a1c        NVIDIA L4
GPU 1                        0.162        GPU-1                                           NVIDIA H100 80GB HBM3
GPU-I 21        1.294        0.162
"""
RIGHT = """\
# Entity  SMACT  SMOCC
      Id
   GPU 0  0.930    N/A
GPU-I 21  1.294  0.162
"""


def test_a_field_that_an_entity_does_not_have_shifts_no_other() -> None:
    first, second, third = rows(LEFT, 1002, 1003, 54, 50)
    assert first == Row(
        "GPU", 0, None, {1002: "0.930", 54: "GPU-c2f76b33-7953-256e-8f33-1343419b1a1c", 50: "NVIDIA L4"}
    )
    assert second == Row("GPU", 1, None, {1003: "0.162", 54: "GPU-1", 50: "NVIDIA H100 80GB HBM3"})
    assert third == Row("GPU-I", 21, None, {1002: "1.294", 1003: "0.162"})


def test_the_older_table_is_read_by_its_words() -> None:
    assert rows(RIGHT, 1002, 1003) == [
        Row("GPU", 0, None, {1002: "0.930"}),
        Row("GPU-I", 21, None, {1002: "1.294", 1003: "0.162"}),
    ]


def test_a_name_with_blanks_stands_last_in_the_older_table() -> None:
    text = "# Entity  SMACT  DVNAM\n      Id\n   GPU 0  0.930  NVIDIA A100-SXM4-40GB\n"
    assert rows(text, 1002, 50) == [Row("GPU", 0, None, {1002: "0.930", 50: "NVIDIA A100-SXM4-40GB"})]


def test_headers_repeat_and_a_row_before_the_first_is_not_read() -> None:
    table = Table((1002, 1003))
    assert table.line("GPU 0  0.930  0.1") is None
    assert table.rejected == 1
    for _ in range(3):
        assert len([line for line in RIGHT.split("\n") if table.line(line) is not None]) == 2
    assert table.rejected == 1


def test_half_a_number_is_no_number() -> None:
    """dmon cuts what does not fit and ends it in three dots."""
    table = Table((156,))
    table.line("#Entity         TOTEC")
    row = table.line("GPU 0           1515242...")
    assert row is not None
    assert row.cells == {}
    assert table.cut == 1


@pytest.mark.parametrize(
    ("line", "entity"),
    [
        ("GPU 0           0.5          0.1", ("GPU", 0, None)),
        ("GPU-I 21        0.5          0.1", ("GPU-I", 21, None)),
        ("GPU-CI 3        0.5          0.1", ("GPU-CI", 3, None)),
        ("GPU 3 LINK 11   0.5          0.1", ("GPU", 3, 11)),
        ("SW 1 LINK 2     0.5          0.1", ("SW", 1, 2)),
        ("CPU Core 7      0.5          0.1", ("CPU Core", 7, None)),
        ("vGPU 2          0.5          0.1", ("vGPU", 2, None)),
    ],
)
def test_every_kind_of_entity_is_read(line: str, entity: tuple[str, int, int | None]) -> None:
    table = Table((1002, 1003))
    table.line("#Entity         SMACT        SMOCC")
    row = table.line(line)
    assert row is not None
    assert row.entity == entity
    assert row.cells == {1002: "0.5", 1003: "0.1"}


def test_what_is_no_table_is_the_message() -> None:
    table = Table((1002,))
    assert table.line("Error setting watches. Result: -36: Profiling is not supported") is None
    assert table.message == "Error setting watches. Result: -36: Profiling is not supported"
    assert table.line("ID") is None
    assert table.message.startswith("Error")


@pytest.mark.parametrize(
    ("cell", "value"), [("0.930", 0.93), ("15152422938", 15152422938.0), ("0x1F", None), ("1_000", None), ("P0", None)]
)
def test_only_numbers_are_values(cell: str, value: float | None) -> None:
    assert number(cell) == value


def test_a_line_without_end_is_not_read() -> None:
    table = Table((1002,))
    table.line("#Entity         SMACT")
    assert table.line("GPU 0           " + "1" * 100_000) is None
    assert table.rejected == 1


# --- the program ----------------------------------------------------------------------------------------------------

GPU0 = {"54": "GPU-a", "50": "NVIDIA H100 80GB HBM3", "203": "91", "1002": "0.930", "155": "310.500", "164": "700.000"}
MIG = {"1002": "1.294", "252": "4384", "251": "480"}


class Program:
    """What our dcgmi prints, changed while it runs."""

    def __init__(self, folder: Path) -> None:
        self.file = folder / "told.json"
        self.tell(rows=[["GPU 0", GPU0]])

    def tell(self, **told: object) -> None:
        fresh = self.file.with_suffix(".new")
        fresh.write_text(json.dumps({"rows": [], **told}), encoding="utf-8")
        fresh.replace(self.file)

    @property
    def command(self) -> list[str]:
        return [sys.executable, "-S", "-E", str(PROGRAM), str(self.file)]

    @property
    def words(self) -> list[str]:
        found = json.loads(self.file.with_suffix(".words").read_text(encoding="utf-8"))
        assert isinstance(found, list)
        return found


@pytest.fixture
def program(tmp_path: Path) -> Program:
    return Program(tmp_path)


@pytest.fixture
def dmon(program: Program) -> Iterator[Dmon]:
    made = Dmon(program.command, "node9:5555", 0.1, "node9")
    try:
        yield made
    finally:
        made.close()


def reading(dmon: Dmon) -> Reading:
    found: list[Reading] = []

    def more() -> object:
        found.extend(dmon.read(1000.0))
        return found

    until(more, "a round")
    return found[-1]


def test_it_is_asked_for_ids_in_milliseconds(program: Program, dmon: Dmon) -> None:
    dmon.open()
    reading(dmon)
    words = program.words
    assert words[:3] == ["dmon", "--host", "node9:5555"]
    ids = [int(word) for word in words[words.index("-e") + 1].split(",")]
    assert (ids[0], ids[-1]) == (54, 50)
    assert {203, 252, 155, 164, 1002, 1005, 230} <= set(ids)
    assert {1091, 1092, 1523}.isdisjoint(ids), "fields over which an older dmon would end"
    assert words[words.index("-d") + 1] == "100"


def test_a_round_has_the_labels_of_a_page(program: Program, dmon: Dmon) -> None:
    program.tell(rows=[["GPU 0", GPU0], ["GPU-I 21", MIG], ["GPU 1", {**GPU0, "54": "GPU-b"}]])
    dmon.open()
    values = {(one.name, dict(one.labels).get("GPU_I_ID")): one for one in reading(dmon).values if "GPU-a" in str(one)}
    busy = values["DCGM_FI_DEV_GPU_UTIL_RATIO", None]
    assert dict(busy.labels) == {
        "gpu": "0",
        "UUID": "GPU-a",
        "modelName": "NVIDIA H100 80GB HBM3",
        "Hostname": "node9",
    }
    assert values["DCGM_FI_PROF_SM_UTIL_RATIO", "dcgm-21"].value == 1.294


@pytest.mark.parametrize("style", ["left", "right"])
def test_both_styles_give_the_same_values(program: Program, dmon: Dmon, style: str) -> None:
    program.tell(rows=[["GPU 0", GPU0]], style=style)
    dmon.open()
    told = {one.name: one.value for one in reading(dmon).values}
    assert told == {
        "DCGM_FI_DEV_GPU_UTIL_RATIO": 91.0,
        "DCGM_FI_PROF_SM_UTIL_RATIO": 0.93,
        "DCGM_FI_DEV_BOARD_POWER_WATTS": 310.5,
        "DCGM_FI_DEV_BOARD_POWER_LIMIT_ENFORCED_WATTS": 700.0,
    }


def test_a_program_that_is_not_there_is_missing() -> None:
    with pytest.raises(UnreachableError, match="install DCGM") as caught:
        Dmon(["/nonexistent/dcgmi"], "", 1.0).open()
    assert caught.value.missing


def test_what_it_said_when_it_ended_is_told(program: Program, dmon: Dmon) -> None:
    program.tell(end=["Error: unable to establish a connection to the specified host: node9", 1])
    dmon.open()
    with pytest.raises(UnreachableError, match="ended with code 1; it said: Error: unable to establish"):
        reading(dmon)


def test_where_profiling_is_refused_the_rest_is_read_and_the_reason_kept(program: Program, dmon: Dmon) -> None:
    program.tell(rows=[["GPU 0", GPU0]], refuse=[1002])
    dmon.open()
    assert "DCGM_FI_DEV_GPU_UTIL_RATIO" in {one.name for one in reading(dmon).values}
    (state,) = [state for state in dmon.states() if state.metric == "gpu_sm_active_ratio"]
    assert (state.availability, "Profiling is not supported" in state.detail) == ("unsupported", True)


def test_lines_that_cannot_be_read_cost_the_proof_that_a_gpu_is_gone(program: Program, dmon: Dmon) -> None:
    program.tell(rows=[["GPU 0", GPU0]], garbage="GPU 1 what\n", style="right")
    dmon.open()
    assert not reading(dmon).complete


def test_it_is_ended_when_it_is_closed(program: Program, dmon: Dmon) -> None:
    dmon.open()
    reading(dmon)
    process = dmon._process
    assert process is not None
    dmon.close()
    assert process.returncode is not None
    with pytest.raises(ProcessLookupError):
        os.kill(process.pid, 0)


# --- the collector --------------------------------------------------------------------------------------------------


@pytest.fixture
def collector(program: Program) -> Iterator[Dcgm]:
    command = " ".join(program.command)
    made = Dcgm(SystemClock(), (("pool", "chat"),), interval_s=0.1, address="", through="dmon", dcgmi=command)
    made.start()
    try:
        yield made
    finally:
        made.stop()


def gather(collector: Dcgm, wanted: str) -> Batch:
    found: list[Batch] = []

    def more() -> object:
        found.extend(batch for batch in collector.collect(0.0) if batch.state == wanted)
        return found

    until(more, f"a batch that is {wanted}")
    return found[-1]


def test_the_collector_gives_canonical_series_and_what_follows_from_them(collector: Dcgm) -> None:
    batch = gather(collector, "up")
    found = dict(zip((key.metric for key in batch.keys), batch.values.tolist(), strict=True))
    assert found["gpu_busy_ratio"] == pytest.approx(0.91)
    assert found["gpu_saturation_ratio"] == pytest.approx(0.93)
    assert (found["gpu_up"], found["gpu_lost"], found["gpu_info"]) == (1.0, 0.0, 1.0)
    assert collector.status().through == "dcgmi dmon"
    assert all(key.label("pool") == "chat" for key in batch.keys)


def test_a_program_that_ends_is_down_and_started_again(collector: Dcgm, program: Program) -> None:
    gather(collector, "up")
    program.tell(end=["the host engine is gone", 1])
    gather(collector, "down")
    until(lambda: collector.status().state == "failed", "the failure")
    assert "the host engine is gone" in collector.status().detail
    program.tell(rows=[["GPU 0", GPU0]])
    assert not math.isnan(gather(collector, "up").values[0])


def test_a_program_that_hushes_is_started_again(collector: Dcgm, program: Program) -> None:
    gather(collector, "up")
    program.tell(hush=True)
    gather(collector, "down")
    assert "printed nothing" in collector.status().detail


def test_a_machine_without_dcgm_is_idle_and_not_failed() -> None:
    collector = Dcgm(SystemClock(), bindings="/nonexistent", dcgmi="/nonexistent/dcgmi")
    collector.start()
    try:
        until(lambda: collector.status().state == "idle", "idle")
        assert collector.collect(0.0) == ()
    finally:
        collector.stop()
