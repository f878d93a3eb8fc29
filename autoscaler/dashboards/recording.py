"""Recording rules: what the dashboards draw, one number a pool, whatever an engine or exporter calls its metrics.

Names are level:metric:operation. Every canonical metric is looked for under all names that collectors know, so that
dashboards work with our agent, dcgm-exporter, vLLM, SGLang and the others alike. A pool is answered under the first
name that it has: two spellings of one metric are never added.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

from collectors.engines import ALIASES
from collectors.prometheus.promql import selector, spellings, term

Operation = Literal["sum", "avg", "max", "min", "count"]

OVER = "5m"
SLO_BAD_SHARE = 0.01
"""The share of requests that may be turned away or fail; `pool:slo_errors:burn_rate5m` is measured against it."""
QUANTILES = {"p50": 0.5, "p95": 0.95, "p99": 0.99}
HISTOGRAMS = {
    "time_to_first_token_seconds": "time from a request's arrival to its first token",
    "time_per_output_token_seconds": "time between tokens",
    "e2e_request_latency_seconds": "time from a request's arrival to its end",
    "request_queue_time_seconds": "time that requests waited",
}


@dataclass(frozen=True, slots=True)
class Record:
    """One recording rule."""

    name: str
    expr: str


@dataclass(frozen=True, slots=True)
class Group:
    """Rules that are evaluated together, in order; later ones may use earlier ones."""

    name: str
    records: tuple[Record, ...]


def groups() -> tuple[Group, ...]:
    """All recording rules."""
    return (
        Group("sigmascale-gpus", tuple(_gpus())),
        Group("sigmascale-hosts", tuple(_hosts())),
        Group("sigmascale-engines", tuple(_engines())),
        Group("sigmascale-latency", tuple(_latency())),
        Group("sigmascale-bands", tuple(_bands())),
        Group("sigmascale-business", tuple(_business())),
        Group("sigmascale-fleet", tuple(_fleet())),
    )


def names() -> frozenset[str]:
    """Every series that the rules make."""
    return frozenset(record.name for group in groups() for record in group.records)


def rule_file() -> str:
    """dashboards/prometheus/rules/recording.yml."""
    lines = [
        "# Recording rules of the dashboards. Written by `python -m autoscaler.dashboards dashboards/`; do not edit.",
        "groups:",
    ]
    for group in groups():
        lines += [f"  - name: {group.name}", "    rules:"]
        for record in group.records:
            lines += [f"      - record: {record.name}", f"        expr: {json.dumps(record.expr)}"]
    return "\n".join([*lines, ""])


def by_pool(operation: Operation, metric: str, rated: str = "") -> str:
    """The metric of each pool under the first name that the pool has; rated: the range to take the rate of."""
    return " or ".join(f"{operation} by (pool) ({_bare(term(one, (), rated))})" for one in spellings(metric))


def _quantile(share: float, metric: str) -> str:
    return " or ".join(f"quantile by (pool) ({share:g}, {_bare(term(one))})" for one in spellings(metric))


def _bare(series: str) -> str:
    return series.replace("{}", "")


def _gpus() -> Iterator[Record]:
    for metric, operations in {
        "gpu_busy_ratio": ("avg",),
        "gpu_sm_active_ratio": ("avg",),
        "gpu_sm_occupancy_ratio": ("avg",),
        "gpu_tensor_active_ratio": ("avg",),
        "gpu_dram_active_ratio": ("avg",),
        "gpu_memory_used_bytes": ("sum",),
        "gpu_memory_total_bytes": ("sum",),
        "gpu_memory_used_ratio": ("avg", "max"),
        "gpu_power_watts": ("sum",),
        "gpu_power_limit_watts": ("sum",),
        "gpu_temperature_celsius": ("avg", "max"),
        "gpu_memory_temperature_celsius": ("max",),
        "gpu_sm_clock_hertz": ("avg",),
        "gpu_pcie_tx_bytes_per_second": ("sum",),
        "gpu_pcie_rx_bytes_per_second": ("sum",),
        "gpu_nvlink_bytes_per_second": ("sum",),
        "gpu_up": ("sum",),
    }.items():
        for operation in operations:
            yield Record(f"pool:{metric}:{operation}", by_pool(operation, metric))  # type: ignore[arg-type]
    # Where nobody derives the saturation, the activity of the multiprocessors is the nearest to it.
    saturation, active = "gpu_saturation_ratio", "gpu_sm_active_ratio"
    for operation in ("avg", "max"):
        both = f"{operation} by (pool) ({saturation}) or {by_pool(operation, active)}"  # type: ignore[arg-type]
        yield Record(f"pool:{saturation}:{operation}", both)
    yield Record(f"pool:{saturation}:p95", f"{_quantile(0.95, saturation)} or {_quantile(0.95, active)}")
    counted = " or ".join(f"count by (pool) ({_bare(term(one))})" for one in spellings("gpu_temperature_celsius"))
    yield Record("pool:gpus:count", counted)
    yield Record("pool:gpu_power_used:ratio", "pool:gpu_power_watts:sum / pool:gpu_power_limit_watts:sum")
    for reason in ("power", "thermal"):
        metric = f"gpu_throttle_{reason}_seconds_total"
        yield Record(f"pool:gpu_throttled_{reason}:ratio_rate{OVER}", by_pool("avg", metric, f"[{OVER}]"))
    for fault in ("gpu_xid_events", "gpu_ecc_uncorrected", "gpu_ecc_corrected", "gpu_pcie_replay"):
        yield Record(f"pool:{fault}:increase1h", f"({by_pool('sum', f'{fault}_total', '[1h]')}) * 3600")
    yield Record("pool:gpu_row_remap_pending:sum", by_pool("sum", "gpu_row_remap_pending"))


def _hosts() -> Iterator[Record]:
    for metric, operation in {
        "host_cpu_ratio": "avg",
        "host_memory_used_ratio": "max",
        "host_disk_used_ratio": "max",
        "host_pressure_ratio": "max",
    }.items():
        yield Record(f"pool:{metric}:{operation}", f"{operation} by (pool) ({metric})")
    for way in ("receive", "transmit"):
        name = f"host_network_{way}_bytes"
        yield Record(f"pool:{name}:rate{OVER}", f"sum by (pool) (rate({name}_total[{OVER}]))")
    yield Record(
        "pool:instance_interruptions:count",
        "sum by (pool) (instance_interruption_timestamp_seconds > bool 0)",
    )


def _engines() -> Iterator[Record]:
    for metric in ("requests_running", "requests_waiting"):
        yield Record(f"pool:{metric}:sum", by_pool("sum", metric))
    yield Record("pool:kv_cache_used_ratio:avg", by_pool("avg", "kv_cache_used_ratio"))
    yield Record("pool:kv_cache_used_ratio:max", by_pool("max", "kv_cache_used_ratio"))
    for metric in ("request_success", "request_failure", "requests_rejected"):
        yield Record(f"pool:{metric}:rate{OVER}", by_pool("sum", f"{metric}_total", f"[{OVER}]"))
    for metric in ("prompt_tokens", "generation_tokens", "preemptions"):
        yield Record(f"pool:{metric}:rate{OVER}", by_pool("sum", f"{metric}_total", f"[{OVER}]"))
    # Few engines count arrivals; over minutes what ends is what came.
    arrived = by_pool("sum", "requests_arrived_total", f"[{OVER}]")
    ended = (
        f"pool:request_success:rate{OVER} + (pool:request_failure:rate{OVER} or 0 * pool:request_success:rate{OVER})"
    )
    yield Record(f"pool:requests_arrived:rate{OVER}", f"{arrived} or ({ended})")
    hits, asked = (by_pool("sum", f"prefix_cache_{what}_total", f"[{OVER}]") for what in ("hits", "queries"))
    yield Record("pool:prefix_cache_hit:ratio", f"({hits}) / ({asked}) or {by_pool('avg', 'prefix_cache_hit_ratio')}")
    came = f"pool:requests_arrived:rate{OVER}"
    failed, rejected = (f"(pool:{what}:rate{OVER} or 0 * {came})" for what in ("request_failure", "requests_rejected"))
    yield Record(f"pool:requests_bad:rate{OVER}", f"{failed} + {rejected}")
    bad = f"pool:requests_bad:rate{OVER}"
    yield Record(f"pool:requests_bad:ratio_rate{OVER}", f"clamp_max({bad} / ({came} > 0), 1) or 0 * {came}")
    hour = f"sum_over_time({bad}[1h]) / (sum_over_time({came}[1h]) > 0)"
    yield Record("pool:requests_bad:ratio_rate1h", f"clamp_max({hour}, 1) or 0 * {came}")
    for over in (OVER, "1h"):
        yield Record(f"pool:slo_errors:burn_rate{over}", f"pool:requests_bad:ratio_rate{over} / {SLO_BAD_SHARE:g}")


def _latency() -> Iterator[Record]:
    for metric in HISTOGRAMS:
        seconds, others = _buckets(metric)
        rates = [f"sum by (pool, le) (rate({series}[{OVER}]))" for series in seconds]
        yield Record(f"pool_le:{metric}_bucket:rate{OVER}", " or ".join(rates))
        for name, share in QUANTILES.items():
            # Bounds in another unit cannot stand beside ours, but a quantile of them can be converted.
            found = [f"histogram_quantile({share:g}, pool_le:{metric}_bucket:rate{OVER})"]
            for series, factor in others:
                rate = f"sum by (pool, le) (rate({series}[{OVER}]))"
                found.append(f"histogram_quantile({share:g}, {rate}) * {factor:g}")
            yield Record(f"pool:{metric}:{name}", " or ".join(found))


def _buckets(metric: str) -> tuple[list[str], list[tuple[str, float]]]:
    """The histogram's buckets under every name: those in seconds, and others with the factor to seconds."""
    factors = {f"{alias.name}_bucket": alias.factor for alias in ALIASES.get(metric, ())}
    seconds: list[str] = []
    others: list[tuple[str, float]] = []
    for one in spellings(f"{metric}_bucket"):
        factor = factors.get(one.name, 1.0)
        if factor == 1.0:
            seconds.append(_bare(selector(one)))
        else:
            others.append((_bare(selector(one)), factor))
    return seconds, others


def _bands() -> Iterator[Record]:
    yield Record("pool_signal:signal_value:max", "max by (pool, signal) (sigmascale_signal_value)")
    yield Record("pool_signal:signal_lower:max", "max by (pool, signal) (sigmascale_signal_lower)")
    yield Record("pool_signal:signal_upper:min", "min by (pool, signal) (sigmascale_signal_upper)")
    value = "pool_signal:signal_value:max"
    over = f"({value} > bool pool_signal:signal_upper:min or 0 * {value})"
    under = f"({value} < bool pool_signal:signal_lower:max or 0 * {value})"
    yield Record("pool_signal:signal_outside:bool", f"clamp_max({over} + {under}, 1)")
    yield Record("pool_signal_q:forecast_value:max", "max by (pool, signal, q) (sigmascale_forecast_value)")


def _business() -> Iterator[Record]:
    cost = "max by (pool) (sigmascale_pool_cost_usd_per_hour)"
    yield Record("pool:cost:usd_per_hour", cost)
    tokens = f"(pool:generation_tokens:rate{OVER} > 0)"
    yield Record("pool:cost:usd_per_million_tokens", f"pool:cost:usd_per_hour / 3600 * 1e6 / {tokens}")
    requests = f"(pool:requests_arrived:rate{OVER} > 0)"
    yield Record("pool:cost:usd_per_thousand_requests", f"pool:cost:usd_per_hour / 3600 * 1e3 / {requests}")
    yield Record("pool:energy:tokens_per_joule", f"pool:generation_tokens:rate{OVER} / (pool:gpu_power_watts:sum > 0)")
    yield Record(
        "pool:cost_idle:usd_per_hour", "pool:cost:usd_per_hour * (1 - clamp_max(pool:gpu_saturation_ratio:avg, 1))"
    )
    budget = "max by (pool) (sigmascale_pool_budget_usd_per_hour)"
    yield Record("pool:budget_left:ratio", f"1 - pool:cost:usd_per_hour / {budget}")
    ready = "max by (pool) (sigmascale_pool_ready_replicas)"
    yield Record("pool:replicas_ready:ratio", f"{ready} / (max by (pool) (sigmascale_pool_wanted_replicas) > 0)")
    for way in ("out", "in"):
        changed = f'max by (pool) (increase(sigmascale_decision_changes_total{{direction="{way}"}}[1h]))'
        # A pool that the service knows and that never changed has changed 0 times.
        never = "0 * max by (pool) (sigmascale_pool_max_replicas)"
        yield Record(f"pool:scale_{way}:increase1h", f"{changed} or {never}")
    spot = "max by (pool) (sigmascale_pool_spot_replicas)"
    held = " + ".join(f"max by (pool) (sigmascale_pool_{state}_replicas)" for state in ("ready", "pending", "draining"))
    yield Record("pool:spot_replicas:ratio", f"{spot} / (({held}) > 0)")


def _fleet() -> Iterator[Record]:
    for state in ("wanted", "ready", "pending", "draining", "failed"):
        yield Record(f"fleet:{state}_replicas:sum", f"sum(max by (pool) (sigmascale_pool_{state}_replicas))")
    yield Record("fleet:cost:usd_per_hour", "sum(pool:cost:usd_per_hour)")
    yield Record("fleet:spent_today:usd", "sum(max by (pool) (sigmascale_pool_spent_usd))")
    yield Record("fleet:gpus:count", "sum(pool:gpus:count)")
    yield Record("fleet:gpu_power_watts:sum", "sum(pool:gpu_power_watts:sum)")
    weighed = "sum(pool:gpu_saturation_ratio:avg * pool:gpus:count) / sum(pool:gpus:count)"
    yield Record("fleet:gpu_saturation_ratio:avg", weighed)
    yield Record("fleet:gpu_temperature_celsius:max", "max(pool:gpu_temperature_celsius:max)")
    yield Record(f"fleet:requests_arrived:rate{OVER}", f"sum(pool:requests_arrived:rate{OVER})")
    failed = "sum(rate(sigmascale_provider_failures_total[5m])) / (sum(rate(sigmascale_provider_calls_total[5m])) > 0)"
    yield Record("fleet:provider_failures:ratio_rate5m", f"{failed} or 0 * sum(sigmascale_provider_calls_total)")
    yield Record("fleet:pools_blind:count", "sum(max by (pool) (sigmascale_pool_error))")
