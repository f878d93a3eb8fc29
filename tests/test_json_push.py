"""JSON push: what is taken, and every fault with its path and its rule."""

from __future__ import annotations

import gzip
import json
import math
from typing import Any

import pytest

from autoscaler.store import Store
from autoscaler.types import Batch
from tests.pushed import START, Pushed, shown, values

JSON = {"content-type": "application/json"}
POWER = {"metric": "gpu_power_watts", "labels": {"uuid": "GPU-1"}, "value": 301.5}


def given(**changes: Any) -> dict[str, Any]:
    usual = {"source": "node-1", "interval_s": 1.0, "labels": {"host": "node-1", "pool": "chat"}, "samples": [POWER]}
    return usual | changes


def push(pushed: Pushed, content: Any) -> list[Batch]:
    """Take a body, which must be taken; what came of it at once."""
    receipt = pushed.post("json", json.dumps(content).encode(), JSON)
    assert receipt.status == 204, receipt
    return pushed.collect()


def test_a_push_is_a_row_at_once() -> None:
    pushed = Pushed()
    at = START - 0.25
    (batch,) = push(pushed, given(samples=[POWER | {"at": at}, POWER | {"metric": "gpu_up", "value": 1, "at": at}]))
    assert (batch.at, batch.interval_s, batch.state) == (at, 1.0, "up")
    assert batch.labels == (("host", "node-1"), ("pool", "chat"))
    assert values(batch) == {"gpu_power_watts": 301.5, "gpu_up": 1.0}
    assert batch.keys[0].labels == (("host", "node-1"), ("pool", "chat"), ("uuid", "GPU-1"))


def test_null_says_that_there_is_no_value_now() -> None:
    pushed = Pushed()
    (batch,) = push(pushed, given(samples=[POWER, POWER | {"metric": "gpu_temperature_celsius", "value": None}]))
    assert math.isnan(values(batch)["gpu_temperature_celsius"])
    assert len(batch.keys) == 2


@pytest.mark.parametrize(
    ("changes", "at"),
    [
        ({}, START),
        ({"at": START - 5}, START - 5),
        ({"at": START - 5, "samples": [POWER | {"at": START - 3}]}, START - 3),
    ],
    ids=["the time of arrival", "the time at the top", "the sample's own time"],
)
def test_a_sample_is_dated_with(changes: dict[str, Any], at: float) -> None:
    (batch,) = push(Pushed(), given(**changes))
    assert batch.at == at


def test_samples_of_several_times_are_rows_in_order() -> None:
    pushed = Pushed()
    samples = [POWER | {"at": START - back, "value": back} for back in (1, 3, 2)]
    assert [b[2]["gpu_power_watts"] for b in shown(push(pushed, given(samples=samples)))] == [3.0, 2.0, 1.0]


def test_samples_of_other_times_within_half_an_interval_are_one_row() -> None:
    """As from an agent whose GPUs are read one after the other."""
    pushed = Pushed()
    samples = [POWER | {"labels": {"uuid": f"GPU-{n}"}, "at": START - 0.4 + n / 100} for n in range(8)]
    (batch,) = push(pushed, given(samples=samples))
    assert batch.at == pytest.approx(START - 0.33)
    assert len(batch.keys) == 8


def test_a_sender_may_speak_at_several_paces() -> None:
    pushed, store = Pushed(), Store(None)
    for n in range(60):
        pushed.clock.at = START + n
        push(pushed, given())
        if n % 20 == 0:
            push(pushed, given(interval_s=20, samples=[{"metric": "gpu_ecc_corrected_total", "value": n}]))
    for batch in pushed.batches:
        store.add(batch)
    assert {(b.interval_s, len(b.keys)) for b in pushed.batches} == {(1.0, 1), (20.0, 1)}
    assert store.stats().late == 0


def test_names_and_counters_are_understood_as_on_pages() -> None:
    pushed = Pushed()
    names = ("vllm:num_requests_waiting", "jobs_done_total", "DCGM_FI_DEV_GPU_UTIL")
    (batch,) = push(pushed, given(samples=[{"metric": name, "value": 50} for name in names]))
    assert values(batch) == {"requests_waiting": 50.0, "jobs_done_total": 50.0, "gpu_busy_ratio": 0.5}
    assert [key.counter for key in batch.keys] == [False, True, False]


def test_the_keys_stay_the_same_object_and_the_store_takes_every_row() -> None:
    pushed, store = Pushed(), Store(None)
    for n in range(10):
        pushed.clock.at = START + n
        push(pushed, given(samples=[POWER | {"value": n}]))
    for batch in pushed.batches:
        store.add(batch)
    assert len({id(batch.keys) for batch in pushed.batches}) == 1
    frame = store.raw("chat", "gpu_power_watts", (), START + 9, 60.0)
    assert frame.values[0].tolist() == list(range(10))


def test_a_source_that_falls_silent_is_down() -> None:
    pushed = Pushed()
    push(pushed, given())
    assert [b.state for n in range(8) for b in pushed.wait(0.5)] == ["down"]


def test_gzip_is_read_and_a_gzip_bomb_is_not() -> None:
    pushed = Pushed()
    packed = JSON | {"content-encoding": "gzip"}
    assert pushed.post("json", gzip.compress(json.dumps(given()).encode()), packed).status == 204
    bomb = gzip.compress(b" " * (17 << 20))
    receipt = pushed.post("json", bomb, packed)
    assert (receipt.status, len(bomb) < 100_000) == (413, True)


def sample(**changes: Any) -> dict[str, Any]:
    return given(samples=[POWER, POWER | changes])


@pytest.mark.parametrize(
    ("content", "status", "where", "text"),
    [
        ("{", 400, "", "the body is not JSON in UTF-8"),
        ("\ud800".encode("utf-8", "surrogatepass"), 400, "", "the body is not JSON in UTF-8"),
        ("[" * 100_000, 400, "", "the body is not JSON in UTF-8"),
        ([1], 422, "body", "is not an object; send {source, interval_s, labels, samples}"),
        (given(sample=[]), 422, "sample", "is not known here; there are source, interval_s, labels, samples, at"),
        (given(source=""), 422, "source", "must be a text of 1 to 200 printable characters; name the sender"),
        (given(source="a\nb"), 422, "source", "must be a text of 1 to 200 printable characters; name the sender"),
        (given(interval_s=0), 422, "interval_s", "must be a number of seconds from 0.05 to 3600"),
        (given(interval_s=True), 422, "interval_s", "must be a number of seconds from 0.05 to 3600"),
        (given(labels=[]), 422, "labels", "must be an object of texts; write {} for none"),
        (given(labels={"a b": "x"}), 422, "labels.a b", "is not the name of a label"),
        (given(labels={"a": 1}), 422, "labels.a", "must be a text of up to 500 characters"),
        (given(labels={"a": "\ud800"}), 422, "labels.a", "must be a text of up to 500 characters"),
        (given(labels={f"l{n}": "" for n in range(33)}), 422, "labels", "there are 33 labels, the limit is 32"),
        (given(at="now"), 422, "at", 'is "now" and must be Unix seconds'),
        (given(samples=[]), 422, "samples", "must be a list of at least one {metric, labels, value, at}"),
        (given(samples=[POWER] * 50_001), 422, "samples", "there are 50,001, the limit is 50,000; push in parts"),
        (given(samples=["x"]), 422, "samples[0]", "is not an object; write {metric, labels, value, at}"),
        (sample(metric="a-b"), 422, "samples[1].metric", "must be a metric's name of up to 200 of the characters"),
        (sample(label={}), 422, "samples[1].label", "is not known here; there are metric, labels, value, at"),
        (given(samples=[{"metric": "a"}]), 422, "samples[0].value", "is missing; write a number, or null"),
        (sample(value="3"), 422, "samples[1].value", 'is "3" and must be a finite number; write null'),
        (sample(value=True), 422, "samples[1].value", "is True and must be a finite number; write null"),
        (sample(value=math.nan), 422, "samples[1].value", "is nan and must be a finite number; write null"),
        (sample(value=math.inf), 422, "samples[1].value", "is inf and must be a finite number; write null"),
        (sample(value=10**400), 422, "samples[1].value", "and must be a finite number; write null"),
        (sample(at=START * 1000), 422, "samples[1].at", "must be Unix seconds; these look like milliseconds"),
        (given(at=START - 5000), 422, "samples", "every sample is 5,000 s old by this service's clock"),
        (given(at=START + 5000), 422, "samples", "samples from 1200 s ago to 60 s ahead are of use; set the clock"),
    ],
)
def test_a_wrong_body_is_refused_with_the_path_and_the_rule(content: Any, status: int, where: str, text: str) -> None:
    pushed = Pushed()
    raw = content if isinstance(content, bytes) else content if isinstance(content, str) else json.dumps(content)
    receipt = pushed.post("json", raw.encode() if isinstance(raw, str) else raw, JSON)
    assert receipt.status == status
    assert text in receipt.detail
    assert receipt.detail.startswith(where)
    assert pushed.collect() == [], "nothing is taken"


def test_all_faults_are_told_at_once() -> None:
    receipt = Pushed().post("json", json.dumps(sample(metric="", value="x") | {"source": 1}).encode(), JSON)
    assert [where for where, _ in receipt.errors] == ["source", "samples[1].metric", "samples[1].value"]
    assert receipt.detail.endswith("; 2 more under errors")
