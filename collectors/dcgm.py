"""DCGM's fields as dcgm-exporter prints them: by field id, under every spelling, in the unit that DCGM stores.

Names changed with DCGM 4.6 while ids and units stayed, so what a value means comes from this table, never from the
name, the TYPE or the HELP of the page: `GPU_UTIL_RATIO` still runs from 0 to 100. Sources: dcgm_fields.h (325 aliases
from version 4.6.0 on), dcgm_fields.cpp (types and entity levels) and dcgm_structs.h (blanks) of NVIDIA/DCGM 72fa3fe,
default-counters.csv and render_metrics.go of NVIDIA/dcgm-exporter.
"""

from __future__ import annotations

from dataclasses import dataclass

from autoscaler.signals import is_counter
from autoscaler.types import Labels
from collectors.identity import Blank, Identity

PREFIX = "DCGM_FI_"
MIB = float(1 << 20)
PERCENT = 0.01
MEGA = 1e6
MILLI = 1e-3
NANO = 1e-9
NVLINK_KIB = 1_024_000.0
"""Field 449 is a difference in KiB, divided by seconds and by 1000."""


@dataclass(frozen=True, slots=True)
class Field:
    """One field. `names`: its spellings without the prefix, newest last. `board`: the value is the board's, so MIG
    instances repeat it and one is kept per UUID. `blank`: the type whose sentinels it uses. `carrier`: one of the
    common fields whose labels feed `gpu_info`."""

    id: int
    names: tuple[str, ...]
    metric: str
    factor: float = 1.0
    blank: Blank = "int64"
    board: bool = False
    labels: Labels = ()
    carrier: bool = False


def _field(
    number: int,
    names: str,
    metric: str,
    factor: float = 1.0,
    blank: Blank = "int64",
    *,
    board: bool = False,
    carrier: bool = False,
    **labels: str,
) -> Field:
    return Field(number, tuple(names.split()), metric, factor, blank, board, tuple(sorted(labels.items())), carrier)


FIELDS: tuple[Field, ...] = (
    _field(67, "DEV_MIG_MODE", "gpu_mig_mode", board=True),
    _field(92, "DEV_BAR1_USED", "gpu_bar1_used_bytes", MIB),
    _field(100, "DEV_SM_CLOCK", "gpu_sm_clock_hertz", MEGA, board=True, carrier=True),
    _field(101, "DEV_MEM_CLOCK", "gpu_memory_clock_hertz", MEGA, board=True),
    _field(113, "DEV_MAX_SM_CLOCK", "gpu_sm_clock_max_hertz", MEGA, board=True),
    _field(140, "DEV_MEMORY_TEMP DEV_MEMORY_TEMP_CELSIUS", "gpu_memory_temperature_celsius", board=True),
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
    _field(1508, "DEV_NVLINK_GET_STATE", "gpu_nvlink_links_up", board=True),
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

_BY_NAME = {PREFIX + name: (field, rank) for field in FIELDS for rank, name in enumerate(reversed(field.names))}

_LABELS = {
    "gpu": "gpu",
    "UUID": "uuid",
    "uuid": "uuid",
    "gpu_uuid": "uuid",
    "Hostname": "host",
    "hostname": "host",
    "modelName": "gpu_model",
    "model_name": "gpu_model",
    "GPU_I_PROFILE": "mig_profile",
    "GPU_I_ID": "gi_id",
    "pod": "pod",
    "pod_name": "pod",
    "namespace": "namespace",
    "pod_namespace": "namespace",
    "container": "container",
    "container_name": "container",
    "nvlink": "nvlink",
    "nvswitch": "nvswitch",
    "cpu": "cpu",
    "cpucore": "cpucore",
    "vgpu": "vgpu",
    "xid": "xid",
    "window_size_in_ms": "",
    "health_watch": "system",
    "system": "system",
}
"""The exporter's labels that say which series this is, with our name; others describe the GPU and go to `gpu_info`."""

_INFO_LABELS = {
    "pci_bus_id": "pci_bus_id",
    "device": "device",
    "DCGM_FI_DRIVER_VERSION": "driver_version",
    "DCGM_FI_SYSTEM_DRIVER_VERSION": "driver_version",
    "DCGM_FI_DEV_SERIAL": "serial",
    "DCGM_FI_DEV_VBIOS_VERSION": "vbios_version",
}
_BOARD_LABELS = ("uuid", "gpu", "host", "gpu_model")
_INSTANCE_LABELS = ("mig_profile", "gi_id", "pod", "namespace", "container")


def identities(name: str, labels: Labels) -> tuple[Identity, ...] | None:
    """What a series of dcgm-exporter means; None for a name that is not DCGM's."""
    if not name.startswith(("DCGM_FI_", "DCGM_EXP_")):
        return None
    own = {_LABELS[label]: value for label, value in labels if _LABELS.get(label)}
    known = _BY_NAME.get(name)
    if known is None:
        return _special(name, own)
    field, rank = known
    own.update(field.labels)
    identity = Identity(
        field.metric,
        _sorted(_board(own) if field.board else own),
        is_counter(field.metric),
        field.factor,
        blank=field.blank,
        family=f"{field.metric}/{field.id}" if len(field.names) > 1 else "",
        rank=rank,
    )
    return (identity, *_info(own, labels)) if field.carrier else (identity,)


def _special(name: str, own: dict[str, str]) -> tuple[Identity, ...]:
    """Fields that are more than a number in a unit, and those that the table does not hold, under their own name."""
    match name.removeprefix(PREFIX):
        case "DEV_CLOCKS_EVENT_REASONS" | "DEV_CLOCK_THROTTLE_REASONS":
            board = _board(own)
            return tuple(
                Identity("gpu_clock_event_active", _sorted({**board, "reason": reason}), blank="int64", bits=bit)
                for reason, bit in CLOCK_EVENTS
            )
        case "DEV_MEM_AFFINITY_0" | "DEV_MEMORY_AFFINITY_0":
            return (Identity("gpu_numa_node", _sorted(_board(own)), blank="int64", lowest_bit=True),)
        case "DCGM_EXP_XID_ERRORS_COUNT":
            # A sliding window that is declared a counter: it falls when a fault leaves the window.
            return (Identity("gpu_xid_events_total", _sorted(own), True, rising=True),)
        case "DCGM_EXP_GPU_HEALTH_STATUS":
            return (Identity("gpu_health", _sorted(own), blank="int64"),)
        case _:
            return (Identity(name, _sorted(own), is_counter(name), blank="int64"),)


def _board(own: dict[str, str]) -> dict[str, str]:
    """Labels of a board's value: on a MIG page it belongs to no instance, and to no instance's pod."""
    if "gi_id" not in own:
        return own
    return {label: value for label, value in own.items() if label not in _INSTANCE_LABELS}


def _info(own: dict[str, str], labels: Labels) -> tuple[Identity, ...]:
    """The `gpu_info` that this series proves: 1 whatever the series' own value is."""
    if "uuid" not in own:
        return ()
    about = {label: own[label] for label in _BOARD_LABELS if label in own}
    about.update({_INFO_LABELS[label]: value for label, value in labels if label in _INFO_LABELS})
    return (Identity("gpu_info", _sorted(about), factor=0.0, offset=1.0),)


def _sorted(labels: dict[str, str]) -> Labels:
    return tuple(sorted(labels.items()))
