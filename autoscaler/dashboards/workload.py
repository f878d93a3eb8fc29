"""Of one pool: what its users notice, and what its engines and GPUs do."""

from __future__ import annotations

from autoscaler.dashboards.panels import Panel, Query, Row, lines
from autoscaler.dashboards.recording import QUANTILES


def users(pool: str) -> Row:
    """Latencies, the queue, and requests that were not served. pool: the matcher."""

    def quantiles(metric: str) -> tuple[Query, ...]:
        return tuple(Query(f"pool:{metric}:{name}{{{pool}}}", name) for name in QUANTILES)

    buckets = f"pool_le:time_to_first_token_seconds_bucket:rate5m{{{pool}}}"
    return Row(
        "Users",
        (
            lines(
                "Time to first token",
                "From a request's arrival to its first token, quantiles over 5 minutes.",
                *quantiles("time_to_first_token_seconds"),
                unit="s",
                empty="no requests",
            ),
            Panel(
                "Time to first token, all of it",
                "Requests per second by how long they waited for their first token; two bands are two kinds of users.",
                "heatmap",
                (Query(f"sum by (le) ({buckets})", "{{le}}"),),
                "s",
            ),
            lines(
                "Time per output token",
                "Between one token and the next: what reading feels like.",
                *quantiles("time_per_output_token_seconds"),
                unit="s",
                empty="no requests",
            ),
            lines(
                "Whole requests",
                "From arrival to end.",
                *quantiles("e2e_request_latency_seconds"),
                unit="s",
                empty="no requests",
            ),
            lines(
                "Running and waiting",
                "Requests that are being served, and those that wait.",
                Query(f"pool:requests_running:sum{{{pool}}}", "running", style="area"),
                Query(f"pool:requests_waiting:sum{{{pool}}}", "waiting", style="area", color="red"),
            ),
            lines(
                "Time in the queue",
                "How long requests waited before they were served.",
                *quantiles("request_queue_time_seconds"),
                unit="s",
                empty="no requests",
            ),
            lines(
                "Turned away or failed",
                "Share of requests that were turned away or failed, over 5 minutes and an hour.",
                Query(f"pool:requests_bad:ratio_rate5m{{{pool}}}", "5 minutes"),
                Query(f"pool:requests_bad:ratio_rate1h{{{pool}}}", "1 hour", style="dashed"),
                unit="percentunit",
                steps=((0.01, "red"),),
                width=12,
            ),
            lines(
                "Burn of the error budget",
                "How many times faster than 1 % of requests fail; 1 uses up the budget just in time.",
                Query(f"pool:slo_errors:burn_rate5m{{{pool}}}", "5 minutes"),
                Query(f"pool:slo_errors:burn_rate1h{{{pool}}}", "1 hour", style="dashed"),
                steps=((1.0, "orange"), (14.4, "red")),
                width=12,
            ),
        ),
    )


def engines(pool: str) -> Row:
    """KV caches, tokens, saturation, power. pool: the matcher."""
    return Row(
        "Engines and GPUs",
        (
            lines(
                "KV cache in use",
                "Mean and fullest replica; a full cache preempts requests.",
                Query(f"pool:kv_cache_used_ratio:avg{{{pool}}}", "mean"),
                Query(f"pool:kv_cache_used_ratio:max{{{pool}}}", "fullest", style="dashed"),
                unit="percentunit",
                steps=((0.9, "red"),),
                most=1.0,
            ),
            lines(
                "Tokens",
                "Tokens of prompts and of answers per second.",
                Query(f"pool:prompt_tokens:rate5m{{{pool}}}", "prompts"),
                Query(f"pool:generation_tokens:rate5m{{{pool}}}", "answers"),
            ),
            lines(
                "Prefix cache and preemptions",
                "Share of prompt tokens found in the prefix cache; preemptions per second on the right axis.",
                Query(f"pool:prefix_cache_hit:ratio{{{pool}}}", "hits"),
                Query(f"pool:preemptions:rate5m{{{pool}}}", "preemptions", right="ops", color="red"),
                unit="percentunit",
            ),
            lines(
                "GPU saturation",
                "Mean, p95 and fullest GPU: the highest of SM activity, memory activity and power over its limit.",
                *(Query(f"pool:gpu_saturation_ratio:{how}{{{pool}}}", how) for how in ("avg", "p95", "max")),
                unit="percentunit",
                steps=((0.95, "red"),),
                most=1.0,
            ),
            lines(
                "What the GPUs do",
                "Prefill keeps the tensor cores busy, decode the memory.",
                Query(f"pool:gpu_sm_active_ratio:avg{{{pool}}}", "SM active"),
                Query(f"pool:gpu_tensor_active_ratio:avg{{{pool}}}", "tensor cores"),
                Query(f"pool:gpu_dram_active_ratio:avg{{{pool}}}", "memory active"),
                Query(f"pool:gpu_memory_used_ratio:avg{{{pool}}}", "memory used", style="dashed"),
                unit="percentunit",
                most=1.0,
            ),
            lines(
                "Power and temperature",
                "Power of all GPUs of the pool; the hottest one on the right axis.",
                Query(f"pool:gpu_power_watts:sum{{{pool}}}", "power"),
                Query(f"pool:gpu_power_limit_watts:sum{{{pool}}}", "limit", style="dashed", color="text"),
                Query(f"pool:gpu_temperature_celsius:max{{{pool}}}", "hottest", right="celsius", color="red"),
                unit="watt",
            ),
        ),
    )
