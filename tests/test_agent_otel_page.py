"""The page in the names of OpenTelemetry's conventions."""

from __future__ import annotations

import math

import pytest

from autoscaler.agent import otel_names
from autoscaler.signals import metric
from tests.agentpages import UUID, key, page, samples


@pytest.mark.parametrize(
    ("name", "labels", "expected", "more"),
    [
        ("gpu_busy_ratio", {}, "hw_gpu_utilization_ratio", {"hw_gpu_task": "general"}),
        ("gpu_encoder_ratio", {}, "hw_gpu_utilization_ratio", {"hw_gpu_task": "encoder"}),
        ("gpu_memory_used_bytes", {}, "hw_gpu_memory_usage_bytes", {}),
        ("gpu_memory_total_bytes", {}, "hw_gpu_memory_limit_bytes", {}),
        ("gpu_memory_used_ratio", {}, "hw_gpu_memory_utilization_ratio", {}),
        ("gpu_pcie_rx_bytes_total", {}, "hw_gpu_io_bytes_total", {"network_io_direction": "receive"}),
        ("gpu_power_watts", {}, "hw_power_watts", {}),
        ("gpu_energy_joules_total", {}, "hw_energy_joules_total", {}),
        ("gpu_temperature_celsius", {}, "hw_temperature_celsius", {"hw_sensor_location": "gpu"}),
        ("gpu_ecc_uncorrected_total", {}, "hw_errors_total", {"error_type": "uncorrected"}),
        ("gpu_nvlink_errors_total", {"kind": "replay"}, "hw_errors_total", {"error_type": "nvlink_replay"}),
        ("gpu_sm_active_ratio", {}, "sigmascale_gpu_sm_active_ratio", {}),
        ("gpu_xid_events_total", {"xid": "79"}, "sigmascale_gpu_xid_events_total", {"xid": "79"}),
    ],
)
def test_a_gpus_values_have_conventional_names(
    name: str, labels: dict[str, str], expected: str, more: dict[str, str]
) -> None:
    attributes = {
        "host_name": "node-1",
        "hw_id": UUID,
        "hw_name": "gpu3",
        "hw_model": "NVIDIA H100 80GB HBM3",
        "hw_type": "gpu",
        "hw_vendor": "NVIDIA",
    }
    ((found, value),) = samples(page({key(name, **labels): 0.5}, "otel")).items()
    assert found == (expected, tuple(sorted((attributes | more).items())))
    assert value == 0.5


def test_a_mig_instance_has_an_id_of_its_own_and_the_gpu_as_parent() -> None:
    ((_, labels),) = samples(page({key("gpu_memory_used_bytes", gi_id="9"): 1.0}, "otel"))
    assert (dict(labels)["hw_id"], dict(labels)["hw_parent"]) == (f"{UUID}/9", UUID)


def test_the_limit_of_the_temperature_is_what_it_is_and_what_is_left() -> None:
    found = samples(page({key("gpu_temperature_celsius"): 60.0, key("gpu_temperature_margin_celsius"): 23.0}, "otel"))
    assert [v for (name, _), v in found.items() if name == "hw_temperature_limit_celsius"] == [83.0]


@pytest.mark.parametrize(
    ("said", "state"),
    [
        pytest.param({"gpu_up": 1.0}, "ok", id="a GPU that answers"),
        pytest.param({"gpu_up": 1.0, "gpu_lost": 0.0, "gpu_recovery_action": 0.0}, "ok", id="and is well"),
        pytest.param({"gpu_up": 0.0}, "failed", id="one that does not answer"),
        pytest.param({"gpu_up": 0.0, "gpu_lost": 1.0}, "failed", id="one that is lost"),
        pytest.param({"gpu_up": 1.0, "gpu_row_remap_failed": 1.0}, "failed", id="one without spare rows"),
        pytest.param({"gpu_up": 1.0, "gpu_recovery_action": 2.0}, "predicted_failure", id="one that wants a reset"),
        pytest.param({"gpu_up": 1.0, "gpu_power_watts": 999.0}, "ok", id="load is no fault"),
    ],
)
def test_the_status_is_what_the_driver_says(said: dict[str, float], state: str) -> None:
    found = samples(page({key(name): value for name, value in said.items()}, "otel"))
    states = {dict(labels)["hw_state"]: value for (name, labels), value in found.items() if name == "hw_status"}
    assert states == {one: float(one == state) for one in ("ok", "degraded", "predicted_failure", "failed")}


@pytest.mark.parametrize(("reason", "state"), [("thermal_hardware", "degraded"), ("power_cap", "ok"), ("idle", "ok")])
def test_a_gpu_that_is_slowed_down_by_a_fault_is_degraded(reason: str, state: str) -> None:
    values = {key("gpu_up"): 1.0, key("gpu_clock_event_active", reason=reason): 1.0}
    found = samples(page(values, "otel"))
    assert [dict(k[1])["hw_state"] for k, v in found.items() if k[0] == "hw_status" and v] == [state]


def test_a_gpu_that_does_not_say_whether_it_is_up_has_no_status() -> None:
    assert "hw_status" not in page({key("gpu_up"): math.nan, key("gpu_lost"): 0.0}, "otel")


def test_every_name_of_the_conventions_ends_in_its_unit() -> None:
    for name, name_there in otel_names.NAMES.items():
        known = metric(name)
        assert known is not None, name
        assert (known.kind == "counter") == name_there.name.endswith("_total"), name
        unit = {"bytes": "_bytes", "ratio": "_ratio", "watts": "_watts", "celsius": "_celsius"}.get(known.unit, "")
        assert unit in name_there.name, name
