"""Labels of dcgm-exporter's versions, MIG instances, and GPUs that several pods share."""

from __future__ import annotations

import math
from pathlib import Path

import pytest

from autoscaler.types import Batch, SeriesKey
from collectors.pages.reader import PageReader

PAGES = Path(__file__).parent / "data" / "pages" / "dcgm"


def read(page: str | bytes) -> dict[SeriesKey, float]:
    return values(PageReader("test", (), 15.0).read(page if isinstance(page, bytes) else page.encode(), 0.0))


def values(batch: Batch) -> dict[SeriesKey, float]:
    found = dict(zip(batch.keys, batch.values.tolist(), strict=True))
    return {key: value for key, value in found.items() if not math.isnan(value)}


DERIVED = ("gpu_up", "gpu_lost", "gpu_saturation_ratio", "gpu_memory_total_bytes", "gpu_memory_used_ratio")


def printed(page: str | bytes) -> dict[SeriesKey, float]:
    """What a page says itself."""
    return {key: value for key, value in read(page).items() if key.metric not in DERIVED}


def of(found: dict[SeriesKey, float], name: str) -> list[float]:
    return [value for key, value in found.items() if key.metric == name]


# --- labels ---------------------------------------------------------------------------------------------------------

FULL = 'gpu="0",UUID="U",pci_bus_id="b",device="nvidia0",modelName="M"'


@pytest.mark.parametrize(
    ("labels", "expected"),
    [
        pytest.param('gpu="0",UUID="U",device="nvidia0"', {"gpu": "0", "uuid": "U"}, id="2.0: three labels"),
        pytest.param(
            'gpu="0",UUID="U",device="nvidia0",modelName="M",Hostname="h",container="",namespace="",pod=""',
            {"gpu": "0", "uuid": "U", "gpu_model": "M", "host": "h"},
            id="driver 520: empty pod labels",
        ),
        pytest.param(
            FULL + ',Hostname="h",DCGM_FI_DRIVER_VERSION="580"',
            {"gpu": "0", "uuid": "U", "gpu_model": "M", "host": "h"},
            id="4.8: pci_bus_id",
        ),
        pytest.param(
            FULL + ',hostname="h",DCGM_FI_SYSTEM_DRIVER_VERSION="600"',
            {"gpu": "0", "uuid": "U", "gpu_model": "M", "host": "h"},
            id="4.9: hostname, label of 4.6",
        ),
        pytest.param(
            'gpu="0",uuid="U",modelName="M",pod_name="p",pod_namespace="n",container_name="c"',
            {"gpu": "0", "uuid": "U", "gpu_model": "M", "pod": "p", "namespace": "n", "container": "c"},
            id="--use-old-namespace",
        ),
        pytest.param(
            'gpu="0",UUID="U",exported_pod="p",exported_namespace="n",exported_container="c",pod="exporter",'
            'namespace="gpu-operator",container="exporter"',
            {"gpu": "0", "uuid": "U", "pod": "p", "namespace": "n", "container": "c"},
            id="through a Prometheus",
        ),
        pytest.param(
            'gpu="0",UUID="U",pod="p",namespace="n",container="c",pod_uid="i",vgpu="1"',
            {"gpu": "0", "uuid": "U", "pod": "p", "namespace": "n", "container": "c", "pod_uid": "i", "vgpu": "1"},
            id="time-slicing",
        ),
        pytest.param('gpu="0",UUID="U",hpc_job="7"', {"gpu": "0", "uuid": "U", "hpc_job": "7"}, id="a job"),
        pytest.param(
            'gpu="0",UUID="U",dra_claim_name="c",dra_claim_namespace="n",dra_driver_name="gpu.nvidia.com",'
            'dra_pool_name="w",dra_device_name="gpu-0"',
            {"gpu": "0", "uuid": "U", "dra_claim": "c", "dra_claim_namespace": "n"},
            id="dynamic resource allocation",
        ),
        pytest.param(
            'nvlink="3",gpu="0",gpu_uuid="U",model_name="M",hostname="h"',
            {"nvlink": "3", "gpu": "0", "uuid": "U", "gpu_model": "M", "host": "h"},
            id="a link",
        ),
        pytest.param('nvswitch="1",hostname="h"', {"nvswitch": "1", "host": "h"}, id="a switch"),
        pytest.param('cpu="0",hostname="h"', {"cpu": "0", "host": "h"}, id="a processor"),
        pytest.param('cpucore="5",cpu="0",hostname="h"', {"cpucore": "5", "cpu": "0", "host": "h"}, id="a core"),
        pytest.param(
            'gpu="0",UUID="U",peer_gpu="1",link_status="OK"', {"gpu": "0", "uuid": "U", "peer_gpu": "1"}, id="a peer"
        ),
    ],
)
def test_labels_of_every_version_become_ours(labels: str, expected: dict[str, str]) -> None:
    (key,) = printed(f"DCGM_FI_DEV_SOMETHING_NEW{{{labels}}} 1\n")
    assert dict(key.labels) == expected


# --- MIG ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["GPU_UTIL", "GPU_UTIL_RATIO", "MEM_COPY_UTIL", "ENC_UTIL", "DEC_UTIL"])
def test_what_the_driver_has_for_no_instance_is_not_read_of_one(name: str) -> None:
    """Some exporters print a 0 there, which is no idleness."""
    line = f'DCGM_FI_DEV_{name}{{gpu="0",UUID="U",GPU_I_PROFILE="1g.5gb",GPU_I_ID="7"}} 0\n'
    assert read(line) == {}


def test_under_mig_the_active_engine_stands_in_under_its_own_name() -> None:
    found = read((PAGES / "a100-sxm4-40gb_mig_4active_driver520.prom").read_bytes())
    assert sorted(of(found, "gpu_gr_active_ratio")) == [0.0, 0.0, 0.0, 0.408493]
    assert sorted(of(found, "gpu_saturation_ratio")) == [0.0, 0.0, 0.0, 0.250816]
    assert not any(key.metric == "gpu_busy_ratio" for key in found)


def test_no_board_s_value_is_made_of_its_instances() -> None:
    found = read((PAGES / "a100-sxm4-40gb_mig_4active_driver520.prom").read_bytes())
    per_instance = ("gpu_memory_used_bytes", "gpu_memory_total_bytes", "gpu_gr_active_ratio", "gpu_saturation_ratio")
    assert all(key.label("gi_id") is not None for key in found if key.metric in per_instance)


# --- one GPU, several pods ------------------------------------------------------------------------------------------


def shared(name: str, value: float, *pods: str) -> str:
    return "".join(
        f'{name}{{gpu="0",UUID="U",pod="{pod}",namespace="n",vgpu="{n}"}} {value}\n' for n, pod in enumerate(pods)
    )


def test_a_gpu_that_pods_share_is_one_series_with_both_names() -> None:
    found = printed(shared("DCGM_FI_PROF_SM_ACTIVE", 0.9, "b", "a"))
    assert found == {
        SeriesKey(
            "gpu_sm_active_ratio", (("gpu", "0"), ("namespace", "n"), ("pod", "a,b"), ("uuid", "U"), ("vgpu", "0,1"))
        ): 0.9
    }


def test_pods_that_come_and_go_are_joined_and_parted() -> None:
    reader = PageReader("test", (), 15.0)

    def pods(*names: str) -> list[tuple[str | None, float]]:
        found = values(reader.read(shared("DCGM_FI_PROF_SM_ACTIVE", 0.9, *names).encode(), 0.0))
        return [(key.label("pod"), value) for key, value in found.items() if key.metric == "gpu_sm_active_ratio"]

    assert pods("a") == [("a", 0.9)]
    assert pods("a", "b") == [("a,b", 0.9)]
    assert pods("a") == [("a", 0.9)]
    assert pods("b") == [("b", 0.9)]
    assert pods("a", "b") == [("a,b", 0.9)]


def test_jobs_that_share_a_gpu_are_joined_too() -> None:
    page = "".join(f'DCGM_FI_DEV_POWER_USAGE{{gpu="0",UUID="U",hpc_job="{job}"}} 300\n' for job in (12, 7))
    (key,) = [key for key in read(page) if key.metric == "gpu_power_watts"]
    assert key.label("hpc_job") == "12,7"


def test_each_pod_s_own_part_stands_beside_the_gpu_s_value() -> None:
    """The device's own row has no pod; idle pods are printed with 0, which is not the GPU's idleness."""
    page = 'DCGM_FI_DEV_GPU_UTIL{gpu="0",UUID="U"} 80\n' + shared("DCGM_FI_DEV_GPU_UTIL", 0, "a")
    page += 'DCGM_FI_DEV_FB_USED{gpu="0",UUID="U"} 300\n' + shared("DCGM_FI_DEV_FB_USED", 100, "a")
    found = read(page)
    assert of(found, "gpu_busy_ratio") == [0.8]
    assert of(found, "gpu_memory_used_bytes") == [300.0 * 2**20]
    assert {key.label("pod"): v for key, v in found.items() if key.metric == "gpu_process_sm_ratio"} == {"a": 0.0}
    assert of(found, "gpu_process_memory_bytes") == [100.0 * 2**20]
