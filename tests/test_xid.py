"""What each driver fault means for us, and that every fault counts once."""

from __future__ import annotations

import pytest

from collectors.nvml.call import Sample
from collectors.nvml.faults import CODES_LIMIT, Fault, FaultBook, Reporter
from collectors.nvml.xid import TABLE, XidClass, meaning

APPLICATION = [
    8,
    11,
    13,
    25,
    31,
    32,
    39,
    40,
    41,
    60,
    68,
    69,
    70,
    71,
    72,
    75,
    76,
    77,
    80,
    82,
    83,
    84,
    85,
    86,
    88,
    89,
    94,
]
APPLICATION += [*range(96, 106), *range(126, 136), 139]
CLASSES: dict[XidClass, list[int]] = {
    "application": APPLICATION,
    "note": [37, 38, 43, 44, 63, 66, 67, 92, 93, 106, 107, 121, 137, 141, 152, 153, 157, 160, 161],
    "reset": [46, 62, 64, 95, 109, 110, 119, 120, 136, 140, 143, 155, 156, 158],
    "restart": [79, 151],
    "workflow": [45, 48, 74, *range(144, 151), 154, 54, 78, 142, 159],
}


def test_the_table_holds_exactly_the_codes_of_the_five_classes() -> None:
    assert sorted(TABLE) == sorted(code for codes in CLASSES.values() for code in codes)


@pytest.mark.parametrize(("kind", "code"), [(kind, code) for kind, codes in CLASSES.items() for code in codes])
def test_every_code_has_its_class_and_a_name_and_is_counted(kind: XidClass, code: int) -> None:
    assert meaning(code).kind == kind
    assert len(meaning(code).name) > 8
    assert meaning(code).acts[0] == "count"


@pytest.mark.parametrize(
    ("code", "acts", "score"),
    [
        pytest.param(31, ("count",), 1.0, id="an application's fault is counted and nothing else"),
        pytest.param(94, ("count", "check_remap"), 1.0, id="a contained memory error asks for a look at the rows"),
        pytest.param(37, ("count",), 1.0, id="a note is counted"),
        pytest.param(63, ("count", "lower_score"), 0.8, id="a remapped row lowers the score"),
        pytest.param(92, ("count", "lower_score"), 0.8, id="many corrected errors lower the score"),
        pytest.param(119, ("count", "warn", "cordon", "drain", "replace"), 0.0, id="a GPU to reset is drained"),
        pytest.param(79, ("count", "warn", "cordon", "replace"), 0.0, id="a lost GPU is replaced without a drain"),
        pytest.param(151, ("count", "warn", "cordon", "replace"), 0.0, id="a machine to restart is replaced at once"),
        pytest.param(48, ("count", "warn", "cordon"), 0.0, id="a double-bit error keeps new work away"),
        pytest.param(74, ("count", "warn", "cordon"), 0.0, id="an NVLink error keeps new work away"),
        pytest.param(147, ("count", "warn", "cordon"), 0.0, id="so do the NVLink 5 errors"),
        pytest.param(154, ("count", "read_recovery_action"), 1.0, id="154 says to read the recovery action"),
        pytest.param(45, ("count", "warn"), 0.9, id="45 follows another fault and is warned about"),
        pytest.param(999, ("count", "warn"), 1.0, id="an unknown code is warned about and held against nobody"),
    ],
)
def test_what_we_do_follows_from_the_class(code: int, acts: tuple[str, ...], score: float) -> None:
    assert (meaning(code).acts, meaning(code).score) == (acts, score)


def test_only_faults_with_a_gpu_left_to_work_on_are_drained() -> None:
    assert [meaning(code).drains for code in (119, 79, 48, 13)] == [True, False, False, False]
    assert [meaning(code).fatal for code in (119, 79, 48, 13, 45, 500)] == [True, True, True, False, False, False]


def test_a_gpu_without_faults_tells_nothing_since_no_code_is_not_code_0() -> None:
    assert FaultBook().samples("GPU-a") == ()


def test_faults_count_by_code_and_the_last_one_stays() -> None:
    book = FaultBook()
    for at, xid in ((100.0, 31), (200.0, 79), (300.0, 31)):
        assert book.record(Fault("GPU-a", xid, at, "nvml"))
    assert book.samples("GPU-a") == (
        Sample("gpu_xid_events_total", 2.0, (("xid", "31"),)),
        Sample("gpu_xid_events_total", 1.0, (("xid", "79"),)),
        Sample("gpu_last_xid", 31.0),
        Sample("gpu_last_xid_timestamp_seconds", 300.0),
    )
    assert book.samples("GPU-a") == book.samples("GPU-a"), "however often it is read, it counts nothing twice"
    assert [fault.xid for fault in book.latest("GPU-a")] == [31, 79, 31]
    assert book.samples("GPU-b") == ()


@pytest.mark.parametrize(
    ("reports", "counted"),
    [
        pytest.param([(0.0, "nvml"), (0.2, "kernel")], 1, id="the event and then its line are one fault"),
        pytest.param([(0.0, "kernel"), (4.0, "nvml")], 1, id="the line and then its event are one fault"),
        pytest.param([(0.0, "nvml"), (0.1, "nvml")], 2, id="two events are two faults"),
        pytest.param([(0.0, "kernel"), (0.1, "kernel")], 2, id="two lines are two faults"),
        pytest.param(
            [(0.0, "nvml"), (0.1, "nvml"), (0.2, "kernel"), (0.3, "kernel")], 2, id="two seen by both are two"
        ),
        pytest.param([(0.0, "nvml"), (0.1, "kernel"), (0.2, "kernel")], 2, id="an event matches one line only"),
        pytest.param([(0.0, "nvml"), (60.0, "kernel")], 2, id="a minute apart they are two faults"),
    ],
)
def test_one_fault_counts_once_though_driver_and_kernel_tell_it(
    reports: list[tuple[float, Reporter]], counted: int
) -> None:
    book = FaultBook()
    told = [book.record(Fault("GPU-a", 79, 1000.0 + at, reporter)) for at, reporter in reports]
    assert sum(told) == counted
    assert book.samples("GPU-a")[0] == Sample("gpu_xid_events_total", float(counted), (("xid", "79"),))


def test_the_same_code_on_another_gpu_or_another_code_is_another_fault() -> None:
    book = FaultBook()
    assert book.record(Fault("GPU-a", 79, 0.0, "nvml"))
    assert book.record(Fault("GPU-b", 79, 0.0, "kernel"))
    assert book.record(Fault("GPU-a", 48, 0.0, "kernel"))


def test_series_stay_bounded_however_many_codes_there_are() -> None:
    book = FaultBook()
    for xid in range(1000):
        book.record(Fault("GPU-a", xid, float(xid), "nvml"))
    series = [sample for sample in book.samples("GPU-a") if sample.metric == "gpu_xid_events_total"]
    assert len(series) == CODES_LIMIT + 1
    assert {s.labels[0][1]: s.value for s in series}["other"] == 1000.0 - CODES_LIMIT
    assert len(book.latest("GPU-a")) == 32
