"""A recorded workload as a counter on the clock that asks."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from autoscaler.errors import InputError
from autoscaler.ports import Collector
from autoscaler.types import Batch, SeriesKey
from collectors.replay import MAX_POINTS, Replay


def write(folder: Path, rows: str) -> Path:
    path = folder / "t.csv"
    path.write_text("t_s,requests,missing\n" + rows)
    return path


@pytest.fixture
def trace(tmp_path: Path) -> Path:
    return write(tmp_path, "0,60,0\n60,120,0\n120,0,0\n180,30,0\n")


def values(batches: tuple[Batch, ...]) -> list[float]:
    return [float(batch.values[0]) for batch in batches if batch.state == "up"]


def test_it_is_a_counter_of_its_pool(trace: Path) -> None:
    replay = Replay(trace, "chat", labels=(("region", "eu"),))
    assert isinstance(replay, Collector)
    (batch,) = replay.collect(1000.0)
    assert batch.keys == (SeriesKey("requests_arrived_total", (("pool", "chat"), ("region", "eu")), counter=True),)
    assert (batch.at, batch.interval_s, batch.state, batch.labels) == (1000.0, 5.0, "up", batch.keys[0].labels)


def test_the_counter_grows_by_the_amount_of_each_bucket(trace: Path) -> None:
    replay = Replay(trace, "chat", interval_s=30.0)
    batches = replay.collect(1000.0) + replay.collect(1240.0)
    assert [batch.at for batch in batches] == [1000 + 30 * n for n in range(9)]
    assert values(batches) == pytest.approx([0, 30, 60, 120, 180, 180, 180, 195, 210])
    assert len({id(batch.keys) for batch in batches}) == 1


def test_speed_start_and_begin_place_the_trace_on_the_clock(trace: Path) -> None:
    replay = Replay(trace, "chat", speed=60.0, start_s=60.0, begin_at=100.0, interval_s=1.0)
    assert replay.collect(99.0) == ()
    assert values(replay.collect(102.0)) == pytest.approx([60, 180, 180])


def test_a_call_gives_only_what_is_new(trace: Path) -> None:
    replay = Replay(trace, "chat")
    replay.collect(0.0)
    assert replay.collect(4.9) == ()
    assert [batch.at for batch in replay.collect(10.0)] == [5.0, 10.0]
    assert replay.collect(10.0) == ()
    assert replay.collect(3.0) == ()


def test_after_the_end_the_source_is_gone_once(trace: Path) -> None:
    replay = Replay(trace, "chat", interval_s=60.0)
    replay.collect(0.0)
    states = [(batch.at, batch.state) for batch in replay.collect(10_000.0)]
    assert states == [(60.0, "up"), (120.0, "up"), (180.0, "up"), (240.0, "up"), (300.0, "gone")]
    assert replay.finished
    assert replay.collect(20_000.0) == ()


def test_a_gap_is_no_data_and_does_not_look_like_idleness_afterwards(tmp_path: Path) -> None:
    path = write(tmp_path, "0,100,0\n60,0,1\n120,300,0\n")
    replay = Replay(path, "chat", interval_s=30.0)
    replay.collect(0.0)
    counted = values(replay.collect(180.0))
    assert counted == pytest.approx([50, np.nan, np.nan, 300, 450, 600], nan_ok=True)


def test_a_jump_of_the_clock_gives_the_newest_points_and_loses_no_count(tmp_path: Path) -> None:
    path = write(tmp_path, "".join(f"{n * 60},60,0\n" for n in range(1440)))
    replay = Replay(path, "chat", interval_s=1.0)
    replay.collect(0.0)
    batches = replay.collect(80_000.0)
    assert len(batches) == MAX_POINTS
    assert batches[-1].at == 80_000.0
    assert values(batches)[-1] == pytest.approx(80_000.0)


@pytest.mark.parametrize(
    ("settings_", "message"),
    [
        pytest.param({"speed": 0.0}, "speed is 0 and must be above 0; 1 is real time", id="no speed"),
        pytest.param({"interval_s": float("nan")}, "interval is nan and must be above 0", id="no interval"),
        pytest.param(
            {"start_s": 240.0}, "start 240 s lies outside the trace; choose within 0 s to 240 s", id="start at the end"
        ),
        pytest.param(
            {"column": "users"}, "users: is not a value column of this file; it has requests", id="no such column"
        ),
    ],
)
def test_settings_that_make_no_sense_are_refused(trace: Path, settings_: dict[str, float], message: str) -> None:
    with pytest.raises(InputError) as caught:
        Replay(trace, "chat", **settings_)  # type: ignore[arg-type]
    assert message in str(caught.value)


@settings(derandomize=True, max_examples=30)
@given(steps=st.lists(st.floats(0.1, 200.0), min_size=1, max_size=20), speed=st.floats(0.1, 20.0))
def test_however_it_is_asked_the_counter_never_falls_and_ends_at_the_sum(
    tmp_path_factory: pytest.TempPathFactory, steps: list[float], speed: float
) -> None:
    path = write(tmp_path_factory.mktemp("trace"), "0,60,0\n60,120,0\n120,0,0\n180,30,0\n")
    replay = Replay(path, "chat", speed=speed, interval_s=240.0 / speed / 16)
    now, counted = 0.0, values(replay.collect(0.0))
    for step in [*steps, 240.0 / speed]:
        now += step
        counted += values(replay.collect(now))
    assert all(a <= b + 1e-9 for a, b in pairwise(counted))
    assert counted[-1] == pytest.approx(210.0)
    assert len(counted) == 17
