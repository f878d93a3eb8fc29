"""What a pool asks of a store that answers queries, and what becomes of the answers."""

import math
from pathlib import Path

import numpy as np
import pytest

from autoscaler.movement import Bounds
from autoscaler.queries import queries
from autoscaler.ruleset import RuleSet, Signal
from autoscaler.signals import answer
from autoscaler.store import Store
from autoscaler.types import Batch, Past, SeriesKey

ORDERS = Signal("orders", promql="sum(rate(orders_total[5m]))")
QUEUE = Signal("queue", metric="requests_waiting", aggregate="mean")
AHEAD = Signal("ahead", forecast="orders")
RULES = RuleSet("chat", Bounds(1, 9), match=(("app", "chat"),), signals=(ORDERS, QUEUE, AHEAD), tick_s=5.0)


def answered(signal: str, at: float, value: float) -> Batch:
    key = SeriesKey(answer(signal), (("pool", "chat"),))
    return Batch(f"prometheus:chat/{signal}", at, 5.0, (key,), np.array([value]), (("pool", "chat"),))


def test_every_measured_signal_asks_and_a_forecast_does_not() -> None:
    orders, queue = queries(RULES)
    assert (orders.signal, orders.promql, orders.metric) == ("orders", ORDERS.promql, None)
    assert (queue.signal, queue.metric, queue.aggregate) == ("queue", "requests_waiting", "mean")
    assert queue.match == (("app", "chat"),)
    assert queue.interval_s == 5.0


def test_an_answer_is_the_value_of_its_signal() -> None:
    store = Store(None)
    store.add(answered("orders", 100.0, 7.5))
    frame = store.read(RULES, 101.0)["orders"]
    assert (frame.values[0, -1], frame.quality[0]) == (7.5, "fresh")


def test_an_old_answer_is_stale_and_says_so() -> None:
    store = Store(None)
    store.add(answered("orders", 100.0, 7.5))
    assert store.read(RULES, 130.0)["orders"].quality[0] == "stale"


def test_a_query_that_nobody_answers_is_missing_with_the_next_step() -> None:
    frame = Store(None).read(RULES, 100.0)["orders"]
    assert frame.quality[0] == "missing"
    assert "configure one such as `prometheus`" in frame.detail[0]


def test_raw_series_of_our_own_come_before_a_stores_answer() -> None:
    store = Store(None)
    store.add(answered("queue", 100.0, 50.0))
    assert store.read(RULES, 101.0)["queue"].values[0, -1] == 50.0
    key = SeriesKey("requests_waiting", (("pool", "chat"), ("app", "chat")))
    store.add(Batch("engine", 102.0, 5.0, (key,), np.array([3.0]), (("pool", "chat"),)))
    assert store.read(RULES, 103.0)["queue"].values[0, -1] == 3.0


def test_a_silent_target_does_not_spoil_a_stores_answer() -> None:
    store = Store(None)
    store.add(Batch("engine", 99.0, 5.0, (), np.empty(0), (("app", "chat"), ("pool", "chat")), "down"))
    store.add(answered("orders", 100.0, 7.5))
    assert store.read(RULES, 101.0)["orders"].quality[0] == "fresh"


@pytest.mark.parametrize(
    ("known", "past", "expected"),
    [
        pytest.param([], [(10.0, 1.0), (15.0, 2.0)], [(10.0, 1.0), (15.0, 2.0)], id="an empty history is filled"),
        pytest.param(
            [(20.0, 9.0)],
            [(10.0, 1.0), (15.0, 2.0), (20.5, 3.0)],
            [(10.0, 1.0), (15.0, 2.0), (20.0, 9.0)],
            id="what we measured ourselves stays",
        ),
        pytest.param(
            [(10.0, 9.0), (40.0, 8.0)],
            [(10.0, 1.0), (20.0, 2.0), (30.0, 3.0)],
            [(10.0, 9.0), (20.0, 2.0), (30.0, 3.0), (40.0, 8.0)],
            id="a gap in the middle is filled",
        ),
        pytest.param([], [(10.0, math.inf), (15.0, 2.0)], [(15.0, 2.0)], id="infinity never enters"),
    ],
)
def test_what_a_source_remembers_fills_gaps_only(
    known: list[tuple[float, float]], past: list[tuple[float, float]], expected: list[tuple[float, float]]
) -> None:
    store = Store(None)
    for at, value in known:
        store.add(answered("orders", at, value))
        store.read(RULES, at)
    at, values = np.array(past).T
    store.fill(Past("chat", "orders", at, values))
    times, points = store.history("chat", "orders", 0.0, 1000.0)
    assert list(zip(times.tolist(), points.tolist(), strict=True)) == expected


def test_a_filled_past_reaches_the_disk(tmp_path: Path) -> None:
    store = Store(tmp_path)
    store.fill(Past("chat", "orders", np.array([10.0, 15.0]), np.array([1.0, 2.0])))
    store.close()
    times, _ = Store(tmp_path).history("chat", "orders", 0.0, 1000.0)
    assert times.tolist() == [10.0, 15.0]


def test_an_answer_is_no_metric_that_some_source_gives() -> None:
    store = Store(None)
    store.add(answered("orders", 100.0, 7.5))
    assert (store.describe(), store.metrics("chat")) == ((), frozenset())


def test_a_store_without_a_number_is_no_target_that_does_not_answer() -> None:
    store = Store(None)
    store.add(answered("orders", 100.0, math.nan))
    assert store.read(RULES, 101.0)["orders"].detail[0] == "prometheus:chat/orders gave no value for 1 s"
