"""Processes on a GPU, asked through the real bindings, and whose they are."""

from __future__ import annotations

import math
import os
from pathlib import Path

import pytest

from collectors.nvml import processes
from collectors.nvml.processes import HOST_PID_NAMESPACE, SERIES_LIMIT, Owner, Owners, in_cgroup
from tests.nvmlreads import asked, plain, read
from tests.peers.nvml import models
from tests.peers.nvml.processes import COMPUTE, GRAPHICS, MPS

GIB = 2**30
AT = 1_700_000_000.0
CONTAINER = "8b3f" * 16
POD = "0a1b2c3d-1111-2222-3333-444455556666"


class Nobody(Owners):
    """Attributes nothing, so that a test's numbers are not those of this machine's processes."""

    def of(self, pid: int) -> Owner:
        return processes.NOBODY


def by_pid(told: dict[tuple[str, tuple[tuple[str, str], ...]], float], metric: str) -> dict[str, float]:
    return {dict(labels)["pid"]: value for (name, labels), value in told.items() if name == metric}


def test_processes_tell_their_memory_and_count() -> None:
    fleet = models.dgx_a100()
    fleet.gpus[0].processes.start(4711, 30 * GIB)
    fleet.gpus[0].processes.start(4712, 2 * GIB, kinds=COMPUTE | MPS)
    fleet.gpus[0].processes.start(4713, GIB, kinds=GRAPHICS)
    fleet.gpus[1].processes.start(4714, GIB)
    with asked(fleet) as (nvml, handle):
        told, refused = read(nvml, handle, processes.calls(Nobody()))
    assert refused == {}
    assert plain(told) == {"gpu_processes": 2.0, "gpu_mps_clients": 1.0}
    assert by_pid(told, "gpu_process_memory_bytes") == {"4711": 30.0 * GIB, "4712": 2.0 * GIB}


@pytest.mark.parametrize("code", [0, 6], ids=["success without entries", "nothing found"])
def test_an_idle_gpu_has_no_processes_and_no_error(code: int) -> None:
    fleet = models.dgx_a100()
    fleet.gpus[0].no_utilization_code = code
    with asked(fleet) as (nvml, handle):
        told, refused = read(nvml, handle, processes.calls(Nobody()))
    assert refused == {}
    assert told == {("gpu_processes", ()): 0.0, ("gpu_mps_clients", ()): 0.0}


def test_a_list_that_cannot_be_read_is_missing_and_not_empty() -> None:
    fleet = models.dgx_a100()
    fleet.fail("nvmlDeviceGetComputeRunningProcesses_v3", 999)
    fleet.fail("nvmlDeviceGetMPSComputeRunningProcesses_v3", 3)
    fleet.fail("nvmlDeviceGetProcessUtilization", 4)
    with asked(fleet) as (nvml, handle):
        told, refused = read(nvml, handle, processes.calls(Nobody()))
    assert told == {}
    assert refused == {
        "gpu_processes": 999,
        "gpu_process_memory_bytes": 999,
        "gpu_mps_clients": 3,
        "gpu_process_sm_ratio": 4,
    }


def test_a_driver_before_510_lists_its_processes_too() -> None:
    fleet = models.dgx_a100()
    fleet.gpus[0].processes.start(4711, GIB, kinds=COMPUTE | MPS)
    fleet.fail("nvmlDeviceGetComputeRunningProcesses_v3", 13)
    fleet.fail("nvmlDeviceGetMPSComputeRunningProcesses_v3", 13)
    with asked(fleet) as (nvml, handle):
        told, refused = read(nvml, handle, processes.calls(Nobody()))
    assert by_pid(told, "gpu_process_memory_bytes") == {"4711": GIB}
    assert plain(told)["gpu_mps_clients"] == 1.0
    assert refused == {}


def test_use_is_told_once_for_each_new_sample() -> None:
    fleet = models.dgx_a100()
    fleet.at(AT)
    gpu = fleet.gpus[0]
    gpu.processes.start(4711, GIB)
    gpu.processes.start(4712, GIB)
    gpu.processes.use(4711, sm_percent=60)
    seen = []
    with asked(fleet) as (nvml, handle):
        calls = processes.calls(Nobody())
        seen.append(by_pid(read(nvml, handle, calls)[0], "gpu_process_sm_ratio"))
        fleet.step(1.0)
        seen.append(by_pid(read(nvml, handle, calls)[0], "gpu_process_sm_ratio"))
        fleet.step(1.0)
        gpu.processes.use(4711, sm_percent=5)
        gpu.processes.use(4712, sm_percent=95)
        seen.append(by_pid(read(nvml, handle, calls)[0], "gpu_process_sm_ratio"))
    assert seen == [{"4711": 0.6}, {}, {"4711": 0.05, "4712": 0.95}]


def test_a_share_above_one_is_not_believed() -> None:
    fleet = models.dgx_a100()
    fleet.gpus[0].processes.start(4711, GIB)
    fleet.gpus[0].processes.use(4711, sm_percent=2**31)
    with asked(fleet) as (nvml, handle):
        told, _ = read(nvml, handle, processes.calls(Nobody()))
    assert by_pid(told, "gpu_process_sm_ratio") == {}


def test_memory_that_the_driver_does_not_tell_is_missing() -> None:
    fleet = models.dgx_a100()
    fleet.gpus[0].processes.start(4711, 2**64 - 1)
    with asked(fleet) as (nvml, handle):
        told, _ = read(nvml, handle, processes.calls(Nobody()))
    assert math.isnan(by_pid(told, "gpu_process_memory_bytes")["4711"])


def test_processes_of_instances_carry_their_instance() -> None:
    fleet = models.a100_mig()
    device = next(iter(fleet.gpus[0].mig))
    fleet.gpus[0].processes.start(4711, GIB, gi=device.gi, ci=0)
    with asked(fleet) as (nvml, handle):
        told, refused = read(nvml, handle, processes.calls(Nobody(), {device.gi: device.profile}.__getitem__))
    labels = (("gi_id", str(device.gi)), ("mig_profile", "3g.20gb"), ("owner_confidence", "none"), ("pid", "4711"))
    assert told["gpu_process_memory_bytes", labels] == GIB
    assert refused == {"gpu_process_sm_ratio": 3}, "the driver does not tell shares of instances"


def test_series_stay_bounded_and_what_is_left_out_is_summed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(processes, "SERIES_LIMIT", 4)
    fleet = models.dgx_a100()
    for pid in range(100, 110):
        fleet.gpus[0].processes.start(pid, (pid - 99) * GIB)
        fleet.gpus[0].processes.use(pid, sm_percent=pid - 99)
    with asked(fleet) as (nvml, handle):
        told, _ = read(nvml, handle, processes.calls(Nobody()))
    memory = by_pid(told, "gpu_process_memory_bytes")
    assert memory == {"109": 10.0 * GIB, "108": 9.0 * GIB, "107": 8.0 * GIB, "106": 7.0 * GIB, "other": 21.0 * GIB}
    assert plain(told)["gpu_processes"] == 10.0
    assert set(by_pid(told, "gpu_process_sm_ratio")) == {"109", "108", "107", "106"}
    assert SERIES_LIMIT == 64


CGROUPS = [
    pytest.param(
        f"0::/kubepods.slice/kubepods-burstable.slice/kubepods-burstable-pod{POD.replace('-', '_')}.slice/"
        f"cri-containerd-{CONTAINER}.scope\n",
        (CONTAINER, POD),
        id="Kubernetes with containerd, v2",
    ),
    pytest.param(
        f"11:memory:/kubepods/pod{POD}/{CONTAINER}\n1:name=systemd:/\n", (CONTAINER, POD), id="Kubernetes, v1"
    ),
    pytest.param(f"0::/system.slice/docker-{CONTAINER}.scope\n", (CONTAINER, ""), id="Docker, v2"),
    pytest.param(f"5:cpu:/docker/{CONTAINER}\n", (CONTAINER, ""), id="Docker, v1"),
    pytest.param(f"0::/machine.slice/libpod-{CONTAINER}.scope/container\n", (CONTAINER, ""), id="Podman"),
    pytest.param(f"0::/docker/{'1' * 64}/kubepods/pod{POD}/crio-{CONTAINER}\n", (CONTAINER, POD), id="a nested one"),
    pytest.param("0::/user.slice/user-1000.slice/session-2.scope\n", ("", ""), id="no container"),
    pytest.param("0::/\n", ("", ""), id="hidden by a namespace"),
    pytest.param("", ("", ""), id="empty"),
]


@pytest.mark.parametrize(("text", "expected"), CGROUPS)
def test_a_control_group_names_container_and_pod(text: str, expected: tuple[str, str]) -> None:
    owner = in_cgroup(text)
    assert (owner.container, owner.pod) == expected


def proc(folder: Path, pid: int, cgroup: str, born: int = 100) -> Path:
    home = folder / str(pid)
    home.mkdir(parents=True, exist_ok=True)
    (home / "stat").write_text(f"{pid} (a ) b) S " + " ".join(["0"] * 18) + f" {born} 0\n")
    (home / "cgroup").write_text(cgroup)
    return folder


def test_without_a_look_at_the_namespace_the_owner_is_uncertain(tmp_path: Path) -> None:
    owners = Owners(proc(tmp_path, 7, f"0::/docker/{CONTAINER}\n"))
    assert owners.of(7) == Owner(CONTAINER, "", "low")
    assert dict(owners.of(7).labels) == {"container_id": CONTAINER[:12], "owner_confidence": "low"}


def test_a_number_that_is_used_again_is_looked_up_again(tmp_path: Path) -> None:
    owners = Owners(proc(tmp_path, 7, f"0::/docker/{CONTAINER}\n"))
    assert owners.of(7).container == CONTAINER
    proc(tmp_path, 7, f"0::/docker/{'2' * 64}\n", born=100)
    assert owners.of(7).container == CONTAINER, "the same process is remembered"
    proc(tmp_path, 7, f"0::/docker/{'2' * 64}\n", born=200)
    assert owners.of(7).container == "2" * 64


def test_a_process_that_is_gone_belongs_to_nobody(tmp_path: Path) -> None:
    assert Owners(tmp_path).of(7) == Owner("", "", "none")


def test_this_process_is_attributed_only_where_the_hosts_numbers_are_seen() -> None:
    own = os.stat("/proc/self/ns/pid").st_ino == HOST_PID_NAMESPACE
    assert Owners().of(os.getpid()).confidence == ("high" if own else "none")


def test_the_bindings_raise_success_and_we_take_it_for_an_empty_list() -> None:
    fleet = models.dgx_a100()
    fleet.gpus[0].no_utilization_code = 0
    with asked(fleet) as (nvml, handle), pytest.raises(nvml.NVMLError) as error:
        nvml.nvmlDeviceGetProcessUtilization(handle, 0)
    assert error.value.value == 0
