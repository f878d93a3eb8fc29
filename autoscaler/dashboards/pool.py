"""One pool: what is asked of it, what it has, what its users notice, and why its size is what it is."""

from __future__ import annotations

from autoscaler.dashboards.choices import NOTES, POOL, SIGNAL, none_is_zero, or_zero
from autoscaler.dashboards.panels import (
    PRESENT,
    SEEN,
    Dashboard,
    Panel,
    Query,
    Row,
    above,
    below,
    lines,
    stat,
)
from autoscaler.dashboards.workload import engines, users

UID = "sigmascale-pool"
P = 'pool="$pool"'
QUALITIES = (
    ("1", "fresh", "green"),
    ("2", "partial", "yellow"),
    ("3", "stale", "orange"),
    ("4", "frozen", "purple"),
    ("5", "missing", "red"),
)


def dashboard() -> Dashboard:
    """Has this pool what its users need, and if not, what keeps it from that?"""
    return Dashboard(
        UID,
        "sigmascale / Pool",
        "One pool: demand against ready, pending, wanted and forecast; bands, users, GPUs, decisions, money.",
        (_now(), _size(), _signals(), users(P), engines(P), _decisions()),
        (POOL, SIGNAL),
        NOTES,
        since="now-3h",
    )


def own(metric: str, more: str = "") -> str:
    """The service's own metric of this pool, once however many services say it."""
    return f"max by (pool) (sigmascale_{metric}{{{P}{more}}})"


def _now() -> Row:
    firing = f'sum(max by (severity) (sigmascale_alerts{{{P}, state="firing"}}))'
    overrides = f"sum(max by (kind) (sigmascale_overrides{{{P}}}))"
    return Row(
        "Now",
        (
            stat("Wanted", "Replicas that the last decision asks for.", own("pool_wanted_replicas"), width=3),
            stat("Ready", "Replicas that serve.", own("pool_ready_replicas"), width=3),
            stat("Pending", "Replicas ordered that do not serve yet.", own("pool_pending_replicas"), width=3),
            stat(
                "Utilisation",
                "Demand over the capacity of ready replicas; above 1 a queue grows.",
                own("pool_utilisation_ratio"),
                "percentunit",
                above(0.9, 1.0),
                width=3,
                empty="no capacity known",
            ),
            stat(
                "Waiting",
                "Requests that wait to be served.",
                f"pool:requests_waiting:sum{{{P}}}",
                steps=above(10, 100),
                width=3,
            ),
            stat(
                "First token, p99",
                "99 of 100 requests had their first token within this time.",
                f"pool:time_to_first_token_seconds:p99{{{P}}}",
                "s",
                above(2, 5),
                width=3,
                empty="no requests",
            ),
            stat(
                "Cost per hour", "Price of what is paid for.", f"pool:cost:usd_per_hour{{{P}}}", "currencyUSD", width=3
            ),
            stat("Alerts firing", "Alerts of this pool.", none_is_zero(firing), steps=PRESENT, width=3),
            stat(
                "Cannot decide",
                "1 while the tick broke or the fleet is not known; the pool stays as it is.",
                own("pool_error"),
                steps=PRESENT,
                width=3,
            ),
            stat(
                "Held by a limit",
                "1 while a limit keeps the size until a known time.",
                own("pool_held"),
                steps=SEEN,
                width=3,
            ),
            stat("Overrides in force", "People's pins, floors, ceilings, freezes.", none_is_zero(overrides), width=3),
            stat(
                "Last tick",
                "Age of the last decision.",
                f"time() - {own('pool_tick_timestamp_seconds')}",
                "s",
                above(60, 180),
                width=3,
            ),
            stat(
                "Age of the fleet",
                "Since the provider last told what there is; old = blind.",
                own("pool_fleet_age_seconds"),
                "s",
                above(60, 180),
                width=3,
            ),
            stat(
                "Ready over wanted",
                "Share of what is wanted that serves.",
                f"pool:replicas_ready:ratio{{{P}}}",
                "percentunit",
                below(0.7, 0.95),
                width=3,
                empty="nothing wanted",
            ),
            stat(
                "Offers short",
                "Offers that could not be had, or never served.",
                own("pool_offers_short"),
                steps=SEEN,
                width=3,
            ),
            stat("GPUs", "GPUs that report a temperature.", f"pool:gpus:count{{{P}}}", width=3),
        ),
    )


def _size() -> Row:
    return Row(
        "Demand and size",
        (
            lines(
                "Replicas and requests",
                "Ready and pending against what is wanted, within the bounds of the rules; arrivals on the right axis.",
                Query(own("pool_ready_replicas"), "ready", style="area", color="green"),
                Query(own("pool_pending_replicas"), "pending", style="area", color="yellow"),
                Query(own("pool_wanted_replicas"), "wanted", style="steps", color="blue"),
                Query(own("pool_draining_replicas"), "draining", color="purple"),
                Query(own("pool_warm_replicas"), "warm", color="semi-dark-orange"),
                Query(own("pool_min_replicas"), "min", style="dashed", color="text"),
                Query(own("pool_max_replicas"), "max", style="dashed", color="text"),
                Query(f"pool:requests_arrived:rate5m{{{P}}}", "requests/s", right="reqps", color="red"),
                width=24,
                height=10,
            ),
            lines(
                "Demand and capacity",
                "What is asked for per second, and what the ready replicas serve at their objective.",
                Query(own("pool_demand"), "demand", style="area"),
                Query(own("pool_capacity"), "capacity of ready replicas", style="steps"),
                Query(f"{own('pool_capacity')} * {own('pool_utilisation_target_ratio')}", "of it to be used", "dashed"),
                width=12,
                empty="no rule of this pool sizes it by a demand",
            ),
            lines(
                "Forecast against what came",
                "Quantiles of the forecast, drawn when they were made, and the signal that they are about. What came "
                "should lie under a quantile as often as it says, one horizon later.",
                Query(f"pool_signal_q:forecast_value:max{{{P}}}", "{{signal}} q={{q}}", style="dashed"),
                Query(own("pool_demand"), "demand", color="blue"),
                width=12,
                empty="no signal of this pool is forecast",
            ),
        ),
    )


def _signals() -> Row:
    signal = f'{P}, signal="$signal"'
    numbered = " or ".join(
        f'{number} * (max by (signal) (sigmascale_signal_quality{{{P}, quality="{quality}"}}) == 1)'
        for number, quality, _ in QUALITIES
    )
    return Row(
        "Signals",
        (
            lines(
                "Signal and band: $signal",
                "The chosen signal within the band that its conditions judge it by; outside a rule or alert may act.",
                Query(f"pool_signal:signal_upper:min{{{signal}}}", "upper", style="band_top", color="blue"),
                Query(f"pool_signal:signal_lower:max{{{signal}}}", "lower", style="band_bottom", color="blue"),
                Query(f"pool_signal:signal_value:max{{{signal}}}", "$signal", color="orange"),
                width=12,
                height=9,
                least=None,
                empty="unknown now",
            ),
            Panel(
                "Outside of the band",
                "Which signals are outside of their band. A rule acts only after its `for`.",
                "state-timeline",
                (Query(f"pool_signal:signal_outside:bool{{{P}}}", "{{signal}}"),),
                width=12,
                height=9,
                states=(("0", "inside", "green"), ("1", "outside", "orange")),
                empty="no condition has a band",
            ),
            Panel(
                "Quality of signals",
                "Only fresh readings may lower a pool; stale and frozen ones hold it, missing ones say nothing.",
                "state-timeline",
                (Query(numbered, "{{signal}}"),),
                width=12,
                states=QUALITIES,
            ),
            lines(
                "Age of signals",
                "How old a signal's newest value was at the last decision.",
                Query(f"max by (signal) (sigmascale_signal_age_seconds{{{P}}})", "{{signal}}"),
                unit="s",
                width=12,
            ),
        ),
    )


def _decisions() -> Row:
    def changes(direction: str) -> str:
        counter = f'sigmascale_decision_changes_total{{{P}, direction="{direction}"}}'
        return or_zero(f"max by (pool) (increase({counter}[$__rate_interval]))", P)

    alerts = f'max by (alert) (sigmascale_alert_state{{{P}, state="firing"}})'
    nothing = f'label_replace(0 * sum({own("pool_max_replicas")}), "alert", "none", "", "")'
    reasons = f"topk(10, max by (source) (increase(sigmascale_decision_reasons_total{{{P}}}[$__rate_interval])))"
    return Row(
        "Decisions, alerts, money",
        (
            lines(
                "Changes of the wanted size",
                "Scale-outs and scale-ins per interval; both in turn is flapping.",
                Query(changes("out"), "out", style="bars", color="blue"),
                Query(changes("in"), "in", style="bars", color="purple"),
            ),
            lines(
                "Who set the size",
                "Changes of the wanted size by the rule, limit or override that set the new one.",
                Query(reasons, "{{source}}", style="bars"),
                empty="no change yet",
            ),
            Panel(
                "Alerts",
                "How many alerts of each name fire; their texts are on the pool's page of the service.",
                "state-timeline",
                (Query(f"{alerts} or ({nothing} unless on () {alerts})", "{{alert}}"),),
                steps=PRESENT,
            ),
            lines(
                "Cost and budget",
                "Price of what is paid for, what on-demand machines would cost, and what the pool may cost now.",
                Query(f"pool:cost:usd_per_hour{{{P}}}", "cost"),
                Query(own("pool_on_demand_usd_per_hour"), "the same on demand", style="dashed"),
                Query(own("pool_budget_usd_per_hour"), "budget", style="dashed", color="red"),
                unit="currencyUSD",
            ),
            lines(
                "From order to serving",
                "Lead time that was learned of each offer, median and p90.",
                Query(f"max by (offer, q) (sigmascale_lead_time_seconds{{{P}}})", "{{offer}} q={{q}}"),
                unit="s",
                empty="no launch of this pool was seen yet",
            ),
            lines(
                "Capacity of a replica",
                "Work per second that is reckoned with, and where it is learned its median and careful 20 % quantile.",
                Query(
                    f"max by (q) (sigmascale_replica_capacity{{{P}}}) or label_replace({own('pool_capacity')}"
                    f' / ({own("pool_ready_replicas")} > 0), "q", "in force", "", "")',
                    "{{q}}",
                ),
                empty="nothing serves, or no rule sizes this pool by a demand",
            ),
        ),
    )
