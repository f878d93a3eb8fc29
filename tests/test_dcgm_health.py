"""Health and faults as DCGM's host engine tells them."""

from __future__ import annotations

from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import pytest

from collectors.dcgm.engine import HostEngine
from tests.dcgmworld import GPU, bindings, engine, opened, put, read, told


@pytest.fixture
def agent() -> Iterator[Any]:
    with bindings() as found:
        yield found


@pytest.fixture
def reached(agent: Any) -> Iterator[HostEngine]:
    with opened() as made:
        yield made


def test_health_is_told_of_each_system_and_the_worst_counts(agent: Any, reached: HostEngine) -> None:
    def incident(system: int, health: int, number: int = 1) -> SimpleNamespace:
        return SimpleNamespace(
            system=system, health=health, entityInfo=SimpleNamespace(entityGroupId=GPU, entityId=number)
        )

    agent.WORLD.incidents = [incident(0x10, 10), incident(0x10, 20), incident(0xFFFFFFFF, 20, 0)]
    slow = [reading for reading in read(reached) if reading.lane == "slow"]
    found = {
        (dict(one.labels)["UUID"], dict(one.labels)["health_watch"]): one.value for one in slow[0].values if one.value
    }
    assert found == {("GPU-b", "MEM"): 20.0, ("GPU-a", "ALL"): 20.0}
    assert len(slow[0].values) == 22


def test_an_engine_without_health_checks_is_read_all_the_same(agent: Any) -> None:
    agent.WORLD.refuse["dcgmHealthSet"] = -6
    with opened() as source:
        put(agent, 203, 10, 0.1)
        assert told(read(source)) == {("DEV_GPU_UTIL_RATIO", "GPU-a"): 10.0}


def test_no_policy_is_set_unless_it_is_asked_for(agent: Any, reached: HostEngine) -> None:
    read(reached)
    assert not {"dcgmPolicySet", "dcgmPolicyRegister_v2"} & set(agent.WORLD.calls)


def test_every_repeat_of_a_fault_is_counted_through_callbacks(agent: Any) -> None:
    source = engine(callbacks=True)
    source.open()
    assert agent.WORLD.policy.condition == 0x40
    put(agent, 203, 10, 0.1)
    read(source)
    for _ in range(3):
        agent.violate(0, 79)
    put(agent, 203, 10, 1.1)
    (reading,) = [reading for reading in read(source, 2.0) if reading.lane == "gauges"]
    counted = {dict(one.labels).get("xid"): one.value for one in reading.values if "XID_ERRORS_COUNT" in one.name}
    assert counted == {None: 0.0, "79": 3.0}
    source.close()
    assert agent.WORLD.callback is None
