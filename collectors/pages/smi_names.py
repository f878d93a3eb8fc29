"""Names of utkuozdemir/nvidia_gpu_exporter, which prints what nvidia-smi or the driver's library says in base units.

Source: docs/METRICS.md and internal/integration/testdata of that project at e656cd8. It has no sentinels: what is not
available is not printed. Under MIG the board's memory is printed beside the instances'; theirs count then.
"""

from __future__ import annotations

from autoscaler.signals import is_counter
from autoscaler.types import Labels
from collectors.pages.identity import Identity

PREFIX = "nvidia_smi_"
XID_COUNTER = "nvidia_smi_xid_errors_total"
"""Stays under its own name: `gpu_xid_events_total` is derived from it, which starts each code with 0."""

COUNTED_PROCESSES = "nvidia_smi_compute_apps"
COLLECTED = "nvidia_smi_compute_apps_last_collect_success"
"""0 when the list of processes could not be read: the count beside it is then no count, and above all not zero."""

NAMES: dict[str, tuple[str, ...]] = {
    "gpu_busy_ratio": ("utilization_gpu_ratio",),
    "gpu_memory_copy_ratio": ("utilization_memory_ratio",),
    "gpu_encoder_ratio": ("utilization_encoder_ratio",),
    "gpu_decoder_ratio": ("utilization_decoder_ratio",),
    "gpu_power_watts": ("power_draw_average_watts", "power_draw_watts"),
    "gpu_power_instant_watts": ("power_draw_instant_watts",),
    "gpu_power_limit_watts": ("enforced_power_limit_watts", "power_limit_watts"),
    "gpu_energy_joules_total": ("energy_joules_total",),
    "gpu_temperature_celsius": ("temperature_gpu",),
    "gpu_memory_temperature_celsius": ("temperature_memory",),
    "gpu_temperature_margin_celsius": ("temperature_gpu_tlimit",),
    "gpu_sm_clock_hertz": ("clocks_current_sm_clock_hz",),
    "gpu_sm_clock_max_hertz": ("clocks_max_sm_clock_hz",),
    "gpu_memory_clock_hertz": ("clocks_current_memory_clock_hz",),
    "gpu_performance_state": ("pstate",),
    "gpu_pcie_tx_bytes_per_second": ("pcie_throughput_tx_bytes_per_second",),
    "gpu_pcie_rx_bytes_per_second": ("pcie_throughput_rx_bytes_per_second",),
    "gpu_pcie_link_generation": ("pcie_link_gen_current", "pcie_link_gen_gpucurrent"),
    "gpu_pcie_link_width": ("pcie_link_width_current",),
    "gpu_ecc_corrected_total": ("ecc_errors_corrected_volatile_total",),
    "gpu_ecc_uncorrected_total": ("ecc_errors_uncorrected_volatile_total",),
    "gpu_row_remap_pending": ("remapped_rows_pending",),
    "gpu_row_remap_failed": ("remapped_rows_failure",),
    "gpu_recovery_action": ("gpu_recovery_action",),
    "gpu_mig_mode": ("mig_mode_current",),
    "gpu_process_memory_bytes": ("compute_app_used_memory_bytes",),
    "gpu_gr_active_ratio": ("mig_graphics_activity_ratio",),
    "gpu_sm_active_ratio": ("mig_sm_activity_ratio",),
    "gpu_sm_occupancy_ratio": ("mig_sm_occupancy_ratio",),
    "gpu_tensor_active_ratio": ("mig_tensor_activity_ratio",),
    **{f"gpu_memory_{part}_bytes": (f"mig_memory_{part}_bytes", f"memory_{part}_bytes") for part in (
        "used", "free", "total", "reserved",
    )},
}  # fmt: skip
"""Canonical metric -> its names without the prefix, best first: of one GPU the first that is there counts."""

LABELLED: dict[str, tuple[str, tuple[str, str]]] = {
    "remapped_rows_correctable": ("gpu_rows_remapped_total", ("kind", "correctable")),
    "remapped_rows_uncorrectable": ("gpu_rows_remapped_total", ("kind", "uncorrectable")),
    "clocks_event_reasons_counters_sw_power_cap_seconds": ("gpu_throttle_power_seconds_total", ("kind", "software")),
    "clocks_event_reasons_counters_sw_thermal_slowdown_seconds": (
        "gpu_throttle_thermal_seconds_total",
        ("kind", "software"),
    ),
    "clocks_event_reasons_counters_hw_thermal_slowdown_seconds": (
        "gpu_throttle_thermal_seconds_total",
        ("kind", "hardware"),
    ),
    **{
        f"clocks_{word}_reasons_{theirs}": ("gpu_clock_event_active", ("reason", ours))
        for word in ("event", "throttle")
        for theirs, ours in (
            ("gpu_idle", "idle"),
            ("applications_clocks_setting", "clock_setting"),
            ("sw_power_cap", "power_cap"),
            ("hw_slowdown", "hardware_slowdown"),
            ("sync_boost", "sync_boost"),
            ("sw_thermal_slowdown", "thermal_software"),
            ("hw_thermal_slowdown", "thermal_hardware"),
            ("hw_power_brake_slowdown", "power_brake"),
        )
    },
}
"""Names of things of which a GPU has several; the older word for "event" was "throttle"."""

_LABELS = {"gpu_instance_id": "gi_id", "profile": "mig_profile", "pid": "pid", "process_name": "process", "xid": "xid"}
_ABOUT = {
    "index": "gpu",
    "name": "gpu_model",
    "driver_version": "driver_version",
    "pci_bus_id": "pci_bus_id",
    "serial": "serial",
    "vbios_version": "vbios_version",
}
_BY_NAME = {PREFIX + name: (metric, rank) for metric, names in NAMES.items() for rank, name in enumerate(names)}


def identities(name: str, labels: Labels) -> tuple[Identity, ...] | None:
    """What a series of that exporter means; None for a name that is not its."""
    if not name.startswith(PREFIX):
        return None
    own = {_LABELS[label]: value for label, value in labels if label in _LABELS and value}
    uuid = next((value for label, value in labels if label == "uuid" and value), None)
    if uuid is None:
        return (Identity(name, labels, is_counter(name)),)
    # The exporter prints UUIDs without the word that the driver and DCGM begin them with.
    own["uuid"] = uuid if uuid.startswith(("GPU-", "MIG-")) else f"GPU-{uuid}"
    if name == f"{PREFIX}gpu_info":
        about = {_ABOUT[label]: value for label, value in labels if label in _ABOUT and value}
        return (Identity("gpu_info", _ordered({**about, "uuid": own["uuid"]})),)
    return (_meaning(name, own, labels),)


def _meaning(name: str, own: dict[str, str], labels: Labels) -> Identity:
    if name in _BY_NAME:
        metric, rank = _BY_NAME[name]
        family = metric if len(NAMES[metric]) > 1 else ""
        return Identity(metric, _ordered(own), is_counter(metric), family=family, rank=rank)
    labelled = LABELLED.get(name.removeprefix(PREFIX))
    if labelled is not None:
        metric, (label, value) = labelled
        return Identity(metric, _ordered({**own, label: value}), is_counter(metric))
    if name == COUNTED_PROCESSES:
        return Identity(name, _ordered(own))
    return Identity(name, _ordered({**dict(labels), **own}), name != XID_COUNTER and is_counter(name))


def _ordered(labels: dict[str, str]) -> Labels:
    return tuple(sorted(labels.items()))
