"""A source's own pace: what it says again is no new point, and what it only says again grows old."""

from __future__ import annotations

from collections.abc import Callable, Iterable

import numpy as np
import pytest

from autoscaler.movement import Bounds
from autoscaler.ruleset import RuleSet, Signal
from autoscaler.store import Store
from autoscaler.store.pace import Pace
from autoscaler.types import Frame, Labels
from collectors.pages.reader import PageReader

LABELS: Labels = (("instance", "a:9400"), ("pool", "chat"))
POWER = Signal("watts", "gpu_power_watts", aggregate="sum")
JOULES = Signal("joules", "gpu_energy_joules_total", rate_s=60.0)
SM = Signal("sm", "gpu_sm_active_ratio", aggregate="mean")
SCRAPE_S, COLLECT_S = 5.0, 30.0


def dcgm(collection: int, *, energy: bool = True, sm: float | None = None, busy: int = 0) -> bytes:
    """Four GPUs at 300 W, as collected for the n-th time."""
    lines = []
    for gpu in range(4):
        labels = f'{{gpu="{gpu}",UUID="GPU-{gpu}",Hostname="a"}}'
        lines.append(f"DCGM_FI_DEV_POWER_USAGE{labels} {300 + (collection * 7 + gpu) % 10}")
        lines.append(f"DCGM_FI_DEV_GPU_TEMP{labels} {40 + (collection + gpu) % 5}")
        lines.append(f"DCGM_FI_DEV_GPU_UTIL{labels} {busy}")
        if energy:
            lines.append(
                f"DCGM_FI_DEV_TOTAL_ENERGY_CONSUMPTION{labels} {10**9 + 300_000 * int(COLLECT_S) * collection}"
            )
        if sm is not None:
            lines.append(f"DCGM_FI_PROF_SM_ACTIVE{labels} {sm}")
    return ("\n".join(lines) + "\n").encode()


def watched(
    page: Callable[[float], bytes], until: float, *signals: Signal, start: float = 1000.0
) -> tuple[Store, list[dict[str, Frame]]]:
    """The store and the frames of a tick after each scrape, every 5 s from `start` on, for `until` seconds."""
    store, reader, frames = Store(None), PageReader("a", LABELS, SCRAPE_S), []
    rules = RuleSet("chat", Bounds(0, 9), signals=signals)
    for at in np.arange(start, start + until, SCRAPE_S):
        store.add(reader.read(page(at - start), float(at)))
        frames.append(store.read(rules, float(at)))
    return store, frames


def qualities(frames: Iterable[dict[str, Frame]], name: str) -> list[str]:
    return [frame[name].quality[0] for frame in frames]


def test_an_exporter_that_collects_every_30_s_gives_one_point_for_six_scrapes() -> None:
    store, frames = watched(lambda s: dcgm(int(s // COLLECT_S)), 1200, POWER, JOULES)
    points = frames[-1]["watts"].at
    assert set(np.diff(points[1:])) == {COLLECT_S}
    assert set(qualities(frames, "watts")) == {"fresh"}
    # 4 GPUs at 300 W: the rate is exact although five of six samples of the counter repeat.
    assert set(np.round(frames[-1]["joules"].values[0, 10:], 6)) == {1200.0}
    stats = store.stats()
    assert stats.repeated > 4 * stats.stored


def test_repeats_add_nothing_to_the_lookback_of_a_raw_series_and_the_newest_value_is_judged_once() -> None:
    store, _ = watched(lambda s: dcgm(int(s // COLLECT_S)), 900, POWER)
    now = 1000.0 + 895.0
    frame = store.raw("chat", "gpu_power_watts", (), now, 600.0)
    told = ~np.isnan(frame.values)
    assert told[:, -1].all(), "the newest value stands in the last column"
    assert set(told.sum(axis=1)) <= {20, 21}
    assert set(frame.quality) == {"fresh"}


def test_a_page_that_freezes_is_stale_after_three_of_its_own_intervals_and_its_value_is_held() -> None:
    _, frames = watched(lambda s: dcgm(int(min(s, 600.0) // COLLECT_S)), 900, POWER)
    told = qualities(frames, "watts")
    last_news = 600.0
    assert set(told[: int((last_news + 90) / SCRAPE_S) + 1]) == {"fresh"}
    assert set(told[int((last_news + 95) / SCRAPE_S) :]) == {"stale"}
    assert frames[-1]["watts"].values[0, -1] == frames[int(last_news / SCRAPE_S)]["watts"].values[0, -1]


def test_a_page_that_was_frozen_from_the_start_grows_old_too() -> None:
    """Its energy counter stands, which no living GPU's does."""
    _, frames = watched(lambda s: dcgm(7), 300, POWER)
    assert qualities(frames, "watts")[-1] == "stale"
    assert qualities(frames, "watts")[int(80 / SCRAPE_S)] == "fresh"


def test_a_page_that_is_collected_at_each_scrape_freezes_after_three_scrapes() -> None:
    _, frames = watched(lambda s: dcgm(int(min(s, 200.0) // SCRAPE_S)), 300, POWER)
    told = qualities(frames, "watts")
    assert set(told[: int(215 / SCRAPE_S) + 1]) == {"fresh"}
    assert set(told[int(220 / SCRAPE_S) :]) == {"stale"}


def test_an_engine_that_idles_all_night_stays_fresh() -> None:
    """Nothing on its page moves, and nothing needs to."""
    page = b"vllm:num_requests_running 0\nvllm:num_requests_waiting 0\nvllm:generation_tokens_total 41\n"
    running = Signal("running", "requests_running")
    _, frames = watched(lambda s: page, 3600, running)
    assert set(qualities(frames, "running")) == {"fresh"}
    assert frames[-1]["running"].at.size == 720


def test_a_page_without_an_energy_counter_is_taken_for_a_repetition_only_until_its_next_collection_is_due() -> None:
    store, frames = watched(lambda s: dcgm(int(min(s, 600.0) // COLLECT_S), energy=False), 900, POWER)
    assert set(np.diff(frames[120]["watts"].at[-6:])) == {COLLECT_S}
    assert set(qualities(frames, "watts")) == {"fresh"}, "it may truly stand still"
    assert store.stats().repeated > 0


def test_timestamps_of_a_slow_collection_make_nothing_stale_once_its_pace_is_known() -> None:
    def page(s: float) -> bytes:
        collection = int(s // COLLECT_S)
        stamp = int((1000.0 + collection * COLLECT_S) * 1000)
        return dcgm(collection).replace(b"\n", b" %d\n" % stamp)

    _, frames = watched(page, 900, POWER)
    assert set(qualities(frames, "watts")) == {"fresh"}
    assert set(np.diff(frames[-1]["watts"].at)) == {COLLECT_S}


def test_a_paused_profiler_is_no_idle_gpu() -> None:
    """Its series stand at what they last said while the driver itself says that the GPU works."""
    _, frames = watched(lambda s: dcgm(int(s // SCRAPE_S), sm=0.31, busy=80 + int(s) % 9), 300, SM)
    told = qualities(frames, "sm")
    assert told[10] == "fresh"
    assert told[-1] == "frozen"
    _, frames = watched(lambda s: dcgm(int(s // SCRAPE_S), sm=0.0), 300, SM)
    assert qualities(frames, "sm")[-1] == "fresh", "an idle GPU is busy with nothing"


def test_blanks_of_a_paused_profiler_are_held_and_never_read_as_nothing() -> None:
    blank = 140737488355328.0
    page = lambda s: dcgm(int(s // SCRAPE_S), sm=0.31 + 0.01 * (int(s) % 9) if s < 100 else blank)  # noqa: E731
    _, frames = watched(page, 300, SM)
    assert qualities(frames, "sm")[-1] == "stale"
    assert frames[-1]["sm"].values[0, -1] > 0.3


@pytest.mark.parametrize(
    ("gaps", "learned"),
    [
        pytest.param([30.0] * 5, 30.0, id="a steady pace is learned"),
        pytest.param([30.0, 25.0, 35.0, 30.0], 30.0, id="give or take one scrape"),
        pytest.param([30.0] * 3, 0.0, id="three gaps are too few"),
        pytest.param([30.0, 300.0, 15.0, 600.0], 0.0, id="what moves at random has no pace"),
        pytest.param([5.0] * 6, 5.0, id="news at every scrape"),
    ],
)
def test_the_collect_interval_is_what_the_gaps_between_news_agree_on(gaps: list[float], learned: float) -> None:
    pace, at = Pace(SCRAPE_S), 0.0
    pace.repeats(at, 40, None)
    for gap in gaps:
        at += gap
        assert not pace.repeats(at, 40, None)
    assert pace.collect_s == learned
    assert pace.news_s == max(SCRAPE_S, learned)


def test_a_few_values_that_move_alone_unlearn_the_pace() -> None:
    pace = Pace(SCRAPE_S)
    for n in range(6):
        pace.repeats(30.0 * n, 40, None)
    assert pace.repeats(155.0, 0, None)
    assert not pace.repeats(160.0, 1, None)
    assert not pace.repeats(165.0, 0, None)
