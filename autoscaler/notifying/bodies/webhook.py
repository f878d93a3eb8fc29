"""Alertmanager's webhook payload, version 4, from our alerts: any receiver that understands Alertmanager reads it.

Field by field as in the Alertmanager documentation ("webhook_config") and as version 0.25 sends it.
"""

from __future__ import annotations

import json
from collections.abc import Sequence

from autoscaler.notifying.groups import Note
from autoscaler.notifying.identity import fingerprint, instant, labels, remarks, started_at
from autoscaler.types import Alert

VERSION = "4"
ONGOING = "0001-01-01T00:00:00Z"
"""What stands for "not ended yet": Go's zero time, which is what Alertmanager sends."""

MAX_ALERTS = 500
"""Alerts in one message; what is over is counted in `truncatedAlerts`."""


def payload(note: Note, receiver: str = "sigmascale", external_url: str = "") -> str:
    """The JSON of one message; there must be at least one alert."""
    return json.dumps(contents(note, receiver, external_url))


def contents(note: Note, receiver: str, external_url: str) -> dict[str, object]:
    """The same as a value, which templates are given."""
    told = note.alerts[:MAX_ALERTS]
    return {
        "receiver": receiver,
        "status": "firing" if any(a.state == "firing" for a in note.alerts) else "resolved",
        "alerts": [_alert(alert, external_url) for alert in told],
        "groupLabels": dict(note.labels),
        "commonLabels": _common([labels(a) for a in told]),
        "commonAnnotations": _common([remarks(a) for a in told]),
        "externalURL": external_url,
        "version": VERSION,
        "groupKey": note.key,
        "truncatedAlerts": len(note.alerts) - len(told),
    }


def _alert(alert: Alert, external_url: str) -> dict[str, object]:
    names = labels(alert)
    return {
        "status": "resolved" if alert.state == "resolved" else "firing",
        "labels": names,
        "annotations": remarks(alert),
        "startsAt": instant(started_at(alert)),
        "endsAt": instant(alert.since) if alert.state == "resolved" else ONGOING,
        "generatorURL": external_url,
        "fingerprint": fingerprint(names.items()),
    }


def _common(sets: Sequence[dict[str, str]]) -> dict[str, str]:
    first = sets[0].items()
    return {name: value for name, value in first if all(other.get(name) == value for other in sets)}
