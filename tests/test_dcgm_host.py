"""DCGM's host engine through its bindings: our calls, against a stand-in of ours that has the documented signatures.

The stand-in (tests/peers/dcgm_bindings) has no DCGM behind it: it shows that we ask as the signatures demand and read
what is given, not how a real host engine behaves.
"""

from __future__ import annotations

import math
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from autoscaler.clock import SystemClock
from autoscaler.errors import InputError
from autoscaler.types import Batch
from collectors.dcgm.collector import Dcgm
from collectors.dcgm.engine import EMBEDDED, PAUSED_AFTER, HostEngine
from collectors.dcgm.lanes import PROFILING
from collectors.dcgm.modules import load
from collectors.dcgm.reading import Reading
from collectors.dcgm.source import UnreachableError
from collectors.dcgm.watch import value_of
from tests.peers.pages import until

FOLDER = Path(__file__).parent / "peers" / "dcgm_bindings"
MODULES = ("dcgm_agent", "dcgm_structs", "dcgm_fields")
GPU, INSTANCE = 1, 4
T0 = 1_700_000_000


def gpu(uuid: str) -> SimpleNamespace:
    """Strings as bytes, as some versions of the bindings leave them."""
    return SimpleNamespace(
        uuid=uuid.encode(),
        deviceName=b"NVIDIA A100-SXM4-80GB",
        pciBusId=b"00000000:07:00.0",
        driverVersion="580.105.08",
        serial="<<<NULL>>>",
        vbios="92.00",
    )


@pytest.fixture
def agent() -> Iterator[Any]:
    """The stand-in's functions, with a world of two GPUs."""
    for name in MODULES:
        sys.modules.pop(name, None)
    found = load(str(FOLDER)).agent
    found.WORLD.gpus = {0: gpu("GPU-a"), 1: gpu("GPU-b")}
    found.WORLD.offered = [(1, [1001, 1002, 1003, 1005])]
    try:
        yield found
    finally:
        sys.path.remove(str(FOLDER))
        for name in MODULES:
            sys.modules.pop(name, None)


def put(
    agent: Any, identifier: int, value: float, at_s: float, number: int = 0, *, kind: int = GPU, status: int = 0
) -> None:
    letter = "d" if identifier in (155, 164) or 1001 <= identifier <= 1008 else "i"
    agent.WORLD.samples.append((kind, number, identifier, round((T0 + at_s) * 1e6), letter, status, value))


def engine(address: str = "node9:5555", callbacks: bool = False) -> HostEngine:
    return HostEngine(str(FOLDER), address, 1.0, 30.0, 0.5, "node9", callbacks)


@pytest.fixture
def opened(agent: Any) -> Iterator[HostEngine]:
    made = engine()
    made.open()
    try:
        yield made
    finally:
        made.close()


def told(readings: list[Reading], lane: str = "gauges") -> dict[tuple[str, str], float]:
    """Values of one lane by name and UUID, instance or health system."""
    found = {}
    for reading in readings:
        if reading.lane == lane:
            for one in reading.values:
                labels = dict(one.labels)
                whose = labels.get("health_watch") or labels.get("GPU_I_ID") or labels["UUID"]
                found[one.name.removeprefix("DCGM_FI_"), whose] = one.value
    return found


def read(source: HostEngine, at_s: float = 1.0) -> list[Reading]:
    return list(source.read(T0 + at_s))


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


def test_a_watch_has_its_period_in_microseconds_and_both_bounds(agent: Any, opened: HostEngine) -> None:
    """The engine keeps for ever what has no bound; ages are seconds."""
    read(opened)
    world = agent.WORLD
    periods = {period for period, _, _ in world.watches.values()}
    assert periods == {500_000, 30_000_000}
    assert all(age == 60.0 and 0 < samples <= 1000 for _, age, samples in world.watches.values())


def test_only_fields_that_this_dcgm_has_are_watched(agent: Any, opened: HostEngine) -> None:
    read(opened)
    watched = {number for numbers in agent.WORLD.field_groups.values() for number in numbers}
    assert 1523 not in watched
    assert {1001, 1002, 1003, 1005} == {number for number in watched if number in PROFILING}


def test_what_was_sampled_since_is_averaged_or_the_last_of_it_taken(agent: Any, opened: HostEngine) -> None:
    for n, (busy, temperature) in enumerate([(10, 40), (20, 41), (60, 45)]):
        put(agent, 203, busy, 0.1 * n)
        put(agent, 150, temperature, 0.1 * n)
    assert told(read(opened)) == {("DEV_GPU_UTIL_RATIO", "GPU-a"): 30.0, ("DEV_GPU_TEMP_CELSIUS", "GPU-a"): 45.0}
    assert told(read(opened, 2.0)) == {}, "a sample is told once"
    put(agent, 203, 70, 2.5)
    (again,) = read(opened, 3.0)
    assert told([again]) == {("DEV_GPU_UTIL_RATIO", "GPU-a"): 70.0}
    assert again.at == pytest.approx(T0 + 2.5), "dated by the engine"


def test_labels_are_those_of_a_page(agent: Any, opened: HostEngine) -> None:
    put(agent, 203, 10, 0.1)
    (reading,) = [reading for reading in read(opened) if reading.lane == "gauges"]
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
    source = engine()
    source.open()
    put(agent, 1002, 1.294, 0.1, 21, kind=INSTANCE)
    (value,) = [one for reading in read(source) for one in reading.values if one.name.endswith("SM_UTIL_RATIO")]
    labels = dict(value.labels)
    assert (labels["UUID"], labels["GPU_I_ID"], labels["GPU_I_PROFILE"]) == ("GPU-a", "7", "1g.10gb")
    assert value.value == 1.294, "above 1, as it is"
    source.close()


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


# --- profiling ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("code", "availability"),
    [(-29, "no_permission"), (-34, "paused"), (-54, "paused"), (-36, "unsupported")],
    ids=["not root", "in use", "paused", "not supported"],
)
def test_profiling_that_is_refused_costs_its_metrics_only(agent: Any, code: int, availability: str) -> None:
    agent.WORLD.refuse_fields[1002] = code
    source = engine()
    source.open()
    put(agent, 203, 10, 0.1)
    assert told(read(source)) == {("DEV_GPU_UTIL_RATIO", "GPU-a"): 10.0}
    states = {state.metric: state for state in source.states()}
    assert states["gpu_sm_active_ratio"].availability == availability
    assert f"DCGM says {code}" in states["gpu_sm_active_ratio"].detail
    agent.WORLD.refuse_fields.clear()
    put(agent, 1002, 0.5, 61.0)
    assert told(read(source, 62.0)) == {("PROF_SM_UTIL_RATIO", "GPU-a"): 0.5}, "it is asked for again"
    assert "gpu_sm_active_ratio" not in {state.metric for state in source.states()}
    source.close()


def test_a_field_that_no_gpu_offers_is_unsupported(agent: Any, opened: HostEngine) -> None:
    read(opened)
    states = {state.metric: state.availability for state in opened.states()}
    assert states["gpu_tensor_active_ratio"] == "unsupported"
    assert "gpu_sm_active_ratio" not in states


def test_profiling_that_is_all_blank_is_paused_and_not_idle(agent: Any, opened: HostEngine) -> None:
    def one_round(n: int, active: float) -> dict[tuple[str, str], float]:
        put(agent, 203, 90, n)
        put(agent, 1002, active, n)
        return told(read(opened, n + 0.1))

    assert one_round(1, 0.9)["PROF_SM_UTIL_RATIO", "GPU-a"] == 0.9
    for n in range(PAUSED_AFTER):
        assert math.isnan(one_round(2 + n, 140737488355328.0)["PROF_SM_UTIL_RATIO", "GPU-a"])
    paused = {state.metric for state in opened.states() if state.availability == "paused"}
    assert paused == {"gpu_gr_active_ratio", "gpu_sm_active_ratio", "gpu_sm_occupancy_ratio", "gpu_dram_active_ratio"}
    one_round(9, 0.8)
    assert "paused" not in {state.availability for state in opened.states()}


def test_groups_that_share_the_counters_are_told_to_be_measured_by_turns(agent: Any) -> None:
    agent.WORLD.offered = [(1, [1001, 1002]), (1, [1005]), (2, [1009, 1010])]
    source = engine()
    source.open()
    read(source)
    assert "by turns" in source.note
    source.close()


def test_a_gpu_that_comes_or_goes_is_watched_anew(agent: Any) -> None:
    source = engine()
    source.open()
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
    source.close()


# --- health and faults ----------------------------------------------------------------------------------------------


def test_health_is_told_of_each_system_and_the_worst_counts(agent: Any, opened: HostEngine) -> None:
    def incident(system: int, health: int, number: int = 1) -> SimpleNamespace:
        return SimpleNamespace(
            system=system, health=health, entityInfo=SimpleNamespace(entityGroupId=GPU, entityId=number)
        )

    agent.WORLD.incidents = [incident(0x10, 10), incident(0x10, 20), incident(0xFFFFFFFF, 20, 0)]
    slow = [reading for reading in read(opened) if reading.lane == "slow"]
    found = {
        (dict(one.labels)["UUID"], dict(one.labels)["health_watch"]): one.value for one in slow[0].values if one.value
    }
    assert found == {("GPU-b", "MEM"): 20.0, ("GPU-a", "ALL"): 20.0}
    assert len(slow[0].values) == 22


def test_an_engine_without_health_checks_is_read_all_the_same(agent: Any) -> None:
    agent.WORLD.refuse["dcgmHealthSet"] = -6
    source = engine()
    source.open()
    put(agent, 203, 10, 0.1)
    assert told(read(source)) == {("DEV_GPU_UTIL_RATIO", "GPU-a"): 10.0}
    source.close()


def test_no_policy_is_set_unless_it_is_asked_for(agent: Any, opened: HostEngine) -> None:
    read(opened)
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


# --- the collector --------------------------------------------------------------------------------------------------


@pytest.fixture
def collector(agent: Any) -> Iterator[Dcgm]:
    made = Dcgm(SystemClock(), (("pool", "chat"),), interval_s=0.1, bindings=str(FOLDER), dcgmi="/nonexistent")
    made.start()
    try:
        yield made
    finally:
        made.stop()


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
