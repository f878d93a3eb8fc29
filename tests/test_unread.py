"""Series that nobody had room to read are unknown to the pool, and it says so."""

from __future__ import annotations

import numpy as np
import pytest

from autoscaler.movement import Bounds
from autoscaler.ruleset import RuleSet, Signal
from autoscaler.store import Store
from autoscaler.types import Batch, Frame, SeriesKey
from collectors.pages.reader import Limits, PageReader, Room

STEP_S = 5.0
MATCH = (("app", "chat"),)


def judged(store: Store, signal: Signal, at: float, match: tuple[tuple[str, str], ...] = ()) -> Frame:
    return store.read(RuleSet("chat", Bounds(0, 9), match=match, signals=(signal,)), at)[signal.name]


def reader(room: Room, labels: tuple[tuple[str, str], ...] = (("pool", "chat"),)) -> PageReader:
    return PageReader("node", (("instance", "node"), *labels), STEP_S, room=room)


def gpus(*fields: str, count: int = 4, pod: str = "p") -> bytes:
    lines = [
        f'DCGM_FI_{field}{{gpu="{gpu}",UUID="GPU-{gpu}",Hostname="n",pod="{pod}",namespace="x"}} 0.5'
        for gpu in range(count)
        for field in fields
    ]
    return ("\n".join(lines) + "\n").encode()


def filled(page: bytes, room: Room, scrapes: int = 3) -> tuple[Store, Batch]:
    store, known = Store(None), reader(room)
    for n in range(scrapes):
        batch = known.read(page, n * STEP_S)
        store.add(batch)
    return store, batch


def test_a_pool_that_lost_series_to_the_limit_is_partial_and_says_so() -> None:
    store, batch = filled(gpus("PROF_SM_ACTIVE"), Room(series=3))
    assert dict(batch.unread)["gpu_sm_active_ratio"] == 1
    frame = judged(store, Signal("it", "gpu_sm_active_ratio", aggregate="count"), 10.0)
    assert (frame.quality, frame.values[0, -1]) == (("partial",), 3.0)
    assert frame.detail == ("1 series of gpu_sm_active_ratio found no room; scrape fewer, or raise max_series",)
    assert frame.upper is not None
    assert frame.upper[0] == 4.0


def test_a_metric_of_which_nothing_found_room_is_missing_and_says_so() -> None:
    store, _ = filled(gpus("PROF_SM_ACTIVE", count=3) + b"requests_waiting 7\n", Room(series=3))
    frame = judged(store, Signal("it", "requests_waiting"), 10.0)
    assert frame.quality == ("missing",)
    assert "1 series of requests_waiting found no room" in frame.detail[0]


@pytest.mark.parametrize(
    ("lost", "derived"),
    [
        pytest.param("PROF_SM_ACTIVE", "gpu_saturation_ratio", id="activity and saturation"),
        pytest.param("DEV_FB_USED", "gpu_memory_used_ratio", id="memory and its share"),
        pytest.param("DEV_FB_FREE", "gpu_memory_total_bytes", id="memory and its total"),
        pytest.param("DEV_XID_ERRORS", "gpu_xid_events_total", id="the last fault and their count"),
        pytest.param("DEV_GPU_TEMP", "gpu_up", id="anything of a GPU and whether it is there"),
    ],
)
def test_what_is_computed_from_a_lost_series_is_partial_with_it(lost: str, derived: str) -> None:
    fields = ("PROF_SM_ACTIVE", "DEV_FB_USED", "DEV_FB_FREE", "DEV_XID_ERRORS", "DEV_GPU_TEMP")
    others = tuple(field for field in fields if field != lost)
    store, _ = filled(gpus(lost, *others, count=1) + gpus(*others, lost, count=2), Room(series=9))
    frame = judged(store, Signal("it", derived, aggregate="count"), 10.0)
    assert frame.quality == ("partial",)


def test_arrivals_that_are_added_up_without_one_engine_s_part_are_partial() -> None:
    page = b'vllm:request_success_total{model_name="m"} 5\nvllm:num_requests_running{model_name="m"} 1\n'
    store, batch = filled(page + b'vllm:num_requests_waiting{model_name="m"} 1\n', Room(series=2))
    assert dict(batch.unread)["requests_arrived_total"] == 1
    assert judged(store, Signal("it", "requests_arrived_total"), 10.0).quality != ("fresh",)


def test_a_target_s_own_limit_leaves_the_same_trace() -> None:
    known = PageReader("node", (("pool", "chat"),), STEP_S, limits=Limits(series=3))
    assert dict(known.read(gpus("PROF_SM_ACTIVE"), 0.0).unread)["gpu_sm_active_ratio"] == 1


def test_what_has_no_meaning_for_us_is_not_missed() -> None:
    _, batch = filled(gpus("PROF_SM_ACTIVE", count=3) + b"a_created 1\n", Room(series=3))
    assert batch.unread == ()


def test_a_page_that_fits_again_is_whole_at_once() -> None:
    room = Room(series=4)
    store, known, other = Store(None), reader(room), reader(room)
    other.read(b"a 1\n", 0.0)
    signal = Signal("it", "gpu_sm_active_ratio", aggregate="count")
    store.add(known.read(gpus("PROF_SM_ACTIVE"), 0.0))
    assert judged(store, signal, 0.0).quality == ("partial",)
    other.close()
    store.add(known.read(gpus("PROF_SM_ACTIVE"), STEP_S))
    frame = judged(store, signal, STEP_S)
    assert (frame.quality, frame.values[0, -1]) == (("fresh",), 4.0)


def test_pods_that_are_gone_make_way_for_those_that_are_there() -> None:
    room = Room(series=6)
    store, known = Store(None), reader(room)
    store.add(known.read(gpus("PROF_SM_ACTIVE", pod="old"), 0.0))
    for n in (1, 2):
        store.add(known.read(gpus("PROF_SM_ACTIVE", pod="new"), n * STEP_S))
    frame = judged(store, Signal("it", "gpu_sm_active_ratio", aggregate="count"), 2 * STEP_S)
    assert (frame.quality, frame.values[0, -1]) == (("fresh",), 4.0)


def test_a_target_that_is_gone_leaves_nothing_missing() -> None:
    store, _ = filled(gpus("PROF_SM_ACTIVE"), Room(series=3))
    store.add(Batch("node", 15.0, STEP_S, (), np.empty(0), (("instance", "node"), ("pool", "chat")), "gone"))
    other = SeriesKey("gpu_sm_active_ratio", (("pool", "chat"),))
    store.add(Batch("other", 15.0, STEP_S, (other,), np.ones(1), (("pool", "chat"),)))
    assert judged(store, Signal("it", "gpu_sm_active_ratio"), 15.0).quality == ("fresh",)


@pytest.mark.parametrize(
    ("app", "quality"),
    [
        pytest.param("chat", "partial", id="of a target that the pool's match takes in"),
        pytest.param("mail", "fresh", id="not of another one"),
    ],
)
def test_series_without_a_pool_are_missed_by_the_pool_that_they_would_belong_to(app: str, quality: str) -> None:
    store = Store(None)
    store.add(reader(Room(series=3), (("app", app),)).read(gpus("PROF_SM_ACTIVE"), 0.0))
    own = SeriesKey("gpu_sm_active_ratio", MATCH)
    store.add(Batch("own", 0.0, STEP_S, (own,), np.ones(1), MATCH))
    assert judged(store, Signal("it", "gpu_sm_active_ratio"), 0.0, MATCH).quality == (quality,)
