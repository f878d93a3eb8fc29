"""What the collector takes for granted of a driver: the stand-in, recorded ones, and with `make gpu` a real one.

The same tests on all of them: where the real driver differs, either the collector is wrong or the stand-in is.
"""

from __future__ import annotations

import contextlib
import ctypes
import math
from collections import defaultdict
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest

from autoscaler import signals
from autoscaler.clock import SystemClock
from autoscaler.types import FloatArray, Labels
from collectors.nvml import MetricState, Nvml
from collectors.nvml.codes import MEANINGS, meaning
from collectors.nvml.fields import Query
from collectors.nvml.samples import KINDS, Buffer
from tests.peers.nvml import Scenario, models, record, replay, unload
from tests.peers.nvml.questions import FIELD_IDS
from tests.peers.pages import until

RECORDINGS = sorted((Path(__file__).parent / "data" / "nvml").glob("*.json"))
REASONABLE = {"celsius": (-50.0, 150.0), "watts": (0.0, 3000.0), "hertz": (0.0, 1e10), "boolean": (0.0, 1.0)}
KNOWN_CODES = {row.code for row in MEANINGS}


@dataclass
class Driver:
    """A driver and what the collector made of it within some seconds."""

    nvml: ModuleType
    handles: list[Any]
    values: dict[tuple[str, Labels], list[float]] = field(default_factory=lambda: defaultdict(list))
    states: tuple[MetricState, ...] = ()
    heard: dict[str, list[tuple[int, float]]] = field(default_factory=dict)
    errors: set[str] = field(default_factory=set)

    def of(self, metric: str) -> list[float]:
        return [value for (name, _), values in self.values.items() if name == metric for value in values]


def _real_library() -> bool:
    try:
        ctypes.CDLL("libnvidia-ml.so.1")
    except OSError:
        return False
    return True


def _two(make: Callable[[], Scenario]) -> Callable[[], Scenario]:
    def made() -> Scenario:
        fleet = make()
        fleet.list_gpus(fleet.gpus[:2])
        return fleet

    return made


DRIVERS = [
    pytest.param(_two(models.hgx_h100), id="a stand-in for H100"),
    pytest.param(models.t4, id="a stand-in for a T4"),
    pytest.param(models.h100_mig, id="a stand-in for an H100 cut into instances"),
    *(pytest.param(partial(replay.load, file), id=f"recorded {file.stem}") for file in RECORDINGS),
    pytest.param(None, id="the driver of this machine", marks=pytest.mark.gpu),
]


@contextlib.contextmanager
def bindings(make: Callable[[], Scenario] | None) -> Iterator[ModuleType]:
    if make is not None:
        with make() as fleet, fleet.loaded() as nvml:
            yield nvml
        return
    if not _real_library():
        pytest.skip("there is no driver on this machine")
    unload()
    import pynvml

    yield pynvml
    unload()


@pytest.fixture(scope="module", params=DRIVERS)
def driver(request: pytest.FixtureRequest) -> Iterator[Driver]:
    with bindings(request.param) as nvml:
        try:
            nvml.nvmlInit()
        except nvml.NVMLError as error:
            pytest.skip(f"the driver does not start: {error}")
        count = nvml.nvmlDeviceGetCount()
        found = Driver(nvml, [nvml.nvmlDeviceGetHandleByIndex(index) for index in range(count)])
        with record.overheard(nvml) as heard:
            running = Nvml(SystemClock(), interval_s=0.25, gpm_s=0.25, slow_s=0.5, fast=True, stats=True)
            running.start(10.0)
            rounds: dict[str, int] = defaultdict(int)

            def enough() -> bool:
                for batch in running.collect(0.0):
                    rounds[batch.source] += 1
                    for key, value in zip(batch.keys, batch.values.tolist(), strict=True):
                        if math.isfinite(value):
                            found.values[key.metric, key.labels].append(value)
                slow = [number for source, number in rounds.items() if source.endswith("/slow")]
                return len(slow) == count and min(slow) >= 3 and min(rounds.values()) >= 3

            until(enough, "three batches of every source", 30.0)
            found.states = running.status().metrics
            running.stop()
        found.heard = dict(heard)
        yield found


def test_every_gpu_is_up_and_every_metric_has_a_value_or_a_reason(driver: Driver) -> None:
    assert set(driver.of("gpu_up")) == {1.0}
    told = {metric for metric, _ in driver.values}
    for state in driver.states:
        if state.availability == "ok":
            assert state.metric in told, state
        else:
            assert state.detail, state


def test_every_value_is_canonical_and_within_reason(driver: Driver) -> None:
    for (metric, labels), values in driver.values.items():
        known = signals.metric(metric)
        assert known is not None, metric
        # A share may pass 1 under MIG only; a counter and a size never fall below 0.
        least, most = REASONABLE.get(known.unit, (0.0, 1.0 if known.ratio and not labels else math.inf))
        assert all(least <= value <= most for value in values), (metric, labels, values)


def test_memory_adds_up(driver: Driver) -> None:
    totals = {
        labels: values[-1] for (metric, labels), values in driver.values.items() if metric.endswith("y_total_bytes")
    }
    used = {labels: values[-1] for (metric, labels), values in driver.values.items() if metric.endswith("y_used_bytes")}
    assert totals.keys() == used.keys()
    assert all(0 <= used[labels] <= totals[labels] for labels in totals)


def test_counters_do_not_fall(driver: Driver) -> None:
    for (metric, labels), values in driver.values.items():
        if signals.is_counter(metric):
            assert values == sorted(values), (metric, labels)


def test_the_driver_answers_with_codes_that_we_know(driver: Driver) -> None:
    codes = {(name, code) for name, calls in driver.heard.items() for code, _ in calls}
    assert not [(name, code) for name, code in codes if code not in KNOWN_CODES]
    broken = [s for s in driver.states if "cannot be read" in s.detail or s.detail.endswith("(UNKNOWN)")]
    assert not broken


def test_no_call_of_a_lane_takes_as_long_as_a_hang(driver: Driver) -> None:
    slow = {name: max(took for _, took in calls) for name, calls in driver.heard.items() if "Wait" not in name}
    assert max(slow.values()) < 2.0, max(slow.items(), key=lambda item: item[1])


def test_a_gpu_is_found_again_by_its_uuid(driver: Driver) -> None:
    nvml = driver.nvml
    for index, handle in enumerate(driver.handles):
        again = nvml.nvmlDeviceGetHandleByUUID(nvml.nvmlDeviceGetUUID(handle))
        assert nvml.nvmlDeviceGetIndex(again) == index
    with pytest.raises(nvml.NVMLError) as caught:
        nvml.nvmlDeviceGetHandleByUUID("GPU-ffffffff-ffff-ffff-ffff-ffffffffffff")
    assert caught.value.value in (2, 6, 28)


def test_each_field_has_its_own_code_and_a_time_of_now(driver: Driver) -> None:
    now = SystemClock().now()
    for handle in driver.handles:
        for told in Query(driver.nvml, FIELD_IDS).read(handle):
            assert told.code in KNOWN_CODES, told
            if told.code == 0 and told.at:
                assert abs(told.at - now) < 60.0, "Unix time in microseconds"


def drained(driver: Driver, buffer: Buffer, handle: Any, kind: int) -> tuple[int, tuple[Any, FloatArray]]:
    try:
        return 0, buffer.drain(handle, kind, 0)
    except driver.nvml.NVMLError as error:
        return int(error.value), (np.empty(0), np.empty(0))


def test_samples_ascend_are_dated_now_and_are_told_once(driver: Driver) -> None:
    buffer, now = Buffer(driver.nvml), SystemClock().now()
    for handle in driver.handles:
        for kind in KINDS:
            code, (at_us, values) = drained(driver, buffer, handle, kind.number)
            assert code == 0 or meaning(code).remedy in ("unsupported", "no_permission"), kind
            if not len(at_us):
                continue
            assert abs(at_us[-1] / 1e6 - now) < 60.0
            assert (at_us[1:] > at_us[:-1]).all(), kind
            assert len(values) == len(at_us)
            again, _ = buffer.drain(handle, kind.number, int(at_us[-1]))
            assert not set(again.tolist()) & set(at_us.tolist()), "only what is newer"


def test_gpm_compares_what_is_over_100_ms_apart_and_nothing_where_there_is_none(driver: Driver) -> None:
    for handle in driver.handles:
        told = record._gpm(driver.nvml, handle)
        if not told["supported"]:
            continue
        assert told["codes_by_ms"]["250"] == 0
        codes = [code for _, code in sorted((int(apart), code) for apart, code in told["codes_by_ms"].items())]
        first_good = codes.index(0)
        assert not any(codes[first_good:]), "once far enough apart, always"
        percents = [m["value"] for number, m in told["metrics"].items() if int(number) < 20 and m["code"] == 0]
        assert all(0.0 <= value <= 100.0 for value in percents)
    unsupported = [state for state in driver.states if state.metric == "gpu_sm_active_ratio"]
    assert all("GPM" in state.detail for state in unsupported if state.availability == "unsupported")


def test_a_wait_for_events_ends_with_a_time_out(driver: Driver) -> None:
    told = record._events(driver.nvml, driver.handles)
    if told["code"] == 10:
        assert 150 <= told["waited_ms"] < 5000
    else:
        assert told["code"] in (0, 3), "an event, or none supported"


def test_starting_and_ending_often_leaves_nothing_behind(driver: Driver) -> None:
    files = Path("/proc/self/fd")
    driver.nvml.nvmlInit()
    driver.nvml.nvmlShutdown()
    before = len(list(files.iterdir()))
    for _ in range(20):
        driver.nvml.nvmlInit()
        driver.nvml.nvmlShutdown()
    assert len(list(files.iterdir())) <= before
