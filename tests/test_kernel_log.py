"""Driver faults out of the kernel's log."""

from __future__ import annotations

import os
import threading
from pathlib import Path

import pytest

from autoscaler.clock import SystemClock
from collectors.nvml import pci
from collectors.nvml.faults import Fault, FaultBook
from collectors.nvml.kernel_log import KernelLog, XidLine, faults, read_line, read_place
from tests.peers.pages import until
from tests.peers.running import running

LOG = Path(__file__).parent / "data" / "logs" / "dmesg_xid119.log"
UUID = "GPU-509665ad-b600-ac93-3616-d754b23d636d"
PLACE = "00000000:9b:00"


def test_the_recorded_log_holds_five_faults_of_the_gpu_that_it_names() -> None:
    uuids: dict[str, str] = {}
    found = list(faults(LOG.read_text().splitlines(), 0.0, uuids))
    assert [(fault.uuid, fault.xid, fault.reporter) for fault in found] == [(UUID, 119, "kernel")] * 5
    assert uuids == {PLACE: UUID}
    # 2025-02-23 16:24:18 UTC
    assert [fault.at - 1740327858 for fault in found] == [0, 6, 12, 174, 355]
    assert found[0].meaning.drains
    assert found[0].text.startswith("pid=2024380, name=nvidia-smi, Timeout after 6s")


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        pytest.param(
            "6,1234,98765432,-;NVRM: Xid (PCI:0000:9b:00): 79, pid=17, name=python, GPU has fallen off the bus.",
            XidLine(PLACE, 79, None, None, 17, "pid=17, name=python, GPU has fallen off the bus."),
            id="a record of /dev/kmsg",
        ),
        pytest.param(
            "[ 8745.123456] NVRM: Xid (PCI:0000:9b:00): 31, pid='<unknown>', name=<unknown>, Ch 00000008",
            XidLine(PLACE, 31, text="pid='<unknown>', name=<unknown>, Ch 00000008"),
            id="seconds since boot are no date, an unknown process no pid",
        ),
        pytest.param("NVRM: Xid (0000:9b:00): 45, Ch 00000010", XidLine(PLACE, 45, text="Ch 00000010"), id="no PCI:"),
        pytest.param(
            "NVRM: Xid (PCI:0001:07:00 GPU-I:05): 13, pid=9, Graphics Exception",
            XidLine("00000001:07:00", 13, None, 5, 9, "pid=9, Graphics Exception"),
            id="a MIG instance and another domain",
        ),
        pytest.param("NVRM: Xid (PCI:0000:9B:00.0): 48", XidLine(PLACE, 48), id="upper case, a function, no text"),
        pytest.param("NVRM: GPU 0000:9b:00.0: GPU has fallen off the bus.", None, id="no Xid, no fault"),
        pytest.param("NVRM: Xid (PCI:nonsense): 48, text", None, id="no address, no fault"),
        pytest.param("usb 1-1: new device", None, id="another driver's line"),
        pytest.param("x" * 100_000 + "NVRM: Xid (PCI:0000:9b:00): 79", None, id="what is beyond the limit is not read"),
    ],
)
def test_a_line_is_read(line: str, expected: XidLine | None) -> None:
    assert read_line(line) == expected


def test_an_overlong_text_is_cut() -> None:
    told = read_line("NVRM: Xid (PCI:0000:9b:00): 13, " + "y" * 2000)
    assert told is not None
    assert len(told.text) == 300


def test_a_fault_of_an_unknown_gpu_keeps_its_address() -> None:
    assert list(faults(["NVRM: Xid (PCI:0000:9b:00): 79, x"], 5.0, {})) == [
        Fault(PLACE, 79, 5.0, "kernel", None, "x"),
    ]


def test_the_line_that_names_a_gpu_gives_its_address() -> None:
    assert read_place(f"NVRM: GPU at PCI:0000:9b:00: {UUID}") == (PLACE, UUID)
    assert read_place("NVRM: GPU Board Serial Number: 1650124014249") is None


@pytest.mark.parametrize("printed", ["00000000:9B:00.0", "0000:9b:00", "0000:9b:00.0", "9b:00.0", " 0000:9B:00.0\n"])
def test_every_spelling_of_an_address_is_the_same(printed: str) -> None:
    assert pci.address(printed) == PLACE


def test_what_is_no_address_is_named() -> None:
    with pytest.raises(ValueError, match="'GPU-1' is no PCI address; write domain:bus:device such"):
        pci.address("GPU-1")


def test_a_log_is_followed_from_its_end_and_counts_with_the_drivers_events(tmp_path: Path) -> None:
    path = tmp_path / "kern.log"
    path.write_text("NVRM: Xid (PCI:0000:9b:00): 48, before we came\n")
    book, clock = FaultBook(), SystemClock()
    told: list[tuple[Fault, bool]] = []
    log = KernelLog(clock, lambda fault: told.append((fault, book.record(fault))), lambda: {PLACE: UUID}, path)
    with running(log):
        assert log.state == "reading"
        book.record(Fault(UUID, 79, clock.now(), "nvml"))
        with path.open("a") as file:
            file.write("usb 1-1: new device\nNVRM: Xid (PCI:0000:9b:00): 79, pid=1, gone\nNVRM: Xid (PCI:00")
            file.flush()
            until(lambda: len(told) == 1, "the fault that the driver told too")
            file.write("00:9b:00): 119, pid=1, GSP\n")
        until(lambda: len(told) == 2, "the fault whose line came in two parts")
    until(lambda: "kernel-log" not in {thread.name for thread in threading.enumerate()}, "the end of its thread")
    assert [(fault.uuid, fault.xid, counted) for fault, counted in told] == [(UUID, 79, False), (UUID, 119, True)]
    assert [sample.value for sample in book.samples(UUID)[:2]] == [1.0, 1.0]


def test_a_log_that_cannot_be_read_says_so_and_disturbs_nobody(tmp_path: Path) -> None:
    log = KernelLog(SystemClock(), print, dict, tmp_path / "missing")
    log.start()
    log.stop()
    assert log.state == "absent"


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read every file")
def test_a_log_that_may_not_be_read_says_so(tmp_path: Path) -> None:
    path = tmp_path / "kmsg"
    path.touch(mode=0o000)
    log = KernelLog(SystemClock(), print, dict, path)
    log.start()
    log.stop()
    assert log.state == "no_permission"
