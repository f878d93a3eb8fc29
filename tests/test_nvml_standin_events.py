"""Events, setters and other processes of the stand-in for the driver's library, through the real bindings."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.peers.nvml import Scenario, models
from tests.peers.nvml.gpu import RECOVERY_EVENT
from tests.peers.nvml.running import Running, run
from tests.peers.pages import until


@pytest.fixture
def h100() -> Iterator[Running]:
    yield from run(models.hgx_h100())


@pytest.fixture
def a100() -> Iterator[Running]:
    yield from run(models.dgx_a100())


def test_an_xid_arrives_once_at_each_who_registered_before(h100: Running) -> None:
    nvml, handle = h100.nvml, h100.handle
    h100.gpu.xid(31)
    sets = [nvml.nvmlEventSetCreate() for _ in range(2)]
    for events in sets:
        nvml.nvmlDeviceRegisterEvents(handle, 0x8 | RECOVERY_EVENT, events)
    assert h100.code(lambda n, g: n.nvmlEventSetWait_v2(sets[0], 0)) == 10
    h100.gpu.xid(79)
    h100.fleet.gpus[1].xid(48)
    h100.gpu.event(RECOVERY_EVENT, 3)
    for events in sets:
        got = [nvml.nvmlEventSetWait_v2(events, 0) for _ in range(2)]
        assert [(event.eventType, event.eventData) for event in got] == [(0x8, 79), (RECOVERY_EVENT, 3)]
        assert nvml.nvmlDeviceGetUUID(got[0].device) == h100.gpu.uuid
        assert h100.code(lambda n, g, events=events: n.nvmlEventSetWait_v2(events, 0)) == 10  # type: ignore[misc]
        nvml.nvmlEventSetFree(events)


def test_a_wait_for_events_ends_when_one_comes(h100: Running) -> None:
    nvml, got = h100.nvml, []
    events = nvml.nvmlEventSetCreate()
    nvml.nvmlDeviceRegisterEvents(h100.handle, 0x8, events)
    thread = threading.Thread(
        target=lambda: got.append(nvml.nvmlEventSetWait_v2(events, 60_000).eventData), daemon=True
    )
    thread.start()
    until(lambda: h100.fleet.calls("nvmlEventSetWait_v2") == 1, "the wait to begin")
    h100.gpu.xid(62)
    thread.join(5)
    assert got == [62]


def test_an_event_that_a_gpu_does_not_have_cannot_be_registered_for(a100: Running) -> None:
    events = a100.nvml.nvmlEventSetCreate()
    assert a100.code(lambda n, g: n.nvmlDeviceRegisterEvents(g, RECOVERY_EVENT, events)) == 3


def test_setters_act_and_leave_a_record(h100: Running) -> None:
    nvml, handle, gpu = h100.nvml, h100.handle, h100.gpu
    nvml.nvmlDeviceSetPowerManagementLimit(handle, 400_000)
    nvml.nvmlDeviceSetGpuLockedClocks(handle, 210, 1200)
    assert (nvml.nvmlDeviceGetEnforcedPowerLimit(handle), nvml.nvmlDeviceGetClockInfo(handle, 1)) == (400_000, 1200)
    nvml.nvmlDeviceResetGpuLockedClocks(handle)
    nvml.nvmlDeviceSetComputeMode(handle, 3)
    nvml.nvmlDeviceSetPersistenceMode(handle, 0)
    assert (nvml.nvmlDeviceSetMigMode(handle, 1), gpu.mig_mode) == (0, 1)
    assert (nvml.nvmlDeviceGetClockInfo(handle, 1), gpu.compute_mode, gpu.persistence_mode) == (1980, 3, 0)
    assert h100.code(lambda n, g: n.nvmlDeviceSetPowerManagementLimit(g, 1)) == 2
    h100.fleet.root = 0
    assert h100.code(lambda n, g: n.nvmlDeviceSetComputeMode(g, 0)) == 4
    assert [(act.call.removeprefix("nvmlDevice"), act.arguments) for act in h100.fleet.acts()] == [
        ("SetPowerManagementLimit", (400_000, 0)), ("SetGpuLockedClocks", (210, 1200)),
        ("ResetGpuLockedClocks", (0, 0)), ("SetComputeMode", (3, 0)), ("SetPersistenceMode", (0, 0)),
        ("SetMigMode", (1, 0)), ("SetPowerManagementLimit", (1, 0)), ("SetComputeMode", (0, 0)),
    ]  # fmt: skip
    assert {(act.gpu, act.pid) for act in h100.fleet.acts()} == {(0, os.getpid())}


def test_mig_mode_of_an_ampere_waits_for_a_reset(a100: Running) -> None:
    assert a100.nvml.nvmlDeviceSetMigMode(a100.handle, 1) == 16
    assert a100.nvml.nvmlDeviceGetMigMode(a100.handle) == [0, 1]


CHILD = """
import json, sys, pynvml
pynvml.nvmlInit()
gpu = pynvml.nvmlDeviceGetHandleByIndex(0)
for line in sys.stdin:
    try:
        print(json.dumps(pynvml.nvmlDeviceGetPowerUsage(gpu)), flush=True)
    except pynvml.NVMLError as error:
        print(json.dumps(str(error)), flush=True)
"""


def test_a_child_process_loads_the_library_by_its_name_and_sees_every_change() -> None:
    with models.dgx_a100() as fleet:
        command, pipe = [sys.executable, "-W", "error", "-c", CHILD], subprocess.PIPE
        with subprocess.Popen(command, env=fleet.environment(), stdin=pipe, stdout=pipe, text=True) as child:
            assert child.stdin is not None
            assert child.stdout is not None

            def ask() -> Any:
                child.stdin.write("\n")  # type: ignore[union-attr]
                child.stdin.flush()  # type: ignore[union-attr]
                return json.loads(child.stdout.readline())  # type: ignore[union-attr]

            assert ask() == 250_000
            fleet.gpus[0].draw(312)
            assert ask() == 312_000
            fleet.gpus[0].lose()
            assert ask() == "GPU is lost"
        assert Scenario(fleet.path).calls("nvmlDeviceGetPowerUsage", gpu=0) == 3
    assert not Path(fleet.path).exists()
