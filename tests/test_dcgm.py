"""Pages of dcgm-exporter: every spelling, unit and sentinel, on recorded pages and on rewritten ones."""

from __future__ import annotations

import math
import re
from pathlib import Path

import pytest

from autoscaler.signals import metric
from autoscaler.types import Batch, SeriesKey
from collectors.dcgm import CLOCK_EVENTS, FIELDS, PREFIX, Field
from collectors.pages.reader import PageReader

PAGES = Path(__file__).parent / "data" / "pages" / "dcgm"
L4 = (PAGES / "l4_driver580.105.08_k8s_full.prom").read_text()
UUID = "GPU-c2f76b33-7953-256e-8f33-1343419b1a1c"


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


# --- the table --------------------------------------------------------------------------------------------------

EXPECTED: dict[int, tuple[str, str, float, float]] = {
    67: ("DEV_MIG_MODE", "gpu_mig_mode", 1, 1),
    92: ("DEV_BAR1_USED", "gpu_bar1_used_bytes", 3, 3 * 2**20),
    100: ("DEV_SM_CLOCK", "gpu_sm_clock_hertz", 1410, 1.41e9),
    101: ("DEV_MEM_CLOCK", "gpu_memory_clock_hertz", 1215, 1.215e9),
    113: ("DEV_MAX_SM_CLOCK", "gpu_sm_clock_max_hertz", 1980, 1.98e9),
    140: ("DEV_MEMORY_TEMP -> DEV_MEMORY_TEMP_CELSIUS", "gpu_memory_temperature_celsius", 40, 40),
    150: ("DEV_GPU_TEMP -> DEV_GPU_TEMP_CELSIUS", "gpu_temperature_celsius", 35, 35),
    153: ("DEV_GPU_TEMP_LIMIT -> DEV_GPU_TEMP_MARGIN_CELSIUS", "gpu_temperature_margin_celsius", 52, 52),
    155: ("DEV_POWER_USAGE -> DEV_BOARD_POWER_WATTS", "gpu_power_watts", 68.244, 68.244),
    156: ("DEV_TOTAL_ENERGY_CONSUMPTION", "gpu_energy_joules_total", 15152422938, 15152422.938),
    157: ("DEV_POWER_USAGE_INSTANT -> DEV_BOARD_POWER_RAW_WATTS", "gpu_power_instant_watts", 70.5, 70.5),
    164: ("DEV_ENFORCED_POWER_LIMIT -> DEV_BOARD_POWER_LIMIT_ENFORCED_WATTS", "gpu_power_limit_watts", 700, 700),
    190: ("DEV_PSTATE -> DEV_GPU_PSTATE", "gpu_performance_state", 8, 8),
    202: ("DEV_PCIE_REPLAY_COUNTER -> DEV_PCIE_REPLAY_TOTAL", "gpu_pcie_replay_total", 2, 2),
    203: ("DEV_GPU_UTIL -> DEV_GPU_UTIL_RATIO", "gpu_busy_ratio", 91, 0.91),
    204: ("DEV_MEM_COPY_UTIL", "gpu_memory_copy_ratio", 73, 0.73),
    206: ("DEV_ENC_UTIL", "gpu_encoder_ratio", 10, 0.10),
    207: ("DEV_DEC_UTIL", "gpu_decoder_ratio", 20, 0.20),
    230: ("DEV_XID_ERRORS -> DEV_XID_ERROR", "gpu_last_xid", 79, 79),
    237: ("DEV_PCIE_LINK_GEN", "gpu_pcie_link_generation", 4, 4),
    238: ("DEV_PCIE_LINK_WIDTH", "gpu_pcie_link_width", 16, 16),
    240: ("DEV_POWER_VIOLATION", "gpu_throttle_power_seconds_total", 2.5e9, 2.5),
    241: ("DEV_THERMAL_VIOLATION", "gpu_throttle_thermal_seconds_total", 1.5e9, 1.5),
    250: ("DEV_FB_TOTAL", "gpu_memory_total_bytes", 81559, 81559 * 2**20),
    251: ("DEV_FB_FREE", "gpu_memory_free_bytes", 9791, 9791 * 2**20),
    252: ("DEV_FB_USED", "gpu_memory_used_bytes", 5120, 5120 * 2**20),
    253: ("DEV_FB_RESERVED", "gpu_memory_reserved_bytes", 447, 447 * 2**20),
    254: ("DEV_FB_USED_PERCENT -> DEV_FB_USED_RATIO", "gpu_memory_used_ratio", 0.5, 0.5),
    310: ("DEV_ECC_SBE_VOL_TOTAL", "gpu_ecc_corrected_total", 3, 3),
    311: ("DEV_ECC_DBE_VOL_TOTAL", "gpu_ecc_uncorrected_total", 1, 1),
    393: ("DEV_UNCORRECTABLE_REMAPPED_ROWS -> DEV_ROW_REMAP_UNCORRECTABLE_TOTAL", "gpu_rows_remapped_total", 2, 2),
    394: ("DEV_CORRECTABLE_REMAPPED_ROWS -> DEV_ROW_REMAP_CORRECTABLE_TOTAL", "gpu_rows_remapped_total", 5, 5),
    395: ("DEV_ROW_REMAP_FAILURE -> DEV_ROW_REMAP_FAILED", "gpu_row_remap_failed", 1, 1),
    396: ("DEV_ROW_REMAP_PENDING", "gpu_row_remap_pending", 1, 1),
    409: ("DEV_NVLINK_CRC_FLIT_ERROR_COUNT_TOTAL -> DEV_NVLINK_CRC_FLIT_ERROR_TOTAL", "gpu_nvlink_errors_total", 7, 7),
    429: ("DEV_NVLINK_REPLAY_ERROR_COUNT_TOTAL -> DEV_NVLINK_REPLAY_ERROR_TOTAL", "gpu_nvlink_errors_total", 8, 8),
    439: ("DEV_NVLINK_RECOVERY_ERROR_COUNT_TOTAL -> DEV_NVLINK_RECOVERY_ERROR_TOTAL", "gpu_nvlink_errors_total", 9, 9),
    449: ("DEV_NVLINK_BANDWIDTH_TOTAL -> DEV_NVLINK_THROUGHPUT_TOTAL", "gpu_nvlink_bytes_per_second", 1000, 1.024e9),
    1001: ("PROF_GR_ENGINE_ACTIVE -> PROF_GR_ENGINE_UTIL_RATIO", "gpu_gr_active_ratio", 0.156205, 0.156205),
    1002: ("PROF_SM_ACTIVE -> PROF_SM_UTIL_RATIO", "gpu_sm_active_ratio", 1.294, 1.294),
    1003: ("PROF_SM_OCCUPANCY -> PROF_SM_OCCUPANCY_RATIO", "gpu_sm_occupancy_ratio", 0.162, 0.162),
    1004: ("PROF_PIPE_TENSOR_ACTIVE -> PROF_TENSOR_UTIL_RATIO", "gpu_tensor_active_ratio", 0.3, 0.3),
    1005: ("PROF_DRAM_ACTIVE -> PROF_DRAM_UTIL_RATIO", "gpu_dram_active_ratio", 0.092781, 0.092781),
    1006: ("PROF_PIPE_FP64_ACTIVE -> PROF_FP64_UTIL_RATIO", "gpu_fp64_active_ratio", 0.1, 0.1),
    1007: ("PROF_PIPE_FP32_ACTIVE -> PROF_FP32_UTIL_RATIO", "gpu_fp32_active_ratio", 0.2, 0.2),
    1008: ("PROF_PIPE_FP16_ACTIVE -> PROF_FP16_UTIL_RATIO", "gpu_fp16_active_ratio", 0.3, 0.3),
    1009: ("PROF_PCIE_TX_BYTES", "gpu_pcie_tx_bytes_per_second", 2e14, 2e14),
    1010: ("PROF_PCIE_RX_BYTES", "gpu_pcie_rx_bytes_per_second", 6935930, 6935930),
    1011: ("PROF_NVLINK_TX_BYTES", "gpu_nvlink_tx_bytes_per_second", 5e9, 5e9),
    1012: ("PROF_NVLINK_RX_BYTES", "gpu_nvlink_rx_bytes_per_second", 6e9, 6e9),
    1091: ("PROF_PCIE_TX_BYTES_TOTAL", "gpu_pcie_tx_bytes_total", 2e14, 2e14),
    1092: ("PROF_PCIE_RX_BYTES_TOTAL", "gpu_pcie_rx_bytes_total", 2e14, 2e14),
    1508: ("DEV_NVLINK_GET_STATE", "gpu_nvlink_links_up", 1, 1),
    1523: ("DEV_GET_GPU_RECOVERY_ACTION -> DEV_GPU_RECOVERY_ACTION", "gpu_recovery_action", 2, 2),
}  # fmt: skip
"""Field id -> spellings without the prefix as dcgm_fields.h of NVIDIA/DCGM 72fa3fe has them, canonical name, a printed
value, what it means in the base unit."""

DOUBLES = {155, 157, 164, 254, *range(1001, 1009)}
"""Fields of the type double in dcgm_fields.cpp; the others are 64-bit integers, with other sentinels."""

CASES = [pytest.param(field, name, id=f"{field.id} {name}") for field in FIELDS for name in field.names]


def test_every_field_of_the_table_is_tested() -> None:
    assert {field.id: " -> ".join(field.names) for field in FIELDS} == {n: row[0] for n, row in EXPECTED.items()}


def test_a_field_has_the_sentinels_of_its_own_type() -> None:
    assert {field.id for field in FIELDS if field.blank == "fp64"} == DOUBLES


@pytest.mark.parametrize(("field", "name"), CASES)
def test_a_field_has_its_name_and_base_unit_under_every_spelling(field: Field, name: str) -> None:
    _, canonical, printed, expected = EXPECTED[field.id]
    found = read(f'{PREFIX}{name}{{gpu="0",UUID="{UUID}"}} {printed}\n')
    known = metric(canonical)
    assert known is not None
    (value,) = of(found, canonical)
    assert value == pytest.approx(expected, rel=1e-12)
    assert next(key for key in found if key.metric == canonical).counter == (known.kind == "counter")


@pytest.mark.parametrize(("field", "name"), CASES)
def test_a_sentinel_of_the_field_s_type_is_a_missing_value(field: Field, name: str) -> None:
    reader = PageReader("test", (), 15.0)
    int64 = ["9223372036854775792", "9223372036854775793", "9223372036854775794", "9223372036854775795"]
    int64 += ["2147483632", "2147483633", "2147483634", "2147483635"]
    fp64 = ["140737488355328.000000", "140737488355329", "140737488355330.000000", "140737488355331"]
    for blank in fp64 if field.blank == "fp64" else int64:
        batch = reader.read(f'{PREFIX}{name}{{gpu="0",UUID="{UUID}"}} {blank}\n'.encode(), 0.0)
        assert of(values(batch), field.metric) == []
        assert reader.sentinels == 1


@pytest.mark.parametrize("name", ["DEV_MEMORY_TEMP", "DEV_MEMORY_TEMP_CELSIUS"])
def test_a_memory_without_a_sensor_has_no_temperature(name: str) -> None:
    """An L4 prints 0 degrees; a GPU at 0 degrees, on the other hand, is one."""
    found = read(f'{PREFIX}{name}{{UUID="{UUID}"}} 0\nDCGM_FI_DEV_GPU_TEMP{{UUID="{UUID}"}} 0\n')
    assert of(found, "gpu_memory_temperature_celsius") == []
    assert of(found, "gpu_temperature_celsius") == [0.0]


def test_spellings_compete_for_one_gpu_and_never_for_another_s() -> None:
    """One page may carry the GPUs of two hosts, of which only one has been upgraded."""
    old, new = "DCGM_FI_DEV_GPU_UTIL", "DCGM_FI_DEV_GPU_UTIL_RATIO"
    found = read(
        f'{old}{{UUID="GPU-1"}} 50\n{new}{{UUID="GPU-2"}} 90\n{old}{{UUID="GPU-3"}} 1\n{new}{{UUID="GPU-3"}} 2\n'
    )
    busy = {key.label("uuid"): value for key, value in found.items() if key.metric == "gpu_busy_ratio"}
    assert busy == pytest.approx({"GPU-1": 0.5, "GPU-2": 0.9, "GPU-3": 0.02})


def test_an_integer_near_a_sentinel_is_a_value() -> None:
    for printed in (2147483631, 2147483636, 140737488355330):
        found = read(f'DCGM_FI_DEV_PCIE_REPLAY_COUNTER{{UUID="{UUID}"}} {printed}\n')
        assert of(found, "gpu_pcie_replay_total") == [float(printed)]


def test_clock_reasons_become_one_series_a_reason() -> None:
    found = read(f'DCGM_FI_DEV_CLOCKS_EVENT_REASONS{{UUID="{UUID}"}} {4 + 32}\n')
    reasons = [(key, value) for key, value in found.items() if key.metric == "gpu_clock_event_active"]
    active = [key.label("reason") for key, value in reasons if value == 1.0]
    assert active == ["power_cap", "thermal_software"]
    assert len(of(found, "gpu_clock_event_active")) == len(CLOCK_EVENTS)


def test_the_affinity_mask_becomes_the_number_of_the_numa_node() -> None:
    assert of(read(f'DCGM_FI_DEV_MEM_AFFINITY_0{{UUID="{UUID}"}} 8\n'), "gpu_numa_node") == [3.0]
    assert of(read(f'DCGM_FI_DEV_MEMORY_AFFINITY_0{{UUID="{UUID}"}} 0\n'), "gpu_numa_node") == []


@pytest.mark.parametrize("name", ["DEV_CLOCK_THROTTLE_REASONS", "DEV_CLOCKS_EVENT_REASONS"])
def test_the_reasons_have_two_spellings(name: str) -> None:
    assert sum(of(read(f'DCGM_FI_{name}{{UUID="{UUID}"}} 8\n'), "gpu_clock_event_active")) == 1.0


def test_a_mask_that_is_blank_has_no_value() -> None:
    page = f'DCGM_FI_DEV_CLOCKS_EVENT_REASONS{{UUID="{UUID}"}} 9223372036854775794\n'
    assert of(read(page), "gpu_clock_event_active") == []


@pytest.mark.parametrize(("state", "up"), [(0, 0.0), (1, 1.0), (2, 1.0)], ids=["inactive", "active", "asleep"])
def test_a_link_that_sleeps_is_up(state: int, up: float) -> None:
    page = f'DCGM_FI_DEV_NVLINK_GET_STATE{{nvlink="3",gpu="0",gpu_uuid="{UUID}"}} {state}\n'
    (key,) = [key for key in read(page) if key.metric == "gpu_nvlink_links_up"]
    assert (key.label("nvlink"), read(page)[key]) == ("3", up)


def test_the_verdict_of_the_health_checks_is_told_by_system() -> None:
    page = "".join(
        f'DCGM_EXP_GPU_HEALTH_STATUS{{UUID="{UUID}",health_watch="{system}",health_error_code="{code}"}} {verdict}\n'
        for system, code, verdict in (("MEM", "", 0), ("ALL", "DCGM_FR_FALLEN_OFF_BUS", 20))
    )
    found = {key.label("system"): value for key, value in read(page).items() if key.metric == "gpu_health"}
    assert found == {"MEM": 0.0, "ALL": 20.0}


def test_the_exporter_s_window_of_faults_is_no_counter() -> None:
    page = f'# TYPE DCGM_EXP_XID_ERRORS_COUNT counter\nDCGM_EXP_XID_ERRORS_COUNT{{UUID="{UUID}",xid="79"}} 3\n'
    (key,) = [key for key in read(page) if key.metric == "DCGM_EXP_XID_ERRORS_COUNT"]
    assert not key.counter


# --- recorded pages ---------------------------------------------------------------------------------------------


def test_the_energy_of_a_t4_beyond_31_bits_survives() -> None:
    found = read((PAGES / "t4_driver590.48.01_noheaders.prom").read_bytes())
    assert of(found, "gpu_energy_joules_total") == [pytest.approx(15_152_422.938)]
    assert of(found, "gpu_busy_ratio") == [pytest.approx(0.91)]


def test_what_describes_a_gpu_is_on_gpu_info_alone() -> None:
    found = read(L4)
    (info,) = [key for key in found if key.metric == "gpu_info"]
    assert dict(info.labels) == {
        "device": "nvidia0",
        "driver_version": "580.105.08",
        "gpu": "0",
        "gpu_model": "NVIDIA L4",
        "host": "i-030791dc5a37cd257",
        "pci_bus_id": "00000000:31:00.0",
        "uuid": UUID,
    }
    names = {name for key in found if key is not info for name, _ in key.labels}
    assert names == {"gpu", "gpu_model", "host", "kind", "source", "uuid"}


def test_four_mig_instances_give_one_energy_and_four_memories_and_no_busy_ratio() -> None:
    found = read((PAGES / "a100-sxm4-40gb_mig_4active_driver520.prom").read_bytes())
    assert of(found, "gpu_energy_joules_total") == [pytest.approx(6_890.956, rel=1)]
    assert len(of(found, "gpu_power_watts")) == 1
    assert len(of(found, "gpu_info")) == 1
    assert len(of(found, "gpu_memory_used_bytes")) == 4
    assert of(found, "gpu_busy_ratio") == []
    energy = next(key for key in found if key.metric == "gpu_energy_joules_total")
    assert energy.label("gi_id") is None
    memory = [(key.label("gi_id"), key.label("mig_profile")) for key in found if key.metric == "gpu_memory_used_bytes"]
    assert sorted(memory) == [("5", "2g.10gb"), ("7", "1g.5gb"), ("8", "1g.5gb"), ("9", "1g.5gb")]


def test_a_board_s_value_stays_when_the_instance_that_printed_it_first_goes() -> None:
    reader = PageReader("test", (), 15.0)
    lines = (PAGES / "a100-sxm4-40gb_mig_4active_driver520.prom").read_bytes().splitlines(keepends=True)
    first = reader.read(b"".join(lines), 0.0)
    rest = reader.read(b"".join(line for line in lines if b'GPU_I_ID="7"' not in line), 15.0)
    assert rest.keys is first.keys
    assert of(values(rest), "gpu_energy_joules_total") == of(values(first), "gpu_energy_joules_total")
    assert len(of(values(rest), "gpu_memory_used_bytes")) == 3


def test_a_gpu_printed_twice_is_one_gpu_and_the_later_values_count() -> None:
    page = (PAGES / "a100-sxm4-40gb_x2_migoff_driver520.prom").read_bytes()
    reader = PageReader("test", (), 15.0)
    found = values(reader.read(page, 0.0))
    assert (reader.lines, reader.duplicates) == (46, 23)
    lines = [line for line in page.splitlines(keepends=True) if not line.startswith(b"#")]
    assert found == read(b"".join(lines[23:]))


def test_two_hosts_with_the_same_gpu_index_are_two_gpus() -> None:
    other = L4.replace(UUID, "GPU-2").replace("i-030791dc5a37cd257", "i-2")
    found = read(L4 + other)
    assert {key.label("uuid") for key in found} == {UUID, "GPU-2"}
    assert {key.label("gpu") for key in found} == {"0"}
    assert len(of(found, "gpu_busy_ratio")) == 2


def renamed(page: str) -> str:
    """The page as a counters file with the names of 4.6 would print it."""
    newest = {PREFIX + old: PREFIX + field.names[-1] for field in FIELDS for old in field.names}
    page = re.sub(r"DCGM_FI_\w+", lambda m: newest.get(m.group(), m.group()), page)
    return page.replace("DCGM_FI_DRIVER_VERSION=", "DCGM_FI_SYSTEM_DRIVER_VERSION=")


@pytest.mark.parametrize(
    "page",
    [
        pytest.param(renamed(L4), id="names of 4.6"),
        pytest.param(L4.replace("Hostname=", "hostname="), id="hostname in lower case"),
        pytest.param(L4.replace("UUID=", "uuid=").replace("modelName=", "model_name="), id="other label spellings"),
        pytest.param(L4.replace('"} ', '",container="",namespace="",pod=""} '), id="empty pod labels"),
        pytest.param(L4.replace(" gauge", " counter"), id="wrong types"),
        pytest.param(re.sub(r"^#.*\n", "", L4, flags=re.MULTILINE), id="no comments"),
        pytest.param(L4.replace("\n", "\r\n"), id="CRLF"),
    ],
)
def test_another_exporter_s_spelling_gives_the_same_values(page: str) -> None:
    assert page != L4
    assert read(page) == read(L4)


def test_a_page_without_pci_bus_id_differs_in_gpu_info_only() -> None:
    found = read(re.sub(r'pci_bus_id="[^"]*",', "", L4))
    assert {k: v for k, v in found.items() if k.metric != "gpu_info"} == {
        k: v for k, v in read(L4).items() if k.metric != "gpu_info"
    }


@pytest.mark.parametrize(
    "labels",
    [
        'pod="p",namespace="n"',
        'pod_name="p",pod_namespace="n"',
        'exported_pod="p",exported_namespace="n",pod="dcgm-exporter-x",namespace="gpu-operator"',
    ],
)
def test_the_workload_s_pod_is_meant_not_the_exporter_s(labels: str) -> None:
    (key,) = printed(f'DCGM_FI_PROF_SM_ACTIVE{{gpu="0",UUID="{UUID}",{labels}}} 0.5\n')
    assert (key.label("pod"), key.label("namespace")) == ("p", "n")


def test_of_two_spellings_on_one_page_the_newer_one_counts() -> None:
    page = f'DCGM_FI_DEV_GPU_UTIL{{UUID="{UUID}"}} 90\nDCGM_FI_DEV_GPU_UTIL_RATIO{{UUID="{UUID}"}} 50\n'
    reader = PageReader("test", (), 15.0)
    both = reader.read(page.encode(), 0.0)
    assert of(values(both), "gpu_busy_ratio") == [0.5]
    one = reader.read(page.splitlines(keepends=True)[0].encode(), 15.0)
    assert of(values(one), "gpu_busy_ratio") == [pytest.approx(0.9)]


def test_a_field_that_the_table_lacks_keeps_its_name() -> None:
    found = printed(f'DCGM_FI_DEV_FAN_SPEED{{gpu="0",UUID="{UUID}"}} 30\n')
    assert found == {SeriesKey("DCGM_FI_DEV_FAN_SPEED", (("gpu", "0"), ("uuid", UUID))): 30.0}
