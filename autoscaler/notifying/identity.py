"""Who an alert is to its receivers: labels, annotations and the identity that Alertmanager computes from them."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, datetime

from autoscaler.types import Alert
from autoscaler.words import amount

_FNV_OFFSET, _FNV_PRIME, _WORD = 0xCBF29CE484222325, 0x100000001B3, 0xFFFFFFFFFFFFFFFF

Identity = tuple[str, str, str]
"""Pool, key and severity: another severity is another alert to its receivers, as its labels differ."""


def identity(alert: Alert) -> Identity:
    """What tells this alert from every other one."""
    return alert.pool, alert.key, alert.severity


def labels(alert: Alert) -> dict[str, str]:
    """The labels that identify an alert to receivers: those of its series, its name, pool and severity."""
    return {**dict(alert.labels), "alertname": alert.name, "pool": alert.pool, "severity": alert.severity}


def remarks(alert: Alert) -> dict[str, str]:
    """What is said of an alert besides its labels: its text, and its value where it has one."""
    found = {"summary": alert.text}
    if alert.value is not None:
        found["value"] = amount(alert.value)
    return found


def started_at(alert: Alert) -> float:
    """Since when it fires or fired."""
    return alert.since if alert.started_at is None else alert.started_at


def fingerprint(pairs: Iterable[tuple[str, str]]) -> str:
    """Alertmanager's identity of a label set: 64-bit FNV-1a of its sorted pairs (prometheus/common model)."""
    digest = _FNV_OFFSET
    for name, value in sorted(pairs):
        for byte in b"%s\xff%s\xff" % (name.encode(errors="replace"), value.encode(errors="replace")):
            digest = ((digest ^ byte) * _FNV_PRIME) & _WORD
    return f"{digest:016x}"


def instant(at: float) -> str:
    """RFC 3339 in UTC, to the millisecond."""
    return datetime.fromtimestamp(at, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
