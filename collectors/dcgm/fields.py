"""DCGM's fields: by id, under every spelling, in the unit that DCGM stores.

Names changed with DCGM 4.6 while ids and units stayed, so what a value means comes from this table, never from the
name, the TYPE or the HELP of a page: `GPU_UTIL_RATIO` still runs from 0 to 100. Sources: dcgm_fields.h (325 aliases
from version 4.6.0 on), dcgm_fields.cpp (types and entity levels) and dcgm_structs.h (blanks) of NVIDIA/DCGM 72fa3fe.
"""

from __future__ import annotations

from dataclasses import dataclass

from autoscaler.types import Labels
from collectors.pages.identity import Blank

PREFIX = "DCGM_FI_"
MIB = float(1 << 20)
PERCENT = 0.01
MEGA = 1e6
MILLI = 1e-3
NANO = 1e-9
NVLINK_KIB = 1_024_000.0
"""Field 449 is a difference in KiB, divided by seconds and by 1000."""

UUID, NAME, NUMA_MASK, CLOCK_REASONS, XID = 54, 50, 86, 112, 230


@dataclass(frozen=True, slots=True)
class Field:
    """One field. `names`: its spellings without the prefix, newest last. `board`: the value is the board's, so MIG
    instances repeat it and one is kept per UUID. `blank`: the type whose sentinels it uses. `carrier`: one of the
    common fields whose labels feed `gpu_info`. `bits`: the value is 1 where the printed integer has one of these bits
    (a link that sleeps, 2, is up as one that is active, 1)."""

    id: int
    names: tuple[str, ...]
    metric: str
    factor: float = 1.0
    blank: Blank = "int64"
    board: bool = False
    labels: Labels = ()
    carrier: bool = False
    bits: int = 0


def _field(
    number: int,
    names: str,
    metric: str,
    factor: float = 1.0,
    blank: Blank = "int64",
    *,
    board: bool = False,
    carrier: bool = False,
    bits: int = 0,
    **labels: str,
) -> Field:
    given = tuple(sorted(labels.items()))
    return Field(number, tuple(names.split()), metric, factor, blank, board, given, carrier, bits)


FIELDS: tuple[Field, ...] = (
    _field(67, "DEV_MIG_MODE", "gpu_mig_mode", board=True),
    _field(92, "DEV_BAR1_USED", "gpu_bar1_used_bytes", MIB),
    _field(100, "DEV_SM_CLOCK", "gpu_sm_clock_hertz", MEGA, board=True, carrier=True),
    _field(101, "DEV_MEM_CLOCK", "gpu_memory_clock_hertz", MEGA, board=True),
    _field(113, "DEV_MAX_SM_CLOCK", "gpu_sm_clock_max_hertz", MEGA, board=True),
    # A board without a sensor at its memory, such as the L4, prints 0.
    _field(140, "DEV_MEMORY_TEMP DEV_MEMORY_TEMP_CELSIUS", "gpu_memory_temperature_celsius", 1.0, "sensor", board=True),
    _field(150, "DEV_GPU_TEMP DEV_GPU_TEMP_CELSIUS", "gpu_temperature_celsius", board=True, carrier=True),
    _field(153, "DEV_GPU_TEMP_LIMIT DEV_GPU_TEMP_MARGIN_CELSIUS", "gpu_temperature_margin_celsius", board=True),
    _field(155, "DEV_POWER_USAGE DEV_BOARD_POWER_WATTS", "gpu_power_watts", 1.0, "fp64", board=True, carrier=True),
    _field(156, "DEV_TOTAL_ENERGY_CONSUMPTION", "gpu_energy_joules_total", MILLI, board=True),
    _field(
        157, "DEV_POWER_USAGE_INSTANT DEV_BOARD_POWER_RAW_WATTS", "gpu_power_instant_watts", 1.0, "fp64", board=True
    ),
    _field(
        164,
        "DEV_ENFORCED_POWER_LIMIT DEV_BOARD_POWER_LIMIT_ENFORCED_WATTS",
        "gpu_power_limit_watts",
        1.0,
        "fp64",
        board=True,
    ),
    _field(190, "DEV_PSTATE DEV_GPU_PSTATE", "gpu_performance_state", board=True),
    _field(202, "DEV_PCIE_REPLAY_COUNTER DEV_PCIE_REPLAY_TOTAL", "gpu_pcie_replay_total", board=True),
    _field(203, "DEV_GPU_UTIL DEV_GPU_UTIL_RATIO", "gpu_busy_ratio", PERCENT, board=True),
    _field(204, "DEV_MEM_COPY_UTIL", "gpu_memory_copy_ratio", PERCENT, board=True),
    _field(206, "DEV_ENC_UTIL", "gpu_encoder_ratio", PERCENT, board=True),
    _field(207, "DEV_DEC_UTIL", "gpu_decoder_ratio", PERCENT, board=True),
    _field(230, "DEV_XID_ERRORS DEV_XID_ERROR", "gpu_last_xid"),
    _field(237, "DEV_PCIE_LINK_GEN", "gpu_pcie_link_generation", board=True),
    _field(238, "DEV_PCIE_LINK_WIDTH", "gpu_pcie_link_width", board=True),
    _field(240, "DEV_POWER_VIOLATION", "gpu_throttle_power_seconds_total", NANO, board=True),
    _field(241, "DEV_THERMAL_VIOLATION", "gpu_throttle_thermal_seconds_total", NANO, board=True),
    _field(250, "DEV_FB_TOTAL", "gpu_memory_total_bytes", MIB, carrier=True),
    _field(251, "DEV_FB_FREE", "gpu_memory_free_bytes", MIB),
    _field(252, "DEV_FB_USED", "gpu_memory_used_bytes", MIB, carrier=True),
    _field(253, "DEV_FB_RESERVED", "gpu_memory_reserved_bytes", MIB),
    _field(254, "DEV_FB_USED_PERCENT DEV_FB_USED_RATIO", "gpu_memory_used_ratio", 1.0, "fp64"),
    _field(310, "DEV_ECC_SBE_VOL_TOTAL", "gpu_ecc_corrected_total", board=True),
    _field(311, "DEV_ECC_DBE_VOL_TOTAL", "gpu_ecc_uncorrected_total", board=True),
    _field(
        393,
        "DEV_UNCORRECTABLE_REMAPPED_ROWS DEV_ROW_REMAP_UNCORRECTABLE_TOTAL",
        "gpu_rows_remapped_total",
        board=True,
        kind="uncorrectable",
    ),
    _field(
        394,
        "DEV_CORRECTABLE_REMAPPED_ROWS DEV_ROW_REMAP_CORRECTABLE_TOTAL",
        "gpu_rows_remapped_total",
        board=True,
        kind="correctable",
    ),
    _field(395, "DEV_ROW_REMAP_FAILURE DEV_ROW_REMAP_FAILED", "gpu_row_remap_failed", board=True),
    _field(396, "DEV_ROW_REMAP_PENDING", "gpu_row_remap_pending", board=True),
    _field(
        409,
        "DEV_NVLINK_CRC_FLIT_ERROR_COUNT_TOTAL DEV_NVLINK_CRC_FLIT_ERROR_TOTAL",
        "gpu_nvlink_errors_total",
        board=True,
        kind="crc_flit",
    ),
    _field(
        429,
        "DEV_NVLINK_REPLAY_ERROR_COUNT_TOTAL DEV_NVLINK_REPLAY_ERROR_TOTAL",
        "gpu_nvlink_errors_total",
        board=True,
        kind="replay",
    ),
    _field(
        439,
        "DEV_NVLINK_RECOVERY_ERROR_COUNT_TOTAL DEV_NVLINK_RECOVERY_ERROR_TOTAL",
        "gpu_nvlink_errors_total",
        board=True,
        kind="recovery",
    ),
    _field(
        449,
        "DEV_NVLINK_BANDWIDTH_TOTAL DEV_NVLINK_THROUGHPUT_TOTAL",
        "gpu_nvlink_bytes_per_second",
        NVLINK_KIB,
        board=True,
    ),
    _field(1001, "PROF_GR_ENGINE_ACTIVE PROF_GR_ENGINE_UTIL_RATIO", "gpu_gr_active_ratio", 1.0, "fp64"),
    _field(1002, "PROF_SM_ACTIVE PROF_SM_UTIL_RATIO", "gpu_sm_active_ratio", 1.0, "fp64"),
    _field(1003, "PROF_SM_OCCUPANCY PROF_SM_OCCUPANCY_RATIO", "gpu_sm_occupancy_ratio", 1.0, "fp64"),
    _field(1004, "PROF_PIPE_TENSOR_ACTIVE PROF_TENSOR_UTIL_RATIO", "gpu_tensor_active_ratio", 1.0, "fp64"),
    _field(1005, "PROF_DRAM_ACTIVE PROF_DRAM_UTIL_RATIO", "gpu_dram_active_ratio", 1.0, "fp64"),
    _field(1006, "PROF_PIPE_FP64_ACTIVE PROF_FP64_UTIL_RATIO", "gpu_fp64_active_ratio", 1.0, "fp64"),
    _field(1007, "PROF_PIPE_FP32_ACTIVE PROF_FP32_UTIL_RATIO", "gpu_fp32_active_ratio", 1.0, "fp64"),
    _field(1008, "PROF_PIPE_FP16_ACTIVE PROF_FP16_UTIL_RATIO", "gpu_fp16_active_ratio", 1.0, "fp64"),
    _field(1009, "PROF_PCIE_TX_BYTES", "gpu_pcie_tx_bytes_per_second", board=True),
    _field(1010, "PROF_PCIE_RX_BYTES", "gpu_pcie_rx_bytes_per_second", board=True),
    _field(1011, "PROF_NVLINK_TX_BYTES", "gpu_nvlink_tx_bytes_per_second", board=True),
    _field(1012, "PROF_NVLINK_RX_BYTES", "gpu_nvlink_rx_bytes_per_second", board=True),
    _field(1091, "PROF_PCIE_TX_BYTES_TOTAL", "gpu_pcie_tx_bytes_total", board=True),
    _field(1092, "PROF_PCIE_RX_BYTES_TOTAL", "gpu_pcie_rx_bytes_total", board=True),
    _field(1508, "DEV_NVLINK_GET_STATE", "gpu_nvlink_links_up", board=True, bits=3),
    _field(1523, "DEV_GET_GPU_RECOVERY_ACTION DEV_GPU_RECOVERY_ACTION", "gpu_recovery_action", board=True),
)

CLOCK_EVENTS = (
    ("idle", 1),
    ("clock_setting", 2),
    ("power_cap", 4),
    ("hardware_slowdown", 8),
    ("sync_boost", 16),
    ("thermal_software", 32),
    ("thermal_hardware", 64),
    ("power_brake", 128),
    ("display", 256),
)
"""Bits of field 112, as nvml.h counts them. Field 86 is a mask too, of NUMA nodes: a GPU hangs on one of them."""

MASKS = {
    CLOCK_REASONS: ("DEV_CLOCK_THROTTLE_REASONS", "DEV_CLOCKS_EVENT_REASONS"),
    NUMA_MASK: ("DEV_MEM_AFFINITY_0", "DEV_MEMORY_AFFINITY_0"),
}
"""Spellings of the fields that are masks, newest last."""
