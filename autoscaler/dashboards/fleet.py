"""The fleet: all pools and their GPUs."""

from __future__ import annotations

from autoscaler.dashboards.choices import HOST, NOTES, POOLS, none_is_zero, or_zero
from autoscaler.dashboards.gpus import TO_POOL, by_pool, health, single
from autoscaler.dashboards.panels import PRESENT, SEEN, Dashboard, Panel, Query, Row, above, lines, stat

UID = "sigmascale-fleet"
_P = 'pool=~"$pool"'


def dashboard() -> Dashboard:
    """Is the fleet well, and where is it not?"""
    return Dashboard(
        UID,
        "sigmascale / Fleet",
        "All pools and GPUs: size, load, saturation, power, temperature, faults. Start here.",
        (_glance(), _pools(), _load(), by_pool(), single(), health()),
        (POOLS, HOST),
        NOTES,
    )


def _own(metric: str) -> str:
    return f"sum(max by (pool) (sigmascale_{metric}{{{_P}}}))"


def _glance() -> Row:
    firing = f'sum(max by (pool, severity) (sigmascale_alerts{{{_P}, state="firing"}}))'
    xids = f"sum(pool:gpu_xid_events:increase1h{{{_P}}})"
    return Row(
        "At a glance",
        (
            stat(
                "Pools that cannot decide",
                "Pools whose tick broke or whose fleet is not known; they stay as they are.",
                _own("pool_error"),
                steps=PRESENT,
                width=3,
            ),
            stat("Alerts firing", "Alerts of these pools that fire now.", none_is_zero(firing), steps=PRESENT, width=3),
            stat("Wanted replicas", "What the last decisions ask for.", _own("pool_wanted_replicas"), width=3),
            stat("Ready replicas", "What serves and takes new requests.", _own("pool_ready_replicas"), width=3),
            stat("Pending replicas", "Ordered, does not serve yet.", _own("pool_pending_replicas"), width=3),
            stat(
                "Failed replicas",
                "On instances that their provider reports as failed.",
                _own("pool_failed_replicas"),
                steps=PRESENT,
                width=3,
            ),
            stat("GPUs", "GPUs that report a temperature.", f"sum(pool:gpus:count{{{_P}}})", width=3),
            stat(
                "Cost per hour",
                "Price of everything that is paid for now.",
                f"sum(pool:cost:usd_per_hour{{{_P}}})",
                "currencyUSD",
                width=3,
            ),
            stat(
                "Requests per second",
                "Requests that arrive, over 5 minutes.",
                f"sum(pool:requests_arrived:rate5m{{{_P}}})",
                "reqps",
                width=3,
            ),
            stat(
                "GPU saturation",
                "Mean of the highest of SM activity, memory activity and power over its limit.",
                f"sum(pool:gpu_saturation_ratio:avg{{{_P}}} * pool:gpus:count) / sum(pool:gpus:count{{{_P}}})",
                "percentunit",
                above(0.85, 0.95),
                width=3,
            ),
            stat("Power", "Power draw of all GPUs.", f"sum(pool:gpu_power_watts:sum{{{_P}}})", "watt", width=3),
            stat(
                "Hottest GPU",
                "Highest temperature of any GPU.",
                f"max(pool:gpu_temperature_celsius:max{{{_P}}})",
                "celsius",
                above(80, 87),
                width=3,
            ),
            stat("XID events, last hour", "Driver faults within an hour.", none_is_zero(xids), steps=SEEN, width=3),
            stat(
                "Interruption notices",
                "Machines that the cloud announced to take back.",
                none_is_zero(f"sum(pool:instance_interruptions:count{{{_P}}})"),
                steps=SEEN,
                width=3,
            ),
            stat(
                "Queue",
                "Requests that wait, over all pools.",
                f"sum(pool:requests_waiting:sum{{{_P}}})",
                width=3,
            ),
            stat(
                "Launches, last hour",
                "Machines that were ordered within an hour.",
                _own("pool_launches"),
                width=3,
            ),
        ),
    )


def _pools() -> Row:
    def own(metric: str) -> str:
        return f"max by (pool) (sigmascale_{metric}{{{_P}}})"

    alerts = f'sum by (pool) (max by (pool, severity) (sigmascale_alerts{{{_P}, state="firing"}}))'
    columns = (
        Query(own("pool_wanted_replicas"), "wanted"),
        Query(own("pool_ready_replicas"), "ready"),
        Query(own("pool_pending_replicas"), "pending"),
        Query(own("pool_min_replicas"), "min"),
        Query(own("pool_max_replicas"), "max"),
        Query(f"pool:requests_arrived:rate5m{{{_P}}}", "requests/s", unit="reqps"),
        Query(f"pool:requests_waiting:sum{{{_P}}}", "waiting", steps=above(10, 100)),
        Query(f"pool:time_to_first_token_seconds:p99{{{_P}}}", "TTFT p99", unit="s", steps=above(2, 5)),
        Query(f"pool:gpu_saturation_ratio:p95{{{_P}}}", "saturation p95", unit="percentunit", steps=above(0.85, 0.95)),
        Query(f"pool:kv_cache_used_ratio:max{{{_P}}}", "KV cache", unit="percentunit", steps=above(0.85, 0.95)),
        Query(f"pool:cost:usd_per_hour{{{_P}}}", "cost/h", unit="currencyUSD"),
        Query(or_zero(alerts), "alerts", steps=PRESENT),
        Query(own("pool_held"), "held", steps=SEEN),
        Query(own("pool_error"), "cannot decide", steps=PRESENT),
    )
    table = Panel(
        "Pools",
        "One line a pool. A click on its name opens its page. Held: a limit keeps the size until a known time.",
        "table",
        columns,
        width=24,
        height=10,
        links=(TO_POOL,),
    )
    return Row("Pools", (table,))


def _load() -> Row:
    return Row(
        "Load and size",
        (
            lines(
                "Requests per second",
                "What arrives at each pool, over 5 minutes; what ended, where an engine does not count arrivals.",
                Query(f"pool:requests_arrived:rate5m{{{_P}}}", "{{pool}}"),
                unit="reqps",
                stacked=True,
            ),
            lines(
                "Ready replicas",
                "Replicas that serve.",
                Query(f"max by (pool) (sigmascale_pool_ready_replicas{{{_P}}})", "{{pool}}", style="steps"),
                stacked=True,
            ),
            lines(
                "Wanted and not ready",
                "What is asked for and does not serve yet; a lasting gap means that machines cannot be had.",
                Query(
                    f"clamp_min(max by (pool) (sigmascale_pool_wanted_replicas{{{_P}}})"
                    f" - max by (pool) (sigmascale_pool_ready_replicas{{{_P}}}), 0)",
                    "{{pool}}",
                    style="steps",
                ),
            ),
        ),
    )
