"""The league: its rows, its bounds, and the figures drawn from it."""

from __future__ import annotations

import math
from dataclasses import replace

import joblib
import numpy as np
import pytest

from autoscaler.backtest.league import BOUNDS, Row, league, names_of_league, runs_of
from autoscaler.backtest.run import Setting
from autoscaler.baselines import BY_NAME
from autoscaler.errors import InputError
from autoscaler.trace import Trace
from benchmarks import league as benchmark
from benchmarks.league_tables import BEGIN, END, OURS, figures, page, without_hardest

SETTING = Setting(1.0, 120.0, 5, 1, 100, 15.0, 3600.0)


def day() -> Trace:
    """Six hours of minutes around ten replicas' worth, up to 16."""
    at = np.arange(360.0)
    amount = 60.0 * (10.0 + 6.0 * np.sin(2 * np.pi * at / 36.0))
    return Trace(60.0 * at, amount, 60.0, np.zeros(len(at), dtype=bool))


def test_a_league_plays_every_value_in_every_world_and_tells_how_far_it_is() -> None:
    told: list[tuple[int, int]] = []
    worlds = [SETTING, replace(SETTING, boot_s=480.0)]
    rows = league(day(), worlds, ("keda", "clairvoyant"), "waves", None, lambda done, of: told.append((done, of)))
    assert [(r.policy, r.boot_s) for r in rows] == [
        *[("keda", 120.0)] * len(BY_NAME["keda"].values),
        ("clairvoyant", 120.0),
        *[("keda", 480.0)] * len(BY_NAME["keda"].values),
        ("clairvoyant", 480.0),
    ]
    assert {r.trace for r in rows} == {"waves"}
    assert told[-1] == (len(rows), len(rows))
    assert len(rows) == 2 * (runs_of("keda") + runs_of("clairvoyant"))


def test_the_clairvoyant_violates_nothing_at_cost_one_and_a_static_peak_costs_more() -> None:
    clairvoyant, static = league(day(), [SETTING], BOUNDS)
    assert clairvoyant.violated == 0.0
    assert clairvoyant.cost == pytest.approx(1.0)
    assert clairvoyant.worst_shortage == pytest.approx(0.0)
    assert (static.violated, static.bad_time, static.launches, static.changes) == (0.0, 0.0, 0, 0)
    # 16 replicas' worth at 0.9 of capacity, for all of the five hours that count.
    assert static.replica_hours == pytest.approx(18 * 5.0)


def test_more_headroom_costs_more_and_violates_less() -> None:
    rows = league(day(), [SETTING], ("keda",))
    costs, violated = [r.cost for r in rows], [r.violated for r in rows]
    assert costs == sorted(costs, reverse=True)
    assert violated[0] < violated[-1]


def test_the_engine_of_joblib_may_be_another_one() -> None:
    here = league(day(), [SETTING], ("skyserve",))
    with joblib.parallel_config(backend="threading", n_jobs=2):
        there = league(day(), [SETTING], ("skyserve",))
    assert here == there


def test_a_league_leaves_out_what_has_the_results_of_another() -> None:
    assert "hpa-demand" not in names_of_league()
    assert {"keda", "growth", *BOUNDS} <= set(names_of_league())
    assert names_of_league(("hpa-demand",)) == ("hpa-demand",)


def test_a_policy_that_is_none_is_named_with_those_that_are() -> None:
    with pytest.raises(InputError, match=r"hpa2: no such policy; there are hpa, .*static-peak"):
        names_of_league(("hpa", "hpa2"))


# --- figures --------------------------------------------------------------------------------------------------------


def row(trace: str, policy: str, value: float, violated: float, cost: float) -> Row:
    return Row(trace, policy, value, 480.0, violated, 0.0, cost, 100.0, 1, 1, 0.0)


ROWS = [
    row("a", "keda", 0.5, 0.004, 1.8),
    row("a", "keda", 0.7, 0.012, 1.4),
    row("a", "kpa", 0.6, 0.001, 1.5),
    row("b", "keda", 0.5, 0.000, 1.6),
    row("b", "keda", 0.7, 0.001, 1.2),
    row("b", "kpa", 0.6, 0.030, 1.3),
    row("a", "growth", 0.9, 0.000, 1.01),
    row("b", "growth", 0.9, 0.000, 1.01),
    row("a", OURS, math.nan, 0.002, 1.25),
    row("b", OURS, math.nan, 0.001, 1.10),
]


def test_the_cheapest_single_setting_keeps_every_workload() -> None:
    found = figures(ROWS, 480.0)
    assert {limit: str(choice) for limit, choice in found.cheapest.items()} == {
        0.005: "keda at 0.5",
        0.02: "keda at 0.7",
    }
    assert found.cheapest_cost(0.005) == pytest.approx(1.7)


def test_without_the_hardest_workload_peers_are_cheaper() -> None:
    hardest = without_hardest(ROWS, 0.005)
    assert hardest is not None
    assert (hardest[0], str(hardest[1]), hardest[1].cost) == ("a", "keda at 0.7", 1.2)


def test_hindsight_picks_a_peer_for_each_workload_and_no_yardstick_of_ours() -> None:
    found = figures(ROWS, 480.0)
    assert {trace: peer and (peer.policy, peer.value) for trace, (_, peer) in found.hindsight.items()} == {
        "a": ("kpa", 0.6),
        "b": ("keda", 0.7),
    }
    assert found.excess_ratio == pytest.approx((0.25 + 0.10) / (0.5 + 0.2))
    assert found.own_worst == 0.002
    assert found.own_cost == pytest.approx(1.175)


def test_without_our_rows_there_are_still_those_of_peers() -> None:
    found = figures([r for r in ROWS if r.policy != OURS], 480.0)
    assert found.hindsight == {}
    assert math.isnan(found.excess_ratio)


def test_the_page_keeps_what_people_wrote_around_its_tables() -> None:
    made = page(f"Before.\n\n{BEGIN}\nold\n{END}\n\nAfter.\n", ROWS)
    assert made.startswith("Before.")
    assert made.endswith("After.\n")
    assert "old" not in made
    assert "| b | rules/default.yaml | 0.10 |" in made
    assert made == page(made, ROWS)


def test_the_page_of_the_league_can_be_made_anew() -> None:
    text = benchmark.PAGE.read_text(encoding="utf-8")
    assert text.count(BEGIN) == text.count(END) == 1
    assert all(name in text for name in BY_NAME if not BY_NAME[name].alike)


def test_the_worlds_of_the_benchmark_have_a_mean_of_20_replicas() -> None:
    trace = benchmark.load(*benchmark.SERIES[2])
    world = benchmark.setting(trace, 480.0)
    assert np.nansum(trace.amount) / (trace.end_s - trace.at_s[0]) / world.capacity == pytest.approx(20.0, rel=0.02)
    assert world.warmup_s == pytest.approx(43_200.0)
