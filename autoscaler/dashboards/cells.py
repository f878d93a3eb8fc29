"""The metrics of the matrix, by dimension, each with its unit and its limits."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from autoscaler.dashboards.choices import or_zero
from autoscaler.dashboards.panels import PRESENT, SEEN, Steps, above, below

_P = '{pool=~"$pool"}'

Dimension = Literal["Resource", "Performance", "Business"]


@dataclass(frozen=True, slots=True)
class Cell:
    """One metric of each pool. worst: which of the pools' values the number shows. empty: why it may have none."""

    name: str
    expr: str
    unit: str
    text: str
    steps: Steps = ()
    worst: Literal["max", "min", "sum"] = "max"
    empty: str = ""


def _own(metric: str) -> str:
    return f"max by (pool) (sigmascale_{metric}{_P})"


_OVER_1 = above(0.9, 1.0)
_FULL = above(0.85, 0.95)

RESOURCE = (
    Cell("GPU saturation", f"pool:gpu_saturation_ratio:avg{_P}", "percentunit", "Mean saturation of the GPUs.", _FULL),
    Cell("Saturation p95", f"pool:gpu_saturation_ratio:p95{_P}", "percentunit", "Of the fullest GPUs.", _FULL),
    Cell("SM active", f"pool:gpu_sm_active_ratio:avg{_P}", "percentunit", "Multiprocessors that have work.", _FULL),
    Cell("SM occupancy", f"pool:gpu_sm_occupancy_ratio:avg{_P}", "percentunit", "Resident warps over what fits."),
    Cell("Tensor cores", f"pool:gpu_tensor_active_ratio:avg{_P}", "percentunit", "Busy tensor cores; high in prefill."),
    Cell(
        "Memory active",
        f"pool:gpu_dram_active_ratio:avg{_P}",
        "percentunit",
        "Memory that moves data; high in decode.",
        _FULL,
    ),
    Cell("GPU busy", f"pool:gpu_busy_ratio:avg{_P}", "percentunit", "Some kernel runs; tells idle from busy, no more."),
    Cell(
        "Device memory",
        f"pool:gpu_memory_used_ratio:max{_P}",
        "percentunit",
        "Fullest GPU's memory.",
        above(0.95, 0.99),
    ),
    Cell("Power", f"pool:gpu_power_watts:sum{_P}", "watt", "Draw of all GPUs.", (), "sum"),
    Cell("Power over limit", f"pool:gpu_power_used:ratio{_P}", "percentunit", "Draw as a share of the limits.", _FULL),
    Cell("Temperature", f"pool:gpu_temperature_celsius:max{_P}", "celsius", "Hottest GPU.", above(80, 87)),
    Cell(
        "Memory temperature",
        f"pool:gpu_memory_temperature_celsius:max{_P}",
        "celsius",
        "Hottest memory.",
        above(90, 98),
    ),
    Cell("SM clock", f"pool:gpu_sm_clock_hertz:avg{_P}", "hertz", "Mean clock of the multiprocessors.", (), "min"),
    Cell(
        "Slowed by heat",
        f"pool:gpu_throttled_thermal:ratio_rate5m{_P}",
        "percentunit",
        "Share of time.",
        above(0.01, 0.05),
    ),
    Cell(
        "Slowed by power",
        f"pool:gpu_throttled_power:ratio_rate5m{_P}",
        "percentunit",
        "Share of time.",
        above(0.2, 0.5),
    ),
    Cell("PCIe out", f"pool:gpu_pcie_tx_bytes_per_second:sum{_P}", "Bps", "Traffic out of the GPUs.", (), "sum"),
    Cell("NVLink", f"pool:gpu_nvlink_bytes_per_second:sum{_P}", "Bps", "Traffic both ways.", (), "sum", "no NVLink"),
    Cell("XID events, 1 h", or_zero(f"pool:gpu_xid_events:increase1h{_P}"), "short", "Driver faults.", SEEN, "sum"),
    Cell(
        "Uncorrected ECC, 1 h",
        or_zero(f"pool:gpu_ecc_uncorrected:increase1h{_P}"),
        "short",
        "Memory errors that end work.",
        PRESENT,
        "sum",
    ),
    Cell("Host processor", f"pool:host_cpu_ratio:avg{_P}", "percentunit", "Mean over the machines.", _FULL),
    Cell("Host memory", f"pool:host_memory_used_ratio:max{_P}", "percentunit", "Fullest machine.", above(0.9, 0.97)),
)

PERFORMANCE = (
    Cell("Requests", f"pool:requests_arrived:rate5m{_P}", "reqps", "Arrivals per second.", (), "sum"),
    Cell("Running", f"pool:requests_running:sum{_P}", "short", "Requests being served.", (), "sum"),
    Cell("Waiting", f"pool:requests_waiting:sum{_P}", "short", "Requests that wait.", above(10, 100), "sum"),
    Cell(
        "TTFT p50",
        f"pool:time_to_first_token_seconds:p50{_P}",
        "s",
        "Time to first token, median.",
        above(1, 2),
        empty="no requests",
    ),
    Cell(
        "TTFT p95",
        f"pool:time_to_first_token_seconds:p95{_P}",
        "s",
        "Time to first token.",
        above(2, 5),
        empty="no requests",
    ),
    Cell(
        "TTFT p99",
        f"pool:time_to_first_token_seconds:p99{_P}",
        "s",
        "Time to first token.",
        above(2, 5),
        empty="no requests",
    ),
    Cell(
        "TPOT p95",
        f"pool:time_per_output_token_seconds:p95{_P}",
        "s",
        "Between two tokens.",
        above(0.1, 0.2),
        empty="no requests",
    ),
    Cell(
        "Latency p95",
        f"pool:e2e_request_latency_seconds:p95{_P}",
        "s",
        "Whole requests.",
        above(30, 60),
        empty="no requests",
    ),
    Cell(
        "Queue p95",
        f"pool:request_queue_time_seconds:p95{_P}",
        "s",
        "Time that requests waited.",
        above(1, 5),
        empty="no requests",
    ),
    Cell("Prompt tokens", f"pool:prompt_tokens:rate5m{_P}", "short", "Per second.", (), "sum"),
    Cell("Generated tokens", f"pool:generation_tokens:rate5m{_P}", "short", "Per second.", (), "sum"),
    Cell("KV cache", f"pool:kv_cache_used_ratio:max{_P}", "percentunit", "Fullest replica's KV cache.", _FULL),
    Cell(
        "Prefix cache hits",
        f"pool:prefix_cache_hit:ratio{_P}",
        "percentunit",
        "Prompt tokens found in the cache.",
        (),
        "min",
    ),
    Cell(
        "Preemptions",
        f"pool:preemptions:rate5m{_P}",
        "ops",
        "Requests put back because the KV cache was full.",
        above(0.1, 1),
        "sum",
    ),
    Cell(
        "Turned away or failed",
        f"pool:requests_bad:ratio_rate5m{_P}",
        "percentunit",
        "Share of requests.",
        above(0.001, 0.01),
    ),
    Cell(
        "Error budget burn, 1 h",
        f"pool:slo_errors:burn_rate1h{_P}",
        "short",
        "1 = 1 % of requests fail.",
        above(1, 14.4),
    ),
)

BUSINESS = (
    Cell("Cost per hour", f"pool:cost:usd_per_hour{_P}", "currencyUSD", "Of what is paid for.", (), "sum"),
    Cell("Spent today", _own("pool_spent_usd"), "currencyUSD", "Since midnight UTC.", (), "sum"),
    Cell(
        "Budget left",
        f"pool:budget_left:ratio{_P}",
        "percentunit",
        "Of the hourly budget.",
        below(0.05, 0.2),
        "min",
        "no budget",
    ),
    Cell("Saved per hour", _own("pool_saved_usd_per_hour"), "currencyUSD", "Against on demand.", (), "sum"),
    Cell(
        "Cost per million tokens",
        f"pool:cost:usd_per_million_tokens{_P}",
        "currencyUSD",
        "Generated ones.",
        empty="no tokens",
    ),
    Cell(
        "Cost per thousand requests",
        f"pool:cost:usd_per_thousand_requests{_P}",
        "currencyUSD",
        "That arrived.",
        empty="no requests",
    ),
    Cell(
        "Cost of idle GPUs",
        f"pool:cost_idle:usd_per_hour{_P}",
        "currencyUSD",
        "Cost per hour, weighed by what is not saturated.",
        (),
        "sum",
    ),
    Cell(
        "Tokens per joule",
        f"pool:energy:tokens_per_joule{_P}",
        "short",
        "Generated tokens over the GPUs' energy.",
        (),
        "min",
    ),
    Cell("Spot share", f"pool:spot_replicas:ratio{_P}", "percentunit", "Replicas on spot machines.", (), "min"),
    Cell(
        "Utilisation",
        _own("pool_utilisation_ratio"),
        "percentunit",
        "Demand over capacity.",
        _OVER_1,
        empty="no capacity known",
    ),
    Cell(
        "Ready over wanted",
        f"pool:replicas_ready:ratio{_P}",
        "percentunit",
        "What is wanted and serves.",
        below(0.7, 0.95),
        "min",
        "nothing wanted",
    ),
    Cell("Scale-outs, 1 h", f"pool:scale_out:increase1h{_P}", "short", "Decisions that raised the size.", (), "sum"),
    Cell("Scale-ins, 1 h", f"pool:scale_in:increase1h{_P}", "short", "Decisions that lowered the size.", (), "sum"),
    Cell(
        "Interruption notices",
        or_zero(f"pool:instance_interruptions:count{_P}"),
        "short",
        "Machines that a cloud takes back.",
        SEEN,
        "sum",
    ),
    Cell("Offers short", _own("pool_offers_short"), "short", "Offers that could not be had.", SEEN, "sum"),
)

MATRIX: Mapping[Dimension, tuple[Cell, ...]] = {
    "Resource": RESOURCE,
    "Performance": PERFORMANCE,
    "Business": BUSINESS,
}
