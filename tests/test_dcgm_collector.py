"""The collector `dcgm` on its own thread, over the bindings of a host engine."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from autoscaler.clock import SystemClock
from autoscaler.errors import InputError
from autoscaler.types import Batch
from collectors.dcgm.collector import Dcgm
from tests.dcgmworld import FOLDER, T0, bindings, put
from tests.peers.pages import until
from tests.peers.running import running


@pytest.fixture
def agent() -> Iterator[Any]:
    with bindings() as found:
        yield found


@pytest.fixture
def collector(agent: Any) -> Iterator[Dcgm]:
    made = Dcgm(SystemClock(), (("pool", "chat"),), interval_s=0.1, bindings=str(FOLDER), dcgmi="/nonexistent")
    with running(made):
        yield made


def gather(collector: Dcgm, enough: Callable[[Batch], object], each: Callable[[], object] = lambda: None) -> Batch:
    found: list[Batch] = []

    def more() -> object:
        each()
        found.extend(batch for batch in collector.collect(0.0) if enough(batch))
        return found

    until(more, "a batch")
    return found[-1]


def feed(agent: Any) -> Callable[[], None]:
    clock = SystemClock()

    def once() -> None:
        at = clock.now() - T0
        for number in (0, 1):
            for identifier, value in ((203, 91), (1002, 0.9), (155, 310.5), (164, 700.0), (252, 4384), (251, 480)):
                put(agent, identifier, value, at, number)

    return once


def test_the_collector_gives_canonical_series_and_what_follows_from_them(agent: Any, collector: Dcgm) -> None:
    batch = gather(collector, lambda b: b.source == "dcgm" and b.state == "up", feed(agent))
    found = {(key.metric, key.label("uuid")): v for key, v in zip(batch.keys, batch.values.tolist(), strict=True)}
    assert found["gpu_busy_ratio", "GPU-a"] == pytest.approx(0.91)
    assert found["gpu_saturation_ratio", "GPU-b"] == pytest.approx(0.9)
    assert found["gpu_memory_total_bytes", "GPU-a"] == (4384 + 480) * 2**20
    assert found["gpu_up", "GPU-a"] == 1.0
    assert collector.status().through == "DCGM's host engine"


def test_the_slow_lane_is_a_source_of_its_own_and_derives_nothing_twice(agent: Any, collector: Dcgm) -> None:
    slow = gather(collector, lambda b: b.source == "dcgm:slow", feed(agent))
    assert slow.interval_s == 30.0
    assert {key.metric for key in slow.keys} == {"gpu_health"}


def test_an_engine_that_goes_is_down_and_found_again(agent: Any, collector: Dcgm) -> None:
    keep = feed(agent)
    gather(collector, lambda b: b.state == "up", keep)
    agent.WORLD.refuse["dcgmGetValuesSince_v2"] = -21
    gather(collector, lambda b: b.state == "down")
    until(lambda: collector.status().state == "failed", "the failure")
    assert "DCGM error -21" in collector.status().detail
    del agent.WORLD.refuse["dcgmGetValuesSince_v2"]
    gather(collector, lambda b: b.state == "up", keep)


def test_profiling_that_is_paused_is_part_of_the_status(agent: Any, collector: Dcgm) -> None:
    clock = SystemClock()

    def once() -> None:
        put(agent, 203, 91, clock.now() - T0)
        put(agent, 1002, 140737488355328.0, clock.now() - T0)

    def paused() -> object:
        once()
        return any(state.availability == "paused" for state in collector.status().metrics)

    until(paused, "paused")


@pytest.mark.parametrize(("name", "value"), [("interval_s", 0.05), ("slow_interval_s", math.nan), ("sample_s", 2.0)])
def test_a_pace_that_dcgm_does_not_have_is_refused(name: str, value: float) -> None:
    with pytest.raises(InputError, match=name):
        Dcgm(SystemClock(), **{name: value})  # type: ignore[arg-type]
