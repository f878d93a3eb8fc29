"""MIG instances, asked through the real bindings."""

from __future__ import annotations

import math

import pytest

from autoscaler.clock import SimClock
from collectors.nvml import Nvml, mig
from collectors.nvml.mig import Layout, Watch, profile_name
from tests.nvmlreads import asked, plain, read
from tests.peers.nvml import models

MIB = 2**20


def test_four_instances_give_four_memories_each_with_its_profile() -> None:
    fleet = models.a100_mig()
    with asked(fleet) as (nvml, handle):
        told, refused = read(nvml, handle, mig.calls(Watch()))
    assert refused == {}
    assert plain(told) == {"gpu_mig_mode": 1.0, "gpu_mig_instances": 4.0}
    used = {labels: value for (metric, labels), value in told.items() if metric == "gpu_memory_used_bytes"}
    assert sorted(dict(labels)["mig_profile"] for labels in used) == ["1g.5gb", "1g.5gb", "2g.10gb", "3g.20gb"]
    assert len({dict(labels)["gi_id"] for labels in used}) == 4
    for device in fleet.gpus[0].mig:
        labels = (("gi_id", str(device.gi)), ("mig_profile", device.profile))
        assert told["gpu_memory_used_bytes", labels] == device.memory_used
        assert told["gpu_memory_total_bytes", labels] == device.memory_total
        assert told["gpu_memory_reserved_bytes", labels] == 16 * MIB
        assert told["gpu_memory_used_ratio", labels] == device.memory_used / (device.memory_total - 16 * MIB)


def test_compute_instances_of_one_gpu_instance_share_its_memory_which_is_told_once() -> None:
    fleet = models.a100_mig()
    first = next(iter(fleet.gpus[0].mig))
    first.compute_slices = 1
    second = fleet.gpus[0].mig.create(first.profile, inside=first)
    second.compute_slices = 2
    with asked(fleet) as (nvml, handle):
        told, _ = read(nvml, handle, mig.calls(Watch()))
        layout = mig.layout(nvml, handle)
    assert plain(told)["gpu_mig_instances"] == 4.0
    assert len([metric for metric, _ in told if metric == "gpu_memory_total_bytes"]) == 4
    shared = next(instance for instance in layout.instances if instance.gi_id == first.gi)
    assert [part.ci_id for part in shared.compute] == [0, 1]
    assert [part.uuid for part in shared.compute] == [first.uuid, second.uuid]
    assert shared.profile == "3g.20gb"


def test_a_gpu_that_could_be_cut_and_is_not_says_so() -> None:
    with asked(models.hgx_h100()) as (nvml, handle):
        told, refused = read(nvml, handle, mig.calls(Watch()))
    assert told == {("gpu_mig_mode", ()): 0.0, ("gpu_mig_instances", ()): 0.0}
    assert refused == {}


def test_a_gpu_that_cannot_be_cut_supports_neither() -> None:
    with asked(models.t4()) as (nvml, handle):
        told, refused = read(nvml, handle, mig.calls(Watch()))
    assert (told, refused) == ({}, {"gpu_mig_mode": 3, "gpu_mig_instances": 3})


def test_mode_without_instances_is_a_mode() -> None:
    fleet = models.hgx_h100()
    fleet.gpus[0].mig.enable()
    with asked(fleet) as (nvml, handle):
        told, _ = read(nvml, handle, mig.calls(Watch()))
    assert plain(told) == {"gpu_mig_mode": 1.0, "gpu_mig_instances": 0.0}


def test_an_instance_made_anew_under_the_same_id_is_another_one() -> None:
    fleet = models.h100_mig()
    changes: list[tuple[Layout, Layout]] = []
    watch = Watch(lambda before, now: changes.append((before, now)))
    with asked(fleet) as (nvml, handle):
        calls = mig.calls(watch)
        read(nvml, handle, calls)
        read(nvml, handle, calls)
        assert len(changes) == 1, "a layout that stays is no change"
        device = next(iter(fleet.gpus[0].mig))
        gi_id = device.gi
        before = watch.instance(gi_id)
        fleet.gpus[0].mig.destroy(device)
        again = fleet.gpus[0].mig.create("3g.40gb")
        assert again.gi == gi_id
        read(nvml, handle, calls)
        after = watch.instance(gi_id)
    assert watch.changes == len(changes) == 2
    assert before is not None
    assert after is not None
    assert before != after
    assert before.profile == after.profile


def test_an_instance_destroyed_between_two_looks_costs_its_own_values_only() -> None:
    fleet = models.a100_mig()
    with asked(fleet) as (nvml, handle):
        _, memory = mig.calls(watch := Watch())
        watch.look(nvml, handle)
        gone = next(iter(fleet.gpus[0].mig))
        fleet.gpus[0].mig.destroy(gone)
        told, refused = read(nvml, handle, [memory])
    assert refused == {}
    assert {dict(labels)["gi_id"] for _, labels in told} == {str(device.gi) for device in fleet.gpus[0].mig}


def test_the_board_has_no_busy_ratio_while_it_is_cut() -> None:
    with asked(models.a100_mig()) as (nvml, handle), pytest.raises(nvml.NVMLError) as refusal:
        nvml.nvmlDeviceGetUtilizationRates(handle)
    assert refusal.value.value == 3


def test_what_a_gpu_can_tell_is_asked_anew_when_mig_is_switched() -> None:
    fleet = models.hgx_h100()
    gpu = fleet.gpus[0]
    fleet.list_gpus([gpu])
    with fleet, fleet.loaded():
        clock = SimClock(1_700_000_000.0)
        collector = Nvml(clock, slow_s=1.0, kernel_log=False)

        def told() -> dict[str, set[str]]:
            series: dict[str, set[str]] = {}
            for _ in range(3):
                clock.at += 1.0
                fleet.at(clock.at)
                for batch in collector.read():
                    for key, value in zip(batch.keys, batch.values.tolist(), strict=True):
                        if math.isfinite(value):
                            series.setdefault(key.metric, set()).add(dict(key.labels).get("gi_id", "board"))
            return series

        def busy() -> str:
            return next(m.availability for m in collector.status().metrics if m.metric == "gpu_busy_ratio")

        try:
            assert told()["gpu_memory_used_bytes"] == {"board"}
            assert busy() == "ok"
            gpu.mig.enable()
            first = gpu.mig.create("3g.40gb")
            told()
            cut = told()
            assert cut["gpu_memory_used_bytes"] == cut["gpu_sm_active_ratio"] == {str(first.gi)}
            assert "gpu_busy_ratio" not in cut
            assert busy() == "unsupported"
            gpu.mig.destroy(first)
            again = [gpu.mig.create("2g.20gb"), gpu.mig.create("1g.10gb")]
            told()
            assert told()["gpu_memory_used_bytes"] == {str(device.gi) for device in again}
            gpu.mig.disable()
            told()
            assert told()["gpu_memory_used_bytes"] == {"board"}
            assert busy() == "ok"
        finally:
            collector.stop()


@pytest.mark.parametrize(
    ("slices", "compute", "mib", "expected"),
    [
        pytest.param(1, 1, 4864, "1g.5gb", id="A100 40 GB"),
        pytest.param(3, 3, 40192, "3g.40gb", id="H100 80 GB"),
        pytest.param(3, 1, 40192, "1c.3g.40gb", id="a compute instance with one of three slices"),
        pytest.param(7, 0, 81152, "7g.80gb", id="the whole board"),
    ],
)
def test_a_profile_is_named_by_slices_and_memory(slices: int, compute: int, mib: int, expected: str) -> None:
    assert profile_name(slices, compute, mib * MIB) == expected
