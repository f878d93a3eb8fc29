"""The table of every metric that the service exports about itself; `exposition.py` fills it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

PREFIX = "sigmascale_"


@dataclass(frozen=True, slots=True)
class Metric:
    """One exported metric; `name` is without the prefix."""

    name: str
    kind: Literal["counter", "gauge"]
    help: str
    labels: tuple[str, ...] = ()

    @property
    def full_name(self) -> str:
        """The name on the page."""
        return PREFIX + self.name


POOL = ("pool",)
CHANGE = ("pool", "change")
SIGNAL = ("pool", "signal")
AHEAD = ("pool", "signal", "q")
QUANTILE = ("pool", "q")
SIDE = ("pool", "side")
OFFER = ("pool", "offer")
ALERT = ("pool", "alert", "severity", "state")
CALL = ("provider", "call")
PUSHED = ("kind", "outcome")
SKIPPED = ("kind", "reason")

SECTIONS: Mapping[str, tuple[Metric, ...]] = {
    "Pools": (
        Metric("decisions_total", "counter", "Decisions taken since the journal began, repeated ones included.", POOL),
        Metric("decision_changes_total", "counter", "Changes of the wanted size: out or in.", ("pool", "direction")),
        Metric("decision_reasons_total", "counter", "The same by who set the new size.", ("pool", "source")),
        Metric("pool_wanted_replicas", "gauge", "Replicas that the last decision asks for.", POOL),
        Metric("pool_ready_replicas", "gauge", "Replicas that serve and take new requests.", POOL),
        Metric("pool_pending_replicas", "gauge", "Replicas ordered that do not serve yet.", POOL),
        Metric("pool_draining_replicas", "gauge", "Replicas that left routing and finish what they hold.", POOL),
        Metric("pool_warm_replicas", "gauge", "Replicas kept ready to start, not serving.", POOL),
        Metric(
            "pool_warm_wanted_replicas", "gauge", "Replicas that the warm pool should hold; absent without one.", POOL
        ),
        Metric("pool_failed_replicas", "gauge", "Replicas on instances that their provider reports as failed.", POOL),
        Metric("pool_min_replicas", "gauge", "Lower bound of the rule file.", POOL),
        Metric("pool_max_replicas", "gauge", "Upper bound of the rule file.", POOL),
        Metric("pool_cost_usd_per_hour", "gauge", "Price of everything in the pool that is paid for.", POOL),
        Metric("pool_spent_usd", "gauge", "What the pool cost since midnight UTC.", POOL),
        Metric("pool_budget_usd_per_hour", "gauge", "What the pool may cost now; absent without a budget.", POOL),
        Metric("pool_budget_usd_per_day", "gauge", "What a day of the pool may cost; absent without.", POOL),
        Metric("pool_spot_replicas", "gauge", "Replicas on spot machines that serve, start or drain.", POOL),
        Metric("pool_launches", "gauge", "Machines that were ordered in the last hour.", POOL),
        Metric("pool_offers_short", "gauge", "Offers that could not be had, or never served.", POOL),
        Metric("pool_quotas_reached", "gauge", "Families of offers that an account may have no more of.", POOL),
        Metric(
            "pool_demand", "gauge", "Work per second that is asked for, as the rule with a target measures it.", POOL
        ),
        Metric("pool_capacity", "gauge", "Work per second that the ready replicas can serve.", POOL),
        Metric("pool_utilisation_ratio", "gauge", "Demand over capacity; above 1 work waits or is lost.", POOL),
        Metric("pool_utilisation_target_ratio", "gauge", "Share of the capacity that is planned to be used.", POOL),
        Metric("pool_queue", "gauge", "Work that waits; absent when no rule names a backlog.", POOL),
        Metric("pool_gpus", "gauge", "GPUs by the state of their machine.", ("pool", "state")),
        Metric("pool_on_demand_usd_per_hour", "gauge", "What the same machines would cost on demand.", POOL),
        Metric("pool_saved_usd_per_hour", "gauge", "That, less what they cost.", POOL),
        Metric("pool_halted", "gauge", "1 while so many are sick that none is removed or replaced, else 0.", POOL),
        Metric("pool_tick_timestamp_seconds", "gauge", "When the pool's last tick ran, Unix time.", POOL),
        Metric("pool_fleet_age_seconds", "gauge", "Age of what the provider last reported.", POOL),
        Metric("pool_error", "gauge", "1 while the pool's tick cannot decide, else 0.", POOL),
        Metric("pool_held", "gauge", "1 while a limit holds the size back until a known time, else 0.", POOL),
        Metric("signal_value", "gauge", "Value of a signal at the last decision; absent when unknown.", SIGNAL),
        Metric(
            "signal_lower", "gauge", "Tightest lower bound that conditions put on a signal; absent if none.", SIGNAL
        ),
        Metric(
            "signal_upper", "gauge", "Tightest upper bound that conditions put on a signal; absent if none.", SIGNAL
        ),
        Metric("signal_age_seconds", "gauge", "Age of a signal's newest value at the last decision.", SIGNAL),
        Metric("signal_quality", "gauge", "1 for the quality that a signal has, else 0.", (*SIGNAL, "quality")),
        Metric("signal_absent", "gauge", "1 while the rules have nothing to read for a signal, else 0.", SIGNAL),
        Metric("alerts", "gauge", "Alerts of a pool by state.", ("pool", "severity", "state")),
        Metric("alert_state", "gauge", "Alerts of one name that are pending or firing.", ALERT),
        Metric("overrides", "gauge", "Overrides in force.", ("pool", "kind")),
        Metric("marked_instances", "gauge", "Instances that are cordoned or to be replaced.", ("pool", "kind")),
        Metric("roll_instances", "gauge", "Instances of the last roll: old ones left, and gone.", ("pool", "state")),
        Metric("roll_state", "gauge", "1 for the state of the pool's last roll, else 0.", ("pool", "state")),
        Metric("pool_orphans", "gauge", "Instances with our tags whose launch the journal does not know.", POOL),
        Metric("ownerless_instances", "gauge", "Instances of a pool that no rule file in force is about.", POOL),
        Metric("manual_changes_total", "counter", "Instances that changed without an order of ours, by how.", CHANGE),
    ),
    "Candidates": (
        Metric("shadow_wanted_replicas", "gauge", "Replicas that the active rules or the candidate ask for.", SIDE),
        Metric("shadow_ready_replicas", "gauge", "Replicas that serve; the candidate's are imagined.", SIDE),
        Metric("shadow_replica_seconds_total", "counter", "Replica-seconds since the comparison began.", SIDE),
        Metric("shadow_launches_total", "counter", "Launches since the comparison began.", SIDE),
        Metric("shadow_changes_total", "counter", "Changes of the wanted size since the comparison began.", SIDE),
        Metric("shadow_unserved_work_total", "counter", "Estimated demand beyond what ready replicas serve.", SIDE),
        Metric("shadow_queued_work", "gauge", "Estimated work that waits.", SIDE),
        Metric("shadow_problem", "gauge", "1 while a candidate, or its newest version, does not run.", POOL),
    ),
    "The loop": (
        Metric("ticks_total", "counter", "Pools judged since the start."),
        Metric("tick_failures_total", "counter", "Ticks and collectors that broke; the fleet stayed as it was."),
        Metric("tick_duration_seconds", "gauge", "Time of the last pass over the pools that were due."),
        Metric("tick_duration_max_seconds", "gauge", "Time of the slowest pass since the start."),
        Metric("tick_late_seconds", "gauge", "How long after its planned time the last tick began."),
        Metric("journal_commit_seconds", "gauge", "Time of the last journal transaction."),
        Metric("journal_failures_total", "counter", "Journal transactions that the disk or database refused."),
        Metric("rule_problems", "gauge", "Faults that keep rule files from being taken."),
    ),
    "Foresight": (
        Metric("forecast_value", "gauge", "Quantile q of a signal at its horizon; absent without a forecast.", AHEAD),
        Metric("forecast_horizon_seconds", "gauge", "How far ahead that is.", SIGNAL),
        Metric("forecast_age_seconds", "gauge", "Age of the sample that the last forecast is based on.", SIGNAL),
        Metric("forecast_fits_total", "counter", "Models that were made, or could not be."),
        Metric("forecast_fit_seconds_total", "counter", "Time that making models took."),
        Metric("forecasts_total", "counter", "Times that a model was asked."),
        Metric("forecast_failures_total", "counter", "Models not made and forecasts not usable.", ("failed",)),
        Metric("replica_capacity", "gauge", "Work per second of a replica at its objective, quantile q.", QUANTILE),
        Metric("lead_time_seconds", "gauge", "From an order to serving, quantile q.", ("pool", "offer", "q")),
        Metric("learned_value_moved", "gauge", "1 while a learned value is not what it was.", ("pool", "of")),
    ),
    "Providers": (
        Metric("provider_calls_total", "counter", "Calls to a provider: observe or apply.", CALL),
        Metric("provider_failures_total", "counter", "Calls to a provider that failed or stayed unanswered.", CALL),
        Metric("provider_instances", "gauge", "Instances of all pools by state.", ("provider", "state")),
        Metric("provider_usd_per_hour", "gauge", "What those that are paid for cost.", ("provider",)),
        Metric("provider_report_seconds", "gauge", "Time of the provider's last report.", ("provider",)),
        Metric("provider_calls_held_total", "counter", "Calls that were not made, to spare it.", ("provider",)),
        Metric("provider_throttled_total", "counter", "Times that it said it is called too often.", ("provider",)),
        Metric("provider_dead", "gauge", "1 while one call at a time asks if it answers again, else 0.", ("provider",)),
    ),
    "Offers": (
        Metric("offer_usd_per_hour", "gauge", "Price of one instance now; absent when nobody knows it.", OFFER),
        Metric("offer_lead_time_seconds", "gauge", "From an order to serving, median; learned, else as stated.", OFFER),
        Metric("offer_short", "gauge", "1 while it is not asked for after it could not be had, else 0.", OFFER),
        Metric("offer_problem", "gauge", "1 while its provider says that none can be launched, else 0.", OFFER),
        Metric("offer_quota_units", "gauge", "Instances more that a quota has room for; absent if not known.", OFFER),
    ),
    "Samples": (
        Metric("scrape_targets", "gauge", "Pages that are scraped, by whether the last scrape worked.", ("state",)),
        Metric("scrape_duration_max_seconds", "gauge", "Time of the slowest among the last scrapes."),
        Metric("lines_rejected", "gauge", "Lines of the last pages that are not samples."),
        Metric("samples_total", "counter", "Samples taken into the store."),
        Metric("samples_repeated_total", "counter", "Samples that only said again what was known, and are not stored."),
        Metric("samples_refused_total", "counter", "Samples that the store refused.", ("reason",)),
        Metric("store_series", "gauge", "Raw series in memory."),
        Metric("store_memory_bytes", "gauge", "Memory of raw series and of the pools' signals."),
        Metric("store_unwritten_points", "gauge", "Points of pool signals that wait for the disk."),
        Metric("store_lost_points_total", "counter", "Points of pool signals that never reached the disk."),
    ),
    "Pushes": (
        Metric("push_requests_total", "counter", "Bodies that others pushed, by what became of them.", PUSHED),
        Metric("push_samples_total", "counter", "Samples and alerts taken from what others pushed.", ("kind",)),
        Metric("push_skipped_total", "counter", "Parts of pushed bodies that are no samples of use.", SKIPPED),
        Metric("push_queued_batches", "gauge", "Batches of pushed samples that wait for the next tick."),
        Metric("push_sources", "gauge", "Sources whose samples are pushed."),
    ),
    "Notifications": (
        Metric("notifications_total", "counter", "Messages by what became of them.", ("receiver", "outcome")),
        Metric("notifications_queued", "gauge", "Messages that wait for their receiver.", ("receiver",)),
    ),
    "The service's own use": (
        Metric("build_info", "gauge", "1, with the version that runs.", ("version",)),
        Metric("process_cpu_seconds_total", "counter", "CPU time of the service itself, user and system."),
        Metric("process_resident_memory_bytes", "gauge", "Resident memory of the service itself."),
        Metric("process_threads", "gauge", "Threads of the service itself."),
        Metric("process_open_fds", "gauge", "File descriptors that the service holds open."),
    ),
}

METRICS: tuple[Metric, ...] = tuple(metric for metrics in SECTIONS.values() for metric in metrics)


def reference() -> str:
    """docs/metrics.md: every metric of the table."""
    lines = ["# Metrics", "", "What `GET /metrics` says about the service itself. Written by `make docs`; do not edit."]
    for title, metrics in SECTIONS.items():
        lines += ["", f"## {title}", "", "| metric | type | labels | meaning |", "|---|---|---|---|"]
        for m in metrics:
            labels = ", ".join(f"`{label}`" for label in m.labels)
            lines.append(f"| `{m.full_name}` | {m.kind} | {labels} | {m.help} |")
    return "\n".join([*lines, ""])
