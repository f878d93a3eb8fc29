"""A GPU whose pod changes is one GPU at every instant; what really vanishes is still missed."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np
import pytest

from autoscaler.movement import Bounds
from autoscaler.ruleset import RuleSet, Signal
from autoscaler.store import Store
from autoscaler.store.succession import USERS
from autoscaler.types import Batch, Frame, Labels, SeriesKey
from collectors.dcgm.labels import WORK_LABELS
from collectors.pages.reader import PageReader
from collectors.pages.resolve import resolve
from collectors.push.source import Source

STEP_S, GPUS = 5.0, 8
BEGUN = 1_000_000.0
RULES = RuleSet(
    "chat",
    Bounds(0, 9),
    signals=(
        Signal("watts", "gpu_power_watts"),
        Signal("gpus", "gpu_power_watts", aggregate="count"),
        Signal("drawn", "gpu_energy_joules_total", rate_s=15.0),
        Signal("saturation", "gpu_saturation_ratio", aggregate="count"),
        Signal("frames", "gpu_memory_used_bytes", aggregate="count"),
    ),
)
FIELDS: dict[str, Callable[[float], float]] = {
    "DEV_POWER_USAGE": lambda at: 100.0,
    "DEV_TOTAL_ENERGY_CONSUMPTION": lambda at: (at - BEGUN + 1000.0) * 100_000.0,
    "PROF_SM_ACTIVE": lambda at: 0.5,
    "DEV_FB_USED": lambda at: 1000.0,
}
Users = tuple[str, ...]


class Node:
    """One page of GPUs, read and stored as the service does it. The pods of each GPU: none, one, or several at once."""

    def __init__(self) -> None:
        self.reader = PageReader("node", (("instance", "node"), ("pool", "chat")), STEP_S)
        self.store = Store(None)
        self.at = BEGUN
        self.keys: tuple[SeriesKey, ...] = ()

    def scrape(self, pods: Mapping[int, Users], times: int = 1) -> dict[str, Frame]:
        for _ in range(times):
            self.at += STEP_S
            batch = self.reader.read(page(pods, self.at), self.at)
            self.store.add(batch)
            self.keys = batch.keys
            frames = self.store.read(RULES, self.at)
        return frames


def page(pods: Mapping[int, Users], at: float) -> bytes:
    lines = []
    for field, value in FIELDS.items():
        for gpu, users in pods.items():
            device = f'gpu="{gpu}",UUID="GPU-{gpu}",Hostname="n"'
            work = [f',namespace="x",container="c",pod="{user}"' for user in users] or [""]
            lines += [f"DCGM_FI_{field}{{{device}{own}}} {value(at) + gpu:.6f}" for own in work]
    return ("\n".join(lines) + "\n").encode()


def everyone(*users: str) -> dict[int, Users]:
    return dict.fromkeys(range(GPUS), users)


def counted(frames: Mapping[str, Frame]) -> dict[str, tuple[float, str]]:
    return {name: (float(frame.values[0, -1]), frame.quality[0]) for name, frame in frames.items()}


WHOLE = {
    "watts": (8 * 100.0 + 28.0, "fresh"),
    "gpus": (8.0, "fresh"),
    "drawn": (8 * 100.0, "fresh"),
    "saturation": (8.0, "fresh"),
    "frames": (8.0, "fresh"),
}


@pytest.mark.parametrize(
    ("before", "after"),
    [
        pytest.param(("old",), ("new",), id="another pod gets the GPU"),
        pytest.param((), ("new",), id="an idle GPU gets a pod"),
        pytest.param(("old",), (), id="the pod ends and leaves the GPU idle"),
        pytest.param(("a", "b"), ("a",), id="one of two pods ends"),
        pytest.param(("a",), ("a", "b"), id="a second pod joins"),
        pytest.param(("a", "b"), ("b", "c"), id="one of two pods is replaced"),
        pytest.param(("a", "b"), ("c", "d"), id="both pods are replaced"),
    ],
)
def test_every_gpu_counts_once_and_fresh_from_the_scrape_on_in_which_its_pod_changed(
    before: Users, after: Users
) -> None:
    node = Node()
    assert counted(node.scrape(everyone(*before), 6)) == WHOLE
    columns = node.store.stats().series
    for scrape in range(40):
        assert counted(node.scrape(everyone(*after))) == WHOLE, f"scrape {scrape} after the change"
        assert node.store.stats().series == columns, "the replaced series are forgotten at once"
    assert len(node.reader) == GPUS * len(FIELDS) * max(len(after), 1)


def test_a_pod_that_comes_back_counts_once_too() -> None:
    node = Node()
    for users in [("a",), ("b",), ("a",), ("a", "b"), ("b",), (), ("a",)] * 3:
        node.scrape(everyone(*users), 2)
        assert counted(node.scrape(everyone(*users))) == WHOLE


def test_the_pod_of_one_gpu_changes_and_the_rest_stay_as_they_are() -> None:
    node, pods = Node(), everyone("old")
    node.scrape(pods, 6)
    before = set(node.keys)
    for n in range(25):
        pods[n % GPUS] = (f"pod-{n}",)
        assert counted(node.scrape(pods)) == WHOLE
    assert len(node.keys) == len(before)


def test_all_pods_replaced_again_and_again_take_no_more_room() -> None:
    node = Node()
    node.scrape(everyone("first"), 6)
    series, keys = node.store.stats().series, len(node.keys)
    for n in range(100):
        assert counted(node.scrape(everyone(f"pod-{n}"), 3)) == WHOLE
        assert (node.store.stats().series, len(node.keys)) == (series, keys)
    assert len(node.reader) <= 10 * GPUS * len(FIELDS), "lines of pods that are gone are kept for some scrapes"


def test_a_gpu_that_vanishes_with_a_change_of_pods_is_missed_under_its_last_pod() -> None:
    node, pods = Node(), everyone("old")
    node.scrape(pods, 6)
    pods = everyone("new")
    del pods[3]
    frames = node.scrape(pods, 4)
    assert counted(frames)["gpus"] == (7.0, "partial")
    assert counted(frames)["watts"][1] == "partial"
    assert frames["gpus"].upper is not None
    assert frames["gpus"].upper[0] == 8.0
    kept = [key.label("pod") for key in node.keys if key.metric == "gpu_power_watts" and key.label("gpu") == "3"]
    assert kept == ["old"]


def test_a_gpu_that_comes_back_with_another_pod_is_whole_at_once() -> None:
    node, pods = Node(), everyone("old")
    node.scrape(pods, 6)
    node.scrape({gpu: users for gpu, users in pods.items() if gpu != 3}, 30)
    pods[3] = ("new",)
    assert counted(node.scrape(pods))["gpus"] == (8.0, "fresh")


def test_a_gpu_that_vanishes_after_a_change_of_pods_is_one_missing_series_and_not_two() -> None:
    node, pods = Node(), everyone("old")
    node.scrape(pods, 6)
    pods[3] = ("new",)
    node.scrape(pods, 2)
    del pods[3]
    frames = node.scrape(pods, 6)
    assert counted(frames)["gpus"] == (7.0, "partial")
    assert frames["gpus"].upper is not None
    assert frames["gpus"].upper[0] == 8.0


def test_a_target_that_falls_silent_after_a_change_of_pods_is_missed_as_ever() -> None:
    node = Node()
    node.scrape(everyone("old"), 6)
    node.scrape(everyone("new"), 2)
    node.store.add(
        Batch("node", node.at + STEP_S, STEP_S, (), np.empty(0), (("instance", "node"), ("pool", "chat")), "down")
    )
    assert counted(node.store.read(RULES, node.at + STEP_S))["gpus"] == (8.0, "stale")
    assert node.store.read(RULES, node.at + 1000.0)["gpus"].quality == ("missing",)


def put(store: Store, at: float, *said: tuple[str, Labels, float]) -> None:
    keys = tuple(SeriesKey(metric, tuple(sorted((*labels, ("pool", "chat"))))) for metric, labels, _ in said)
    store.add(Batch("s", at, STEP_S, keys, np.array([value for _, _, value in said]), (("pool", "chat"),)))


GPU = (("uuid", "GPU-0"),)


@pytest.mark.parametrize(
    ("metric", "before", "after"),
    [
        pytest.param("gpu_process_memory_bytes", "a", "b", id="a pod's own part of a GPU is its own"),
        pytest.param("orders_waiting", "a", "b", id="a metric that we do not know may be the pod's"),
        pytest.param("requests_waiting", "a", "b", id="requests wait in a pod, not on a GPU"),
    ],
)
def test_what_belongs_to_a_pod_is_missed_with_it(metric: str, before: str, after: str) -> None:
    store = Store(None)
    rules = RuleSet("chat", Bounds(0, 9), signals=(Signal("it", metric, aggregate="count"),))
    for n, pod in enumerate([before] * 3 + [after] * 5):
        put(store, BEGUN + n * STEP_S, (metric, (*GPU, ("pod", pod)), 1.0))
    assert counted(store.read(rules, BEGUN + 7 * STEP_S))["it"] == (1.0, "partial")


def test_two_users_that_a_source_lists_apart_are_two_series_and_neither_takes_the_place_of_a_third() -> None:
    store = Store(None)
    rules = RuleSet("chat", Bounds(0, 9), signals=(Signal("it", "gpu_power_watts", aggregate="count"),))
    put(store, BEGUN, ("gpu_power_watts", (*GPU, ("pod", "a")), 1.0))
    for n in range(1, 6):
        put(store, BEGUN + n * STEP_S, *(("gpu_power_watts", (*GPU, ("pod", pod)), 1.0) for pod in "bc"))
    assert counted(store.read(rules, BEGUN + 5 * STEP_S))["it"] == (2.0, "partial")


def test_the_labels_of_users_are_those_that_the_reader_knows() -> None:
    assert set(USERS) == WORK_LABELS


@pytest.mark.parametrize("told", [pytest.param(True, id="with its end told"), pytest.param(False, id="in silence")])
def test_a_pod_that_is_replaced_in_pushed_series_leaves_its_gpu_counted_once(told: bool) -> None:
    source, store = Source("p", (("pool", "chat"),), resolve, interval_s=STEP_S), Store(None)
    signal = Signal("gpus", "gpu_power_watts", aggregate="count")
    old, new = (
        source.number("DCGM_FI_DEV_POWER_USAGE", (("UUID", "GPU-0"), ("namespace", "x"), ("pod", pod)), "gauge")
        for pod in ("old", "new")
    )
    for n in range(30):
        at = BEGUN + n * STEP_S
        ends = n == 5 and told
        series = [old] if n < 5 else [old, new] if ends else [new]
        ended = np.array([ends and one == old for one in series])
        source.add(np.array(series), np.full(len(series), at), np.full(len(series), 100.0), ended, at)
        for (batch,) in source.flush(at):
            store.add(batch)
        frame = store.read(RuleSet("chat", Bounds(0, 9), signals=(signal,)), at)["gpus"]
        assert (n, frame.values[0, -1], frame.quality) == (n, 1.0, ("fresh",))
    assert [key.label("pod") for key in source.series.keys if key.metric == "gpu_power_watts"] == ["new"]
