"""What changes rarely, asked through the real bindings."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from autoscaler import signals
from collectors.nvml import slow
from tests.nvmlreads import asked, plain, read
from tests.peers.nvml import Scenario, models
from tests.peers.nvml import gpu as bits

CORRECTABLE, UNCORRECTABLE = (("kind", "correctable"),), (("kind", "uncorrectable"),)


def test_an_h100_tells_everything_in_base_units() -> None:
    fleet = models.hgx_h100()
    gpu = fleet.gpus[5]
    gpu.count_ecc(corrected=7, uncorrected=2)
    gpu.rows_corrected, gpu.rows_uncorrected, gpu.rows_pending, gpu.rows_failed = 3, 1, 1, 0
    gpu.pcie_generation, gpu.pcie_width, gpu.bar1_used = 4, 8, 5 * 2**20
    gpu.encoder_percent, gpu.decoder_percent, gpu.recovery_action = 25, 50, 4
    gpu.pcie_replays.set(11)
    with asked(fleet, 5) as (nvml, handle):
        told, refused = read(nvml, handle, slow.CALLS)
    assert refused == {}
    assert plain(told) == {
        "gpu_ecc_corrected_total": 7.0,
        "gpu_ecc_uncorrected_total": 2.0,
        "gpu_row_remap_pending": 1.0,
        "gpu_row_remap_failed": 0.0,
        "gpu_pcie_link_generation": 4.0,
        "gpu_pcie_link_width": 8.0,
        "gpu_pcie_replay_total": 11.0,
        "gpu_bar1_used_bytes": 5.0 * 2**20,
        "gpu_encoder_ratio": 0.25,
        "gpu_decoder_ratio": 0.5,
        "gpu_recovery_action": 4.0,
        "gpu_numa_node": 1.0,
    }
    assert told["gpu_rows_remapped_total", CORRECTABLE] == 3.0
    assert told["gpu_rows_remapped_total", UNCORRECTABLE] == 1.0
    ((_, labels),) = [key for key in told if key[0] == "gpu_info"]
    assert dict(labels) == {
        "architecture": "hopper",
        "driver_version": "550.163.01",
        "pci_bus_id": "00000000:c3:00",
        "serial": gpu.serial,
        "vbios_version": "92.00.45.00.03",
    }


@pytest.mark.parametrize(
    ("fleet", "expected"),
    [
        pytest.param(
            models.t4,
            {"gpu_rows_remapped_total", "gpu_row_remap_pending", "gpu_row_remap_failed", "gpu_recovery_action"},
            id="a Turing board remaps no rows and names no recovery action",
        ),
        pytest.param(
            models.g5_a10g,
            {
                "gpu_ecc_corrected_total",
                "gpu_ecc_uncorrected_total",
                "gpu_rows_remapped_total",
                "gpu_row_remap_pending",
                "gpu_row_remap_failed",
                "gpu_recovery_action",
            },
            id="a board without ECC counts no memory errors",
        ),
    ],
)
def test_what_a_board_lacks_is_unsupported_and_not_zero(fleet: Callable[[], Scenario], expected: set[str]) -> None:
    with asked(fleet()) as (nvml, handle):
        told, refused = read(nvml, handle, slow.CALLS)
    assert refused == dict.fromkeys(expected, 3)
    assert not expected & {metric for metric, _ in told}


LACKING = (
    "nvmlDeviceGetTotalEccErrors",
    "nvmlDeviceGetRemappedRows",
    "nvmlDeviceGetPcieReplayCounter",
    "nvmlDeviceGetMemoryAffinity",
)
"""Functions that a driver may lack; left out together, since each choice is a build of the stand-in."""


def test_a_driver_that_lacks_functions_is_asked_another_way() -> None:
    fleet = models.dgx_a100()
    gpu = fleet.gpus[0]
    gpu.count_ecc(corrected=9, uncorrected=4)
    gpu.rows_corrected, gpu.rows_failed = 2, 1
    gpu.pcie_replays.set(6)
    with asked(fleet, without=LACKING) as (nvml, handle):
        told, refused = read(nvml, handle, slow.CALLS)
    values = plain(told)
    assert (values["gpu_ecc_corrected_total"], values["gpu_ecc_uncorrected_total"]) == (9.0, 4.0)
    assert (values["gpu_row_remap_pending"], values["gpu_row_remap_failed"]) == (0.0, 1.0)
    assert told["gpu_rows_remapped_total", CORRECTABLE] == 2.0
    assert values["gpu_pcie_replay_total"] == 6.0
    assert refused == {"gpu_recovery_action": 3, "gpu_numa_node": 3}


def test_one_refusal_costs_one_metric() -> None:
    fleet = models.dgx_a100()
    fleet.fail("nvmlDeviceGetBAR1MemoryInfo", 4)
    fleet.fail("nvmlDeviceGetSerial", 3)
    with asked(fleet) as (nvml, handle):
        told, refused = read(nvml, handle, slow.CALLS)
    assert refused["gpu_bar1_used_bytes"] == 4
    assert "gpu_pcie_link_width" in plain(told)
    ((_, labels),) = [key for key in told if key[0] == "gpu_info"]
    assert "serial" not in dict(labels)


def test_a_machine_without_numa_has_no_node() -> None:
    fleet = models.t4()
    fleet.gpus[0].memory_affinity[0] = 0
    with asked(fleet) as (nvml, handle):
        _, refused = read(nvml, handle, slow.CALLS)
    assert refused["gpu_numa_node"] == 3


def test_a_gpu_with_memory_of_its_own_node_tells_that_node_where_there_is_no_mask() -> None:
    fleet = models.hgx_h100()
    fleet.gpus[0].has |= bits.NUMA
    fleet.gpus[0].numa_node = 8
    with asked(fleet, without=LACKING) as (nvml, handle):
        told, _ = read(nvml, handle, slow.CALLS)
    assert plain(told)["gpu_numa_node"] == 8.0


def test_the_node_is_the_nearest_one_of_a_wide_mask() -> None:
    fleet = models.t4()
    fleet.gpus[0].memory_affinity[:] = [0, 1 << 6 | 1 << 9, 0, 0]
    with asked(fleet) as (nvml, handle):
        told, _ = read(nvml, handle, slow.CALLS)
    assert plain(told)["gpu_numa_node"] == 70.0


def test_every_metric_is_canonical() -> None:
    assert all(signals.metric(metric) is not None for call in slow.CALLS for metric in call.metrics)
