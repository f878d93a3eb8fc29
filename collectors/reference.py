"""docs/telemetry.md: every GPU metric, and what DCGM, the driver and nvidia_gpu_exporter call it."""

from __future__ import annotations

from autoscaler.signals import all_metrics
from collectors.dcgm.fields import (
    CLOCK_REASONS,
    FIELDS,
    MASKS,
    MEGA,
    MIB,
    MILLI,
    NANO,
    NUMA_MASK,
    NVLINK_KIB,
    PERCENT,
    Field,
)
from collectors.dcgm.names import HEALTH, XID_WINDOW
from collectors.pages import smi_names

NVML = {
    "gpu_busy_ratio": "UtilizationRates.gpu; Samples 1",
    "gpu_sm_active_ratio": "GPM 2",
    "gpu_sm_occupancy_ratio": "GPM 3",
    "gpu_gr_active_ratio": "GPM 1",
    "gpu_tensor_active_ratio": "GPM 5",
    "gpu_dram_active_ratio": "GPM 10",
    "gpu_fp16_active_ratio": "GPM 13",
    "gpu_fp32_active_ratio": "GPM 12",
    "gpu_fp64_active_ratio": "GPM 11",
    "gpu_memory_copy_ratio": "UtilizationRates.memory; Samples 2",
    "gpu_encoder_ratio": "EncoderUtilization; Samples 3",
    "gpu_decoder_ratio": "DecoderUtilization; Samples 4",
    "gpu_process_sm_ratio": "ProcessUtilization",
    "gpu_memory_used_bytes": "MemoryInfo v2 used",
    "gpu_memory_free_bytes": "MemoryInfo v2 free",
    "gpu_memory_total_bytes": "MemoryInfo v2 total",
    "gpu_memory_reserved_bytes": "MemoryInfo v2 reserved",
    "gpu_bar1_used_bytes": "BAR1MemoryInfo",
    "gpu_process_memory_bytes": "ComputeRunningProcesses",
    "gpu_power_watts": "PowerUsage; field 185",
    "gpu_power_instant_watts": "field 186",
    "gpu_power_limit_watts": "EnforcedPowerLimit",
    "gpu_energy_joules_total": "TotalEnergyConsumption; field 83",
    "gpu_temperature_celsius": "TemperatureV, else Temperature",
    "gpu_memory_temperature_celsius": "field 82",
    "gpu_temperature_margin_celsius": "MarginTemperature",
    "gpu_sm_clock_hertz": "ClockInfo(SM)",
    "gpu_sm_clock_max_hertz": "MaxClockInfo(SM)",
    "gpu_memory_clock_hertz": "ClockInfo(MEM)",
    "gpu_clock_event_active": "CurrentClocksEventReasons",
    "gpu_throttle_power_seconds_total": "field 74",
    "gpu_throttle_thermal_seconds_total": "fields 75, 269, 270",
    "gpu_performance_state": "PerformanceState",
    "gpu_pcie_tx_bytes_per_second": "difference of field 197; GPM 20",
    "gpu_pcie_rx_bytes_per_second": "difference of field 198; GPM 21",
    "gpu_pcie_tx_bytes_total": "field 197",
    "gpu_pcie_rx_bytes_total": "field 198",
    "gpu_pcie_replay_total": "PcieReplayCounter; field 94",
    "gpu_pcie_link_generation": "CurrPcieLinkGeneration",
    "gpu_pcie_link_width": "CurrPcieLinkWidth",
    "gpu_nvlink_tx_bytes_per_second": "difference of field 138; GPM 61",
    "gpu_nvlink_rx_bytes_per_second": "difference of field 139; GPM 60",
    "gpu_nvlink_bytes_per_second": "both of them",
    "gpu_nvlink_links_up": "NvLinkState",
    "gpu_nvlink_errors_total": "NvLinkErrorCounter",
    "gpu_ecc_corrected_total": "TotalEccErrors",
    "gpu_ecc_uncorrected_total": "TotalEccErrors",
    "gpu_rows_remapped_total": "RemappedRows",
    "gpu_row_remap_pending": "RemappedRows",
    "gpu_row_remap_failed": "RemappedRows",
    "gpu_xid_events_total": "event XidCriticalError",
    "gpu_last_xid": "event XidCriticalError",
    "gpu_last_xid_timestamp_seconds": "event XidCriticalError",
    "gpu_recovery_action": "field 230",
    "gpu_up": "any call succeeds",
    "gpu_lost": "error 15",
    "gpu_mig_mode": "MigMode",
    "gpu_mig_instances": "MigDeviceHandleByIndex",
    "gpu_processes": "ComputeRunningProcesses",
    "gpu_mps_clients": "MPSComputeRunningProcesses",
    "gpu_topology_score": "TopologyCommonAncestor, P2PStatus, NvLinkState",
    "gpu_numa_node": "NumaNodeId, MemoryAffinity",
    "gpu_info": "UUID, Name, PciInfo, Serial",
}
"""What gives it in the driver's library: nvmlDeviceGet..., a field of FieldValues, a metric of GPM (nvml.h)."""

DERIVED = {
    "gpu_saturation_ratio": "the highest of SM activity, memory activity and power over its limit",
    "gpu_memory_total_bytes": "used + free + reserved, where it is not given",
    "gpu_memory_used_ratio": "used / (used + free), where it is not given",
    "gpu_nvlink_bytes_per_second": "both directions, where 449 is not given",
    "gpu_up": "any of the GPU's series has a value",
    "gpu_lost": "a known GPU is missing in three answers in a row",
    "gpu_xid_events_total": f"changes of 230; where there is {XID_WINDOW}, its rises alone",
    "gpu_last_xid_timestamp_seconds": "when that was noticed",
}

_PRINTED = {MIB: "MiB", PERCENT: "0 to 100", MEGA: "MHz", MILLI: "mJ", NANO: "ns", NVLINK_KIB: "x 1,024,000"}
"""What DCGM prints, by the factor that makes a base unit of it."""

_INTRODUCTION = """\
# GPU metrics

What each canonical metric is called at its sources. Written by `make docs`; do not edit.

A value is stored in the unit of this table whatever the source's own; ratios are 0 to 1. DCGM's names leave out
`DCGM_FI_` and show the spelling before and after DCGM 4.6; the number is the field's, which never changed, and
the unit beside it is what DCGM prints where that is not the base unit; *board* marks fields that MIG instances
repeat, of which one is kept for each UUID. NVML's names leave out `nvmlDeviceGet`; GPM needs Hopper or later.
The last column leaves out `nvidia_smi_`.

Every series has the labels `uuid`, `gpu`, `host` and `gpu_model` as far as its source tells them, `gi_id` and
`mig_profile` of a MIG instance, and who uses the GPU: `pod`, `namespace`, `container`, `pod_uid`, `vgpu`,
`hpc_job`, `dra_claim`, `dra_claim_namespace`. Driver, serial number, VBIOS and PCI address are on `gpu_info`
alone.
"""

_NOTES = """\

## What to know

- **Missing is not zero.** A sentinel of DCGM (by the field's own type) is a missing value, and so is the 0 of a
  memory without a temperature sensor; what a page does not print is absent. Under MIG the driver has no busy
  ratio: it is absent, and a 0 that some exporter prints for an instance is not read. `gpu_gr_active_ratio` stands
  in for it under its own name.
- **Aggregates.** What several values of a gauge within one interval amount to has a name of its own and the gauge's
  unit: `gpu_power_watts_min`, `_mean`, `_max`, `_p95`, and `_count` of them. The collector `nvml` gives them with
  `stats: true`, for what the driver samples faster than batches are made.
- **Shared GPUs.** Where pods or jobs share one GPU, its series is one series with their names joined
  (`pod="a,b"`), never one for each. Where the exporter prints the device's own row and each pod's part, the
  parts are `gpu_process_sm_ratio` and `gpu_process_memory_bytes`.
- **MIG.** Values of instances stay values of instances; no value of a board is made of them. The saturation of
  an instance is that of its own activity, and its board has none then.
- **Ratios above 1** occur under MIG. They are kept as they are; in `gpu_saturation_ratio` they count as 1.
- **The source of a saturation** is in its label: `sm_active`, `dram_active`, `power`, joined by `+`. When one
  of them has no value, the ratio is unknown; after three answers without it the rest is told under its own
  name. For a day the series that had it stays beside that one without a value, which makes readings of both
  partial: they may raise a pool, and lower none.
- **Faults.** `gpu_xid_events_total` counts changes of the last code, so a repeat of the same code is invisible
  on such a page; the exporter's own count shows repeats, and so do the driver's events and the callbacks of the
  collector `dcgm`. What a GPU shows when it is seen first is not counted. A new code begins with 0 and is
  counted one answer later.
- **Lost GPUs.** A GPU that was seen and is missing in three complete answers is lost until it comes back, for
  at most a day.
- **NVLink throughput** (449) is a rate although it is typed a counter and named a total.
- **What a page does not carry**: dcgm-exporter prints neither SM activity nor power limits by default. Our
  counters files, `dashboards/dcgm-counters.csv` and `dashboards/dcgm-counters-4.6.csv`, switch on what is read;
  the scraper says once for each target what is missing.

## DCGM's host engine

The collector `dcgm` reads DCGM without an exporter: through the bindings that come with DCGM, or else through
`dcgmi dmon`. On A100 and older GPUs DCGM is the only way to SM activity.

```yaml
collectors:
  dcgm: {interval_s: 1s, labels: {pool: chat}}    # address: localhost:5555, or "embedded"
```

Profiling that is paused, held by another client or not permitted costs its metrics only, and is told as such,
never as idleness. Over dmon a MIG instance is numbered by DCGM (`gi_id="dcgm-21"`), since its table does not
tell the driver's number.
"""


def reference() -> str:
    """docs/telemetry.md."""
    rows = [
        "| metric | unit | DCGM | NVML | nvidia_gpu_exporter | derived |",
        "|---|---|---|---|---|---|",
    ]
    for metric in all_metrics():
        if metric.name.startswith("gpu_") and not metric.name.startswith(("gpu_sample", "gpu_collect")):
            cells = (
                f"`{metric.name}`",
                metric.unit,
                "<br>".join(_dcgm(metric.name)),
                NVML.get(metric.name, ""),
                "<br>".join(f"`{name}`" for name in _smi(metric.name)),
                DERIVED.get(metric.name, ""),
            )
            rows.append("| " + " | ".join(cells) + " |")
    return _INTRODUCTION + "\n" + "\n".join(rows) + "\n" + _NOTES


def _dcgm(metric: str) -> list[str]:
    found = [_field(field) for field in FIELDS if field.metric == metric]
    masks = {"gpu_clock_event_active": CLOCK_REASONS, "gpu_numa_node": NUMA_MASK}
    if metric in masks:
        found.append(f"{_names(MASKS[masks[metric]])} ({masks[metric]}; bits) *board*")
    found += {"gpu_health": [f"`{HEALTH}`"], "gpu_xid_events_total": [f"230 or `{XID_WINDOW}`"]}.get(metric, [])
    return found


def _field(field: Field) -> str:
    about = [str(field.id)]
    if field.factor != 1.0:
        about.append(_PRINTED[field.factor])
    if field.labels:
        about.append(", ".join(f'{name}="{value}"' for name, value in field.labels))
    return f"{_names(field.names)} ({'; '.join(about)})" + (" *board*" if field.board else "")


def _names(names: tuple[str, ...]) -> str:
    return " → ".join(f"`{name}`" for name in names)


def _smi(metric: str) -> list[str]:
    labelled = [name for name, (canonical, _) in smi_names.LABELLED.items() if canonical == metric]
    return [*smi_names.NAMES.get(metric, ()), *labelled[:1], *(["..."] if len(labelled) > 1 else [])]
