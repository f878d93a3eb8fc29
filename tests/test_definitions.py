"""A signal that means something else under the same name has no past; one that means the same keeps it."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import duckdb
import numpy as np
import pytest

from autoscaler.movement import Bounds
from autoscaler.queries import definition, queries
from autoscaler.ruleset import RuleSet, Signal
from autoscaler.signals import answer
from autoscaler.store import Store
from autoscaler.types import Batch, Frame, Past, SeriesKey
from tests.batches import WAITING, up

RUNNING = "requests_running"
NOON = datetime(2026, 11, 22, 12, tzinfo=UTC).timestamp()
DAY_S = 86400.0
LOAD = Signal("load", WAITING)


def rules(signal: Signal) -> RuleSet:
    return RuleSet("chat", Bounds(0, 9), signals=(signal,))


def tick(store: Store, at: float, waiting: float, signal: Signal = LOAD) -> Frame:
    store.add(up("a", at, {WAITING: waiting, RUNNING: 100.0 + waiting}))
    return store.read(rules(signal), at)["load"]


def past(store: Store, signal: Signal, at: float) -> list[float]:
    return [float(value) for value in store.read(rules(signal), at)["load"].values[0]]


@pytest.mark.parametrize(
    "change",
    [
        pytest.param({"metric": RUNNING}, id="another metric"),
        pytest.param({"aggregate": "max"}, id="another aggregate"),
        pytest.param({"where": (("instance", "a:8000"),)}, id="other series"),
        pytest.param({"rate_s": 60.0}, id="a rate of it"),
        pytest.param({"aggregate": "quantile", "quantile": 0.9}, id="a quantile of it"),
        pytest.param({"promql": "sum(up)"}, id="a query"),
    ],
)
def test_a_signal_that_means_something_else_starts_without_a_past(change: dict[str, object]) -> None:
    store = Store(None)
    for n in range(10):
        tick(store, NOON + 15 * n, float(n))
    frame = tick(store, NOON + 150, 50.0, replace(LOAD, **change))  # type: ignore[arg-type]
    assert frame.at.size <= 1
    assert store.history("chat", "load", 0.0, np.inf)[0].size == frame.at.size


@pytest.mark.parametrize(
    "change",
    [
        pytest.param({"max_age_s": 7.0}, id="the age at which it is stale"),
        pytest.param({"max_hold_s": 7.0}, id="how long it is held"),
        pytest.param({"fallback": ("other",)}, id="what stands in for it"),
    ],
)
def test_what_a_signal_measures_is_not_changed_by(change: dict[str, object]) -> None:
    store = Store(None)
    tick(store, NOON, 1.0)
    assert tick(store, NOON + 15, 2.0, replace(LOAD, **change)).values.tolist() == [[1.0, 2.0]]  # type: ignore[arg-type]


def test_a_change_that_is_taken_back_has_its_past_back() -> None:
    store, other = Store(None), replace(LOAD, metric=RUNNING)
    tick(store, NOON, 1.0)
    tick(store, NOON + 15, 2.0, other)
    tick(store, NOON + 30, 3.0, other)
    assert tick(store, NOON + 45, 4.0).values.tolist() == [[1.0, 4.0]]
    assert tick(store, NOON + 60, 5.0, other).values.tolist() == [[102.0, 103.0, 105.0]]


def test_many_changes_keep_two_pasts_in_memory() -> None:
    store = Store(None)
    for n in range(50):
        tick(store, NOON + 15 * n, 1.0, replace(LOAD, rate_s=60.0 + n))
    assert len(store._history.trails) + len(store._history.replaced) == 2
    store.forget_pool("chat")
    assert len(store._history.trails) + len(store._history.replaced) == 0


def test_every_definition_has_a_history_of_its_own_after_a_restart(tmp_path: Path) -> None:
    store, other = Store(tmp_path), replace(LOAD, metric=RUNNING)
    for n in range(5):
        tick(store, NOON + 15 * n, float(n))
    for n in range(5, 8):
        tick(store, NOON + 15 * n, float(n), other)
    store.close()
    at = NOON + 15 * 8
    again = Store(tmp_path)
    assert again.history("chat", "load", 0.0, np.inf)[1].tolist() == [105.0, 106.0, 107.0]
    assert past(again, other, at) == [105.0, 106.0, 107.0]
    assert past(again, LOAD, at) == [0.0, 1.0, 2.0, 3.0, 4.0]
    assert past(again, replace(LOAD, aggregate="max"), at) == []


def test_history_older_than_memory_is_that_of_the_definition_in_force(tmp_path: Path) -> None:
    store, other = Store(tmp_path, history_s=60.0), replace(LOAD, metric=RUNNING)
    for n in range(4):
        tick(store, NOON + 600 * n, float(n), other if n in (1, 3) else LOAD)
    store.flush()
    assert store.history("chat", "load", 0.0, np.inf)[1].tolist() == [101.0, 103.0]
    tick(store, NOON + 2400, 4.0)
    store.flush()
    assert store.history("chat", "load", 0.0, np.inf)[1].tolist() == [0.0, 2.0, 4.0]
    store.close()


def old_file(folder: Path, at: float, values: list[float]) -> None:
    """A day file as it was written before points said what they measure."""
    name = folder / f"pool-signals-{datetime.fromtimestamp(at, UTC).date().isoformat()}.duckdb"
    with duckdb.connect(str(name)) as file:
        file.execute('CREATE TABLE points (pool VARCHAR, signal VARCHAR, "at" DOUBLE, value DOUBLE, quality UTINYINT)')
        for n, value in enumerate(values):
            file.execute("INSERT INTO points VALUES ('chat', 'load', ?, ?, 0)", [at + 15 * n, value])


def test_files_that_do_not_say_what_was_measured_belong_to_the_first_definition_since(tmp_path: Path) -> None:
    old_file(tmp_path, NOON - DAY_S, [1.0, 2.0])
    old_file(tmp_path, NOON, [3.0, 4.0])
    other = replace(LOAD, metric=RUNNING)
    store = Store(tmp_path)
    assert tick(store, NOON + 60, 5.0).values.tolist() == [[1.0, 2.0, 3.0, 4.0, 5.0]]
    tick(store, NOON + 75, 6.0, other)
    assert tick(store, NOON + 90, 7.0, other).values.tolist() == [[106.0, 107.0]]
    store.close()
    again = Store(tmp_path)
    assert past(again, other, NOON + 105) == [106.0, 107.0]
    assert past(again, LOAD, NOON + 105) == [1.0, 2.0, 3.0, 4.0, 5.0]
    assert Store(tmp_path, history_s=16.0).history("chat", "load", 0.0, np.inf)[1].tolist() == [106.0, 107.0]


def test_old_files_beyond_memory_are_found_too(tmp_path: Path) -> None:
    old_file(tmp_path, NOON - DAY_S, [1.0, 2.0])
    store = Store(tmp_path, history_s=16.0)
    tick(store, NOON + 60, 5.0)
    store.flush()
    assert store.history("chat", "load", 0.0, np.inf)[1].tolist() == [1.0, 2.0, 5.0]
    store.close()


def test_a_past_that_was_asked_for_another_definition_does_not_enter_this_one() -> None:
    store, other = Store(None), replace(LOAD, metric=RUNNING)
    tick(store, NOON + 60, 5.0)
    asked = queries(rules(other))[0]
    assert store.fill(Past("chat", "load", np.array([NOON]), np.array([9.0]), asked.definition)) == 1
    assert tick(store, NOON + 75, 6.0).values.tolist() == [[5.0, 6.0]]
    assert tick(store, NOON + 90, 7.0, other).values.tolist() == [[9.0, 107.0]]


def test_a_past_without_a_definition_is_that_of_the_signal_as_it_is() -> None:
    store = Store(None)
    tick(store, NOON + 60, 5.0)
    store.fill(Past("chat", "load", np.array([NOON]), np.array([9.0])))
    assert tick(store, NOON + 75, 6.0).values.tolist() == [[9.0, 5.0, 6.0]]


def test_an_answer_to_the_query_before_is_no_answer_to_this_one() -> None:
    store, first, second = Store(None), Signal("it", promql="sum(a)"), Signal("it", promql="sum(b)")
    key = SeriesKey(answer("it"), (("pool", "chat"),))

    def answered(at: float, value: float) -> None:
        store.add(Batch("prometheus:chat/it", at, 15.0, (key,), np.array([value]), (("pool", "chat"),)))

    answered(NOON, 1.0)
    assert store.read(rules(first), NOON)["it"].values.tolist() == [[1.0]]
    late = store.read(rules(second), NOON + 5)["it"]
    assert (late.quality, late.values.size) == (("missing",), 0)
    answered(NOON + 15, 2.0)
    now = store.read(rules(second), NOON + 15)["it"]
    assert (now.quality, now.values.tolist()) == (("fresh",), [[2.0]])


def test_every_field_of_a_signal_is_part_of_its_definition_or_known_not_to_be() -> None:
    measured = {"metric", "where", "aggregate", "rate_s", "quantile", "over_s", "promql"}
    other = {"name", "max_age_s", "max_hold_s", "fallback", "forecast", "ahead_s", "of", "forecaster", "steered"}
    other |= {"unusual"}
    assert set(Signal.__dataclass_fields__) == measured | other
    assert definition(LOAD) == definition(replace(LOAD, name="x", fallback=("y",)))
