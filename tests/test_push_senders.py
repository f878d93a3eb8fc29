"""Two processes that push under one name: one of them is taken, and people are told."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from structlog.testing import capture_logs

from autoscaler.clock import SystemClock
from autoscaler.types import Receipt
from tests.pushed import START, Pushed, values
from tests.serviceworld import ServiceWorld

JSON = {"content-type": "application/json"}
OLD = {"instance": "node-a/12", "started_at": START - 100}
NEW = {"instance": "node-b/77", "started_at": START - 50}


def given(sender: dict[str, Any], value: float = 1.0, **more: Any) -> dict[str, Any]:
    samples = [{"metric": "gpu_power_watts", "labels": {"uuid": "GPU-1"}, "value": value}]
    return {"source": "node", "interval_s": 1.0, "labels": {"pool": "chat"}, "samples": samples, **sender, **more}


def post(pushed: Pushed, sender: dict[str, Any], value: float = 1.0, **more: Any) -> Receipt:
    return pushed.post("json", json.dumps(given(sender, value, **more)).encode(), JSON)


def test_of_two_that_alternate_the_one_that_began_later_is_taken_and_rows_are_not_mixed() -> None:
    pushed = Pushed()
    statuses = []
    for n in range(6):
        pushed.clock.at = START + n
        old = post(pushed, OLD, 1.0).status
        pushed.clock.at += 0.5
        statuses.append((old, post(pushed, NEW, 2.0).status))
        pushed.collect()
    assert statuses == [(204, 204), *[(409, 204)] * 5]
    assert [values(b)["gpu_power_watts"] for b in pushed.batches] == [1.0, 2.0, 2.0, 2.0, 2.0, 2.0, 2.0]


def test_the_refusal_names_both_and_the_next_step_and_is_counted() -> None:
    pushed = Pushed()
    post(pushed, NEW)
    receipt = post(pushed, OLD)
    assert receipt.status == 409
    assert receipt.detail == (
        "node-b/77 began later and pushes under the name node{pool='chat'} too; only that one is taken; "
        "give each a name of its own (an agent: --host) or stop one"
    )
    assert pushed.refused("json") == {"conflict": 1}


def test_the_log_says_it_once() -> None:
    pushed = Pushed()
    with capture_logs() as lines:
        for n in range(20):
            pushed.clock.at = START + n
            post(pushed, NEW)
            post(pushed, OLD)
    assert [(one["event"], one["taken"], one["refused"]) for one in lines if one["log_level"] == "warning"] == [
        ("two processes push under one name", "node-b/77", "node-a/12")
    ]


def test_people_are_told_for_as_long_as_both_push() -> None:
    pushed = Pushed()
    post(pushed, NEW)
    assert pushed.push.contested() == ()
    post(pushed, OLD)
    (told,) = pushed.push.contested()
    assert "node-b/77 is taken and node-a/12, which began earlier, is refused" in told
    pushed.clock.at += 61
    assert pushed.push.contested() == ()


@pytest.mark.parametrize(
    ("first", "then", "after_s", "status"),
    [
        pytest.param(OLD, NEW, 0.1, 204, id="one that was restarted is heard at once"),
        pytest.param(NEW, OLD, 9.0, 409, id="an earlier one waits while the later one may only be late"),
        pytest.param(NEW, OLD, 11.0, 204, id="an earlier one is heard once the later one is silent"),
        pytest.param(NEW, {**OLD, "instance": "node-b/77"}, 1.0, 409, id="a name that is used again is no proof"),
        pytest.param(NEW, {}, 1.0, 204, id="who does not say which process it is is not judged"),
        pytest.param({}, OLD, 1.0, 204, id="who is not judged keeps nobody out"),
        pytest.param(NEW, NEW, 1.0, 204, id="the same one goes on"),
    ],
)
def test_who_is_heard(first: dict[str, Any], then: dict[str, Any], after_s: float, status: int) -> None:
    pushed = Pushed()
    assert post(pushed, first).status == 204
    pushed.clock.at += after_s
    assert post(pushed, then).status == status


def test_a_slow_sender_is_waited_for_three_of_its_intervals() -> None:
    pushed = Pushed()
    post(pushed, NEW, interval_s=60.0)
    pushed.clock.at += 170
    assert post(pushed, OLD, interval_s=60.0).status == 409
    pushed.clock.at += 20
    assert post(pushed, OLD, interval_s=60.0).status == 204


def test_the_paces_of_one_process_are_one_sender_and_other_labels_are_another() -> None:
    pushed = Pushed()
    assert [post(pushed, NEW, interval_s=every_s).status for every_s in (1.0, 10.0)] == [204, 204]
    assert post(pushed, OLD, interval_s=10.0).status == 409
    assert post(pushed, OLD, labels={"pool": "draw"}).status == 204


def test_clocks_that_are_ahead_do_not_make_two_processes_take_turns() -> None:
    pushed = Pushed()
    ahead = [{"instance": name, "started_at": START + 30} for name in ("node-a/1", "node-b/1")]
    statuses = []
    for n in range(40):
        pushed.clock.at = START + n
        statuses.append([post(pushed, sender).status for sender in ahead])
    assert [204, 409] in statuses[30:] or [409, 204] in statuses[30:]
    assert len(set(map(tuple, statuses[31:]))) == 1


@pytest.mark.parametrize(
    ("sender", "where"),
    [
        pytest.param({"instance": "a"}, "started_at", id="a name without a time"),
        pytest.param({"started_at": START}, "instance", id="a time without a name"),
        pytest.param({"instance": "a\n", "started_at": START}, "instance", id="a name that cannot be printed"),
        pytest.param({"instance": "a", "started_at": START * 1000}, "started_at", id="milliseconds"),
    ],
)
def test_half_of_it_is_refused_with_its_path(sender: dict[str, Any], where: str) -> None:
    receipt = post(Pushed(), sender)
    assert (receipt.status, [path for path, _ in receipt.errors]) == (422, [where])


@pytest.fixture
def world(tmp_path: Path) -> Iterator[ServiceWorld]:
    made = ServiceWorld(tmp_path, "127.0.0.1")
    yield made
    made.end()


def test_a_running_service_says_so_in_readyz(world: ServiceWorld) -> None:
    world.write_rules()
    now, samples = SystemClock().now(), [{"metric": "a", "value": 1}]
    with world.running() as client:
        for sender, status in ((NEW | {"started_at": now - 1}, 204), (OLD | {"started_at": now - 2}, 409)):
            client.ask("POST", "/push", status, json={"source": "node", "samples": samples, **sender})
        told = httpx.get(f"http://{client.address}/readyz", timeout=30.0, trust_env=False).json()
        assert any("two processes push under the name node{}" in text for text in told["warnings"])
