"""The service's own metrics: declared in one table, documented, and readable by Prometheus."""

from __future__ import annotations

import subprocess
from collections import Counter
from dataclasses import replace
from pathlib import Path

import pytest
from prometheus_client.parser import text_string_to_metric_families

from autoscaler.board import Board, Ownerless, PoolView
from autoscaler.clock import SimClock
from autoscaler.counts import Counts
from autoscaler.dispatch import Calls
from autoscaler.exposition import Moment, render
from autoscaler.foresight.forecasts import Counts as Forecasts
from autoscaler.loop import Stats
from autoscaler.movement import Bounds
from autoscaler.notifying.status import ReceiverStatus
from autoscaler.ownmetrics import METRICS, reference
from autoscaler.policies.target import Target
from autoscaler.ruleset import Rule, Signal
from autoscaler.shadow import Account, ShadowView, Side
from autoscaler.store import Store
from autoscaler.types import (
    Alert,
    Capacity,
    Decision,
    Fleet,
    Judged,
    LeadTime,
    Learned,
    Mark,
    Memory,
    Outlook,
    Override,
    Plan,
    Quota,
    Reading,
    Reason,
    Rolling,
    Shortage,
    Spending,
    Standing,
)
from collectors.push import Push
from tests.apiworld import Page, some_fleet
from tests.peers.programs import program
from tests.worlds import NOW, instance, rules, settled

READINGS = {
    "load": Reading(NOW - 5, 35.0, "fresh"),
    'odd "name"\\': Reading(NOW - 400, None, "missing"),
    "stuck": Reading(NOW - 90, None, "frozen"),
}
DECISION = Decision("chat", 8, NOW, 4, 5, 3, 1, (Reason("current", 5, ""),), readings=READINGS, next_change_at=NOW + 30)
ALERTS = tuple(
    Alert(f"k{n}", "chat", "slow", "critical", state, NOW, "")  # type: ignore[arg-type]
    for n, state in enumerate(("firing", "firing", "resolved"))
)


AHEAD = Outlook(NOW - 30, "last@1/2", "peak", (600.0,), (0.5, 0.95), ((1.0,), (1.5,)))
LEARNED = Learned(
    {"ahead": AHEAD, "ahead:mean": AHEAD},
    Capacity(3.0, 4.0, "requests/s", "learned:9"),
    {"sim/small": LeadTime(100.0, 200.0)},
    {"capacity sim/small": "it changed"},
)


def page(board: Board, counts: Counts | None = None, **moment: object) -> dict[tuple[str, tuple[str, ...]], float]:
    """Every sample of a page by name and label values in the order of the table."""
    order = {metric.full_name: metric.labels for metric in METRICS}
    text = render(board, counts or Counts(), replace(Moment(NOW, "1.2.3"), **moment))  # type: ignore[arg-type]
    return {
        (sample.name, tuple(sample.labels[label] for label in order[sample.name])): sample.value
        for family in text_string_to_metric_families(text.decode())
        for sample in family.samples
    }


SHADOWED = ShadowView(
    "chat",
    "next.yaml",
    PoolView(rules(), NOW - 2, DECISION, None, some_fleet()),
    PoolView(replace(rules(), pool="chat~shadow", shadow_of="chat"), NOW - 2, DECISION, None, Fleet(NOW)),
    Account(NOW - 60, ("a", "b"), active=Side(3600.0, launches=2), candidate=Side(7200.0, above_work=5.0)),
    "load",
    (),
    "it is broken",
)


def full_board() -> Board:
    board = Board()
    ahead = (*rules().signals, Signal("ahead", forecast="load", ahead_s=600.0))
    planned = Plan("chat", 8, warm=2)
    bounded = rules(signals=ahead, bounds=Bounds(0, 20, usd_per_hour=50.0, usd_per_day=9000.0))
    memory = replace(
        settled(5),
        launches=((NOW - 4000, 9), (NOW - 60, 2)),
        shortages={"sim/small": Shortage("sim/small", NOW + 60, 1, NOW)},
        quotas={
            "aws/p5": Quota("aws/p5", "aws/p5", 4, 4, NOW, NOW),
            "aws/g5": Quota("aws/g5", "aws/g5", 4, 5, NOW, NOW),
        },
        spending=Spending(int(NOW // 86400), 12.5, NOW, 10.0),
        halted_since=NOW - 60,
    )
    board.publish(PoolView(bounded, NOW - 2, DECISION, planned, some_fleet(), ALERTS, memory=memory))
    return board


def full_counts() -> Counts:
    return Counts(
        loop=Stats(
            ticks=7,
            failures=1,
            journal_failures=2,
            last_pass_s=0.004,
            slowest_pass_s=0.5,
            late_s=0.1,
            journal_s=0.002,
            by_hand=Counter({("chat", "removed"): 2}),
            changes=Counter({("chat", "out"): 3}),
            sources=Counter({("chat", "rule:load"): 3}),
        ),
        providers={
            "local": Calls(
                observed=9, observe_failures=1, applied=3, apply_failures=2, observe_s=0.05, held=4, dead=True
            )
        },
        store=Store(None).stats(),
        receivers=(ReceiverStatus("https://hooks.example", queued=1, delivered=5, dropped=2),) * 2,
        targets=(Page("http://a/metrics", True, rejected=3), Page("http://b/metrics", False, duration_s=3.0)),
        push=Push(SimClock()),
        learned={"chat": LEARNED},
        shadows={"chat": SHADOWED},
        forecasts=Forecasts(fits=4, fit_s=2.5, outlooks=60, failures={"fit": 1, "outlook": 2}),
    )


def test_pools_show_wanted_ready_pending_draining_and_their_bounds() -> None:
    found = page(full_board())
    shown = {name.removeprefix("sigmascale_pool_"): v for (name, labels), v in found.items() if labels == ("chat",)}
    assert {
        "wanted_replicas": 5.0,
        "ready_replicas": 3.0,
        "pending_replicas": 1.0,
        "draining_replicas": 1.0,
        "warm_replicas": 0.0,
        "warm_wanted_replicas": 2.0,
        "failed_replicas": 0.0,
        "min_replicas": 0.0,
        "max_replicas": 20.0,
        "cost_usd_per_hour": 10.0,
        "tick_timestamp_seconds": NOW - 2,
        "fleet_age_seconds": 0.0,
        "error": 0.0,
        "held": 1.0,
        "spent_usd": 12.5,
        "budget_usd_per_hour": 50.0,
        "budget_usd_per_day": 9000.0,
        "launches": 2.0,
        "offers_short": 1.0,
        "quotas_reached": 1.0,
        "halted": 1.0,
    }.items() <= shown.items()
    assert found["sigmascale_decisions_total", ("chat",)] == 8.0


def test_an_unknown_signal_has_a_quality_and_no_value() -> None:
    found = page(full_board())
    assert found["sigmascale_signal_value", ("chat", "load")] == 35.0
    assert found["sigmascale_signal_age_seconds", ("chat", "load")] == 5.0
    assert ("sigmascale_signal_value", ("chat", "stuck")) not in found
    shown = ("fresh", "partial", "stale", "frozen", "missing")
    qualities = {quality: found["sigmascale_signal_quality", ("chat", "stuck", quality)] for quality in shown}
    assert qualities == {"fresh": 0.0, "partial": 0.0, "stale": 0.0, "frozen": 1.0, "missing": 0.0}
    assert found["sigmascale_signal_quality", ("chat", 'odd "name"\\', "missing")] == 1.0


def test_a_pool_that_was_not_decided_yet_shows_its_bounds_and_nothing_invented() -> None:
    board = Board()
    board.publish(PoolView(rules(), NOW, error="the fleet is unknown"))
    names = {name for (name, labels) in page(board) if labels == ("chat",)}
    assert "sigmascale_pool_max_replicas" in names
    assert not {"sigmascale_pool_wanted_replicas", "sigmascale_pool_ready_replicas"} & names
    assert page(board)["sigmascale_pool_error", ("chat",)] == 1.0


def test_alerts_and_overrides_are_counted_by_what_they_are() -> None:
    overrides = tuple(Override(f"o{n}", "chat", "pin", NOW + 60, "ada", "test", 3) for n in range(2))
    found = page(full_board(), overrides=overrides)
    assert found["sigmascale_alerts", ("chat", "critical", "firing")] == 2.0
    assert found["sigmascale_alerts", ("chat", "critical", "resolved")] == 1.0
    assert found["sigmascale_overrides", ("chat", "pin")] == 2.0


@pytest.mark.parametrize(
    ("name", "labels", "expected"),
    [
        ("forecast_value", ("chat", "ahead", "0.95"), 52.5),
        ("forecast_age_seconds", ("chat", "ahead"), 30.0),
        ("forecast_fits_total", (), 4.0),
        ("forecast_failures_total", ("outlook",), 2.0),
        ("replica_capacity", ("chat", "0.2"), 3.0),
        ("lead_time_seconds", ("chat", "sim/small", "0.9"), 200.0),
        ("learned_value_moved", ("chat", "capacity sim/small"), 1.0),
        ("shadow_replica_seconds_total", ("chat", "candidate"), 7200.0),
        ("shadow_launches_total", ("chat", "active"), 2.0),
        ("shadow_unserved_work_total", ("chat", "candidate"), 5.0),
        ("shadow_ready_replicas", ("chat", "candidate"), 0.0),
        ("shadow_problem", ("chat",), 1.0),
        ("ticks_total", (), 7.0),
        ("tick_failures_total", (), 1.0),
        ("tick_duration_seconds", (), 0.004),
        ("tick_duration_max_seconds", (), 0.5),
        ("tick_late_seconds", (), 0.1),
        ("journal_commit_seconds", (), 0.002),
        ("journal_failures_total", (), 2.0),
        ("decision_changes_total", ("chat", "out"), 3.0),
        ("decision_reasons_total", ("chat", "rule:load"), 3.0),
        ("provider_calls_total", ("local", "observe"), 9.0),
        ("provider_calls_total", ("local", "apply"), 3.0),
        ("provider_failures_total", ("local", "observe"), 1.0),
        ("provider_failures_total", ("local", "apply"), 2.0),
        ("provider_report_seconds", ("local",), 0.05),
        ("provider_calls_held_total", ("local",), 4.0),
        ("provider_throttled_total", ("local",), 0.0),
        ("provider_dead", ("local",), 1.0),
        ("scrape_targets", ("up",), 1.0),
        ("scrape_targets", ("down",), 1.0),
        ("scrape_duration_max_seconds", (), 3.0),
        ("lines_rejected", (), 3.0),
        ("samples_total", (), 0.0),
        ("samples_refused_total", ("late",), 0.0),
        pytest.param(
            "notifications_total", ("https://hooks.example", "delivered"), 10.0, id="two receivers on one host"
        ),
        ("rule_problems", (), 4.0),
        ("build_info", ("1.2.3",), 1.0),
    ],
)
def test_what_the_parts_count_is_on_the_page(name: str, labels: tuple[str, ...], expected: float) -> None:
    found = page(full_board(), full_counts(), rule_problems=4)
    assert found[f"sigmascale_{name}", labels] == expected


def test_the_price_of_watching_is_on_the_page() -> None:
    found = page(Board())
    assert found["sigmascale_process_cpu_seconds_total", ()] > 0
    assert found["sigmascale_process_resident_memory_bytes", ()] > 10e6
    assert found["sigmascale_process_open_fds", ()] > 2
    assert found["sigmascale_process_threads", ()] >= 1


def test_nothing_that_is_imagined_counts_in_a_sum_over_pools() -> None:
    board = full_board()
    before = page(board, full_counts())
    assert SHADOWED.candidate is not None
    board.publish(replace(SHADOWED.candidate, fleet=some_fleet()))
    after = page(board, full_counts())
    # The process's own numbers move from page to page.
    assert {k: v for k, v in after.items() if "_process_" not in k[0]} == {
        k: v for k, v in before.items() if "_process_" not in k[0]
    }


def test_every_metric_of_the_table_is_filled_by_a_full_service() -> None:
    overrides = (Override("o", "chat", "pin", NOW + 60, "ada", "test", 3),)
    marks = (Mark("chat-1", "chat", "cordon", NOW + 60, "ada", "test"),)
    board = full_board()
    view = replace(board.pools()["chat"], rolling=Rolling("r", gone=1, old=("chat-2",)), memory=Memory())
    judged = Judged("load above 50", "load", False, 35.0, 20.0, 50.0, "")
    queued = {**READINGS, "queue": Reading(NOW - 5, 12.0, "fresh")}
    board.publish(
        replace(
            view,
            rules=replace(view.rules, rules=(Rule("load", Target("load", 10.0, backlog="queue")),)),
            decision=replace(DECISION, readings=queued, judged=(judged,)),
            fleet=replace(some_fleet(), standings=(Standing("chat", rules().offers[0].key, NOW, units=3),)),
        )
    )
    board.ownerless = {"old": Ownerless("old", (instance(9),), "left as it is")}
    found = {name for name, _ in page(board, full_counts(), overrides=overrides, marks=marks)}
    assert found == {metric.full_name for metric in METRICS}


def test_names_follow_prometheus() -> None:
    assert len({metric.name for metric in METRICS}) == len(METRICS)
    for metric in METRICS:
        assert metric.name.endswith("_total") == (metric.kind == "counter"), metric.name
        assert metric.help.endswith("."), metric.name


@pytest.mark.peer
def test_promtool_finds_nothing_to_complain_about() -> None:
    text = render(full_board(), full_counts(), Moment(NOW, "1.2.3"))
    promtool = program("prometheus", "promtool")
    checked = subprocess.run([promtool, "check", "metrics"], input=text, capture_output=True, check=False, timeout=30)
    assert (checked.returncode, checked.stdout, checked.stderr) == (0, b"", b"")


def test_docs_metrics_md_is_what_the_table_says() -> None:
    written = Path(__file__).parent.parent / "docs" / "metrics.md"
    assert written.read_text(encoding="utf-8") == reference()


# --- the board --------------------------------------------------------------------------------------------------


def test_a_snapshot_of_the_board_never_changes() -> None:
    board = Board()
    board.publish(PoolView(rules(), 1.0))
    before = board.pools()
    board.publish(PoolView(rules(), 2.0))
    board.publish(PoolView(rules(pool="other"), 2.0))
    assert {name: view.at for name, view in before.items()} == {"chat": 1.0}
    assert {name: view.at for name, view in board.pools().items()} == {"chat": 2.0, "other": 2.0}
    board.remove("chat")
    board.remove("never there")
    assert set(board.pools()) == {"other"}


def test_only_ready_instances_with_an_address_are_routable() -> None:
    assert [i.id for i in PoolView(rules(), NOW, fleet=some_fleet()).routable] == ["chat-1", "chat-2"]
    assert PoolView(rules(), NOW).routable == ()
