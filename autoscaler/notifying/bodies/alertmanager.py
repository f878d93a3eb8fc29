"""What an Alertmanager is posted at /api/v2/alerts, as Prometheus posts it (notifier/notifier.go, rules/manager.go)."""

from __future__ import annotations

import json
from collections.abc import Sequence

from autoscaler.notifying.groups import RESEND_S
from autoscaler.notifying.identity import instant, labels, remarks, started_at
from autoscaler.types import Alert

PATH = "/api/v2/alerts"
AT_ONCE = 256
"""Alerts in one request, as Prometheus's maxBatchSize."""
ENDS_S = 4 * RESEND_S
"""A firing alert is over for an Alertmanager so long after it was last told of it (Prometheus: four resend delays)."""


def payload(alerts: Sequence[Alert], now: float, external_url: str = "") -> str:
    """The JSON of one request."""
    return json.dumps([_alert(alert, now, external_url) for alert in alerts])


def _alert(alert: Alert, now: float, external_url: str) -> dict[str, object]:
    ends_at = alert.since if alert.state == "resolved" else now + ENDS_S
    found: dict[str, object] = {
        # Empty labels are none to an Alertmanager, and a name that is no name of its own would be refused.
        "labels": {name: value for name, value in labels(alert).items() if value},
        "annotations": remarks(alert),
        "startsAt": instant(min(started_at(alert), ends_at)),
        "endsAt": instant(ends_at),
    }
    return found | ({"generatorURL": external_url} if external_url else {})
