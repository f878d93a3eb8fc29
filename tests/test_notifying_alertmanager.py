"""Against a real Alertmanager, in both directions."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest

from autoscaler.clock import SystemClock
from autoscaler.notifying.bodies import webhook
from benchmarks.prometheus import process
from benchmarks.prometheus import until as ready
from tests.notified import WITHIN_S, alert, desk, free_port, note, over, receiver, serving
from tests.peers.pages import until
from tests.peers.programs import program

pytestmark = pytest.mark.peer


@contextmanager
def alertmanager(folder: Path, hook: str = "http://127.0.0.1:9/", port: int = 0) -> Iterator[str]:
    """The address of a running one, which posts to `hook` at once."""
    server, port = program("prometheus-alertmanager", "prometheus-alertmanager", "alertmanager"), port or free_port()
    route = {"receiver": "test", "group_wait": "0s", "group_interval": "1s", "group_by": ["alertname", "pool"]}
    receivers = [{"name": "test", "webhook_configs": [{"url": hook, "send_resolved": True}]}]
    (folder / "am.yml").write_text(json.dumps({"route": route, "receivers": receivers}))
    command = [server, f"--config.file={folder}/am.yml", f"--storage.path={folder}/am", "--cluster.listen-address="]
    command.append(f"--web.listen-address=127.0.0.1:{port}")
    url = f"http://127.0.0.1:{port}"
    with process(command, folder / f"am-{port}.log") as started:
        ready(lambda: httpx.get(f"{url}/-/ready", trust_env=False).status_code == 200, started)
        yield url


def active(url: str) -> list[dict[str, Any]]:
    """The alerts that an Alertmanager believes to fire."""
    answer = httpx.get(f"{url}/api/v2/alerts", params={"active": "true"}, trust_env=False)
    return list(answer.raise_for_status().json())


def until_active(url: str, labels: list[dict[str, str]]) -> None:
    """Return when these alerts are active, and no others."""
    until(lambda: [a["labels"] for a in active(url)] == labels, f"active alerts {labels}", WITHIN_S)


def test_our_alerts_are_active_in_an_alertmanager_with_their_labels_and_then_resolved(tmp_path: Path) -> None:
    now = SystemClock().now()
    ours = alert(since=now - 60, started_at=now - 60, notified_at=now - 60)
    labels = {"alertname": "power", "gpu": "0", "instance": "node:9400", "pool": "chat", "severity": "warning"}
    with alertmanager(tmp_path) as url, desk(SystemClock(), receiver(url, kind="alertmanager")) as told:
        told.show(ours)
        until_active(url, [labels])
        (seen,) = active(url)
        assert seen["annotations"]["summary"] == ours.text
        told.show(over(ours, now))
        until_active(url, [])
        assert told.settled(lambda s: s.delivered == 2).refused == 0


def test_every_member_of_a_cluster_is_told(tmp_path: Path) -> None:
    (tmp_path / "one").mkdir()
    (tmp_path / "two").mkdir()
    now = SystemClock().now()
    ours = alert(since=now, started_at=now, notified_at=now)
    with (
        alertmanager(tmp_path / "one") as one,
        alertmanager(tmp_path / "two") as two,
        desk(SystemClock(), receiver(one, two + "/", kind="alertmanager")) as told,
    ):
        told.show(ours)
        for url in (one, two):
            until(lambda url=url: len(active(url)) == 1, "an active alert", WITHIN_S)  # type: ignore[misc]


def test_an_alert_arrives_though_service_and_alertmanager_were_down_meanwhile(tmp_path: Path) -> None:
    port, now = free_port(), SystemClock().now()
    to = receiver(f"http://127.0.0.1:{port}", kind="alertmanager")
    ours = alert(since=now, started_at=now, notified_at=now)
    with desk(SystemClock(), to, folder=tmp_path) as told:
        told.show(ours)
        told.settled(lambda s: s.failed_attempts >= 1)
    with desk(SystemClock(), to, folder=tmp_path) as later:
        later.settled(lambda s: s.failed_attempts >= 1)
        with alertmanager(tmp_path, port=port) as url:
            until(lambda: len(active(url)) == 1, "an active alert", WITHIN_S)
            later.settled(lambda s: s.delivered >= 1)


def test_what_an_alertmanager_refuses_is_told_in_its_words(tmp_path: Path) -> None:
    now = SystemClock().now()
    odd = alert(labels=(("a-label", "x"),), since=now, started_at=now, notified_at=now)
    with alertmanager(tmp_path) as url, desk(SystemClock(), receiver(url, kind="alertmanager")) as told:
        told.show(odd)
        assert "invalid label" in told.settled(lambda s: s.refused == 1).last_error


def test_our_payload_has_the_shape_of_alertmanager_s_own(tmp_path: Path) -> None:
    """The same alert, posted to a real Alertmanager and sent by us, arrives with the same keys, types and identity."""
    ours, shown = alert(), "http://scale.example"
    sent = json.loads(webhook.payload(note(ours), "test", shown))["alerts"][0]
    posted = {"labels": sent["labels"], "annotations": sent["annotations"], "generatorURL": shown}
    with serving() as got:
        with alertmanager(tmp_path, got.url) as url:
            httpx.post(f"{url}/api/v2/alerts", json=[posted], timeout=5, trust_env=False).raise_for_status()
            got.wait_for(lambda: len(got.bodies) == 1)
        with desk(SystemClock(), receiver(got.url), external_url=shown) as told:
            told.show(ours)
            got.wait_for(lambda: len(got.bodies) == 2)
    theirs, mine = got.bodies
    assert shape(mine) == shape(theirs)
    for key in ("status", "version", "groupLabels", "commonLabels", "commonAnnotations", "groupKey", "truncatedAlerts"):
        assert mine[key] == theirs[key], key
    for key in ("status", "labels", "annotations", "endsAt", "fingerprint"):
        assert mine["alerts"][0][key] == theirs["alerts"][0][key], key


def shape(value: Any) -> Any:
    """Keys and types without values; label sets count by their type alone."""
    if isinstance(value, dict):
        return {key: shape(inner) for key, inner in sorted(value.items())}
    if isinstance(value, list):
        return [shape(inner) for inner in value]
    return type(value).__name__
