"""The data of a pool's charts: one time base, gaps that are null, thinning that loses no peak, and limits."""

from __future__ import annotations

import json
import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from autoscaler.api.room.pool.grid import grid, lines, steps
from autoscaler.journal import Entry
from autoscaler.rulefile.watch import RuleBook
from autoscaler.types import Judged, Learned, Memory, Outlook, Past, Plan
from tests.apiworld import ApiWorld, api_world
from tests.roomworld import Browser
from tests.worlds import NOW

DAY_S = 86400.0


@pytest.fixture
def world(tmp_path: Path) -> ApiWorld:
    return api_world(tmp_path)


def fill(world: ApiWorld, signal: str, values: np.ndarray, step_s: float = 15.0) -> None:
    """The past of a signal, the last point at NOW - 1 s."""
    at = NOW - 1.0 - step_s * np.arange(values.size - 1, -1, -1)
    world.deps.store.fill(Past("chat", signal, at, values))


def asked(world: ApiWorld, **query: object) -> dict[str, object]:
    answer = Browser(world).sign_in("viewer").ask("GET", "/ui/pools/chat/series", params=query)
    assert answer.status_code == 200, answer.text
    found = answer.json()
    assert isinstance(found, dict)
    return found


def column(found: dict[str, object], name: str) -> list[float | None]:
    columns = found["columns"]
    assert isinstance(columns, dict)
    return list(columns[name])


# --- the grid ------------------------------------------------------------------------------------------------------


@given(
    values=arrays(np.float64, st.integers(2, 4000), elements=st.floats(-1e6, 1e6)),
    rows=st.integers(10, 400),
)
@settings(derandomize=True, deadline=None, max_examples=60)
def test_thinning_keeps_the_least_and_the_greatest_of_every_stretch(values: np.ndarray, rows: int) -> None:
    at = np.arange(values.size, dtype=np.float64) * 15.0
    base = grid(0.0, float(at[-1]) + 15.0, rows, 15.0)
    shown = lines(base, at, values, 45.0)
    assert shown.size == base.at.size <= rows
    assert np.nanmin(shown) == values.min()
    assert np.nanmax(shown) == values.max()
    known = shown[np.isfinite(shown)]
    assert known.size > 0
    assert np.all(np.diff(base.at) > 0)


def test_extremes_of_a_cell_stand_in_the_order_in_which_they_came() -> None:
    at, values = np.arange(1000.0), np.full(1000, 5.0)
    values[101], values[103] = 90.0, -3.0
    values[507], values[501] = 90.0, -3.0
    base = grid(0.0, 1000.0, 101, 1.0)
    shown = lines(base, at, values, 3.0)
    assert base.thinned
    assert shown[10:12].tolist() == [90.0, -3.0]
    assert shown[50:52].tolist() == [-3.0, 90.0]


@pytest.mark.parametrize("rows", [4000, 20], ids=["fine", "thinned"])
def test_the_last_row_says_what_is_newest(rows: int) -> None:
    at, values = np.arange(0.0, 3000.0, 15.0), np.full(200, 5.0)
    values[-3:] = 90.0, 7.0, 8.0
    base = grid(0.0, 3000.0, rows, 15.0)
    assert base.at[-1] == 3000.0
    assert lines(base, at, values, 45.0)[-1] == 8.0
    assert steps(base, at, values, 45.0)[-1] == 8.0
    later = grid(0.0, 3500.0, rows, 15.0)
    assert math.isnan(lines(later, at, values, 45.0)[-1])


def test_a_gap_is_not_bridged_and_a_late_point_is() -> None:
    at = np.array([0.0, 10.0, 20.0, 45.0, 200.0, 210.0])
    base = grid(0.0, 220.0, 400, 10.0)
    shown = lines(base, at, np.arange(6.0), 30.0)
    between = shown[(base.at > 50) & (base.at < 195)]
    assert np.isnan(between).all()
    assert np.isfinite(shown[(base.at > 20) & (base.at < 45)]).all()


def test_a_value_that_is_known_to_be_unknown_breaks_the_line() -> None:
    at, values = np.arange(0.0, 90.0, 10.0), np.arange(9.0)
    values[4] = math.nan
    base = grid(0.0, 90.0, 400, 10.0)
    shown = lines(base, at, values, 30.0)
    assert np.isnan(shown[(base.at > 35) & (base.at < 49)]).all()


@pytest.mark.parametrize("rows", [400, 20], ids=["fine", "thinned"])
def test_a_step_stays_until_the_next_and_ends_when_nobody_repeats_it(rows: int) -> None:
    at, values = np.array([0.0, 100.0, 300.0, 2000.0]), np.array([2.0, 5.0, math.nan, 7.0])
    base = grid(0.0, 2400.0, rows, 15.0)
    shown = steps(base, at, values, 500.0)

    def seen(since: float, until: float) -> set[float]:
        found = shown[(base.at > since) & (base.at < until)]
        return {float(v) for v in found if math.isfinite(v)}

    assert seen(240, 300) <= {5.0}
    assert seen(480, 1900) == set()
    assert seen(2150, 2400) == {7.0}
    assert {2.0, 5.0, 7.0} <= seen(0, 2400)


def test_a_short_burst_of_replicas_is_seen_in_a_week() -> None:
    at = np.array([0.0, 3 * DAY_S, 3 * DAY_S + 40])
    beats = np.arange(0, 7 * DAY_S, 600.0)
    all_at = np.sort(np.concatenate((at, beats)))
    values = np.where((all_at >= at[1]) & (all_at < at[2]), 40.0, 4.0)
    base = grid(0.0, 7 * DAY_S, 800, 15.0)
    shown = steps(base, all_at, values, 1200.0)
    assert (shown == 40.0).sum() == 1


# --- the route -----------------------------------------------------------------------------------------------------


def test_every_column_has_a_value_or_null_for_every_instant(world: ApiWorld) -> None:
    values = np.full(200, 50.0)
    values[80:120] = math.nan
    fill(world, "load", values)
    found = asked(world)
    at = found["at"]
    assert isinstance(at, list)
    assert at == sorted(at)
    for rows in found["columns"].values():  # type: ignore[attr-defined]
        assert len(rows) == len(at)
    load = column(found, "s:load")
    gap = [v for t, v in zip(at, load, strict=True) if NOW - 1 - 15 * 119 < t < NOW - 1 - 15 * 81]
    assert gap
    assert set(gap) == {None}
    assert load[-1] == 50.0


def test_a_spike_of_one_sample_survives_a_week(world: ApiWorld) -> None:
    values = np.full(int(7 * DAY_S / 15), 10.0)
    values[12_345], values[23_456] = 987.0, 1.0
    fill(world, "load", values)
    found = asked(world, since=NOW - 7 * DAY_S, until=NOW, points=300)
    load = column(found, "s:load")
    assert found["thinned"] is True
    assert len(load) <= 300
    assert {987.0, 1.0, 10.0} <= set(load)


def test_sizes_are_those_of_every_tick(world: ApiWorld) -> None:
    for n in range(60):
        sizes = {"want": 4.0 + (n > 30), "ready": 4.0 if n != 45 else math.nan, "pending": float(n == 31)}
        world.deps.store.note("chat", NOW - 15 * (59 - n) - 1, sizes)
    found = asked(world, since=NOW - 800, until=NOW)
    assert set(column(found, "pending")) == {0.0, 1.0}
    assert column(found, "want")[-1] == 5.0
    assert None in column(found, "ready")
    assert column(found, "ready")[-1] == 4.0


def test_sizes_from_before_ticks_were_kept_come_from_the_journal(world: ApiWorld) -> None:
    world.deps.store.note("chat", NOW - 100, {"want": 6.0, "ready": 5.0, "pending": 1.0})
    found = asked(world, since=NOW - 1000, until=NOW)
    assert column(found, "want")[-1] == 6.0
    assert 8.0 in column(found, "want")
    assert 3.0 in column(found, "ready")


def test_decisions_that_changed_the_size_are_marks_and_bands_are_as_they_judged(world: ApiWorld) -> None:
    fill(world, "queue", np.full(100, 3.0))
    last = world.deps.board.pools()["chat"].decision
    assert last is not None
    judged = (
        Judged("queue above 20", "queue", False, 3.0, None, 20.0, ""),
        Judged("queue above 3 sigma", "queue", False, 3.0, -4.0, 11.0, ""),
    )
    for number, ago in ((9, 200.0), (10, 100.0), (11, 0.0)):
        one = replace(last, number=number, at=NOW - ago, current=8, want=number, judged=judged)
        world.deps.journal.record([Entry(one, Plan("chat", number), (), Memory(number=number))])
    found = asked(world, since=NOW - 900, until=NOW + 1)
    assert found["marks"] == [
        {"number": number, "at": NOW - ago, "before": before, "after": number}
        for number, ago, before in ((9, 200.0, 8), (10, 100.0, 9), (11, 0.0, 10))
    ]
    assert {v for v in column(found, "high:queue") if v is not None} == {11.0}
    assert {v for v in column(found, "low:queue") if v is not None} == {-4.0}


class Knows:
    """A worker that knows one forecast."""

    def __init__(self, outlook: Outlook) -> None:
        self.outlook = outlook

    def learned(self, _: str) -> Learned:
        return Learned({"ahead": self.outlook})

    def success(self, _: str, __: float) -> dict[str, float]:
        return {}


def test_a_forecast_is_a_band_from_what_is_measured_now_to_its_horizons(tmp_path: Path) -> None:
    growth = ((1.0, 1.1), (1.2, 1.5), (1.4, math.nan))
    outlook = Outlook(NOW - 60, "v1", "peak", (300.0, 900.0), (0.5, 0.9, 0.99), growth)
    world = api_world(tmp_path, foresight=Knows(outlook))
    text = world.rules_file.read_text("utf-8") + "  - {name: soon, target: {signal: ahead, per_replica: auto}}\n"
    text = text.replace("rules:", "  ahead: {forecast: load, of: peak, at: 5m}\nrules:", 1)
    world.rules_file.write_text(text, "utf-8")
    view = world.deps.board.pools()["chat"]
    world.deps.board.publish(replace(view, rules=RuleBook(world.rules_file).current()["chat"]))
    fill(world, "load", np.full(100, 50.0))
    found = asked(world, since=NOW - 900, until=NOW)
    assert found["at"][-3:] == [NOW, NOW + 300, NOW + 900]  # type: ignore[index]
    assert column(found, "q0.5")[-3:] == [60.0, 50.0, 55.0]
    assert column(found, "q0.99")[-3:] == [60.0, 70.0, None]
    assert column(found, "s:load")[-3:] == [50.0, None, None]
    charts = found["charts"]
    assert isinstance(charts, list)
    assert charts[0]["bands"] == [["q0.99", "q0.5"]]
    assert charts[0]["note"] == "Forecasts: the highest until then."
    past = asked(world, since=NOW - 900, until=NOW - 300)
    assert "q0.5" not in past["columns"]  # type: ignore[operator]


@pytest.mark.parametrize(
    ("query", "status"),
    [
        pytest.param({"since": NOW, "until": NOW - 10}, 422, id="backwards"),
        pytest.param({"since": NOW - 40 * DAY_S}, 422, id="too long"),
        pytest.param({"points": 100_000}, 422, id="too many points"),
        pytest.param({"points": 0}, 422, id="no points"),
        pytest.param({"since": "nan"}, 422, id="no number"),
        pytest.param({"since": 0, "until": 900}, 200, id="before anything"),
    ],
)
def test_limits_of_what_may_be_asked(world: ApiWorld, query: dict[str, object], status: int) -> None:
    answer = Browser(world).sign_in("viewer").ask("GET", "/ui/pools/chat/series", params=query)
    assert answer.status_code == status
    json.loads(answer.text, parse_constant=lambda name: pytest.fail(f"{name} is no JSON"))


def test_data_of_charts_is_for_those_who_signed_in(world: ApiWorld) -> None:
    assert Browser(world).ask("GET", "/ui/pools/chat/series").status_code == 401


def test_an_unknown_pool_has_no_data(world: ApiWorld) -> None:
    answer = Browser(world).sign_in("viewer").ask("GET", "/ui/pools/caht/series")
    assert answer.status_code == 404
    assert "did you mean 'chat'?" in answer.json()["detail"]
