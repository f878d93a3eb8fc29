"""How well a GPU is, and the whole slow lane of one."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field

import pytest

from autoscaler import signals
from collectors.nvml.faults import Fault
from collectors.nvml.health import FAIL, PASS, WARN, Facts, judge
from collectors.nvml.mig import Watch
from collectors.nvml.rare import Rare
from collectors.nvml.topology import Pair, Topology
from tests.nvmlreads import asked, read
from tests.peers.nvml import Scenario, models

NOW = 1_700_000_000.0


def fault(xid: int, ago_s: float = 60.0) -> Fault:
    return Fault("GPU-a", xid, NOW - ago_s, "nvml")


@pytest.mark.parametrize(
    ("facts", "states", "score"),
    [
        pytest.param(Facts(), {"xid": PASS}, 1.0, id="of what nothing is known there is no verdict"),
        pytest.param(
            Facts((), False, False, 0.0, 0), {"xid": PASS, "memory": PASS, "recovery": PASS}, 1.0, id="all is well"
        ),
        pytest.param(Facts((fault(31),)), {"xid": PASS}, 1.0, id="an application's fault is not held against the GPU"),
        pytest.param(Facts((fault(63), fault(63))), {"xid": WARN}, 0.8, id="a code counts once however often it came"),
        pytest.param(Facts((fault(63), fault(92))), {"xid": WARN}, 0.64, id="two codes count twice"),
        pytest.param(Facts((fault(63), fault(79))), {"xid": FAIL}, 0.0, id="a lost GPU takes no work"),
        pytest.param(Facts((fault(119, 3601.0),)), {"xid": PASS}, 1.0, id="an hour later the fault is history"),
        pytest.param(Facts((), True, False, 1.0), {"xid": PASS, "memory": WARN}, 0.7, id="a row waits"),
        pytest.param(Facts((), True, True, 1.0), {"xid": PASS, "memory": FAIL}, 0.0, id="a row could not be replaced"),
        pytest.param(Facts((), False, False, 1.0), {"xid": PASS, "memory": WARN}, 0.8, id="contained and replaced"),
        pytest.param(Facts(ecc_uncorrected=1.0), {"xid": PASS, "memory": FAIL}, 0.0, id="no row to replace it with"),
        pytest.param(Facts(recovery_action=1), {"xid": PASS, "recovery": FAIL}, 0.0, id="the driver wants a reset"),
        pytest.param(Facts(recovery_action=3), {"xid": PASS, "recovery": WARN}, 0.9, id="peers only"),
        pytest.param(Facts(inforom_corrupted=True), {"xid": PASS, "inforom": WARN}, 0.7, id="a corrupted InfoROM"),
    ],
)
def test_a_verdict_follows_from_the_facts(facts: Facts, states: dict[str, int], score: float) -> None:
    health = judge(facts, NOW)
    assert {verdict.system: verdict.state for verdict in health.verdicts} == states
    assert health.score == pytest.approx(score)
    assert bool(health.reasons) == (score < 1.0)


def test_what_is_held_against_a_gpu_is_said() -> None:
    health = judge(Facts((fault(79),), recovery_action=2), NOW)
    assert health.reasons == ("XID 79 (GPU has fallen off the bus)", "the driver asks to reboot the machine")


@dataclass
class Known:
    """A GPU as the slow lane knows it."""

    uuid: str
    mig: Watch = field(default_factory=Watch)
    errors: Counter[tuple[str, str]] = field(default_factory=Counter)

    def now(self) -> float:
        return NOW


def systems(told: dict[tuple[str, tuple[tuple[str, str], ...]], float]) -> dict[str, float]:
    return {labels[0][1]: value for (metric, labels), value in told.items() if metric == "gpu_health"}


def test_the_slow_lane_judges_what_it_was_told_in_the_same_pass() -> None:
    fleet = models.hgx_h100()
    gpu, rare = fleet.gpus[0], Rare()
    device = Known(gpu.uuid)
    with asked(fleet) as (nvml, handle):
        calls = rare.calls(nvml, device)
        assert systems(read(nvml, handle, calls)[0]) == {"xid": PASS, "memory": PASS, "recovery": PASS}
        gpu.rows_pending, gpu.recovery_action = 1, 4
        rare.book.record(Fault(gpu.uuid, 79, NOW - 1, "nvml"))
        assert systems(read(nvml, handle, calls)[0]) == {"xid": FAIL, "memory": WARN, "recovery": FAIL}
        assert rare.health[gpu.uuid].score == 0.0
        gpu.fail("nvmlDeviceGetRemappedRows", 999)
        gpu.fail("nvmlDeviceGetFieldValues", 999)
        device.errors["nvmlDeviceGetRemappedRows", "14"] += 1
        assert systems(read(nvml, handle, calls)[0]) == {"xid": FAIL, "memory": PASS, "inforom": WARN}


@pytest.mark.parametrize("fleet", [models.hgx_h100(), models.dgx_a100(), models.a100_mig(), models.g5_a10g()])
def test_every_metric_of_the_slow_lane_is_canonical_and_declared_by_one_call(fleet: Scenario) -> None:
    uuid = fleet.gpus[0].uuid
    rare = Rare(topology=Topology((uuid, "GPU-other"), {(uuid, "GPU-other"): Pair("PIX")}))
    fleet.gpus[0].processes.start(4711, 2**30)
    with asked(fleet) as (nvml, handle):
        calls = rare.calls(nvml, Known(uuid))
        told, _ = read(nvml, handle, calls)
    declared = [metric for call in calls for metric in call.metrics]
    assert len(declared) == len(set(declared))
    assert all(signals.metric(metric) is not None for metric in declared)
    assert {"gpu_topology_score", "gpu_processes", "gpu_health"} <= {name for name, _ in told}
    of_instances = {name for name, labels in told if "gi_id" in dict(labels)}
    assert {name for name, _ in told} - of_instances <= set(declared)
