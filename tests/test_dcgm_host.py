"""DCGM's host engine through its bindings: how it is reached, what is watched, and how values are read."""

from __future__ import annotations

import math
import sys
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import pytest

from collectors.dcgm.engine import EMBEDDED, HostEngine
from collectors.dcgm.lanes import PROFILING
from collectors.dcgm.source import UnreachableError
from collectors.dcgm.watch import value_of
from tests.dcgmworld import GPU, INSTANCE, T0, bindings, engine, gpu, opened, put, read, told


@pytest.fixture
def agent() -> Iterator[Any]:
    with bindings() as found:
        yield found


@pytest.fixture
def reached(agent: Any) -> Iterator[HostEngine]:
    with opened() as made:
        yield made


# --- reaching it ----------------------------------------------------------------------------------------------------


def test_bindings_that_are_not_there_are_missing() -> None:
    with pytest.raises(UnreachableError, match="holds no bindings of DCGM") as caught:
        HostEngine("/nonexistent", "localhost:5555", 1.0, 30.0, 0.5).open()
    assert caught.value.missing
    sys.path.remove("/nonexistent")


@pytest.mark.parametrize(
    ("address", "call"),
    [
        ("node9:5555", "dcgmConnect_v3 tcp://node9:5555"),
        ("/run/nv.sock", "dcgmConnect_v3 unix:///run/nv.sock"),
        (EMBEDDED, "dcgmStartEmbedded"),
    ],
)
def test_it_is_reached_as_its_address_says_and_left_as_it_was_found(agent: Any, address: str, call: str) -> None:
    source = engine(address)
    source.open()
    assert call in agent.WORLD.calls
    source.close()
    assert agent.WORLD.calls[-1] == ("dcgmStopEmbedded" if address == EMBEDDED else "dcgmDisconnect")
    assert agent.WORLD.groups == agent.WORLD.field_groups == agent.WORLD.watches == {}


def test_an_engine_that_does_not_answer_is_broken_and_not_missing(agent: Any) -> None:
    agent.WORLD.refuse["dcgmConnect_v3"] = -21
    with pytest.raises(UnreachableError, match=r"node9:5555: .*DCGM error -21") as caught:
        engine().open()
    assert not caught.value.missing


def test_an_engine_without_gpus_is_no_source(agent: Any) -> None:
    agent.WORLD.gpus = {}
    with pytest.raises(UnreachableError, match="no GPU that DCGM supports"):
        engine().open()


# --- watching -------------------------------------------------------------------------------------------------------


def test_a_watch_has_its_period_in_microseconds_and_both_bounds(agent: Any, reached: HostEngine) -> None:
    """The engine keeps for ever what has no bound; ages are seconds."""
    read(reached)
    world = agent.WORLD
    periods = {period for period, _, _ in world.watches.values()}
    assert periods == {500_000, 30_000_000}
    assert all(age == 60.0 and 0 < samples <= 1000 for _, age, samples in world.watches.values())


def test_only_fields_that_this_dcgm_has_are_watched(agent: Any, reached: HostEngine) -> None:
    read(reached)
    watched = {number for numbers in agent.WORLD.field_groups.values() for number in numbers}
    assert 1523 not in watched
    assert {1001, 1002, 1003, 1005} == {number for number in watched if number in PROFILING}


def test_what_was_sampled_since_is_averaged_or_the_last_of_it_taken(agent: Any, reached: HostEngine) -> None:
    for n, (busy, temperature) in enumerate([(10, 40), (20, 41), (60, 45)]):
        put(agent, 203, busy, 0.1 * n)
        put(agent, 150, temperature, 0.1 * n)
    assert told(read(reached)) == {("DEV_GPU_UTIL_RATIO", "GPU-a"): 30.0, ("DEV_GPU_TEMP_CELSIUS", "GPU-a"): 45.0}
    assert told(read(reached, 2.0)) == {}, "a sample is told once"
    put(agent, 203, 70, 2.5)
    (again,) = read(reached, 3.0)
    assert told([again]) == {("DEV_GPU_UTIL_RATIO", "GPU-a"): 70.0}
    assert again.at == pytest.approx(T0 + 2.5), "dated by the engine"


def test_labels_are_those_of_a_page(agent: Any, reached: HostEngine) -> None:
    put(agent, 203, 10, 0.1)
    (reading,) = [reading for reading in read(reached) if reading.lane == "gauges"]
    assert dict(reading.values[0].labels) == {
        "gpu": "0",
        "UUID": "GPU-a",
        "modelName": "NVIDIA A100-SXM4-80GB",
        "pci_bus_id": "00000000:07:00.0",
        "DCGM_FI_DRIVER_VERSION": "580.105.08",
        "DCGM_FI_DEV_VBIOS_VERSION": "92.00",
        "Hostname": "node9",
    }


def test_an_instance_has_the_driver_s_number_and_profile(agent: Any) -> None:
    entity = SimpleNamespace(entityGroupId=INSTANCE, entityId=21)
    about = SimpleNamespace(gpuUuid=b"GPU-a", nvmlInstanceId=7, nvmlProfileSlices=1)
    agent.WORLD.instances = [SimpleNamespace(entity=entity, info=about)]
    agent.WORLD.profiles = {21: "MIG 1g.10gb"}
    with opened() as source:
        put(agent, 1002, 1.294, 0.1, 21, kind=INSTANCE)
        (value,) = [one for reading in read(source) for one in reading.values if one.name.endswith("SM_UTIL_RATIO")]
        labels = dict(value.labels)
        assert (labels["UUID"], labels["GPU_I_ID"], labels["GPU_I_PROFILE"]) == ("GPU-a", "7", "1g.10gb")
        assert value.value == 1.294, "above 1, as it is"


@pytest.mark.parametrize(
    ("letter", "value", "status", "expected"),
    [
        ("d", 140737488355328.0, 0, math.nan),
        ("d", 140737488355330.0, 0, math.nan),
        ("d", 310.5, 0, 310.5),
        ("i", 0x7FFFFFFFFFFFFFF2, 0, math.nan),
        ("i", 0x7FFFFFF2, 0, math.nan),
        ("i", 0x7FFFFFF4, 0, float(0x7FFFFFF4)),
        ("i", 15152422938, 0, 15152422938.0),
        ("i", 140737488355330, 0, 140737488355330.0),
        ("i", 5, -14, math.nan),
        ("t", 1700000000000000, 0, 1.7e15),
        ("s", "NVIDIA", 0, None),
    ],
)
def test_blanks_are_told_by_the_type_of_the_value(
    agent: Any, letter: str, value: float | str, status: int, expected: float | None
) -> None:
    one = sys.modules["dcgm_structs"].c_dcgmFieldValue_v1()
    one.fieldType, one.status = ord(letter), status
    if letter == "d":
        one.value.dbl = value
    elif letter == "i" or letter == "t":
        one.value.i64 = int(value)
    assert value_of(one) == (expected if expected is None else pytest.approx(expected, nan_ok=True))


def test_a_gpu_that_comes_or_goes_is_watched_anew(agent: Any) -> None:
    with opened() as source:
        put(agent, 203, 10, 0.1)
        read(source)
        agent.WORLD.gpus[2] = gpu("GPU-c")
        put(agent, 203, 30, 40.1, 2)
        assert ("DEV_GPU_UTIL_RATIO", "GPU-c") not in told(read(source, 20.0)), "looked for every 30 s"
        assert told(read(source, 41.0))["DEV_GPU_UTIL_RATIO", "GPU-c"] == 30.0
        assert len(agent.WORLD.groups) == 1
        del agent.WORLD.gpus[0]
        read(source, 80.0)
        ((_, watched),) = agent.WORLD.groups.items()
        assert watched == [(GPU, 1), (GPU, 2)]
