"""Driver faults as they reach the store: the first one too, and that of a GPU that is gone."""

from __future__ import annotations

import numpy as np
import pytest

from autoscaler.clock import SystemClock
from autoscaler.ruleset import Signal
from autoscaler.store import Store
from autoscaler.types import Batch, Labels
from collectors.nvml import Nvml
from collectors.nvml.fault_batches import FaultBatches
from collectors.nvml.faults import Fault, FaultBook
from tests.batches import newest, read
from tests.peers.nvml import models
from tests.peers.pages import until

POOL = (("pool", "chat"),)
FAULTS = Signal("faults", "gpu_xid_events_total", rate_s=60.0)


def labels(uuid: str) -> Labels:
    return (("pool", "chat"), ("uuid", uuid))


def values(batch: Batch) -> dict[tuple[str, str], float]:
    numbers = zip(batch.keys, batch.values.tolist(), strict=True)
    return {(key.metric, dict(key.labels).get("xid", "")): value for key, value in numbers}


def test_the_first_fault_of_a_code_is_seen_as_a_rise() -> None:
    batches: list[Batch] = []
    faults = FaultBatches(FaultBook(), 10.0, labels, POOL, batches.append)
    faults.tell_due(90.0)
    assert batches == [], "no fault, no series"
    assert faults.record(Fault("GPU-a", 79, 99.5, "nvml"), 100.0)
    assert [values(batch) for batch in batches] == [
        {
            ("gpu_xid_events_total", "79"): 0.0,
            ("gpu_last_xid", ""): pytest.approx(np.nan, nan_ok=True),
            ("gpu_last_xid_timestamp_seconds", ""): pytest.approx(np.nan, nan_ok=True),
        },
        {
            ("gpu_xid_events_total", "79"): 1.0,
            ("gpu_last_xid", ""): 79.0,
            ("gpu_last_xid_timestamp_seconds", ""): 99.5,
        },
    ]
    faults.tell_due(110.0)
    store = Store(None)
    for batch in batches:
        store.add(batch)
    assert newest(read(store, FAULTS, 110.0)) == pytest.approx(1 / 10, rel=0.01)


def test_a_known_code_keeps_its_count_while_another_begins() -> None:
    batches: list[Batch] = []
    faults = FaultBatches(FaultBook(), 10.0, labels, POOL, batches.append)
    faults.record(Fault("GPU-a", 31, 100.0, "nvml"), 100.0)
    faults.record(Fault("GPU-a", 31, 101.0, "nvml"), 101.0)
    assert len(batches) == 3, "a known code needs no zero"
    faults.record(Fault("GPU-b", 79, 102.0, "nvml"), 102.0)
    before, now = (dict(zip((key.labels for key in b.keys), b.values.tolist(), strict=True)) for b in batches[3:])
    of_a, of_b = (*labels("GPU-a"), ("xid", "31")), (*labels("GPU-b"), ("xid", "79"))
    assert (before[of_a], now[of_a]) == (2.0, 2.0)
    assert (before[of_b], now[of_b]) == (0.0, 1.0)


def test_faults_are_told_again_at_their_interval_and_count_nothing_twice() -> None:
    batches: list[Batch] = []
    faults = FaultBatches(FaultBook(), 10.0, labels, POOL, batches.append)
    faults.record(Fault("GPU-a", 79, 100.0, "nvml"), 100.0)
    assert not faults.record(Fault("GPU-a", 79, 100.5, "kernel"), 100.5)
    for now in (101.0, 109.9, 110.0, 111.0, 120.0):
        faults.tell_due(now)
    assert [batch.at for batch in batches] == [99.999, 100.0, 110.0, 120.0]
    assert {values(batch)["gpu_xid_events_total", "79"] for batch in batches[1:]} == {1.0}
    assert len({id(batch.keys) for batch in batches}) == 1, "the layout is one object while it stays"


def test_the_fault_that_takes_a_gpu_away_is_told_though_the_gpu_tells_nothing_any_more() -> None:
    fleet = models.hgx_h100()
    gpu, seen = fleet.gpus[4], dict[tuple[str, str], float]()

    def told(metric: str, xid: str = "") -> float | None:
        for batch in collector.collect(0.0):
            for key, value in zip(batch.keys, batch.values.tolist(), strict=True):
                if dict(key.labels)["uuid"] == gpu.uuid:
                    seen[key.metric, dict(key.labels).get("xid", "")] = value
        return seen.get((metric, xid))

    with fleet, fleet.loaded():
        collector = Nvml(SystemClock(), POOL, slow_s=0.3, kernel_log=False)
        collector.start()
        try:
            until(lambda: fleet.calls("nvmlDeviceRegisterEvents") == 8, "events are waited for")
            gpu.xid(79)
            gpu.lose()
            until(lambda: told("gpu_lost") == 1.0, "the loss")
            seen.clear()
            until(lambda: told("gpu_xid_events_total", "79") == 1.0, "the fault of the lost GPU, told again")
            assert told("gpu_last_xid") == 79.0
            assert [fault.xid for fault in collector.faults(gpu.uuid)] == [79]
        finally:
            collector.stop()


def test_a_fault_makes_the_slow_lane_look_at_once() -> None:
    fleet = models.hgx_h100()
    gpu = fleet.gpus[1]
    with fleet, fleet.loaded():
        collector = Nvml(SystemClock(), POOL, slow_s=3600.0, kernel_log=False)
        collector.start()
        try:
            until(lambda: gpu.uuid in collector.rare.health, "the first look")
            until(lambda: fleet.calls("nvmlDeviceRegisterEvents") == 8, "events are waited for")
            gpu.recovery_action = 4
            gpu.xid(154)
            until(lambda: collector.rare.health[gpu.uuid].score == 0.0, "the driver's new verdict")
        finally:
            collector.stop()
