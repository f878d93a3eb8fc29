"""Alertmanager's webhook payload, version 4, from our alerts: any receiver that understands Alertmanager reads it.

Field by field as in the Alertmanager documentation ("webhook_config") and as version 0.25 sends it.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime

from autoscaler.types import Alert
from autoscaler.words import amount

RECEIVER = "sigmascale"
VERSION = "4"
ONGOING = "0001-01-01T00:00:00Z"
"""What stands for "not ended yet": Go's zero time, which is what Alertmanager sends."""

MAX_ALERTS = 500
"""Alerts in one message; what is over is counted in `truncatedAlerts`."""

_FNV_OFFSET, _FNV_PRIME, _WORD = 0xCBF29CE484222325, 0x100000001B3, 0xFFFFFFFFFFFFFFFF


def groups(alerts: Sequence[Alert]) -> tuple[tuple[Alert, ...], ...]:
    """Alerts that belong in one message: those of the same rule of the same pool, in order of appearance."""
    found: dict[tuple[str, str], list[Alert]] = {}
    for alert in alerts:
        found.setdefault((alert.pool, alert.name), []).append(alert)
    return tuple(tuple(group) for group in found.values())


def payload(group: Sequence[Alert], external_url: str = "") -> bytes:
    """The JSON of one message about alerts of one rule and pool; there must be at least one alert."""
    told = group[:MAX_ALERTS]
    shown = [_alert(alert, external_url) for alert in told]
    group_labels = {"alertname": group[0].name, "pool": group[0].pool}
    body = {
        "receiver": RECEIVER,
        "status": "firing" if any(a.state == "firing" for a in group) else "resolved",
        "alerts": shown,
        "groupLabels": group_labels,
        "commonLabels": _common([labels(a) for a in told]),
        "commonAnnotations": _common([_annotations(a) for a in told]),
        "externalURL": external_url,
        "version": VERSION,
        "groupKey": "{}:{" + ", ".join(f"{k}={json.dumps(v)}" for k, v in group_labels.items()) + "}",
        "truncatedAlerts": len(group) - len(told),
    }
    return json.dumps(body).encode()


def labels(alert: Alert) -> dict[str, str]:
    """The labels that identify an alert to receivers: those of its series, its name, pool and severity."""
    return {**dict(alert.labels), "alertname": alert.name, "pool": alert.pool, "severity": alert.severity}


def fingerprint(pairs: Iterable[tuple[str, str]]) -> str:
    """Alertmanager's identity of a label set: 64-bit FNV-1a of its sorted pairs (prometheus/common model)."""
    digest = _FNV_OFFSET
    for name, value in sorted(pairs):
        for byte in b"%s\xff%s\xff" % (name.encode(errors="replace"), value.encode(errors="replace")):
            digest = ((digest ^ byte) * _FNV_PRIME) & _WORD
    return f"{digest:016x}"


def _alert(alert: Alert, external_url: str) -> dict[str, object]:
    names = labels(alert)
    started_at = alert.since if alert.started_at is None else alert.started_at
    return {
        "status": "resolved" if alert.state == "resolved" else "firing",
        "labels": names,
        "annotations": _annotations(alert),
        "startsAt": _instant(started_at),
        "endsAt": _instant(alert.since) if alert.state == "resolved" else ONGOING,
        "generatorURL": external_url,
        "fingerprint": fingerprint(names.items()),
    }


def _annotations(alert: Alert) -> dict[str, str]:
    found = {"summary": alert.text}
    if alert.value is not None:
        found["value"] = amount(alert.value)
    return found


def _common(sets: Sequence[dict[str, str]]) -> dict[str, str]:
    first = sets[0].items()
    return {name: value for name, value in first if all(other.get(name) == value for other in sets)}


def _instant(at: float) -> str:
    return datetime.fromtimestamp(at, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
