"""Pages of nvidia_gpu_exporter under the canonical names, on the recorded ones and on lines after its documentation."""

from __future__ import annotations

import math
from pathlib import Path

import pytest

from autoscaler.signals import metric
from autoscaler.types import SeriesKey
from collectors.pages.reader import PageReader
from collectors.pages.smi_names import LABELLED, NAMES

PAGES = Path(__file__).parent / "data" / "pages" / "nvidia_gpu_exporter"
ZERO = "GPU-00000000-0000-0000-0000-000000000000"


def read(page: bytes | str) -> dict[SeriesKey, float]:
    reader = PageReader("test", (), 15.0)
    batch = reader.read(page if isinstance(page, bytes) else page.encode(), 0.0)
    assert reader.rejected == 0
    found = dict(zip(batch.keys, batch.values.tolist(), strict=True))
    return {key: value for key, value in found.items() if not math.isnan(value)}


def of(found: dict[SeriesKey, float], name: str) -> list[float]:
    return [value for key, value in found.items() if key.metric == name]


H100 = {
    "gpu_busy_ratio": 1.0,
    "gpu_memory_copy_ratio": 0.11,
    "gpu_encoder_ratio": 0.0,
    "gpu_decoder_ratio": 0.0,
    "gpu_power_watts": 631.95,
    "gpu_power_instant_watts": 625.68,
    "gpu_power_limit_watts": 700.0,
    "gpu_saturation_ratio": 631.95 / 700.0,
    "gpu_memory_used_bytes": 20780679168.0,
    "gpu_memory_free_bytes": 64238911488.0,
    "gpu_memory_total_bytes": 85520809984.0,
    "gpu_memory_reserved_bytes": 502267904.0,
    "gpu_temperature_celsius": 59.0,
    "gpu_memory_temperature_celsius": 54.0,
    "gpu_temperature_margin_celsius": 26.0,
    "gpu_sm_clock_hertz": 1.98e9,
    "gpu_sm_clock_max_hertz": 1.98e9,
    "gpu_memory_clock_hertz": 2.619e9,
    "gpu_performance_state": 0.0,
    "gpu_pcie_link_generation": 5.0,
    "gpu_pcie_link_width": 16.0,
    "gpu_ecc_corrected_total": 0.0,
    "gpu_ecc_uncorrected_total": 0.0,
    "gpu_row_remap_pending": 0.0,
    "gpu_row_remap_failed": 0.0,
    "gpu_recovery_action": 0.0,
    "gpu_mig_mode": 0.0,
    "gpu_processes": 3.0,
    "gpu_up": 1.0,
    "gpu_lost": 0.0,
    "gpu_info": 1.0,
}


@pytest.mark.parametrize(("name", "value"), H100.items())
def test_the_recorded_page_of_an_h100_has_this_value_in_its_base_unit(name: str, value: float) -> None:
    assert of(read((PAGES / "h100_590.48.01_load.prom").read_bytes()), name) == [pytest.approx(value)]


def test_what_is_there_several_times_is_told_apart_by_a_label() -> None:
    found = read((PAGES / "h100_590.48.01_load.prom").read_bytes())
    processes = {key.label("pid"): v for key, v in found.items() if key.metric == "gpu_process_memory_bytes"}
    assert processes == {"11327": 2690646016.0, "11328": 1616904192.0, "11345": 16452157440.0}
    assert sorted(key.label("kind") or "" for key in found if key.metric == "gpu_rows_remapped_total") == [
        "correctable",
        "uncorrectable",
    ]
    assert len(of(found, "gpu_clock_event_active")) == 8
    (about,) = [dict(key.labels) for key in found if key.metric == "gpu_info"]
    assert (about["gpu_model"], about["gpu"], about["driver_version"]) == ("NVIDIA H100 80GB HBM3", "0", "590.48.01")
    assert {key.label("uuid") for key in found if key.metric.startswith("gpu_")} == {ZERO}


def test_under_mig_busy_is_absent_and_not_0() -> None:
    found = read((PAGES / "h100_mig_590.48.01_load.prom").read_bytes())
    assert of(found, "gpu_mig_mode") == [1.0]
    assert of(found, "gpu_busy_ratio") == of(found, "gpu_memory_copy_ratio") == []
    assert of(found, "gpu_power_watts") == [433.78]
    assert of(found, "gpu_memory_used_bytes") == [11665408000.0]


MIG = """\
nvidia_smi_memory_used_bytes{uuid="a"} 9
nvidia_smi_memory_used_bytes{uuid="b"} 5
nvidia_smi_mig_info{uuid="a",mig_uuid="m",gpu_instance_id="7",compute_instance_id="0",profile="1g.5gb"} 1
nvidia_smi_mig_memory_used_bytes{uuid="a",gpu_instance_id="7"} 3
nvidia_smi_mig_memory_used_bytes{uuid="a",gpu_instance_id="8"} 4
nvidia_smi_mig_sm_activity_ratio{uuid="a",gpu_instance_id="7"} 0.5
nvidia_smi_mig_graphics_activity_ratio{uuid="a",gpu_instance_id="7"} 0.6
"""


def test_the_memory_of_instances_takes_the_place_of_their_board_s_and_of_no_other() -> None:
    found = read(MIG)
    memory = {
        (key.label("uuid"), key.label("gi_id")): v for key, v in found.items() if key.metric == "gpu_memory_used_bytes"
    }
    assert memory == {("GPU-a", "7"): 3.0, ("GPU-a", "8"): 4.0, ("GPU-b", None): 5.0}
    assert (of(found, "gpu_sm_active_ratio"), of(found, "gpu_gr_active_ratio")) == ([0.5], [0.6])
    assert of(found, "gpu_saturation_ratio") == [0.5]


def test_a_list_of_processes_that_could_not_be_read_is_not_an_idle_gpu() -> None:
    page = 'nvidia_smi_compute_apps{{uuid="a"}} 0\nnvidia_smi_compute_apps_last_collect_success {}\n'
    assert of(read(page.format(1)), "gpu_processes") == [0.0]
    assert of(read(page.format(0)), "gpu_processes") == []


def test_the_energy_is_a_counter() -> None:
    (key,) = [k for k in read('nvidia_smi_energy_joules_total{uuid="a"} 5\n') if k.metric == "gpu_energy_joules_total"]
    assert key.counter


@pytest.mark.parametrize("name", [*NAMES, *(name for name, _ in LABELLED.values())])
def test_every_name_is_canonical(name: str) -> None:
    assert metric(name) is not None


def test_what_the_table_lacks_keeps_its_name() -> None:
    found = read('nvidia_smi_fan_speed_ratio{uuid="a"} 0.3\nnvidia_smi_failed_scrapes_total 2\n')
    assert of(found, "nvidia_smi_fan_speed_ratio") == [0.3]
    assert of(found, "nvidia_smi_failed_scrapes_total") == [2.0]
