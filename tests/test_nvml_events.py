"""What the driver reports by itself, waited for through the real bindings."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from autoscaler.clock import SystemClock
from collectors.nvml import events
from collectors.nvml.events import Events, GpuEvent
from collectors.nvml.faults import FaultBook
from tests.peers.nvml import Scenario, models
from tests.peers.nvml.gpu import DOUBLE_BIT_EVENT, RECOVERY_EVENT, UNAVAILABLE_EVENT
from tests.peers.pages import until, without_waiting


class Listener:
    """Events over a fleet, and what they told."""

    def __init__(self, nvml: Any, fleet: Scenario) -> None:
        self.nvml, self.fleet = nvml, fleet
        self.told: list[GpuEvent] = []
        self.events = Events(nvml, SystemClock(), self.gpus, self.told.append)

    def gpus(self) -> list[tuple[str, Any]]:
        handles = [self.nvml.nvmlDeviceGetHandleByIndex(index) for index in range(self.nvml.nvmlDeviceGetCount())]
        return [(self.nvml.nvmlDeviceGetUUID(handle), handle) for handle in handles]

    def seen(self) -> list[tuple[int, str, int]]:
        numbers = {gpu.uuid: gpu.number for gpu in self.fleet.gpus}
        return [(numbers[event.uuid], event.kind, event.data) for event in self.told]


@contextmanager
def listening(fleet: Scenario) -> Iterator[Listener]:
    with fleet, fleet.loaded() as nvml:
        nvml.nvmlInit()
        listener = Listener(nvml, fleet)
        listener.events.start()
        try:
            until(lambda: listener.events.registered, "events are waited for")
            yield listener
        finally:
            listener.events.stop()


def test_every_kind_of_report_arrives_with_its_gpu() -> None:
    fleet = models.hgx_h100()
    with listening(fleet) as listener:
        assert len(listener.events.registered) == 8
        fleet.gpus[2].xid(79)
        fleet.gpus[0].event(DOUBLE_BIT_EVENT)
        fleet.gpus[7].event(RECOVERY_EVENT, 4)
        fleet.gpus[7].event(UNAVAILABLE_EVENT)
        until(lambda: len(listener.told) == 4, "four reports")
    assert listener.seen() == [
        (2, "xid", 79),
        (0, "double_bit_ecc", 0),
        (7, "recovery_action", 4),
        (7, "unavailable", 0),
    ]
    faults = [event.fault for event in listener.told]
    assert [fault.xid if fault else None for fault in faults] == [79, None, None, None]


def test_a_fault_that_happens_again_counts_again() -> None:
    fleet = models.hgx_h100()
    book = FaultBook()
    with listening(fleet) as listener:
        for _ in range(3):
            fleet.gpus[0].xid(31)
        until(lambda: len(listener.told) == 3, "three reports of one code")
    for event in listener.told:
        assert event.fault is not None
        assert book.record(event.fault)
    assert book.samples(fleet.gpus[0].uuid)[0].value == 3.0


def test_a_fault_of_an_instance_names_it() -> None:
    fleet = models.h100_mig()
    with listening(fleet) as listener:
        fleet.gpus[0].event(8, 13, gi=2, ci=0)
        until(lambda: listener.told, "the report")
    assert listener.told[0].gi_id == 2
    assert listener.told[0].fault is not None
    assert listener.told[0].fault.gi_id == 2


def test_a_gpu_registers_only_what_it_supports_and_one_without_events_is_left_out() -> None:
    fleet = models.hgx_h100()
    fleet.gpus[1].event_types = 0
    fleet.gpus[2].event_types = 0x8
    fleet.gpus[3].fail("nvmlDeviceRegisterEvents", 3)
    with listening(fleet) as listener:
        assert set(listener.events.registered) == {gpu.uuid for n, gpu in enumerate(fleet.gpus) if n not in (1, 3)}
        fleet.gpus[2].event(RECOVERY_EVENT, 1)
        fleet.gpus[2].xid(48)
        until(lambda: listener.told, "the supported report")
    assert listener.seen() == [(2, "xid", 48)]


def test_a_lost_gpu_is_named_though_it_answers_nothing_any_more() -> None:
    fleet = models.hgx_h100()
    with listening(fleet) as listener:
        fleet.gpus[4].xid(79)
        fleet.gpus[4].lose()
        until(lambda: listener.told, "the report of its loss")
    assert listener.seen() == [(4, "xid", 79)]


def test_a_reload_of_the_driver_is_survived() -> None:
    fleet = models.hgx_h100()
    with listening(fleet) as listener:
        fleet.reload_driver()
        until(lambda: listener.events.failures, "the error that says so")
        # As the collector does: everybody out of the driver, then the library is started anew.
        with listener.events.out_of_the_driver():
            assert listener.events.registered == ()
            listener.nvml.nvmlShutdown()
            listener.nvml.nvmlInit()
        until(lambda: len(listener.events.registered) == 8, "registered anew")
        fleet.gpus[1].xid(31)
        until(lambda: listener.told, "a report after the reload")
    assert listener.seen() == [(1, "xid", 31)]


def test_new_handles_are_registered_when_asked() -> None:
    fleet = models.hgx_h100()
    fleet.gpus[5].unlist()
    with listening(fleet) as listener:
        assert len(listener.events.registered) == 7
        fleet.gpus[5].come_back(index=0)
        listener.events.renew()
        until(lambda: len(listener.events.registered) == 8, "the GPU that came back")
        fleet.gpus[5].xid(63)
        until(lambda: listener.told, "its report")
    assert listener.seen() == [(5, "xid", 63)]


def test_the_thread_ends_and_leaves_nothing_behind() -> None:
    fleet = models.hgx_h100()
    with listening(fleet) as listener:
        listener.events.stop()
        until(lambda: "gpu-events" not in {thread.name for thread in threading.enumerate()}, "the end of its thread")
        assert fleet.calls("nvmlEventSetFree") == fleet.calls("nvmlEventSetCreate")


def test_a_driver_that_refuses_events_is_asked_later_and_stops_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    fleet = models.hgx_h100()
    fault = fleet.fail("nvmlEventSetCreate", 999)
    monkeypatch.setattr(events, "FIRST_RETRY_S", 20.0)
    with fleet, fleet.loaded() as nvml:
        nvml.nvmlInit()
        listener = Listener(nvml, fleet)
        listener.events.start()
        try:
            until(lambda: listener.events.failures >= 1, "the refusal")
        finally:
            with without_waiting(20.0):
                listener.events.stop()
        assert fault.seen <= 2


@pytest.mark.parametrize("kind", [1, 4, 0x10])
def test_reports_that_we_did_not_ask_for_are_no_reports(kind: int) -> None:
    fleet = models.hgx_h100()
    fleet.gpus[0].event_types |= kind
    with listening(fleet) as listener:
        fleet.gpus[0].event(kind, 5)
        fleet.gpus[0].xid(31)
        until(lambda: listener.told, "the report after it")
    assert listener.seen() == [(0, "xid", 31)]
