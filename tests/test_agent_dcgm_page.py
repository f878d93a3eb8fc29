"""The page in dcgm-exporter's names: what our own reader, and dashboards made for it, find there."""

from __future__ import annotations

import math

import pytest

from autoscaler.signals import metric
from autoscaler.types import SeriesKey
from collectors.dcgm.fields import CLOCK_EVENTS, FIELDS
from collectors.pages.reader import PageReader
from tests.agentpages import BOARD, UUID, key, page


def of_fields() -> dict[SeriesKey, float]:
    """A value for every canonical series that DCGM has a field for."""
    values: dict[SeriesKey, float] = {}
    for n, field in enumerate(FIELDS):
        known = metric(field.metric)
        assert known is not None
        if not field.bits:
            values[key(field.metric, **dict(field.labels))] = (n + 1) / 70 if known.ratio else (n + 1) * 1000.0
    return values


def about(**more: str) -> SeriesKey:
    return key("gpu_info", pci_bus_id="00000000:0f:00", driver_version="550.1", serial="7", **more)


def read_dcgm(values: dict[SeriesKey, float]) -> dict[SeriesKey, float]:
    """What our own reader makes of the page in DCGM's names, without the metrics that it derives from others."""
    reader = PageReader("agent", (), 1.0)
    read = reader.read(page(values, "dcgm").encode(), 100.0)
    assert (reader.rejected, reader.duplicates, reader.sentinels) == (0, 0, 0)
    metrics = {k.metric for k in values} - {"gpu_info"}
    return {k: v for k, v in zip(read.keys, read.values.tolist(), strict=True) if k.metric in metrics}


def test_our_own_reader_finds_the_same_values_on_the_page_in_dcgms_names() -> None:
    values = of_fields()
    read = read_dcgm({**values, about(): 1.0})
    assert set(read) == set(values)
    for known, value in values.items():
        assert read[known] == pytest.approx(value, rel=1e-12), known


@pytest.mark.parametrize("reasons", [(), ("idle",), ("power_brake", "idle"), tuple(r for r, _ in CLOCK_EVENTS)])
def test_reasons_that_hold_the_clocks_are_read_back(reasons: tuple[str, ...]) -> None:
    values = {key("gpu_clock_event_active", reason=r): float(r in reasons) for r, _ in CLOCK_EVENTS}
    assert read_dcgm(values) == values


def test_a_reason_that_is_unknown_makes_the_mask_unknown() -> None:
    values = {key("gpu_clock_event_active", reason=r): 0.0 for r, _ in CLOCK_EVENTS}
    values[key("gpu_clock_event_active", reason="idle")] = math.nan
    assert page(values, "dcgm") == ""


@pytest.mark.parametrize("node", [0.0, 1.0, 31.0])
def test_a_numa_node_is_read_back(node: float) -> None:
    assert read_dcgm({key("gpu_numa_node"): node}) == {key("gpu_numa_node"): node}


@pytest.mark.parametrize("node", [-1.0, 63.0, math.nan])
def test_no_numa_node_is_no_mask(node: float) -> None:
    assert page({key("gpu_numa_node"): node}, "dcgm") == ""


def test_labels_are_the_exporters_in_its_order() -> None:
    labels = tuple(sorted({**dict(BOARD), "pod": "a", "node_pool": "x"}.items()))
    text = page({key("gpu_power_watts", labels): 301.5, about(): 1.0}, "dcgm")
    assert text.splitlines()[-1] == (
        f'DCGM_FI_DEV_POWER_USAGE{{gpu="3",UUID="{UUID}",pci_bus_id="00000000:0F:00.0",device="nvidia3",'
        'modelName="NVIDIA H100 80GB HBM3",Hostname="node-1",DCGM_FI_DRIVER_VERSION="550.1",DCGM_FI_DEV_SERIAL="7",'
        'pod="a",node_pool="x"} 301.5'
    )


def test_what_the_reader_takes_from_the_labels_is_gpu_info_again() -> None:
    batch = PageReader("agent", (), 1.0).read(
        page({key("gpu_temperature_celsius"): 60.0, about(): 1.0}, "dcgm").encode(), 1.0
    )
    (info,) = (k for k in batch.keys if k.metric == "gpu_info")
    assert set(info.labels) >= {*BOARD, ("driver_version", "550.1"), ("serial", "7"), ("device", "nvidia3")}


def test_a_mig_instance_keeps_its_profile_and_number() -> None:
    instance = key("gpu_memory_used_bytes", mig_profile="1g.10gb", gi_id="9")
    text = page({instance: float(1 << 30), key("gpu_power_watts"): 300.0}, "dcgm")
    assert 'GPU_I_PROFILE="1g.10gb",GPU_I_ID="9",Hostname="node-1"} 1024' in text
    assert read_dcgm({instance: float(1 << 30)}) == {instance: float(1 << 30)}


@pytest.mark.parametrize(
    ("name", "value", "printed"),
    [
        pytest.param("gpu_busy_ratio", 0.57, "57", id="percent"),
        pytest.param("gpu_energy_joules_total", 15152422.938, "15152422938", id="millijoules"),
        pytest.param("gpu_memory_used_bytes", float(20 << 30), "20480", id="MiB"),
        pytest.param("gpu_sm_clock_hertz", 1.41e9, "1410", id="MHz"),
        pytest.param("gpu_throttle_power_seconds_total", 2.5, "2500000000", id="nanoseconds"),
    ],
)
def test_units_are_dcgms(name: str, value: float, printed: str) -> None:
    assert page({key(name): value}, "dcgm").splitlines()[-1].rpartition(" ")[2] == printed


@pytest.mark.parametrize(
    "other",
    [
        key("gpu_processes"),
        key("gpu_nvlink_links_up"),
        key("gpu_power_watts_max"),
        key("gpu_nvlink_errors_total", kind="crc_data"),
        key("host_load1", ()),
    ],
)
def test_what_dcgm_has_no_field_for_is_left_out(other: SeriesKey) -> None:
    assert page({other: 1.0}, "dcgm") == ""
