"""What the agent pushes: each new value once, at its own pace, under the name of its node."""

from __future__ import annotations

import json
import math

import numpy as np
import pytest

from autoscaler.agent import pushbody
from autoscaler.agent.current import Current
from autoscaler.agent.pushbody import Bodies
from autoscaler.types import Batch, Labels, SeriesKey

NODE: Labels = (("host", "node-1"), ("pool", "chat"))
GPU: Labels = (*NODE, ("uuid", "GPU-1"))


def node(labels: Labels = NODE) -> Bodies:
    return Bodies("node-1", labels, "machine-7/4711", 50.125)


def current(values: dict[SeriesKey, float], at: float) -> Current:
    """Values that were told twice, a second apart."""
    made, keys = Current(3.0), tuple(values)
    for before in (1.0, 0.0):
        made.add([Batch("nvml:1", at - before, 1.0, keys, np.array(list(values.values())))], at)
    return made


POWER, TEMPERATURE = SeriesKey("gpu_power_watts", GPU), SeriesKey("gpu_temperature_celsius", GPU)


def test_a_push_names_the_node_once_and_each_series_with_its_own_labels() -> None:
    (made,) = node().bodies(current({POWER: 301.5, TEMPERATURE: math.nan}, 100.25).snapshot(100.5))
    assert made.samples == 1
    assert json.loads(made.text) == {
        "source": "node-1",
        "instance": "machine-7/4711",
        "started_at": 50.125,
        "interval_s": 1.0,
        "labels": {"host": "node-1", "pool": "chat"},
        "samples": [{"metric": "gpu_power_watts", "labels": {"uuid": "GPU-1"}, "value": 301.5, "at": 100.25}],
    }


def test_a_value_is_pushed_once() -> None:
    bodies, now = node(), Current(3.0)
    keys = (POWER, TEMPERATURE)
    pushed = []
    now.add([Batch("nvml:1", 99.0, 1.0, keys, np.array([0.0, 0.0]))], 99.0)
    for at, values in ((100.0, [1.0, 2.0]), (101.0, [1.0, math.nan]), (101.0, [1.0, math.nan]), (90.0, [3.0, 4.0])):
        now.add([Batch("nvml:1", at, 1.0, keys, np.array(values))], at)
        found = [json.loads(body.text)["samples"] for body in bodies.bodies(now.snapshot(at))]
        pushed.append([(sample["value"], sample["at"]) for samples in found for sample in samples])
    assert pushed[:3] == [[(1.0, 100.0), (2.0, 100.0)], [(1.0, 101.0)], []]
    assert pushed[3] == [(3.0, 90.0), (4.0, 90.0)], "a clock that goes back does not end it"


def test_what_is_told_less_often_is_pushed_with_its_own_interval() -> None:
    """A series is pushed from its second value on, when its interval is known, and never changes sides."""
    bodies, now = node(), Current(3.0)
    keys = (POWER, TEMPERATURE)
    pushed: list[tuple[float, str, float]] = []
    for second in range(32):
        rare = float(second) if second % 10 == 0 else math.nan
        now.add([Batch("nvml:1", 100.0 + second, 1.0, keys, np.array([300.0, rare]))], 100.0 + second)
        for made in bodies.bodies(now.snapshot(100.0 + second)):
            told = json.loads(made.text)
            pushed += [(told["interval_s"], sample["metric"], sample["at"]) for sample in told["samples"]]
    assert [row for row in pushed if row[1] == "gpu_power_watts"] == [
        (1.0, "gpu_power_watts", 100.0 + second) for second in range(1, 32)
    ]
    assert [row for row in pushed if row[1] != "gpu_power_watts"] == [
        (10.0, "gpu_temperature_celsius", 110.0),
        (10.0, "gpu_temperature_celsius", 120.0),
        (10.0, "gpu_temperature_celsius", 130.0),
    ]


def test_odd_labels_are_still_json() -> None:
    odd = SeriesKey("gpu_up", (("gpu_model", 'a "b" \\ c\nd é'),))
    (made,) = node(()).bodies(current({odd: 1.0}, 1.0).snapshot(1.0))
    assert json.loads(made.text)["samples"][0]["labels"] == dict(odd.labels)


def test_much_is_pushed_in_several_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pushbody, "SAMPLES_LIMIT", 4)
    many = {SeriesKey("gpu_process_sm_ratio", (("pid", str(n)),)): float(n) for n in range(10)}
    made = list(node(()).bodies(current(many, 1.0).snapshot(1.0)))
    assert [b.samples for b in made] == [4, 4, 2]
    assert [s["value"] for b in made for s in json.loads(b.text)["samples"]] == list(range(10))
