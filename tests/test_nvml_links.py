"""NVLinks and PCIe of a GPU, asked through the real bindings; counters that wrap and are reset."""

from __future__ import annotations

import math
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from collectors.nvml import links
from collectors.nvml.counters import Counter
from tests.nvmlreads import asked, plain, read
from tests.peers.nvml import Scenario, models
from tests.peers.nvml import gpu as bits

AT = 1_700_000_000.0


def test_links_that_are_up_are_counted() -> None:
    fleet = models.dgx_a100()
    fleet.gpus[0].links[3].active = fleet.gpus[0].links[7].active = 0
    with asked(fleet) as (nvml, handle):
        told, _ = read(nvml, handle, links.CALLS)
        found = links.links(nvml, handle)
    assert plain(told)["gpu_nvlink_links_up"] == 10.0
    assert len(found) == 12
    assert [link.number for link in found if not link.active] == [3, 7]
    assert {link.remote for link in found if link.active} == {"switch"}


def test_a_link_leads_to_the_gpu_at_its_other_end() -> None:
    fleet = models.azure_nc_a100()
    fleet.gpus[0].links[0].remote_gpu = 2
    with asked(fleet) as (nvml, handle):
        first, second, *_ = links.links(nvml, handle)
    assert (first.remote, first.place) == ("gpu", "00000003:00:00")
    assert (second.remote, second.place) == ("gpu", "00000001:00:00"), "itself, as the driver says"


@pytest.mark.parametrize("fleet", [pytest.param(models.t4, id="T4"), pytest.param(models.g5_a10g, id="A10G")])
def test_a_board_without_nvlink_supports_none_of_it(fleet: Callable[[], Scenario]) -> None:
    with asked(fleet()) as (nvml, handle):
        told, refused = read(nvml, handle, (*links.CALLS, *links.traffic()))
    assert {metric for metric in refused if "nvlink" in metric} == {
        "gpu_nvlink_links_up",
        "gpu_nvlink_errors_total",
        "gpu_nvlink_tx_bytes_per_second",
        "gpu_nvlink_rx_bytes_per_second",
        "gpu_nvlink_bytes_per_second",
    }
    assert set(refused.values()) == {3}
    assert not told


def test_errors_are_summed_over_links_by_kind() -> None:
    fleet = models.dgx_a100()
    fleet.gpus[0].links[0].errors[0] = 2
    fleet.gpus[0].links[5].errors[0] = 3
    fleet.gpus[0].links[1].errors[2] = 1500
    with asked(fleet) as (nvml, handle):
        told, _ = read(nvml, handle, links.CALLS)
    errors = {labels[0][1]: value for (metric, labels), value in told.items() if metric == "gpu_nvlink_errors_total"}
    assert errors == {"replay": 5.0, "recovery": 0.0, "crc_flit": 1500.0, "crc_data": 0.0, "ecc_data": 0.0}


def test_nvlink_traffic_is_the_difference_of_all_links_in_bytes() -> None:
    fleet = models.dgx_a100()
    fleet.at(AT)
    for link in fleet.gpus[0].links[:12]:
        link.tx_kib.grow(1000.0)
        link.rx_kib.grow(500.0)
    with asked(fleet) as (nvml, handle):
        calls = links.traffic()
        first, _ = read(nvml, handle, calls)
        fleet.step(2.0)
        second, _ = read(nvml, handle, calls)
    assert math.isnan(plain(first)["gpu_nvlink_tx_bytes_per_second"]), "one look at a counter is no rate, and not 0"
    assert plain(second)["gpu_nvlink_tx_bytes_per_second"] == pytest.approx(12 * 1000 * 1024, rel=1e-6)
    assert plain(second)["gpu_nvlink_rx_bytes_per_second"] == pytest.approx(12 * 500 * 1024, rel=1e-6)
    assert plain(second)["gpu_nvlink_bytes_per_second"] == pytest.approx(12 * 1500 * 1024, rel=1e-6)


def test_pcie_traffic_is_told_as_totals_and_rates() -> None:
    fleet = models.hgx_h100()
    fleet.at(AT)
    gpu = fleet.gpus[0]
    gpu.pcie_tx_bytes.set(10**12)
    gpu.pcie_tx_bytes.grow(3e9)
    gpu.pcie_rx_bytes.grow(1e9)
    with asked(fleet) as (nvml, handle):
        calls = links.traffic()
        read(nvml, handle, calls)
        fleet.step(10.0)
        told, _ = read(nvml, handle, calls)
        fleet.reload_driver()
        fleet.step(10.0)
        nvml.nvmlInit()
        after, _ = read(nvml, nvml.nvmlDeviceGetHandleByIndex(0), calls)
    assert plain(told)["gpu_pcie_tx_bytes_total"] == 10**12 + 3e10
    assert plain(told)["gpu_pcie_tx_bytes_per_second"] == 3e9
    assert plain(told)["gpu_pcie_rx_bytes_per_second"] == 1e9
    assert plain(after)["gpu_pcie_tx_bytes_total"] == 3e10, "the driver was loaded anew"
    assert math.isnan(plain(after)["gpu_pcie_tx_bytes_per_second"])


def test_a_narrow_counter_that_wraps_goes_on() -> None:
    fleet = models.hgx_h100()
    gpu = fleet.gpus[0]
    with asked(fleet) as (nvml, handle):
        at = 100.0
        calls = links.traffic(lambda: at)
        seen = []
        for raw in (2**32 - 1000, 500, 1500):
            for field in (197, 198):
                gpu.field(field, raw, kind=bits.UNSIGNED)
            fleet.at(AT + at)
            told, _ = read(nvml, handle, calls)
            seen.append((plain(told)["gpu_pcie_tx_bytes_total"], plain(told)["gpu_pcie_tx_bytes_per_second"]))
            at += 0.01
    assert [total for total, _ in seen] == [2**32 - 1000, 2**32 + 500, 2**32 + 1500]
    assert [rate for _, rate in seen[1:]] == [pytest.approx(150_000.0), pytest.approx(100_000.0)]


def test_a_field_that_is_refused_costs_its_call_only() -> None:
    fleet = models.hgx_h100()
    fleet.gpus[0].field(139, code=4)
    with asked(fleet) as (nvml, handle):
        told, refused = read(nvml, handle, links.traffic())
    assert refused["gpu_nvlink_rx_bytes_per_second"] == 4
    assert "gpu_pcie_rx_bytes_total" in plain(told)


STEPS = [
    pytest.param(64, 1e12, [(5, 0.0), (105, 10.0)], (105.0, 10.0), id="it rose"),
    pytest.param(64, 1e12, [(105, 0.0), (5, 10.0)], (5.0, math.nan), id="a wide counter that falls was reset"),
    pytest.param(32, 1e9, [(2**32 - 6, 0.0), (4, 1.0)], (2**32 + 4.0, 10.0), id="a narrow one wrapped"),
    pytest.param(32, 100, [(2**31, 0.0), (4, 1.0)], (4.0, math.nan), id="a narrow one that fell too far was reset"),
    pytest.param(32, 1e9, [(5, 0.0), (6, 60.0)], (math.nan, math.nan), id="it may have gone all the way round"),
    pytest.param(64, 1e12, [(5, 3.0), (5, 3.0)], (5.0, math.nan), id="no time passed"),
    pytest.param(64, 1e12, [(5, 3.0), (5, 4.0)], (5.0, 0.0), id="nothing moved is a rate of 0"),
]


@pytest.mark.parametrize(("bits_", "most", "looks", "expected"), STEPS)
def test_a_counter_knows_wraps_from_resets(
    bits_: int, most: float, looks: list[tuple[int, float]], expected: tuple[float, float]
) -> None:
    counter = Counter(most)
    for raw, at in looks:
        step = counter.step(raw, at, bits_)
    assert (step.total, step.per_second) == pytest.approx(expected, nan_ok=True)


@given(st.lists(st.integers(0, 2**32), min_size=1, max_size=30))
def test_the_total_of_a_wrapping_counter_is_that_of_a_wide_one(rises: list[int]) -> None:
    narrow, wide, sent = Counter(2.0**32), Counter(2.0**40), 0
    for second, rise in enumerate(rises):
        sent += min(rise, 2**31)
        at = second * 0.5
        assert narrow.step(sent % 2**32, at, 32).total == wide.step(sent, at, 64).total
