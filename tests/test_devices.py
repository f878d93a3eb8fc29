"""The newest values of every GPU out of the store, whoever tells of it."""

from __future__ import annotations

import math

import numpy as np
import pytest

from autoscaler.store import Store
from autoscaler.store.gpuseries import MAPPED
from autoscaler.types import Batch
from tests.gpuworld import Node, told, uuid
from tests.worlds import NOW

AT = {metric: row for row, metric in enumerate(MAPPED)}


def value(store: Store, name: str, metric: str, now: float = NOW) -> tuple[float, bool]:
    """Newest value of a GPU, and whether it is fresh."""
    gpus = store.devices.gpus(now)
    row = next(n for n, gpu in enumerate(gpus.rows) if gpu.uuid == name)
    return float(gpus.values[AT[metric], row]), bool(gpus.fresh[AT[metric], row])


def test_every_gpu_of_every_pool_is_one_row_with_its_newest_values() -> None:
    one, two = Node("a").gpu(0).gpu(1, {"gpu_saturation_ratio": 0.9}), Node("b", "embed").gpu(0)
    gpus = (store := told(one.batch(), two.batch())).devices.gpus(NOW)
    assert {gpu.uuid for gpu in gpus.rows} == {uuid("a", 0), uuid("a", 1), uuid("b", 0)}
    assert value(store, uuid("a", 1), "gpu_saturation_ratio") == (0.9, True)
    assert dict(next(g for g in gpus.rows if g.uuid == uuid("b", 0)).labels)["pool"] == "embed"
    assert store.devices.gpus(NOW).rows is gpus.rows


def test_what_a_gpu_does_not_give_is_no_number_and_zero_stays_zero() -> None:
    store = told(Node("a").gpu(0, {"gpu_saturation_ratio": None, "gpu_busy_ratio": 0.0}).batch())
    assert math.isnan(value(store, uuid("a", 0), "gpu_saturation_ratio")[0])
    assert value(store, uuid("a", 0), "gpu_busy_ratio") == (0.0, True)


def test_of_two_sources_of_one_gpu_the_newer_value_counts_for_each_metric() -> None:
    agent, exporter = Node("a").gpu(0, {"gpu_temperature_celsius": None}), Node("a")
    exporter.told[0] = {("gpu_saturation_ratio", ()): 0.2, ("gpu_temperature_celsius", ()): 71.0}
    store = told(exporter.batch(NOW - 4, "exporter"), agent.batch(NOW - 1, "agent"))
    assert len(store.devices.gpus(NOW).rows) == 1
    assert value(store, uuid("a", 0), "gpu_saturation_ratio")[0] == 0.5
    assert value(store, uuid("a", 0), "gpu_temperature_celsius")[0] == 71.0


def test_a_value_is_stale_when_its_source_is_silent_or_down() -> None:
    node = Node("a").gpu(0)
    store = told(node.batch())
    assert value(store, uuid("a", 0), "gpu_up", NOW + 14)[1]
    assert not value(store, uuid("a", 0), "gpu_up", NOW + 40)[1]
    store.add(Batch("a", NOW + 15, 5.0, (), np.empty(0), (), "down"))
    assert not value(store, uuid("a", 0), "gpu_up", NOW + 15)[1]


def test_gpus_come_and_go_with_their_machines() -> None:
    first, second = Node("a").gpu(0), Node("b").gpu(0)
    store = told(first.batch(), second.batch())
    assert len(store.devices.gpus(NOW).rows) == 2
    store.add(Batch("a", NOW + 1, 5.0, (), np.empty(0), (), "gone"))
    assert [gpu.uuid for gpu in store.devices.gpus(NOW + 1).rows] == [uuid("b", 0)]
    store.add(first.gpu(1).batch(NOW + 2))
    assert {gpu.uuid for gpu in store.devices.gpus(NOW + 2).rows} == {uuid("b", 0), uuid("a", 0), uuid("a", 1)}


def test_a_mig_instance_is_a_row_of_its_own_beside_its_board() -> None:
    node = Node("a").gpu(0).gpu(0, {"gpu_memory_used_ratio": 0.1}, gi_id="7", mig_profile="1g.10gb")
    rows = told(node.batch()).devices.gpus(NOW).rows
    assert {(gpu.uuid, gpu.part) for gpu in rows} == {(uuid("a", 0), ""), (uuid("a", 0), "7")}


@pytest.mark.parametrize(
    ("metric", "before", "after", "labels", "loud"),
    [
        pytest.param("gpu_lost", 0.0, 1.0, {}, True, id="a GPU is lost"),
        pytest.param("gpu_lost", 1.0, 0.0, {}, True, id="a lost GPU came back"),
        pytest.param("gpu_up", 1.0, 1.0, {}, False, id="a GPU answers as ever"),
        pytest.param("gpu_xid_events_total", 0.0, 1.0, {"xid": "79"}, True, id="a driver fault"),
        pytest.param("gpu_xid_events_total", 0.0, 0.0, {"xid": "79"}, False, id="no driver fault"),
        pytest.param("gpu_clock_event_active", 0.0, 1.0, {"reason": "thermal_hardware"}, True, id="heat"),
        pytest.param("gpu_clock_event_active", 0.0, 1.0, {"reason": "power_cap"}, False, id="a busy GPU at its limit"),
    ],
)
def test_series_are_signs_while_they_tell_of_trouble_or_did(
    metric: str, before: float, after: float, labels: dict[str, str], loud: bool
) -> None:
    node = Node("a").gpu(0, {"gpu_lost": None})
    store = told(node.gpu(0, {metric: before}, **labels).batch(), node.gpu(0, {metric: after}, **labels).batch(NOW + 5))
    signs = [sign for sign in store.devices.signs(NOW + 5) if sign.key.metric == metric]
    assert [(s.value, s.changed_at) for s in signs] == ([(after, NOW + 5)] if loud else [])


def test_a_machine_is_everything_that_names_it_and_nothing_of_its_neighbours() -> None:
    node = Node("a").gpu(0)
    node.own[("host_load1", ())] = 3.0
    node.own[("request_seconds_bucket", (("le", "1"),))] = 3.0
    other = Node("b").gpu(0)
    other.own[("host_load1", ())] = 4.0
    store = told(node.batch(), other.batch())
    store.devices.gpus(NOW)
    found = store.devices.machine({"a"}, set(), NOW)
    assert {told.key.label("host") for told in found} == {"a"}
    assert "host_load1" in {told.key.metric for told in found}
    assert not any(told.key.metric.endswith("_bucket") for told in found)
    by_gpu = store.devices.machine((), {uuid("b", 0)}, NOW)
    assert {told.key.label("uuid") for told in by_gpu} == {uuid("b", 0)}


def test_a_fault_while_the_store_is_asked_does_not_keep_it_locked() -> None:
    """The lock is let go of whatever happens inside."""
    store = told(Node("a").gpu(0).batch())
    with pytest.raises(KeyError), store.devices._known():
        raise KeyError
    store.add(Node("a").gpu(0).batch(NOW + 5))
    assert len(store.devices.gpus(NOW + 5).rows) == 1
