"""The GPUs of a machine through the real bindings: values, identity, availability, and how they are laid out."""

from __future__ import annotations

import pytest

from autoscaler import signals
from tests.nvmlworld import PLACE, START, World, world
from tests.peers.nvml import models
from tests.peers.nvml.gpu import SIGNED

GIB = 2**30
H100_VALUES = {
    "gpu_busy_ratio": 0.5,
    "gpu_memory_copy_ratio": 0.3,
    "gpu_memory_used_bytes": 40.0 * GIB,
    "gpu_memory_total_bytes": 80.0 * GIB,
    "gpu_memory_free_bytes": 40.0 * GIB - 600 * 2**20,
    "gpu_memory_reserved_bytes": 600.0 * 2**20,
    "gpu_memory_used_ratio": 40.0 * GIB / (80.0 * GIB - 600 * 2**20),
    "gpu_power_watts": 450.0,
    "gpu_power_instant_watts": 450.0,
    "gpu_power_limit_watts": 700.0,
    "gpu_energy_joules_total": 900.0,
    "gpu_temperature_celsius": 60.0,
    "gpu_memory_temperature_celsius": 65.0,
    "gpu_temperature_margin_celsius": 27.0,
    "gpu_sm_clock_hertz": 1.98e9,
    "gpu_sm_clock_max_hertz": 1.98e9,
    "gpu_memory_clock_hertz": 2.619e9,
    "gpu_clock_event_active{reason=thermal_hardware}": 1.0,
    "gpu_clock_event_active{reason=idle}": 0.0,
    "gpu_throttle_power_seconds_total": 1.0,
    "gpu_throttle_thermal_seconds_total": 2.0,
    "gpu_performance_state": 0.0,
    "gpu_pcie_tx_bytes_per_second": 5e6,
    "gpu_pcie_rx_bytes_per_second": 7e6,
    "gpu_nvlink_tx_bytes_per_second": 18 * 1024.0 * 1000,
    "gpu_nvlink_rx_bytes_per_second": 18 * 1024.0 * 2000,
    "gpu_nvlink_bytes_per_second": 18 * 1024.0 * 3000,
    "gpu_gr_active_ratio": 0.8,
    "gpu_sm_active_ratio": 0.6,
    "gpu_sm_occupancy_ratio": 0.25,
    "gpu_tensor_active_ratio": 0.3,
    "gpu_dram_active_ratio": 0.45,
    "gpu_fp64_active_ratio": 0.0,
    "gpu_fp32_active_ratio": 0.05,
    "gpu_fp16_active_ratio": 0.02,
    "gpu_saturation_ratio{source=sm_active+dram_active+power}": 450 / 700,
    "gpu_up": 1.0,
    "gpu_lost": 0.0,
    "gpu_sample_age_seconds{source=gauge}": 0.0,
}


def busy_h100(made: World) -> None:
    """Traffic, throttling and heat on the first GPU, from now on."""
    gpu = made.fleet.gpus[0]
    gpu.clock_reasons = 64
    gpu.pcie_tx_bytes.grow(5e6)
    gpu.pcie_rx_bytes.grow(7e6)
    gpu.throttle_ns[74].set(10**9)
    gpu.throttle_ns[75].set(2 * 10**9)
    for link in gpu.links:
        link.tx_kib.grow(1000)
        link.rx_kib.grow(2000)


def test_every_metric_is_in_its_base_unit() -> None:
    with world(models.hgx_h100()) as made:
        busy_h100(made)
        made.rounds(3)
        values = made.values(made.fleet.gpus[0])
        assert {name: values[name] for name in H100_VALUES} == pytest.approx(H100_VALUES)
        assert values["gpu_pcie_tx_bytes_total"] == pytest.approx(1e7)
        everything = {key.metric: key for batch in made.batches for key in batch.keys}
        for metric, key in everything.items():
            known = signals.metric(metric)
            assert known is not None, metric
            assert key.counter == (known.kind == "counter"), metric


def test_one_batch_a_gpu_and_second_whose_keys_stay_the_same_object() -> None:
    with world(models.hgx_h100()) as made:
        made.rounds(2)
        before = {batch.source: batch.keys for batch in made.batches}
        made.round()
        quick = [batch for batch in made.batches if "/" not in batch.source]
        assert sorted(batch.source for batch in quick) == sorted(f"nvml:{gpu.uuid}" for gpu in made.fleet.gpus)
        assert all(batch.keys is before[batch.source] for batch in quick)
        assert {(batch.at, batch.interval_s, batch.state) for batch in quick} == {(START + 2, 1.0, "up")}


def test_no_series_comes_from_two_sources() -> None:
    with world(models.hgx_h100(), slow_s=1.0) as made:
        made.rounds(3)
        keys = [key for batch in made.batches for key in batch.keys]
        assert len(keys) == len(set(keys)) > 8 * 60


def test_a_gpu_is_its_uuid_and_the_index_is_only_a_label() -> None:
    with world(models.dgx_a100()) as made:
        made.round()
        for index, gpu in enumerate(made.fleet.gpus):
            assert {tuple(pair for pair in key.labels if pair[0] in PLACE) for key in made.batch(gpu).keys} == {
                (
                    ("gpu", str(index)),
                    ("gpu_model", "NVIDIA A100-SXM4-40GB"),
                    ("host", "node-1"),
                    ("pool", "chat"),
                    ("uuid", gpu.uuid),
                )
            }
        described = [(info.uuid, info.name, info.memory_bytes) for info in made.nvml.describe()]
        assert described == [(gpu.uuid, "NVIDIA A100-SXM4-40GB", 40 * GIB) for gpu in made.fleet.gpus]


def test_driver_vbios_address_and_serial_stand_on_gpu_info_only() -> None:
    with world(models.t4()) as made:
        made.round()
        gpu = made.fleet.gpus[0]
        (info,) = [key for batch in made.batches for key in batch.keys if key.metric == "gpu_info"]
        assert gpu.serial in dict(info.labels).values()
        others = [key for batch in made.batches for key in batch.keys if key.metric != "gpu_info"]
        forbidden = {gpu.serial, gpu.vbios, made.fleet.driver_version}
        assert not [key for key in others if forbidden & set(dict(key.labels).values())]


def test_an_a100_has_no_sm_activity_and_its_saturation_names_power() -> None:
    with world(models.dgx_a100()) as made:
        made.rounds(3)
        gpu = made.fleet.gpus[0]
        values = made.values(gpu)
        assert "gpu_sm_active_ratio" not in values
        state = made.state(gpu, "gpu_sm_active_ratio")
        assert state.availability == "unsupported"
        assert state.detail.startswith("A100 is Ampere: GPM needs Hopper")
        assert [name for name in values if "saturation" in name] == ["gpu_saturation_ratio{source=power}"]
        assert values["gpu_saturation_ratio{source=power}"] == 250 / 400


def test_a_gpu_that_is_cut_has_no_busy_ratio_one_energy_and_memory_for_each_instance() -> None:
    with world(models.a100_mig(), slow_s=1.0) as made:
        made.rounds(2)
        gpu = made.fleet.gpus[0]
        values = {**made.values(gpu), **made.values(gpu, "slow")}
        assert not [name for name in values if name.startswith("gpu_busy_ratio")]
        assert made.state(gpu, "gpu_busy_ratio").availability == "unsupported"
        assert [name for name in values if name.startswith("gpu_energy")] == ["gpu_energy_joules_total"]
        used = [name for name in values if name.startswith("gpu_memory_used_bytes")]
        assert len(used) == 4
        assert all("gi_id=" in name for name in used)


def test_each_instance_of_a_cut_h100_has_an_activity_and_a_saturation_of_its_own() -> None:
    with world(models.h100_mig()) as made:
        made.rounds(3)
        values = made.values(made.fleet.gpus[0])
        active = {name: value for name, value in values.items() if name.startswith("gpu_sm_active_ratio")}
        assert sorted(v for v in active.values() if v is not None) == pytest.approx([0.1, 0.2, 0.3, 0.4])
        saturated = [name for name in values if name.startswith("gpu_saturation_ratio")]
        assert len(saturated) == 4
        assert all("source=sm_active+dram_active" in name for name in saturated)


def test_an_instance_that_is_made_anew_starts_its_activity_anew() -> None:
    with world(models.h100_mig(), slow_s=1.0) as made:
        made.rounds(3)
        gpu = made.fleet.gpus[0]
        first = next(iter(gpu.mig))
        gpu.mig.destroy(first)
        made.fleet.gpus[0].mig.create("3g.40gb").gpm({2: 90.0})
        made.rounds(2)
        # The slow lane sees the new one in the first round, which seeds it in the second.
        label = "gpu_sm_active_ratio{gi_id=1,mig_profile=3g.40gb}"
        assert made.values(gpu)[label] is None
        made.round()
        assert made.values(gpu)[label] == pytest.approx(0.9)


@pytest.mark.parametrize(("code", "availability"), [pytest.param(0, "absent", id="a zero"), (3, "unsupported")])
def test_a_memory_without_a_sensor_has_no_temperature(code: int, availability: str) -> None:
    with world(models.t4()) as made:
        gpu = made.fleet.gpus[0]
        gpu.field(82, 0, code=code)
        made.rounds(2)
        assert "gpu_memory_temperature_celsius" not in made.values(gpu)
        assert made.state(gpu, "gpu_memory_temperature_celsius").availability == availability


def test_fields_that_a_driver_lacks_are_asked_in_the_older_way() -> None:
    with world(models.t4()) as made:
        gpu = made.fleet.gpus[0]
        for number in (83, 185, 186, 75):
            gpu.field(number, code=3)
        gpu.field(269, 5 * 10**8)
        gpu.field(270, 10**8, kind=SIGNED)
        made.rounds(2)
        values = made.values(gpu)
        assert values["gpu_power_watts"] == pytest.approx(65.0)
        assert values["gpu_energy_joules_total"] == pytest.approx(65.0)
        assert values["gpu_throttle_thermal_seconds_total"] == pytest.approx(0.6)
        assert "gpu_power_instant_watts" not in values
        assert made.state(gpu, "gpu_power_instant_watts").availability == "unsupported"
        assert made.state(gpu, "gpu_power_watts").availability == "ok"


def test_an_old_driver_is_asked_in_the_older_way() -> None:
    lacking = ("nvmlDeviceGetMemoryInfo_v2", "nvmlDeviceGetTemperatureV", "nvmlDeviceGetFieldValues")
    with world(models.t4(), without=lacking) as made:
        made.rounds(2)
        gpu, values = made.fleet.gpus[0], made.values(made.fleet.gpus[0])
        assert values["gpu_memory_used_bytes"] == 8.0 * GIB + gpu.memory_reserved
        assert values["gpu_temperature_celsius"] == 60.0
        assert values["gpu_power_watts"] == pytest.approx(65.0)
        assert "gpu_memory_reserved_bytes" not in values
        assert made.state(gpu, "gpu_power_instant_watts").availability == "unsupported"
