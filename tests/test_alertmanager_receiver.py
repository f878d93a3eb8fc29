"""Alerts of others as signals: told by webhooks, or asked of a real Alertmanager. Absence is never zero."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import httpx
import pytest

from autoscaler import plugins
from autoscaler.api.serve import Server
from autoscaler.clock import SystemClock
from autoscaler.errors import InputError
from autoscaler.rulefile.reader import Defaults, check_text
from autoscaler.ruleset import RuleSet
from autoscaler.store import Store
from autoscaler.types import Batch
from benchmarks.prometheus import free_port, process
from benchmarks.prometheus import until as ready
from collectors.alertmanager import Alertmanager
from collectors.push import Push
from tests.apiworld import SECRETS, api_world
from tests.peers.pages import Pages, answer, until
from tests.peers.programs import program
from tests.peers.running import running
from tests.pushed import START, Pushed

JSON = {"content-type": "application/json"}
SLOW = {"alertname": "Slow", "severity": "critical", "pool": "chat"}
RULES = """\
pool: chat
limits: {min: 1, max: 8}
offers: {from: [{local: {type: w, command: 'serve {port}', ready: /health}}]}
signals:
  slow: {metric: alert_firing, where: {alertname: Slow}, aggregate: max}
rules:
  - {name: slow, when: {slow: {above: 0.5}}, scale_out: {by: 1}, cooldown: 60s}
"""


def webhook(*alerts: tuple[str, dict[str, str]], version: str = "4", ends: str = "0001-01-01T00:00:00Z") -> bytes:
    """A notification as Alertmanager posts it."""
    listed = [
        {"status": s, "labels": labels, "annotations": {}, "startsAt": "2023-11-14T22:13:20Z", "endsAt": ends}
        for s, labels in alerts
    ]
    return json.dumps({"version": version, "status": "firing", "receiver": "x", "alerts": listed}).encode()


def notify(pushed: Pushed, *alerts: tuple[str, dict[str, str]], **more: Any) -> list[Batch]:
    """Take a notification, which must be taken; what came of it at once."""
    receipt = pushed.post("alerts", webhook(*alerts, **more), JSON)
    assert receipt.status == 204, receipt
    return pushed.collect()


def firing(batches: list[Batch]) -> dict[tuple[str | None, str | None], float]:
    """The last word on each alert, by its name and pool."""
    return {
        (key.label("alertname"), key.label("pool")): float(value)
        for batch in batches
        for key, value in zip(batch.keys, batch.values, strict=True)
    }


# --- webhooks -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("version", ["4", "1"], ids=["Alertmanager", "Grafana"])
def test_a_firing_alert_is_one_and_zero_once_it_was_resolved(version: str) -> None:
    pushed = Pushed()
    (batch,) = notify(pushed, ("firing", SLOW), version=version)
    assert batch.labels == (("pool", "chat"),), "so that the pool ticks at once"
    assert batch.keys[0].labels == tuple(sorted(SLOW.items()))
    assert firing([batch]) == {("Slow", "chat"): 1.0}
    pushed.clock.at += 1.0
    (later,) = notify(pushed, ("resolved", SLOW), version=version)
    assert firing([later]) == {("Slow", "chat"): 0.0}
    assert later.keys is batch.keys


def test_what_was_told_is_repeated_so_that_it_stays_fresh() -> None:
    pushed = Pushed()
    notify(pushed, ("firing", SLOW))
    assert [firing(pushed.wait(5.0)) for _ in range(3)] == [{("Slow", "chat"): 1.0}] * 3


def test_an_alert_that_is_not_repeated_becomes_missing_and_not_zero() -> None:
    pushed = Pushed()
    notify(pushed, ("firing", SLOW), ("firing", SLOW | {"alertname": "Full"}))
    pushed.wait(4 * 3600.0)
    notify(pushed, ("firing", SLOW | {"alertname": "Full"}))
    assert firing(pushed.wait(3600.0 + 5)) == {("Full", "chat"): 1.0}
    (gone,) = pushed.wait(4 * 3600.0)
    assert (gone.state, gone.keys) == ("gone", ())


def test_an_alert_ages_out_at_the_end_that_it_names() -> None:
    pushed = Pushed()
    notify(pushed, ("firing", SLOW), ends=datetime.fromtimestamp(START + 60, UTC).isoformat())
    assert firing(pushed.wait(55.0)) == {("Slow", "chat"): 1.0}
    assert [b.state for b in pushed.wait(6.0)] == ["gone"]


def test_a_pool_in_the_address_is_for_alerts_without_one() -> None:
    pushed, bare = Pushed(), {"alertname": "Full"}
    assert pushed.post("alerts", webhook(("firing", bare), ("firing", SLOW)), JSON, pool="embed").status == 204
    assert firing(pushed.collect()) == {("Full", "embed"): 1.0, ("Slow", "chat"): 1.0}


def test_a_rule_reads_it_and_an_alert_that_was_never_told_is_missing() -> None:
    store, pushed, rules = Store(None), Pushed(), rule_set()
    assert store.read(rules, START)["slow"].quality == ("missing",)
    for batch in notify(pushed, ("firing", SLOW), ("resolved", SLOW | {"instance": "b"})):
        store.add(batch)
    frame = store.read(rules, START + 1)["slow"]
    assert (frame.values[0][-1], frame.quality) == (1.0, ("fresh",))


def rule_set() -> RuleSet:
    checked = check_text(RULES, file="chat.yaml", defaults=Defaults(None, None, True))
    assert checked.rules is not None, checked
    return checked.rules


@pytest.mark.parametrize(
    ("content", "status", "text"),
    [
        (b"{", 400, "the body is not JSON in UTF-8"),
        (b"[]", 422, "body: is not an object; point a webhook_config of an Alertmanager at this path"),
        (b'{"alerts": []}', 422, "version: 'None' is not one that is read here; Alertmanager sends '4'"),
        (b'{"version": "4"}', 422, "alerts: must be a list of up to 2,000 alerts"),
        (b'{"version": "4", "alerts": [1]}', 422, "alerts[0]: is not an object with status and labels"),
        (webhook(("silenced", SLOW)), 422, "alerts[0].status: is 'silenced'; write firing or resolved"),
        (webhook(("firing", SLOW), ("firing", {})), 422, "alerts[1].labels: must be an object of 1 to 32 labels"),
        (webhook(("firing", {"a": "b"})), 422, "alerts[0].labels.alertname: is missing; rules find an alert by it"),
        (webhook(("firing", SLOW), ends="soon"), 422, "alerts[0].endsAt: is 'soon' and no RFC 3339 time"),
        (
            webhook(*[("firing", {"alertname": f"a{n}"}) for n in range(2001)]),
            422,
            "alerts: must be a list of up to 2,000",
        ),
    ],
)
def test_a_wrong_notification_is_refused_with_the_path_and_the_rule(content: bytes, status: int, text: str) -> None:
    pushed = Pushed()
    receipt = pushed.post("alerts", content, JSON)
    assert receipt.status == status
    assert receipt.detail.startswith(("the body", text[:8]))
    assert text in receipt.detail
    assert pushed.collect() == []


def test_alerts_are_bounded_whatever_is_sent() -> None:
    pushed = Pushed()
    for n in range(2):
        notify(pushed, *[("firing", {"alertname": f"a{n * 1000 + m}"}) for m in range(1000)])
    receipt = pushed.post("alerts", webhook(("firing", {"alertname": "one more"})), JSON)
    assert (receipt.status, receipt.reason) == (422, "no_room")


# --- a real Alertmanager --------------------------------------------------------------------------------------------


@contextmanager
def alertmanager(folder: Path, hook: str = "http://127.0.0.1:9/", token: str = "x") -> Iterator[str]:
    """The address of a running one, which posts to `hook` at once."""
    server, port = program("prometheus-alertmanager", "prometheus-alertmanager"), free_port()
    http = {"authorization": {"credentials": token}}
    receiver = {"name": "us", "webhook_configs": [{"url": hook, "send_resolved": True, "http_config": http}]}
    route = {"receiver": "us", "group_by": ["..."], "group_wait": "0s", "group_interval": "1s"}
    (folder / "am.yml").write_text(json.dumps({"route": route, "receivers": [receiver]}))
    command = [server, f"--config.file={folder}/am.yml", f"--storage.path={folder}/am", "--cluster.listen-address="]
    command.append(f"--web.listen-address=127.0.0.1:{port}")
    url = f"http://127.0.0.1:{port}"
    with process(command, folder / "am.log") as started:
        ready(lambda: httpx.get(f"{url}/-/ready", trust_env=False).status_code == 200, started)
        yield url


def fire(url: str, labels: dict[str, str], ended: bool = False) -> None:
    """Tell the Alertmanager that an alert fires, or that it ended."""
    now = SystemClock().now()
    alert: dict[str, Any] = {"labels": labels, "startsAt": datetime.fromtimestamp(now - 60, UTC).isoformat()}
    if ended:
        alert["endsAt"] = datetime.fromtimestamp(now - 1, UTC).isoformat()
    httpx.post(f"{url}/api/v2/alerts", json=[alert], trust_env=False).raise_for_status()


@pytest.mark.peer
def test_a_real_alertmanager_notifies_and_resolves(tmp_path: Path) -> None:
    push = Push(SystemClock())
    server = Server(api_world(tmp_path, receiver=push).app, "127.0.0.1", 0)
    server.start()
    batches: list[Batch] = []

    def told(value: float) -> bool:
        batches.extend(push.collect(SystemClock().now()))
        return firing(batches) == {("Slow", "chat"): value}

    try:
        with alertmanager(tmp_path, f"{server.url}/api/v1/alerts/webhook", SECRETS["operator"]) as url:
            fire(url, SLOW)
            until(lambda: told(1.0), "a firing alert")
            fire(url, SLOW, ended=True)
            until(lambda: told(0.0), "a resolved alert")
    finally:
        server.stop()
    assert not any(push.status()[3].refused.values())


@pytest.mark.peer
def test_a_real_alertmanager_is_asked_and_then_zero_is_known(tmp_path: Path) -> None:
    batches: list[Batch] = []
    with alertmanager(tmp_path) as url:
        made = Alertmanager(SystemClock(), url, ("Slow", "Full"), (("pool", "chat"),), interval_s=0.1)
        made.start()

        def until_last(expected: dict[tuple[str, str], float], what: str) -> Batch:
            def last() -> bool:
                batches.extend(made.collect(SystemClock().now()))
                return bool(batches) and batches[-1].state == "up" and firing(batches[-1:]) == expected

            until(last, what)
            return batches[-1]

        try:
            quiet = {("Slow", "chat"): 0.0, ("Full", "chat"): 0.0}
            first = until_last(quiet, "both known to be quiet")
            fire(url, {"alertname": "Slow", "instance": "a"})
            fire(url, {"alertname": "Full", "pool": "embed"})
            during = until_last(
                quiet | {("Slow", "chat"): 1.0}, "one that fires, and one of another pool that does not count"
            )
            assert during.keys is first.keys
            fire(url, {"alertname": "Other", "instance": "a"})
            until_last(quiet | {("Slow", "chat"): 1.0, ("Other", "chat"): 1.0}, "an alert that was not listed")
            silence(url, "Slow")
            until_last(quiet | {("Other", "chat"): 1.0}, "a silenced alert")
        finally:
            made.stop()
    assert math.isclose(batches[-1].interval_s, 0.1)


def silence(url: str, name: str) -> None:
    now = SystemClock().now()
    matcher = {"name": "alertname", "value": name, "isRegex": False, "isEqual": True}
    body = {"matchers": [matcher], "createdBy": "test", "comment": "test"}
    body |= {"startsAt": datetime.fromtimestamp(now, UTC).isoformat()}
    body |= {"endsAt": datetime.fromtimestamp(now + 60, UTC).isoformat()}
    httpx.post(f"{url}/api/v2/silences", json=body, trust_env=False).raise_for_status()


@pytest.mark.parametrize(
    "said",
    [answer(b"no", "500 Internal Server Error"), answer(b"{}"), answer(b"<html>"), answer(b'[{"labels": 3}]')],
    ids=["an error", "no list", "no JSON", "no alerts"],
)
def test_what_answers_nothing_of_use_is_down_and_its_alerts_are_unknown(said: Any) -> None:
    batches: list[Batch] = []
    with Pages() as pages:
        query = "?active=true&silenced=false&inhibited=false&unprocessed=true"
        pages.answers[f"/api/v2/alerts{query}"] = said
        made = Alertmanager(SystemClock(), pages.url("/"), ("Slow",), interval_s=0.05)
        with running(made):

            def three() -> bool:
                batches.extend(made.collect(0.0))
                return len(batches) > 2

            until(three, "batches")
    assert {(b.state, b.keys) for b in batches} == {("down", ())}


@pytest.mark.parametrize(
    ("settings", "text"),
    [
        ({}, "alertmanager needs the setting 'url'; add it"),
        ({"url": "localhost:9093"}, "url 'localhost:9093' is no address; write http://HOST:9093"),
        ({"url": "http://a:1", "interval_s": "0s"}, "interval_s is 0.0, but must be above 0; write one such as 5s"),
    ],
)
def test_wrong_settings_are_refused(settings: dict[str, object], text: str) -> None:
    with pytest.raises(InputError, match=text.replace("(", r"\(")):
        plugins.build("collectors", "alertmanager", {"clock": SystemClock(), **settings})


def test_settings_are_read_as_people_write_them() -> None:
    given = {"url": "http://u:pw@a:9093", "alerts": ["Slow"], "labels": {"pool": "chat"}, "interval_s": "15s"}
    made = plugins.build("collectors", "alertmanager", {"clock": SystemClock(), **given})
    assert (made.alerts, made.labels, made.interval_s) == (("Slow",), (("pool", "chat"),), 15.0)
    assert "pw" not in made.source
