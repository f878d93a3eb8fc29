"""Decisions: how many, why, what held them, and what a candidate would have done."""

from __future__ import annotations

from autoscaler.dashboards.choices import NOTES, POOLS, none_is_zero, or_zero
from autoscaler.dashboards.gpus import TO_POOL
from autoscaler.dashboards.panels import PRESENT, SEEN, Dashboard, Panel, Query, Row, above, lines, stat

UID = "sigmascale-decisions"
_P = 'pool=~"$pool"'


def dashboard() -> Dashboard:
    """Why are the pools the size they are?"""
    return Dashboard(
        UID,
        "sigmascale / Decisions",
        "What was decided, how often and why; limits, overrides and people's changes; candidates; the journal.",
        (_rates(), _reasons(), _people(), _candidates(), _loop()),
        (POOLS,),
        NOTES,
    )


def _rates() -> Row:
    def changes(direction: str) -> str:
        return f"sum(pool:scale_{direction}:increase1h{{{_P}}})"

    def bars(direction: str) -> str:
        counter = f'sigmascale_decision_changes_total{{{_P}, direction="{direction}"}}'
        return or_zero(f"max by (pool) (increase({counter}[$__rate_interval]))")

    return Row(
        "Decisions",
        (
            stat(
                "Decisions per second",
                "Repeated ones included.",
                f"sum(max by (pool) (rate(sigmascale_decisions_total{{{_P}}}[$__rate_interval])))",
                "ops",
            ),
            stat("Scale-outs, last hour", "Decisions that raised a size.", changes("out")),
            stat("Scale-ins, last hour", "Decisions that lowered a size.", changes("in")),
            stat(
                "Pools held",
                "Pools whose size a limit keeps.",
                f"sum(max by (pool) (sigmascale_pool_held{{{_P}}}))",
                steps=SEEN,
            ),
            stat(
                "Pools halted",
                "So many machines are sick that none is removed or replaced.",
                f"sum(max by (pool) (sigmascale_pool_halted{{{_P}}}))",
                steps=PRESENT,
            ),
            stat(
                "Pools that cannot decide",
                "They stay as they are.",
                f"sum(max by (pool) (sigmascale_pool_error{{{_P}}}))",
                steps=PRESENT,
            ),
            lines(
                "Scale-outs and scale-ins",
                "Changes of the wanted size per interval.",
                Query(bars("out"), "{{pool}} out", style="bars"),
                Query(bars("in"), "{{pool}} in", style="bars"),
                width=12,
            ),
            lines(
                "Wanted size",
                "What the decisions ask for.",
                Query(f"max by (pool) (sigmascale_pool_wanted_replicas{{{_P}}})", "{{pool}}", style="steps"),
                width=12,
            ),
        ),
    )


def _reasons() -> Row:
    reasons = f"sigmascale_decision_reasons_total{{{_P}}}"
    states = "Held: a limit keeps the size until a known time. Halted: too many sick machines. Blind: cannot decide."
    code = " + ".join(
        f"{weight} * max by (pool) (sigmascale_pool_{name}{{{_P}}})"
        for name, weight in (("held", 1), ("halted", 10), ("error", 100))
    )
    table = Panel(
        "Reasons of the last hour",
        "How many changes of the wanted size each rule, limit or override set.",
        "table",
        (Query(f"sort_desc(max by (pool, source) (increase({reasons}[1h])))", "changes"),),
        width=12,
        height=9,
        links=(TO_POOL,),
        empty="no change yet",
    )
    return Row(
        "Why",
        (
            lines(
                "Who set the size",
                "Changes of the wanted size by the rule, limit or override that set the new one; the 15 most frequent.",
                Query(f"topk(15, sum by (source) (increase({reasons}[$__rate_interval])))", "{{source}}", style="bars"),
                stacked=True,
                width=12,
                height=9,
                empty="no change yet",
            ),
            table,
            Panel(
                "What holds the pools",
                states,
                "state-timeline",
                (Query(f"clamp_max({code}, 100)", "{{pool}}"),),
                width=24,
                states=(
                    ("0", "free", "green"),
                    ("1", "held", "yellow"),
                    ("10", "halted", "orange"),
                    ("11", "halted", "orange"),
                    ("100", "blind", "red"),
                ),
            ),
        ),
    )


def _people() -> Row:
    manual = f"sum by (pool, change) (increase(sigmascale_manual_changes_total{{{_P}}}[$__rate_interval]))"
    return Row(
        "People",
        (
            lines(
                "Overrides in force",
                "Pins, floors, ceilings, freezes and pauses by people.",
                Query(
                    or_zero(f"max by (pool, kind) (sigmascale_overrides{{{_P}}})"), "{{pool}} {{kind}}", style="steps"
                ),
            ),
            lines(
                "Changes without an order of ours",
                "Machines that somebody started or ended past the service.",
                Query(or_zero(manual), "{{pool}} {{change}}", style="bars"),
            ),
            lines(
                "Cordoned or to be replaced",
                "Instances that people marked.",
                Query(
                    or_zero(f"max by (pool, kind) (sigmascale_marked_instances{{{_P}}})"),
                    "{{pool}} {{kind}}",
                    style="steps",
                ),
            ),
        ),
    )


def _candidates() -> Row:
    def side(metric: str) -> str:
        return f"max by (pool, side) (sigmascale_shadow_{metric}{{{_P}}})"

    def rate(metric: str) -> str:
        return f"max by (pool, side) (increase(sigmascale_shadow_{metric}{{{_P}}}[1h]))"

    nobody = "no pool has a candidate in shadow"
    return Row(
        "Candidates against active rules",
        (
            lines(
                "Wanted",
                "What the active rules and the candidate ask for.",
                Query(side("wanted_replicas"), "{{pool}} {{side}}", style="steps"),
                empty=nobody,
            ),
            lines(
                "Ready",
                "Replicas that serve; the candidate's are imagined.",
                Query(side("ready_replicas"), "{{pool}} {{side}}", style="steps"),
                empty=nobody,
            ),
            lines(
                "Replica-hours of the last hour",
                "What each would have cost.",
                Query(f"{rate('replica_seconds_total')} / 3600", "{{pool}} {{side}}"),
                unit="h",
                empty=nobody,
            ),
            lines(
                "Work unserved in the last hour",
                "Estimated demand beyond what ready replicas serve.",
                Query(rate("unserved_work_total"), "{{pool}} {{side}}"),
                empty=nobody,
            ),
            lines(
                "Changes of the last hour",
                "How restless each is.",
                Query(rate("changes_total"), "{{pool}} {{side}}"),
                empty=nobody,
            ),
            lines(
                "Candidates that do not run",
                "1 while a candidate, or its newest version, has a fault.",
                Query(or_zero(f"max by (pool) (sigmascale_shadow_problem{{{_P}}})"), "{{pool}}", style="steps"),
            ),
        ),
    )


def _loop() -> Row:
    return Row(
        "The loop",
        (
            lines(
                "Tick",
                "Time of the last pass over the pools that were due, and how late it began.",
                Query("max(sigmascale_tick_duration_seconds)", "duration"),
                Query("max(sigmascale_tick_duration_max_seconds)", "slowest since the start", style="dashed"),
                Query("max(sigmascale_tick_late_seconds)", "late"),
                unit="s",
            ),
            lines(
                "Journal",
                "Time of the last transaction; refused ones on the right axis. Nothing is done unwritten.",
                Query("max(sigmascale_journal_commit_seconds)", "commit"),
                Query(
                    none_is_zero("sum(increase(sigmascale_journal_failures_total[$__rate_interval]))"),
                    "refused",
                    right="short",
                    color="red",
                ),
                unit="s",
            ),
            Panel(
                "Age of the last decision",
                "By pool; a pool that is not judged any more shows here first.",
                "bargauge",
                (Query(f"time() - max by (pool) (sigmascale_pool_tick_timestamp_seconds{{{_P}}})", "{{pool}}"),),
                "s",
                steps=above(60, 180),
                least=0.0,
            ),
        ),
    )
