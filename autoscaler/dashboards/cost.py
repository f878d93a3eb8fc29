"""Providers and cost: what the clouds answer, what they have, what it costs, and what is left of the budgets."""

from __future__ import annotations

from autoscaler.dashboards.choices import NOTES, POOLS, PROVIDER, none_is_zero
from autoscaler.dashboards.gpus import TO_POOL
from autoscaler.dashboards.panels import PRESENT, SEEN, Dashboard, Panel, Query, Row, above, below, lines, stat

UID = "sigmascale-cost"
_P = 'pool=~"$pool"'
_V = 'provider=~"$provider"'


def dashboard() -> Dashboard:
    """What does the fleet cost, and do the clouds do what they are asked?"""
    return Dashboard(
        UID,
        "sigmascale / Providers and cost",
        "Calls to providers, throttling, quotas, offers with price and lead time, spending and budgets, spot.",
        (_money(), _budgets(), _calls(), _offers()),
        (POOLS, PROVIDER),
        NOTES,
        since="now-24h",
        refresh="1m",
    )


def _own(metric: str) -> str:
    return f"max by (pool) (sigmascale_{metric}{{{_P}}})"


def _money() -> Row:
    spot = f"sum({_own('pool_spot_replicas')}) / (sum({_own('pool_ready_replicas')}) > 0)"
    tokens = f"sum(pool:generation_tokens:rate5m{{{_P}}})"
    return Row(
        "Money",
        (
            stat(
                "Cost per hour", "Price of all that is paid for.", f"sum(pool:cost:usd_per_hour{{{_P}}})", "currencyUSD"
            ),
            stat("Spent today", "Since midnight UTC.", f"sum({_own('pool_spent_usd')})", "currencyUSD"),
            stat(
                "Saved per hour",
                "What the same machines would cost on demand, less what they cost.",
                f"sum({_own('pool_saved_usd_per_hour')})",
                "currencyUSD",
            ),
            stat("Spot share", "Replicas on spot machines over ready ones.", f"clamp_max({spot}, 1)", "percentunit"),
            stat(
                "Cost per million tokens",
                "Of generated tokens, over 5 minutes.",
                f"sum(pool:cost:usd_per_hour{{{_P}}}) / 3600 * 1e6 / ({tokens} > 0)",
                "currencyUSD",
                empty="no tokens",
            ),
            stat(
                "Cost of idle GPUs per hour",
                "Cost, weighed by what is not saturated: what better packing could save at most.",
                f"sum(pool:cost_idle:usd_per_hour{{{_P}}})",
                "currencyUSD",
            ),
            lines(
                "Cost per hour by pool",
                "Price of what is paid for.",
                Query(f"pool:cost:usd_per_hour{{{_P}}}", "{{pool}}"),
                unit="currencyUSD",
                stacked=True,
            ),
            lines(
                "Cost per hour by provider",
                "Who is paid.",
                Query(f"max by (provider) (sigmascale_provider_usd_per_hour{{{_V}}})", "{{provider}}"),
                unit="currencyUSD",
                stacked=True,
            ),
            lines(
                "Spent today",
                "Since midnight UTC, by pool.",
                Query(_own("pool_spent_usd"), "{{pool}}"),
                unit="currencyUSD",
                stacked=True,
            ),
        ),
    )


def _budgets() -> Row:
    none = "no pool has a budget"
    left = f"{_own('pool_budget_usd_per_hour')} - {_own('pool_cost_usd_per_hour')}"
    daily = f"{_own('pool_budget_usd_per_day')} - {_own('pool_spent_usd')}"
    return Row(
        "Budgets and spot",
        (
            lines(
                "Left of the hourly budget",
                "What a pool may still add per hour; at 0 nothing more is launched.",
                Query(left, "{{pool}}"),
                unit="currencyUSD",
                least=None,
                empty=none,
            ),
            lines(
                "Left of the daily budget",
                "What a pool may still spend until midnight UTC.",
                Query(daily, "{{pool}}"),
                unit="currencyUSD",
                least=None,
                empty=none,
            ),
            Panel(
                "Budget left",
                "Share of the hourly budget that is not used.",
                "bargauge",
                (Query(f"pool:budget_left:ratio{{{_P}}}", "{{pool}}"),),
                "percentunit",
                steps=below(0.05, 0.2),
                least=0.0,
                most=1.0,
                empty=none,
            ),
            lines(
                "Spot share",
                "Replicas on spot machines, as a share of all that are paid for.",
                Query(f"pool:spot_replicas:ratio{{{_P}}}", "{{pool}}"),
                unit="percentunit",
                most=1.0,
            ),
            lines(
                "On demand against paid",
                "What the same machines would cost on demand, and what they cost.",
                Query(f"sum({_own('pool_on_demand_usd_per_hour')})", "on demand", style="dashed"),
                Query(f"sum(pool:cost:usd_per_hour{{{_P}}})", "paid"),
                unit="currencyUSD",
            ),
            lines(
                "Cost of a million tokens",
                "Generated tokens, by pool.",
                Query(f"pool:cost:usd_per_million_tokens{{{_P}}}", "{{pool}}"),
                unit="currencyUSD",
                empty="no tokens",
            ),
        ),
    )


def _calls() -> Row:
    def rate(metric: str, by: str) -> str:
        return f"sum by ({by}) (rate(sigmascale_{metric}{{{_V}}}[$__rate_interval]))"

    failing = rate("provider_failures_total", "provider")
    return Row(
        "Providers",
        (
            lines(
                "Calls",
                "Questions (observe) and orders (apply) per second.",
                Query(rate("provider_calls_total", "provider, call"), "{{provider}} {{call}}"),
                unit="ops",
            ),
            lines(
                "Failed calls",
                "Share of calls that failed or stayed unanswered.",
                Query(f"{failing} / ({rate('provider_calls_total', 'provider')} > 0) or 0 * {failing}", "{{provider}}"),
                unit="percentunit",
                steps=((0.1, "orange"), (0.5, "red")),
                most=1.0,
            ),
            lines(
                "Throttled and held",
                "Times that a provider said it is called too often, and calls that were not made to spare it.",
                Query(rate("provider_throttled_total", "provider"), "{{provider}} throttled"),
                Query(rate("provider_calls_held_total", "provider"), "{{provider}} held", style="dashed"),
                unit="ops",
            ),
            Panel(
                "Does it answer?",
                "Dead: one call at a time asks if it answers again, and nothing is ordered from it.",
                "state-timeline",
                (Query(f"max by (provider) (sigmascale_provider_dead{{{_V}}})", "{{provider}}"),),
                states=(("0", "answers", "green"), ("1", "dead", "red")),
            ),
            lines(
                "Time of a report",
                "How long a provider takes to tell what there is.",
                Query(f"max by (provider) (sigmascale_provider_report_seconds{{{_V}}})", "{{provider}}"),
                unit="s",
            ),
            lines(
                "Machines by state",
                "What providers report.",
                Query(f"max by (provider, state) (sigmascale_provider_instances{{{_V}}})", "{{provider}} {{state}}"),
                stacked=True,
            ),
        ),
    )


def _offers() -> Row:
    def offer(metric: str) -> str:
        return f"max by (pool, offer) (sigmascale_{metric}{{{_P}}})"

    price = offer("offer_usd_per_hour")
    table = Panel(
        "Offers",
        "What may be launched: price, how long it takes to serve, whether it can be had now, and what its quota has "
        "room for (empty: not known).",
        "table",
        (
            Query(price, "price per hour", unit="currencyUSD"),
            Query(offer("offer_lead_time_seconds"), "lead time", unit="s"),
            Query(f"{offer('offer_short')} or 0 * {price}", "short", steps=SEEN),
            Query(f"{offer('offer_problem')} or 0 * {price}", "problem", steps=PRESENT),
            Query(f"{offer('offer_quota_units')} or -1 * ({price} > bool -1)", "quota left (-1: unknown)"),
        ),
        width=24,
        height=10,
        links=(TO_POOL,),
    )
    return Row(
        "Offers",
        (
            table,
            lines(
                "Price of offers",
                "The 10 cheapest; spot prices move.",
                Query(f"bottomk(10, {price})", "{{pool}} {{offer}}"),
                unit="currencyUSD",
            ),
            lines(
                "Lead time of offers",
                "From an order to serving: learned, or what the rules say.",
                Query(f"topk(10, {offer('offer_lead_time_seconds')})", "{{pool}} {{offer}}"),
                unit="s",
                steps=((900.0, "orange"),),
            ),
            lines(
                "Cannot be had",
                "Offers short, and families at their quota.",
                Query(_own("pool_offers_short"), "{{pool}} short", style="steps"),
                Query(_own("pool_quotas_reached"), "{{pool}} quota", style="steps"),
            ),
            lines(
                "Launches within an hour",
                "Machines that were ordered.",
                Query(_own("pool_launches"), "{{pool}}", style="steps"),
                width=12,
            ),
            lines(
                "Machines that are not ours to explain",
                "With our tags but no launch in the journal, and of pools that no rule file is about.",
                Query(_own("pool_orphans"), "{{pool}} unknown launch", style="steps"),
                Query(
                    none_is_zero("sum(max by (pool) (sigmascale_ownerless_instances))"),
                    "of pools without rules",
                    style="steps",
                ),
                steps=above(1, 5),
                width=12,
            ),
        ),
    )
