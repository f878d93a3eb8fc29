"""Profiling through DCGM's host engine: refused, paused, shared by turns, and never taken for idle."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

import pytest

from collectors.dcgm.engine import PAUSED_AFTER, HostEngine
from tests.dcgmworld import bindings, opened, put, read, told


@pytest.fixture
def agent() -> Iterator[Any]:
    with bindings() as found:
        yield found


@pytest.fixture
def reached(agent: Any) -> Iterator[HostEngine]:
    with opened() as made:
        yield made


@pytest.mark.parametrize(
    ("code", "availability"),
    [(-29, "no_permission"), (-34, "paused"), (-54, "paused"), (-36, "unsupported")],
    ids=["not root", "in use", "paused", "not supported"],
)
def test_profiling_that_is_refused_costs_its_metrics_only(agent: Any, code: int, availability: str) -> None:
    agent.WORLD.refuse_fields[1002] = code
    with opened() as source:
        put(agent, 203, 10, 0.1)
        assert told(read(source)) == {("DEV_GPU_UTIL_RATIO", "GPU-a"): 10.0}
        states = {state.metric: state for state in source.states()}
        assert states["gpu_sm_active_ratio"].availability == availability
        assert f"DCGM says {code}" in states["gpu_sm_active_ratio"].detail
        agent.WORLD.refuse_fields.clear()
        put(agent, 1002, 0.5, 61.0)
        assert told(read(source, 62.0)) == {("PROF_SM_UTIL_RATIO", "GPU-a"): 0.5}, "it is asked for again"
        assert "gpu_sm_active_ratio" not in {state.metric for state in source.states()}


def test_a_field_that_no_gpu_offers_is_unsupported(agent: Any, reached: HostEngine) -> None:
    read(reached)
    states = {state.metric: state.availability for state in reached.states()}
    assert states["gpu_tensor_active_ratio"] == "unsupported"
    assert "gpu_sm_active_ratio" not in states


def test_profiling_that_is_all_blank_is_paused_and_not_idle(agent: Any, reached: HostEngine) -> None:
    def one_round(n: int, active: float) -> dict[tuple[str, str], float]:
        put(agent, 203, 90, n)
        put(agent, 1002, active, n)
        return told(read(reached, n + 0.1))

    assert one_round(1, 0.9)["PROF_SM_UTIL_RATIO", "GPU-a"] == 0.9
    for n in range(PAUSED_AFTER):
        assert math.isnan(one_round(2 + n, 140737488355328.0)["PROF_SM_UTIL_RATIO", "GPU-a"])
    paused = {state.metric for state in reached.states() if state.availability == "paused"}
    assert paused == {"gpu_gr_active_ratio", "gpu_sm_active_ratio", "gpu_sm_occupancy_ratio", "gpu_dram_active_ratio"}
    one_round(9, 0.8)
    assert "paused" not in {state.availability for state in reached.states()}


def test_groups_that_share_the_counters_are_told_to_be_measured_by_turns(agent: Any) -> None:
    agent.WORLD.offered = [(1, [1001, 1002]), (1, [1005]), (2, [1009, 1010])]
    with opened() as source:
        read(source)
        assert "by turns" in source.note
