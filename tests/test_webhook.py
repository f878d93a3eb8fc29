"""The webhook payload: what each message holds, how alerts are grouped, and what is cut."""

from __future__ import annotations

import json
from typing import Any

from autoscaler.types import Alert
from autoscaler.webhook import MAX_ALERTS, fingerprint, groups, payload


def alert(gpu: int = 0, **changes: Any) -> Alert:
    values: dict[str, Any] = {
        "key": f"power{gpu}",
        "pool": "chat",
        "name": "power",
        "severity": "warning",
        "state": "firing",
        "since": 1_700_000_000.25,
        "text": "gpu_power_watts 520 is above its band 370 to 430",
        "labels": (("gpu", str(gpu)), ("instance", "node:9400")),
        "value": 520.0,
        "started_at": 1_700_000_000.25,
        "notified_at": 1_700_000_000.25,
    }
    return Alert(**(values | changes))


def test_a_message_holds_what_receivers_need() -> None:
    gone = alert(1, state="resolved", since=1_700_000_060.0, text="inside its band", value=401.0)
    body = json.loads(payload([alert(0), gone], "https://scale.example"))
    first, second = body["alerts"]
    assert (body["version"], body["status"], body["receiver"]) == ("4", "firing", "sigmascale")
    assert body["groupLabels"] == {"alertname": "power", "pool": "chat"}
    assert body["groupKey"] == '{}:{alertname="power", pool="chat"}'
    assert body["commonLabels"] == {
        "alertname": "power",
        "instance": "node:9400",
        "pool": "chat",
        "severity": "warning",
    }
    assert first["startsAt"] == "2023-11-14T22:13:20.250Z"
    assert (first["status"], first["endsAt"]) == ("firing", "0001-01-01T00:00:00Z")
    assert (second["status"], second["endsAt"]) == ("resolved", "2023-11-14T22:14:20.000Z")
    assert first["labels"]["gpu"] == "0"
    assert first["annotations"] == {"summary": "gpu_power_watts 520 is above its band 370 to 430", "value": "520"}
    assert first["fingerprint"] != second["fingerprint"]


def test_a_message_is_resolved_when_all_of_it_is() -> None:
    assert json.loads(payload([alert(state="resolved")]))["status"] == "resolved"


def test_a_flood_is_cut_and_counted() -> None:
    body = json.loads(payload([alert(n) for n in range(MAX_ALERTS + 7)]))
    assert (len(body["alerts"]), body["truncatedAlerts"]) == (MAX_ALERTS, 7)


def test_alerts_of_one_rule_and_pool_share_a_message() -> None:
    mixed = [alert(0), alert(1, pool="other"), alert(2), alert(3, name="heat")]
    assert [[a.key for a in g] for g in groups(mixed)] == [["power0", "power2"], ["power1"], ["power3"]]


def test_the_fingerprint_of_no_labels_is_the_offset_of_fnv() -> None:
    assert fingerprint([]) == "cbf29ce484222325"
    assert fingerprint([("a", "1"), ("b", "2")]) == fingerprint([("b", "2"), ("a", "1")])
