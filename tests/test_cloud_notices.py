"""What the clouds' metadata services announce, over the wire: read, kept apart from failures, and told as series."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from autoscaler.clock import SystemClock, monotonic
from autoscaler.errors import InputError
from autoscaler.signals import metric
from autoscaler.types import Batch
from collectors.cloud import Cloud
from collectors.cloud.aws import Aws
from collectors.cloud.azure import Azure
from collectors.cloud.exchange import MOST_BYTES, Exchange, SilentError
from collectors.cloud.notices import Notices, instant
from tests.cloudworld import TIME, TIME_S, Metadata, metadata
from tests.peers.pages import Answer, Pages, hang, raw, until
from tests.peers.running import running

NOW = 1_795_341_600.0
ACTION = "instance_interruption_timestamp_seconds"
AZURE_TIME = "Sun, 22 Nov 2026 10:02:00 GMT"


def exchange(world: Metadata) -> Exchange:
    return Exchange(world.url, 5.0)


def event(kind: str = "Preempt", *names: str, at: str = AZURE_TIME, **more: Any) -> dict[str, Any]:
    given = {"EventId": "E", "EventType": kind, "ResourceType": "VirtualMachine", "EventStatus": "Scheduled"}
    return {**given, "Resources": list(names or ("gpu_3",)), "NotBefore": at, **more}


# --- EC2 ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("action", "rebalance", "found", "rebalance_at"),
    [
        pytest.param(None, None, {}, 0.0, id="nothing is announced"),
        pytest.param({"action": "terminate", "time": TIME}, None, {"terminate": TIME_S}, 0.0, id="terminate"),
        pytest.param({"action": "stop", "time": TIME}, None, {"stop": TIME_S}, 0.0, id="stop"),
        pytest.param({"action": "hibernate", "time": TIME}, None, {"hibernate": TIME_S}, 0.0, id="hibernate"),
        pytest.param({"action": "melt", "time": "soon"}, None, {"terminate": NOW}, 0.0, id="words of a later version"),
        pytest.param({}, None, {"terminate": NOW}, 0.0, id="a notice without words is one"),
        pytest.param(None, {"noticeTime": TIME}, {}, TIME_S, id="advice to move"),
        pytest.param(None, {}, {}, NOW, id="advice without a time"),
    ],
)
def test_ec2_is_read(
    action: dict[str, Any] | None, rebalance: dict[str, Any] | None, found: dict[str, float], rebalance_at: float
) -> None:
    with metadata() as world:
        world.action, world.rebalance = action, rebalance
        assert Aws(exchange(world)).look(NOW) == Notices(world.instance, found, rebalance_at)


def test_ec2_is_asked_with_a_token_which_is_renewed_when_it_has_expired() -> None:
    with metadata() as world:
        asked = Aws(exchange(world))
        asked.look(NOW)
        asked.look(NOW)
        assert world.given == 1
        world.tokens.clear()
        world.action = {"action": "terminate", "time": TIME}
        assert asked.look(NOW).interruptions == {"terminate": TIME_S}
        assert world.given == 2
        assert "token-" not in repr(asked)


@pytest.mark.parametrize(
    ("status", "body", "said"),
    [
        (403, b"", "it gives no token (403)"),
        (200, b"two words", "it gives no token"),
        (200, b"evil\r\nX: y", "it gives no token"),
        (200, b"", "it gives no token"),
        (302, b"", "it gives no token (302)"),
    ],
)
def test_a_service_that_gives_no_token_announces_nothing(status: int, body: bytes, said: str) -> None:
    with metadata() as world:
        world.broken = (status, body, {"Location": "http://127.0.0.1:1/"})
        with pytest.raises(SilentError, match=said.replace("(", r"\(").replace(")", r"\)")):
            Aws(exchange(world)).look(NOW)


def test_a_login_page_empties_no_pool() -> None:
    with metadata() as world:
        asked = Aws(exchange(world))
        asked.look(NOW)
        world.broken = (200, b"<html>please log in</html>", {})
        with pytest.raises(SilentError, match="a notice that is not JSON"):
            asked.look(NOW)


# --- Azure --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("events", "found"),
    [
        pytest.param([], {}, id="nothing is announced"),
        pytest.param([event()], {"preempt": TIME_S}, id="a spot machine is taken"),
        pytest.param([event("Terminate"), event("Freeze")], {"terminate": TIME_S, "freeze": TIME_S}, id="two events"),
        pytest.param([event("Reboot"), event("Redeploy")], {"reboot": TIME_S, "redeploy": TIME_S}, id="maintenance"),
        pytest.param([event("Preempt", "gpu_4")], {}, id="another machine of the scale set"),
        pytest.param([event("Preempt", "gpu_4", "GPU_3")], {"preempt": TIME_S}, id="capitals make no difference"),
        pytest.param([event(at="", EventStatus="Started")], {"preempt": NOW}, id="it has begun"),
        pytest.param([event(at="2026-11-22T10:02:00Z")], {"preempt": TIME_S}, id="a date in the other form"),
        pytest.param([event("Melt")], {}, id="a kind of a later version"),
        pytest.param(["x", {}, {"Resources": "gpu_3"}, {"EventType": 3}], {}, id="garbage"),
    ],
)
def test_azure_is_read(events: list[Any], found: dict[str, float]) -> None:
    with metadata("azure", "GPU_3") as world:
        world.events = events
        assert Azure(exchange(world)).look(NOW) == Notices("gpu_3", found)


@pytest.mark.parametrize("body", [b"", b"[]", b'{"Events": {}}', b"[" * 9000], ids=["empty", "list", "mapping", "deep"])
def test_azures_garbage_announces_nothing(body: bytes) -> None:
    with metadata("azure", "gpu_3") as world:
        asked = Azure(exchange(world))
        asked.look(NOW)
        world.broken = (200, body, {})
        with pytest.raises(SilentError, match="no list of scheduled events"):
            asked.look(NOW)


@pytest.mark.parametrize(
    ("text", "at"),
    [
        *((TIME, TIME_S), (AZURE_TIME, TIME_S), ("2026-11-22T10:02:00", TIME_S), ("", None), ("soon", None), (3, None)),
        *(("9" * 65, None), ("0001-01-01T00:00:00Z", None), (None, None)),
    ],
)
def test_dates_are_read_and_what_is_none_is_told(text: object, at: float | None) -> None:
    assert instant(text) == at


# --- the wire -----------------------------------------------------------------------------------------------------


async def _drip(writer: asyncio.StreamWriter) -> None:
    writer.write(b"HTTP/1.1 200 OK\r\nX: ")
    while not writer.is_closing():
        writer.write(b"y")
        await writer.drain()
        await asyncio.sleep(0.01)


@pytest.mark.parametrize(
    ("how", "said"),
    [
        pytest.param(hang, "no answer in 0.3 s", id="it hangs"),
        pytest.param(_drip, "does not end in time|no answer in", id="it drips"),
        pytest.param(raw(b"garbage\r\n\r\n"), "an answer that is no HTTP", id="no HTTP"),
        pytest.param(raw(b""), "an answer that is no HTTP", id="it hangs up"),
        pytest.param(raw(b"HTTP/1.1 200 OK\r\n\r\n" + b"x" * (MOST_BYTES + 1)), "more than 65536 bytes", id="no end"),
    ],
)
def test_an_answer_ends_in_time_and_size(how: Answer, said: str) -> None:
    with Pages({"/x": how}) as pages:
        began = monotonic()
        with pytest.raises(SilentError, match=said):
            Exchange(pages.url(""), 0.3).ask("GET", "/x")
        assert monotonic() - began < 10.0


def test_an_answer_with_its_length_needs_no_end_of_the_connection() -> None:
    with Pages({"/x": raw(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok", close=False)}) as pages:
        assert Exchange(pages.url(""), 5.0).ask("GET", "/x").body == b"ok"


def test_a_redirect_is_an_answer_like_any_other() -> None:
    with metadata() as world:
        world.broken = (301, b"", {"Location": "http://127.0.0.1:1/"})
        assert exchange(world).ask("GET", "/x").status == 301
        assert world.asked == ["GET /x"]


def test_nobody_there_is_told_apart_from_one_who_talks_nonsense() -> None:
    with pytest.raises(SilentError) as raised:
        Exchange("http://127.0.0.1:1", 1.0).ask("GET", "/")
    assert raised.value.gone


# --- the collector ------------------------------------------------------------------------------------------------


class Heard:
    """The newest value of each series of a collector, by name and kind."""

    def __init__(self, cloud: Cloud) -> None:
        self.cloud = cloud
        self.batches: list[Batch] = []

    def values(self) -> dict[tuple[str, str], float]:
        self.batches += self.cloud.collect(0.0)
        if not self.batches:
            return {}
        last = self.batches[-1]
        return {(k.metric, k.label("kind") or ""): v for k, v in zip(last.keys, last.values.tolist(), strict=True)}

    def until(self, name: str, value: float, kind: str = "") -> None:
        until(lambda: self.values().get((name, kind)) == value, f"{name} {kind} = {value}")


@contextmanager
def asking(url: str, **settings: Any) -> Iterator[Heard]:
    labels = (("instance", "10.0.0.5:8000"), ("pool", "chat"))
    given: dict[str, Any] = {"interval_s": 0.02, "timeout_s": 2.0, "base_url": url}
    with running(Cloud(SystemClock(), labels, **{**given, **settings})) as cloud:
        yield Heard(cloud)


def test_a_notice_becomes_series_with_the_machines_labels_and_is_taken_back() -> None:
    with metadata() as world, asking(world.url, cloud="aws") as heard:
        heard.until(ACTION, 0.0, "terminate")
        world.action = {"action": "terminate", "time": TIME}
        heard.until(ACTION, TIME_S, "terminate")
        world.rebalance = {"noticeTime": TIME}
        heard.until("instance_rebalance_timestamp_seconds", TIME_S)
        assert heard.values()["instance_notices_readable", ""] == 1.0
        (key, *_) = heard.batches[-1].keys
        assert dict(key.labels) == {"instance": "10.0.0.5:8000", "instance_id": world.instance, "pool": "chat"}
        world.action = None
        heard.until(ACTION, 0.0, "terminate")
        assert len({id(batch.keys) for batch in heard.batches}) == 1


def test_a_silence_takes_no_notice_back() -> None:
    with metadata() as world, asking(world.url, cloud="aws") as heard:
        world.action = {"action": "terminate", "time": TIME}
        heard.until(ACTION, TIME_S, "terminate")
        world.broken = (500, b"", {})
        heard.until("instance_notices_readable", 0.0)
        assert math.isnan(heard.values()[ACTION, "terminate"])
        assert heard.cloud.status().state == "failing"


@pytest.mark.parametrize(("cloud", "kind"), [("aws", "hibernate"), ("azure", "freeze")])
def test_auto_finds_whose_machine_it_is(cloud: str, kind: str) -> None:
    with metadata(cloud) as world, asking(world.url, cloud="auto") as heard:
        heard.until(ACTION, 0.0, kind)
        assert (heard.cloud.status().state, heard.cloud.status().cloud) == ("reading", cloud)


def test_a_machine_of_no_cloud_is_told_as_such_and_asked_rarely() -> None:
    with asking("http://127.0.0.1:1", cloud="auto") as heard:
        until(lambda: heard.cloud.status().state == "absent", "no cloud")
        assert heard.values() == {}


def test_the_other_clouds_service_is_not_taken_for_ours() -> None:
    with metadata("azure") as world, asking(world.url, cloud="aws") as heard:
        until(lambda: heard.cloud.status().state == "failing", "no answer of EC2's")
        assert heard.values() == {}


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"base_url": "https://169.254.169.254"}, "is not http://HOST"),
        ({"base_url": "http://a b"}, "is not http://HOST"),
        ({"base_url": "http://u@h"}, "is not http://HOST"),
        ({"cloud": "gcp"}, "'gcp' is not one of aws, azure, auto"),
        ({"interval_s": 0.0}, "interval_s is 0.0, but must be above 0"),
        ({"timeout_s": math.nan}, "timeout_s is nan"),
    ],
)
def test_a_setting_that_cannot_be_meant_is_refused(settings: dict[str, Any], said: str) -> None:
    with pytest.raises(InputError, match=said):
        Cloud(SystemClock(), **settings)


def test_every_series_has_a_canonical_name() -> None:
    for name in (ACTION, "instance_rebalance_timestamp_seconds", "instance_notices_readable"):
        assert metric(name) is not None
