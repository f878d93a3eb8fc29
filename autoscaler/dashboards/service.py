"""The service itself: whether what decides over the fleet is well."""

from __future__ import annotations

from autoscaler.dashboards.choices import INSTANCE, NOTES, none_is_zero
from autoscaler.dashboards.panels import PRESENT, Dashboard, Panel, Query, Row, above, lines, stat

UID = "sigmascale-service"
_I = 'instance=~"$instance"'


def dashboard() -> Dashboard:
    """Can sigmascale be trusted now?"""
    notes = tuple(note for note in NOTES if "$pool" not in note.expr)
    return Dashboard(
        UID,
        "sigmascale / Service",
        "sigmascale about itself: ticks, journal, samples, store, forecasts, pushes, notifications, what it uses.",
        (_glance(), _ticks(), _samples(), _foresight(), _messages(), _process()),
        (INSTANCE,),
        notes,
    )


def _own(metric: str, by: str = "instance", how: str = "max") -> str:
    return f"{how} by ({by}) (sigmascale_{metric}{{{_I}}})"


def _rate(metric: str, by: str = "instance") -> str:
    return f"sum by ({by}) (rate(sigmascale_{metric}{{{_I}}}[$__rate_interval]))"


def _glance() -> Row:
    return Row(
        "At a glance",
        (
            stat(
                "Scraped",
                "1 while Prometheus reads the service's page.",
                f'min(up{{job="sigmascale", {_I}}})',
                steps=((float("-inf"), "red"), (1.0, "green")),
            ),
            stat(
                "Pools",
                "Pools that the service judges.",
                f"count(max by (pool) (sigmascale_pool_max_replicas{{{_I}}}))",
            ),
            stat(
                "Tick failures, last hour",
                "Ticks and collectors that broke.",
                f"sum(increase(sigmascale_tick_failures_total{{{_I}}}[1h]))",
                steps=PRESENT,
            ),
            stat(
                "Journal failures, last hour",
                "Transactions that the disk or database refused; nothing is done without them.",
                f"sum(increase(sigmascale_journal_failures_total{{{_I}}}[1h]))",
                steps=PRESENT,
            ),
            stat(
                "Rule problems",
                "Faults that keep rule files from being taken.",
                f"max(sigmascale_rule_problems{{{_I}}})",
                steps=PRESENT,
            ),
            Panel(
                "Version",
                "What runs.",
                "table",
                (Query(f"max by (instance, version) (sigmascale_build_info{{{_I}}})", "runs"),),
                width=4,
                height=4,
                hidden=("Value", "runs"),
            ),
        ),
    )


def _ticks() -> Row:
    return Row(
        "Ticks and journal",
        (
            lines("Ticks", "Pools judged per second.", Query(_rate("ticks_total"), "{{instance}}"), unit="ops"),
            lines(
                "Time of a pass",
                "The last pass over the pools that were due, and the slowest since the start.",
                Query(_own("tick_duration_seconds"), "{{instance}}"),
                Query(_own("tick_duration_max_seconds"), "{{instance}} slowest", style="dashed"),
                unit="s",
            ),
            lines(
                "How late ticks begin",
                "After their planned time; a service that lags is short of processor.",
                Query(_own("tick_late_seconds"), "{{instance}}"),
                unit="s",
                steps=((5.0, "orange"), (30.0, "red")),
            ),
            lines(
                "Journal commits",
                "Time of the last transaction.",
                Query(_own("journal_commit_seconds"), "{{instance}}"),
                unit="s",
                steps=((0.5, "orange"),),
            ),
            lines(
                "What broke",
                "Ticks, and transactions of the journal.",
                Query(_rate("tick_failures_total"), "{{instance}} ticks"),
                Query(_rate("journal_failures_total"), "{{instance}} journal"),
                unit="ops",
            ),
            lines(
                "Calls to providers",
                "Per second, and those that failed.",
                Query(_rate("provider_calls_total", "provider"), "{{provider}}"),
                Query(_rate("provider_failures_total", "provider"), "{{provider}} failed", style="dashed"),
                unit="ops",
            ),
        ),
    )


def _samples() -> Row:
    return Row(
        "Samples",
        (
            lines(
                "Pages that are scraped",
                "By whether the last scrape worked.",
                Query(_own("scrape_targets", "state", "sum"), "{{state}}", style="steps"),
                stacked=True,
            ),
            lines(
                "Slowest scrape",
                "Among the last scrapes of all pages.",
                Query(_own("scrape_duration_max_seconds"), "{{instance}}"),
                unit="s",
            ),
            lines(
                "Samples",
                "Taken into the store per second, and those that only said again what was known.",
                Query(_rate("samples_total"), "{{instance}} stored"),
                Query(_rate("samples_repeated_total"), "{{instance}} repeated", style="dashed"),
                unit="ops",
            ),
            lines(
                "Refused samples and lines",
                "By reason; lines that are no samples on the right axis.",
                Query(_rate("samples_refused_total", "reason"), "{{reason}}"),
                Query(_own("lines_rejected"), "lines", right="short", style="dashed"),
                unit="ops",
            ),
            lines(
                "Series and memory of the store",
                "Raw series in memory; bytes on the right axis.",
                Query(_own("store_series"), "series"),
                Query(_own("store_memory_bytes"), "memory", right="bytes", style="dashed"),
            ),
            lines(
                "Points on their way to the disk",
                "Waiting, and lost ones.",
                Query(_own("store_unwritten_points"), "{{instance}} waiting"),
                Query(_rate("store_lost_points_total"), "{{instance}} lost per second", color="red"),
            ),
        ),
    )


def _foresight() -> Row:
    absent = f"sum by (pool) (sigmascale_signal_absent{{{_I}}})"
    return Row(
        "Foresight and signals",
        (
            lines(
                "Forecasts",
                "Models that were made, and times that one was asked, per second.",
                Query(_rate("forecast_fits_total"), "{{instance}} fits"),
                Query(_rate("forecasts_total"), "{{instance}} asked"),
                unit="ops",
            ),
            lines(
                "Failed forecasts",
                "Models not made and forecasts not usable, per second.",
                Query(none_is_zero(_rate("forecast_failures_total", "failed")), "{{failed}}"),
                unit="ops",
            ),
            lines(
                "Age of forecasts",
                "Of the sample that the last forecast is based on.",
                Query(_own("forecast_age_seconds", "pool, signal"), "{{pool}} {{signal}}"),
                unit="s",
                empty="no signal is forecast",
            ),
            lines(
                "Signals without a source",
                "Signals of which the rules have nothing to read.",
                Query(absent, "{{pool}}", style="steps"),
                steps=((1.0, "red"),),
            ),
            lines(
                "Quality of signals",
                "How many signals of all pools are fresh, partial, stale, frozen and missing.",
                Query(_own("signal_quality", "quality", "sum"), "{{quality}}"),
                stacked=True,
            ),
            lines(
                "Learned values that moved",
                "Capacities and lead times that are not what they were.",
                Query(none_is_zero(_own("learned_value_moved", "pool, of")), "{{pool}} {{of}}", style="steps"),
            ),
        ),
    )


def _messages() -> Row:
    return Row(
        "Pushes and notifications",
        (
            lines(
                "Pushed bodies",
                "By what became of them, per second.",
                Query(none_is_zero(_rate("push_requests_total", "kind, outcome")), "{{kind}} {{outcome}}"),
                unit="ops",
            ),
            lines(
                "Pushed samples",
                "Taken, and parts that were of no use.",
                Query(none_is_zero(_rate("push_samples_total", "kind")), "{{kind}}"),
                Query(none_is_zero(_rate("push_skipped_total", "kind, reason")), "{{kind}} {{reason}}", style="dashed"),
                unit="ops",
            ),
            lines(
                "Waiting pushes",
                "Batches that wait for the next tick; sources on the right axis.",
                Query(none_is_zero(_own("push_queued_batches")), "batches"),
                Query(none_is_zero(_own("push_sources")), "sources", right="short", style="dashed"),
            ),
            lines(
                "Notifications",
                "Messages by receiver and outcome, per second.",
                Query(none_is_zero(_rate("notifications_total", "receiver, outcome")), "{{receiver}} {{outcome}}"),
                unit="ops",
                width=12,
            ),
            lines(
                "Messages that wait",
                "For their receiver.",
                Query(none_is_zero(_own("notifications_queued", "receiver")), "{{receiver}}", style="steps"),
                steps=((50.0, "orange"),),
                width=12,
            ),
        ),
    )


def _process() -> Row:
    return Row(
        "What it uses",
        (
            lines(
                "Processor",
                "Of the service; 1 = one core.",
                Query(_rate("process_cpu_seconds_total"), "{{instance}}"),
                width=6,
            ),
            lines(
                "Memory",
                "Resident.",
                Query(_own("process_resident_memory_bytes"), "{{instance}}"),
                unit="bytes",
                width=6,
            ),
            lines("Threads", "Of the service.", Query(_own("process_threads"), "{{instance}}"), width=6),
            lines(
                "File descriptors",
                "Held open.",
                Query(_own("process_open_fds"), "{{instance}}"),
                steps=above(800, 1000),
                width=6,
            ),
        ),
    )
