"""GPUs on the fleet's dashboard: by pool, one by one, and their health."""

from __future__ import annotations

from autoscaler.dashboards.choices import or_zero
from autoscaler.dashboards.panels import Panel, Query, Row, above, lines

_P = 'pool=~"$pool"'
_PH = 'pool=~"$pool", host=~"$host"'
TO_POOL = (
    "pool",
    "Open this pool",
    "/d/sigmascale-pool/?${datasource:queryparam}&var-pool=${__data.fields.pool}&${__url_time_range}",
)


def by_pool() -> Row:
    """Saturation, memory, power and heat of each pool."""

    def share(low: str, high: str) -> str:
        upper = f" < {high}" if high else ""
        return f"count(gpu_saturation_ratio{{{_PH}}} >= {low}{upper}) or 0 * count(gpu_saturation_ratio{{{_PH}}})"

    return Row(
        "GPUs by pool",
        (
            lines(
                "Saturation",
                "Mean over a pool's GPUs of the highest of SM activity, memory activity and power over its limit.",
                Query(f"pool:gpu_saturation_ratio:avg{{{_P}}}", "{{pool}}"),
                unit="percentunit",
                steps=((0.95, "red"),),
                most=1.0,
            ),
            lines(
                "GPUs by saturation",
                "How many GPUs are idle, busy and full: a mean hides a pool that is half idle and half full.",
                Query(share("0.9", ""), "90 % and more", color="red"),
                Query(share("0.6", "0.9"), "60 to 90 %", color="orange"),
                Query(share("0.25", "0.6"), "25 to 60 %", color="green"),
                Query(share("0", "0.25"), "below 25 %", color="blue"),
                stacked=True,
            ),
            lines(
                "Device memory in use",
                "Share in use, mean over a pool's GPUs. Engines keep what they take, so low says more than high.",
                Query(f"pool:gpu_memory_used_ratio:avg{{{_P}}}", "{{pool}}"),
                unit="percentunit",
                most=1.0,
            ),
            lines(
                "Power",
                "Power draw of a pool's GPUs, and what their limits allow together.",
                Query(f"pool:gpu_power_watts:sum{{{_P}}}", "{{pool}}"),
                Query(f"sum(pool:gpu_power_limit_watts:sum{{{_P}}})", "limit of all", style="dashed", color="text"),
                unit="watt",
            ),
            lines(
                "Highest temperature",
                "The hottest GPU of each pool.",
                Query(f"pool:gpu_temperature_celsius:max{{{_P}}}", "{{pool}}"),
                unit="celsius",
                steps=((87.0, "red"),),
            ),
            lines(
                "Slowed down",
                "Share of time in which clocks were held down, by heat and by the power limit.",
                Query(f"pool:gpu_throttled_thermal:ratio_rate5m{{{_P}}}", "{{pool}} heat"),
                Query(f"pool:gpu_throttled_power:ratio_rate5m{{{_P}}}", "{{pool}} power", style="dashed"),
                unit="percentunit",
            ),
        ),
    )


def single() -> Row:
    """The fullest and hottest ones by name."""

    def value(metric: str) -> str:
        return f"max by (pool, host, gpu) ({metric}{{{_PH}}})"

    fullest = f"topk(25, {value('gpu_saturation_ratio')})"

    def beside(metric: str) -> str:
        return f"{value(metric)} and on (pool, host, gpu) {fullest}"

    table = Panel(
        "The 25 fullest GPUs",
        "By saturation; the column heads sort. Choose hosts above to see others.",
        "table",
        (
            Query(fullest, "saturation", unit="percentunit", steps=above(0.85, 0.95)),
            Query(beside("gpu_sm_active_ratio"), "SM active", unit="percentunit"),
            Query(beside("gpu_dram_active_ratio"), "memory active", unit="percentunit"),
            Query(beside("gpu_memory_used_ratio"), "memory used", unit="percentunit"),
            Query(beside("gpu_power_watts"), "power", unit="watt"),
            Query(beside("gpu_temperature_celsius"), "temperature", unit="celsius", steps=above(80, 87)),
        ),
        width=12,
        height=10,
        links=(TO_POOL,),
    )
    return Row(
        "Single GPUs",
        (
            table,
            lines(
                "The 10 hottest GPUs",
                "Temperature of the GPUs that are hottest now.",
                Query(f"topk(10, max by (host, gpu) (gpu_temperature_celsius{{{_PH}}}))", "{{host}} GPU {{gpu}}"),
                unit="celsius",
                width=12,
                height=10,
            ),
        ),
    )


def health() -> Row:
    """Faults, losses, notices and alerts."""
    alerts = f"max by (pool, alert, severity, state) (sigmascale_alert_state{{{_P}}}) > 0"
    nothing = f'label_replace(0 * sum(max by (pool) (sigmascale_pool_max_replicas{{{_P}}})), "alert", "none", "", "")'
    return Row(
        "Health",
        (
            lines(
                "XID events",
                "Driver faults of a pool within an hour.",
                Query(or_zero(f"pool:gpu_xid_events:increase1h{{{_P}}}"), "{{pool}}", style="bars"),
            ),
            lines(
                "Memory errors",
                "ECC errors of a pool within an hour: uncorrected ones end the work on the GPU.",
                Query(or_zero(f"pool:gpu_ecc_uncorrected:increase1h{{{_P}}}"), "{{pool}} uncorrected"),
                Query(or_zero(f"pool:gpu_ecc_corrected:increase1h{{{_P}}}"), "{{pool}} corrected", style="dashed"),
            ),
            lines(
                "GPUs that answer",
                "GPUs that answer their driver; a fall without a scale-in is a loss.",
                Query(f"pool:gpu_up:sum{{{_P}}}", "{{pool}}", style="steps"),
            ),
            lines(
                "Row remaps that wait",
                "GPUs that need a reset to replace bad memory rows.",
                Query(or_zero(f"pool:gpu_row_remap_pending:sum{{{_P}}}"), "{{pool}}", style="steps"),
            ),
            lines(
                "Interruption notices",
                "Machines that a cloud announced to take back.",
                Query(or_zero(f"pool:instance_interruptions:count{{{_P}}}"), "{{pool}}", style="steps"),
            ),
            lines(
                "Machines",
                "Processor and memory of the machines with these GPUs: a full processor starves a GPU.",
                Query(f"pool:host_cpu_ratio:avg{{{_P}}}", "{{pool}} processor"),
                Query(f"pool:host_memory_used_ratio:max{{{_P}}}", "{{pool}} memory", style="dashed"),
                unit="percentunit",
                most=1.0,
            ),
            Panel(
                "Alerts of pools",
                "What is pending and what fires, by name; who is told of it is said on the service's page of alerts.",
                "table",
                (Query(f"({alerts}) or ({nothing} unless on () {alerts})", "how many"),),
                width=24,
                links=(TO_POOL,),
            ),
        ),
    )
