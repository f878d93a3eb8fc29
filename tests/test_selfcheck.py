"""The self-check over a real store and a real service: said once, logged once, an alert for what disappears."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
import structlog
from structlog.testing import capture_logs

from autoscaler import alerts
from autoscaler.alerts import SIGNAL_LOST
from autoscaler.board import Board, PoolView
from autoscaler.clock import SimClock
from autoscaler.counts import Counts
from autoscaler.exposition import Moment, render
from autoscaler.ruleset import RuleSet, Signal
from autoscaler.selfcheck import SelfCheck
from autoscaler.store import Store
from autoscaler.types import Alert
from collectors.pages.hints import how_to_get
from collectors.pages.reader import PageReader
from tests.peers.pages import Pages, answer, until
from tests.serviceworld import Client, ServiceWorld, receiver
from tests.test_presence import BUSY, LOAD, NOW, QUEUE, SLOW, rules


class Watched:
    """A self-check over a real store, whose one target prints what a test says."""

    def __init__(self, in_force: RuleSet) -> None:
        self.clock = SimClock(NOW)
        self.store = Store(None)
        self.board = Board()
        self.board.publish(PoolView(in_force, NOW))
        self.rules = {in_force.pool: in_force}
        self.check = SelfCheck(lambda: self.rules, self.store, self.board, self.clock, how_to_get)
        self.reader = PageReader("target", (("pool", "chat"),), 5.0)

    def after(self, seconds: float, page: str = "") -> list[tuple[str, str]]:
        """What is found, as (signal, kind), after a target has printed a page every 5 s for some seconds."""
        end = self.clock.now() + seconds
        while self.clock.now() < end:
            self.clock.wait(min(end, self.clock.now() + 5.0))
            if page:
                self.store.add(self.reader.read(page.encode(), self.clock.now()))
            self.check.run()
        return [(f.signal, f.kind) for f in self.check.findings().get("chat", ())]


IN_FORCE = rules(QUEUE, LOAD)
BOTH = "requests_waiting 3\nrequests_arrived_total 100\n"


@pytest.fixture
def logged() -> Iterator[list[dict[str, object]]]:
    structlog.reset_defaults()
    with capture_logs() as entries:
        yield entries  # type: ignore[misc]


def test_a_pool_has_some_time_after_the_start_to_be_found() -> None:
    watched = Watched(IN_FORCE)
    assert watched.after(10.0) == []
    assert watched.after(50.0) == [("queue", "absent"), ("load", "absent")]
    assert watched.after(5.0, BOTH) == []


def test_a_finding_is_logged_once_and_its_end_too(logged: list[dict[str, object]]) -> None:
    watched = Watched(rules(QUEUE))
    watched.after(120.0, "requests_running 1\n")
    watched.after(30.0, BOTH)
    assert [(e["event"], e["log_level"]) for e in logged] == [
        ("signal absent", "warning"),
        ("signal as it should be", "info"),
    ]


def test_a_signal_that_disappears_is_lost_after_it_may_be_held_no_longer_and_comes_back() -> None:
    watched = Watched(IN_FORCE)
    assert watched.after(20.0, BOTH) == []
    assert watched.check.lost("chat") == {"queue": "", "load": ""}
    only_load = "requests_arrived_total 100\n"
    assert watched.after(290.0, only_load) == []
    assert watched.after(20.0, only_load) == [("queue", "disappeared")]
    lost = watched.check.lost("chat")
    assert lost["load"] == ""
    assert lost["queue"].startswith("requests_waiting was there and has had no value for 5 min")
    assert watched.after(5.0, BOTH) == []
    assert watched.check.lost("chat") == {"queue": "", "load": ""}


def test_a_new_rule_file_is_judged_afresh() -> None:
    watched = Watched(IN_FORCE)
    watched.after(60.0, BOTH)
    watched.rules["chat"] = rules(replace(QUEUE, metric="requests_stuck"), hash="other")
    assert watched.after(10.0, BOTH) == []
    assert watched.after(60.0, BOTH) == [("queue", "absent")]
    del watched.rules["chat"]
    assert watched.after(5.0, BOTH) == []


def test_series_of_a_real_page_are_told_apart_by_kind_and_unit() -> None:
    watched = Watched(rules(BUSY, replace(QUEUE, rate_s=60.0), replace(LOAD, rate_s=None), SLOW))
    page = BOTH + "gpu_busy_ratio 87\ntime_to_first_token_seconds 3\n"
    assert watched.after(60.0, page) == [("gpu", "unit"), ("queue", "kind"), ("load", "kind"), ("ttft", "kind")]


def test_the_own_metrics_say_which_signals_are_absent() -> None:
    watched = Watched(IN_FORCE)
    watched.after(60.0, "requests_arrived_total 100\n")
    page = render(watched.board, Counts(findings=watched.check.findings()), Moment(NOW, "1")).decode()
    assert 'sigmascale_signal_absent{pool="chat",signal="queue"} 1.0' in page
    assert 'sigmascale_signal_absent{pool="chat",signal="load"} 0.0' in page


# --- the alert ------------------------------------------------------------------------------------------------------


def follow(
    lost: dict[str, str], before: dict[str, Alert], now: float, in_force: RuleSet = IN_FORCE
) -> dict[str, Alert]:
    return dict(alerts.follow(in_force, (), {}, before, now, lost))


def test_a_lost_signal_fires_until_it_is_back() -> None:
    calm = follow({"queue": "", "load": ""}, {}, NOW)
    assert calm == {}
    firing = follow({"queue": "requests_waiting is gone", "load": ""}, calm, NOW + 1)
    ((key, alert),) = firing.items()
    assert key == "signal lost{signal='queue'}"
    assert (alert.name, alert.state, alert.severity, alert.labels) == (
        SIGNAL_LOST,
        "firing",
        "warning",
        (("signal", "queue"),),
    )
    assert alerts.due(calm, firing) == (alert,)
    again = follow({"queue": "requests_waiting is gone", "load": ""}, firing, NOW + 2)
    assert alerts.due(firing, again) == ()
    back = follow({"queue": "", "load": ""}, again, NOW + 3)
    assert [(a.state, a.text) for a in alerts.due(again, back)] == [("resolved", "queue is there again")]


def test_a_lost_signal_that_cannot_be_judged_stays_as_it_is() -> None:
    """After a restart nobody knows yet whether it is back."""
    firing = follow({"queue": "gone"}, {}, NOW)
    assert follow({}, firing, NOW + 60) == firing


def test_the_alert_ends_with_the_signal_s_rule() -> None:
    firing = follow({"queue": "gone"}, {}, NOW)
    (ended,) = follow({}, firing, NOW + 1, rules(LOAD)).values()
    assert (ended.state, ended.text) == ("resolved", "the signal was taken out of the rule file")


def test_targets_of_a_pool_without_a_rule_file_are_named() -> None:
    watched = Watched(IN_FORCE)
    watched.reader = PageReader("target", (("pool", "caht"),), 5.0)
    watched.after(60.0, BOTH)
    texts = [finding.text for finding in watched.check.findings()["chat"]]
    assert all("those labelled pool=caht do, and no rule file has that pool" in text for text in texts)
    watched.rules = {**watched.rules, "caht": replace(IN_FORCE, pool="caht")}
    watched.after(4.0, BOTH)
    assert not any("caht" in finding.text for finding in watched.check.findings()["chat"])


def test_why_a_store_has_no_number_is_told_with_the_signal() -> None:
    orders = Signal("orders", promql="orders_total")
    watched = Watched(rules(orders))
    said = {("chat", "orders"): "the query gives 5 series"}
    watched.check = SelfCheck(lambda: watched.rules, watched.store, watched.board, watched.clock, problems=lambda: said)
    watched.after(60.0)
    (finding,) = watched.check.findings()["chat"]
    assert finding.text == "no collector has answered its query; the query gives 5 series"


def queue_of(client: Client) -> object:
    """The value of the signal `queue` at the last decision."""
    readings = client.ask("GET", "/pools/chat/signals")["readings"]
    return next((reading["value"] for reading in readings if reading["signal"] == "queue"), None)


def test_a_service_tells_receivers_of_a_signal_that_disappears(tmp_path: Path) -> None:
    """From a page that lacks a line to the message: over real sockets, through the journal."""
    world = ServiceWorld(tmp_path, "127.0.0.41")
    world.write_rules(least=0, most=1)
    text = world.rules.read_text(encoding="utf-8")
    world.rules.write_text(text.replace("max_age: 5s, max_hold: 15s", "max_age: 2s, max_hold: 4s"), encoding="utf-8")
    try:
        with Pages({"/m": answer(b"requests_waiting 0\n")}) as pages, receiver() as (hook, messages):
            target = {"url": pages.url("/m"), "labels": {"pool": "chat", "instance": "gateway"}, "interval": "1s"}
            with world.running(targets=[target], webhooks=[hook]) as client:
                until(lambda: client.pool() and queue_of(client) == 0.0, "a value")
                pages.answers["/m"] = answer(b"requests_running 0\n")
                until(lambda: messages, "a message", 15.0)
                (finding,) = client.ask("GET", "/pools/chat/signals")["findings"]
                assert (finding["signal"], finding["kind"]) == ("queue", "disappeared")
                (alert,) = client.ask("GET", "/alerts", params={"state": "firing"})["alerts"]
                pages.answers["/m"] = answer(b"requests_waiting 0\n")
                until(lambda: len(messages) > 1, "its end", 15.0)
    finally:
        world.end()
    assert (alert["name"], alert["labels"]) == (SIGNAL_LOST, [["signal", "queue"]])
    told = [(a["status"], a["labels"]["alertname"], a["labels"]["signal"]) for m in messages for a in m["alerts"]]
    assert told == [("firing", SIGNAL_LOST, "queue"), ("resolved", SIGNAL_LOST, "queue")]
    assert json.dumps(messages[0]).count("requests_waiting was there")
