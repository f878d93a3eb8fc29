"""How the pieces of a scrape that others push become rows, and what silence means."""

from __future__ import annotations

import math
import struct
import threading
from itertools import pairwise
from typing import Any

import numpy as np
import pytest

from autoscaler.clock import SystemClock
from autoscaler.store import Store
from autoscaler.types import Post
from collectors.push import Push
from collectors.push.wire import STALE
from tests.peers.pages import until
from tests.pushed import HEADERS, START, TARGET, Pushed, body, message, piece, series, shown, snappy, values

STALE_NAN = struct.unpack("<d", struct.pack("<Q", STALE))[0]


def started(*names: str, interval_s: float = 10.0) -> Pushed:
    """A source with these series whose interval is known: two scrapes have come, at 0 and one interval."""
    pushed = Pushed()
    pushed.write(*piece(0.0, *names))
    pushed.wait(interval_s)
    pushed.write(*piece(interval_s, *names))
    pushed.wait(0.3)
    pushed.batches.clear()
    return pushed


def test_a_scrape_in_one_request_is_a_row_at_once() -> None:
    pushed = started("a", "b")
    pushed.clock.at = START + 20.1
    (batch,) = pushed.write(*piece(20.0, "a", "b", value=3.0))
    assert shown([batch]) == [(20.0, "up", {"a": 3.0, "b": 3.0})]
    assert (batch.interval_s, batch.labels) == (10.0, (("instance", "a:1"), ("job", "engines"), ("pool", "chat")))
    assert set(batch.labels) <= set(batch.keys[0].labels)


def test_a_scrape_that_was_cut_is_one_row_when_its_end_has_come() -> None:
    pushed = started("a", "b", "c")
    pushed.clock.at = START + 20.1
    assert pushed.write(*piece(20.0, "a", "b")) == []
    assert shown(pushed.write(*piece(20.0, "c"))) == [(20.0, "up", {"a": 1.0, "b": 1.0, "c": 1.0})]


def test_an_end_that_does_not_come_is_not_waited_for_and_completes_the_row_later() -> None:
    """As with 700 series and requests of 500: the end of a scrape comes with the beginning of the next."""
    pushed = started("a", "b")
    keys = pushed.write(*piece(20.0, "a", value=5.0)) or pushed.wait(10.1)[0].keys
    assert shown(pushed.batches) == [(20.0, "up", {"a": 5.0, "b": pytest.approx(math.nan, nan_ok=True)})]
    pushed.clock.at = START + 30.1
    whole = pushed.write(*piece(20.0, "b", value=6.0), *piece(30.0, "a", value=7.0))
    assert shown(whole) == [(20.0, "up", {"a": 5.0, "b": 6.0})]
    assert whole[0].at > START + 20.0, "a float's breadth later, or the store would refuse it"
    assert shown(pushed.write(*piece(30.0, "b", value=8.0))) == [(30.0, "up", {"a": 7.0, "b": 8.0})]
    assert all(batch.keys is keys for batch in pushed.batches)
    assert pushed.skipped() == {}


def test_pieces_lose_nothing_on_the_way_to_the_store() -> None:
    store, pushed = Store(None), Pushed()
    names = [f"m{n}_total" for n in range(7)]
    rows = [(t, name, float(n + t)) for t in range(0, 300, 5) for n, name in enumerate(names)]
    for cut in range(0, len(rows), 5):
        pushed.clock.at = START + rows[min(cut + 4, len(rows) - 1)][0] + 0.1
        pushed.write(*[series(name, (START + t, value)) for t, name, value in rows[cut : cut + 5]])
    pushed.wait(1.0)
    for batch in pushed.batches:
        store.add(batch)
    frame = store.raw("chat", "m3_total", (), START + 300.0, 300.0)
    assert store.stats().late == 0
    assert np.nansum(frame.values[0]) == pytest.approx(295.0), "the increase of the counter, each rise counted once"


def test_shards_that_lag_lose_samples_only_until_their_lag_is_known() -> None:
    """Two shards of a source that speaks each second, the second of them five seconds behind the first."""
    pushed = started("a", "b", interval_s=1.0)
    lost = []
    for t in range(2, 120):
        pushed.clock.at = START + t + 0.1
        if t % 5 == 0:
            pushed.write(*[one for s in range(t - 4, t + 1) for one in piece(s, "a", value=s)])
        if t % 5 == 3 and t > 5:
            pushed.write(*[one for s in range(t - 7, t - 2) for one in piece(s, "b", value=s)])
        pushed.wait(0.5)
        lost.append(pushed.skipped().get("late", 0))
    assert lost[60] == lost[-1] < 30
    late = [b for b in pushed.batches if b.at > START + 70 and values(b)]
    assert sum(not math.isnan(values(b)["b"]) for b in late) >= 40


def test_a_series_dated_behind_its_page_joins_the_newest_row() -> None:
    """As on a page with timestamps of its own; the row is handed on without waiting for what will not come."""
    pushed = started("a", "b", interval_s=15.0)
    for n in range(2, 10):
        pushed.clock.at = START + 15.0 * n + 0.1
        pushed.write(*piece(15.0 * n, "a", value=n), *piece(15.0 * n - 40.0, "b", value=n) if n > 4 else [])
        pushed.wait(0.3)
    told = [values(b)["b"] for b in pushed.batches if not math.isnan(values(b)["b"])]
    assert told == [5.0, 6.0, 7.0, 8.0, 9.0]
    assert pushed.skipped() == {}
    assert all(a.at < b.at for a, b in pairwise(pushed.batches))


def test_a_series_dated_far_behind_its_page_is_late_and_slows_nobody() -> None:
    pushed = started("a", "b", interval_s=15.0)
    for n in range(2, 30):
        pushed.clock.at = START + 15.0 * n + 0.1
        pushed.write(*piece(15.0 * n, "a", value=n), *piece(15.0 * n - 100.0, "b", value=n) if n > 10 else [])
        pushed.wait(0.3)
    assert pushed.skipped() == {"late": 19}
    assert [round(b.at - START) for b in pushed.batches[-3:]] == [15 * 27, 15 * 28, 15 * 29]


def test_what_comes_and_goes_leaves_nothing_behind() -> None:
    """A day in which each of 40 targets lives for half an hour, and one of two series lives a minute."""
    pushed = Pushed()
    for n in range(24 * 60):
        pushed.clock.at = START + 60.0 * n
        target = {"instance": f"pod-{n // 36}:1"}
        pushed.write(
            ({**TARGET, **target, "__name__": "a"}, [(START + 60.0 * n, 1.0)]),
            ({**TARGET, **target, "__name__": "a", "request": f"r{n}"}, [(START + 60.0 * n, 1.0)]),
        )
        pushed.wait(0.3)
        pushed.batches.clear()
        assert pushed.push.sources <= 2
        assert pushed.push._sources.series < 60
        assert len(pushed.push._remote_write._reader) < 60
    assert pushed.push._remote_write._used < 120
    assert pushed.skipped() == {}


def test_series_that_ended_are_missing_and_then_forgotten() -> None:
    pushed = started("a", "b")
    for n in range(2, 8):
        pushed.clock.at = START + 10.0 * n + 0.1
        ended = piece(20.0, "b", value=STALE_NAN) if n == 2 else []
        pushed.write(*piece(10.0 * n, "a", value=n), *ended)
        pushed.wait(0.3)
    at_end = next(b for b in pushed.batches if round(b.at - START) == 20)
    assert math.isnan(values(at_end)["b"])
    assert values(pushed.batches[-1]) == {"a": 7.0}


def test_a_target_whose_page_could_not_be_had_is_down() -> None:
    """Prometheus then writes up = 0 and ends every other series; vmagent does the same."""
    pushed = started("a", "up")
    pushed.clock.at = START + 20.1
    batches = pushed.write(*piece(20.0, "a", value=STALE_NAN), *piece(20.0, "up", value=0.0))
    assert shown(batches) == [(20.0, "down", {})]
    pushed.clock.at = START + 30.1
    pushed.write(*piece(30.0, "a", "up"))
    assert shown(pushed.batches[-1:]) == [(30.0, "up", {"a": 1.0, "up": 1.0})]


def test_a_target_that_ended_is_down_at_once_and_gone_later() -> None:
    pushed = started("a", "up")
    pushed.clock.at = START + 20.1
    pushed.write(*piece(20.0, "a", "up", value=STALE_NAN))
    pushed.wait(700.0)
    assert [b.state for b in pushed.batches] == ["down", "gone"]


def test_a_target_that_falls_silent_is_down_after_three_intervals_once_and_gone_later() -> None:
    pushed = started("a")
    states = [(n, b.state) for n in range(1, 70) for b in pushed.wait(10.0)]
    assert states == [(3, "down"), (60, "gone")]
    assert pushed.push.sources == 0
    (again,) = [*pushed.write(*piece(10.3 + 690.0, "a")), *pushed.wait(0.3)]
    assert again.state == "up", "and it is known anew when it is back"


@pytest.mark.parametrize(
    ("request_", "reason"),
    [
        (piece(10.0, "a", "b"), "out_of_order"),
        (piece(5.0, "a", "b"), "out_of_order"),
        (piece(-1201.0, "a", "b"), "too_old"),
        (piece(100.0, "a", "b"), "ahead"),
        ([*piece(20.0, "a", "a"), *piece(20.0, "b")], "duplicates"),
    ],
    ids=["seen already", "older than seen", "older than the window", "from the future", "twice in one request"],
)
def test_samples_of_no_use_are_counted_and_harm_nobody(request_: list[Any], reason: str) -> None:
    pushed = started("a", "b")
    pushed.clock.at = START + 20.1
    pushed.write(*request_)
    assert list(pushed.skipped()) == [reason]
    pushed.clock.at = START + 30.1
    (row,) = pushed.write(*piece(30.0, "a", "b"))[-1:]
    assert shown([row]) == [(30.0, "up", {"a": 1.0, "b": 1.0})]


def test_what_is_no_sample_is_counted() -> None:
    pushed, made = Pushed(), message(*piece(0.0, "a"))
    made.timeseries[0].exemplars.append(b"")
    made.timeseries[0].histograms.append(b"")
    made.metadata.append(b"\x08\x01")
    pushed.post("remote_write", snappy(made.SerializeToString()))
    assert pushed.skipped() == {"exemplars": 1, "histograms": 1, "metadata": 1}
    assert shown(pushed.wait(0.3)) == [(0.0, "up", {"a": 1.0})]


def test_several_samples_of_a_series_in_one_request_are_rows_of_their_own() -> None:
    pushed = started("a")
    pushed.clock.at = START + 50.1
    batches = pushed.write(series("a", (START + 40.0, 4.0), (START + 20.0, 2.0), (START + 30.0, 3.0)))
    assert shown(batches) == [(20.0, "up", {"a": 2.0}), (30.0, "up", {"a": 3.0}), (40.0, "up", {"a": 4.0})]


def test_the_interval_is_learned_and_the_store_keeps_the_first_row() -> None:
    store, pushed = Store(None), Pushed()
    for t in (0.0, 5.0, 10.003, 14.998):
        pushed.clock.at = START + t + 0.3
        pushed.write(*piece(t, "a", value=t + 1.0))
        pushed.wait(0.3)
    for batch in pushed.batches:
        store.add(batch)
    assert [b.interval_s for b in pushed.batches] == [15.0, 5.0, 5.0, 5.0, 5.0]
    frame = store.raw("chat", "a", (), START + 15.0, 60.0)
    assert frame.values[0].tolist() == pytest.approx([1.0, 6.0, 11.003, 15.998], abs=1e-3)


def test_a_sender_whose_clock_was_set_back_is_heard_again() -> None:
    pushed = started("a")
    pushed.clock.at = START + 5.0
    for t in (-100.0, -90.0, -80.0, -70.0):
        pushed.write(*piece(t, "a", value=t))
        pushed.wait(0.3)
    assert values(pushed.batches[-1]) == {"a": -70.0}


def test_names_of_engines_and_exporters_become_canonical() -> None:
    pushed = Pushed()
    pushed.write(
        series("vllm:num_requests_waiting", (START, 7.0), engine="0", model_name="m"),
        series("DCGM_FI_DEV_GPU_UTIL", (START, 85.0), UUID="GPU-1", gpu="0"),
        series("DCGM_FI_DEV_FB_USED", (START, 9223372036854775794.0), UUID="GPU-1", gpu="0"),
    )
    (batch,) = pushed.wait(0.3)
    found = values(batch)
    assert found["requests_waiting"] == 7.0
    assert found["gpu_busy_ratio"] == 0.85
    assert math.isnan(found["gpu_memory_used_bytes"])
    assert pushed.skipped() == {"unusable": 1}
    assert {key.label("pool") for key in batch.keys} == {"chat"}


def test_a_row_is_handed_on_by_the_thread_that_slept_because_nothing_had_ever_come() -> None:
    """It looks once a minute then; the first row, which nothing completes, is due after a quarter of a second."""
    wake, clock = threading.Event(), SystemClock()
    push = Push(clock, wake)
    push.start()
    try:
        until(lambda: push._looks_at < math.inf, "a first look")
        sent = body(series("a", (clock.now(), 1.0)))
        assert push.receive(Post("remote_write", sent, HEADERS)).status == 204
        assert wake.wait(10.0), "the row was not handed on"
        assert [values(batch) for batch in push.collect(clock.now())] == [{"a": 1.0}]
    finally:
        push.stop()
