"""Alerts of an Alertmanager (or Grafana) as series: `alert_firing` is 1 while one fires and 0 after it was resolved.

An alert that nobody spoke of is missing, and one that is not repeated becomes missing again: a notification says what
was so when it was sent, and is believed for `believed_s`. Field names are those of the webhook in Alertmanager's
configuration reference, version "4"; Grafana sends the same with its own version "1".
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import numpy as np

from autoscaler.types import Batch, Labels, SeriesKey
from collectors.push.bodies import plain
from collectors.push.refusal import RefusedError

METRIC = "alert_firing"
INTERVAL_S = 5.0
BELIEVED_S = 5 * 3600.0
"""An hour more than Alertmanager's default repeat_interval of 4 h."""
MAX_ALERTS = 2000
MAX_LABELS = 32
MAX_TEXT = 500
MAX_BODY = 1 << 20
VERSIONS = ("4", "1")
_LABEL = re.compile(r"[a-zA-Z_][a-zA-Z0-9_]*")
_NOT_A_LABEL = re.compile(r"[^a-zA-Z0-9_]")


@dataclass(frozen=True, slots=True)
class _Heard:
    """The last word on an alert. until: how long it is believed."""

    firing: bool
    until: float


class Alerts:
    """Takes bodies of POST /api/v1/alerts/webhook, and says what they still mean."""

    def __init__(self, believed_s: float = BELIEVED_S) -> None:
        self._believed_s = believed_s
        self._heard: dict[str, dict[Labels, _Heard]] = {}
        self._keys: dict[str, tuple[SeriesKey, ...]] = {}
        self._said_at: dict[str, float] = {}
        self._dated: dict[str, float] = {}

    def __len__(self) -> int:
        """Alerts known."""
        return sum(map(len, self._heard.values()))

    def take(self, body: bytes, headers: Mapping[str, str], now: float, pool: str = "") -> int:
        """How many alerts; `pool` is for those without such a label. Raises RefusedError, with nothing taken."""
        alerts = _read(plain(body, headers.get("content-encoding", ""), MAX_BODY), now)
        stamped = [(_stamped(labels, pool), firing, until) for labels, firing, until in alerts]
        new = {labels for labels, *_ in stamped} - {labels for known in self._heard.values() for labels in known}
        if len(self) + len(new) > MAX_ALERTS:
            rule = "group or filter them in the Alertmanager's route"
            raise RefusedError(422, "no_room", f"more than {MAX_ALERTS:,} different alerts were sent; {rule}")
        for labels, firing, until in stamped:
            believed = now + self._believed_s
            if firing and until is not None:
                believed = min(believed, until)
            where = dict(labels).get("pool", "")
            self._heard.setdefault(where, {})[labels] = _Heard(firing, believed)
            self._said_at[where] = -math.inf
        return len(stamped)

    def batches(self, now: float) -> Iterator[Batch]:
        """One batch for each pool that alerts are known of, at once after news and every `INTERVAL_S`."""
        for pool, heard in tuple(self._heard.items()):
            if 0.0 <= now - self._said_at[pool] < INTERVAL_S:
                continue
            self._said_at[pool] = now
            at, last = now, self._dated.get(pool, -math.inf)
            if 0.0 <= last - now < INTERVAL_S:
                at = math.nextafter(last, math.inf)
            self._dated[pool] = at
            for labels in [labels for labels, word in heard.items() if now >= word.until]:
                del heard[labels]
            keys = tuple(SeriesKey(METRIC, labels) for labels in heard)
            if keys != self._keys.get(pool):
                self._keys[pool] = keys
            name = f"alerts{{pool={pool!r}}} by webhook"
            target: Labels = (("pool", pool),) if pool else ()
            if not heard:
                del self._heard[pool], self._keys[pool], self._said_at[pool], self._dated[pool]
                yield Batch(name, at, INTERVAL_S, (), np.zeros(0), target, "gone")
                continue
            values = np.array([float(word.firing) for word in heard.values()])
            yield Batch(name, at, INTERVAL_S, self._keys[pool], values, target)

    def due_at(self) -> float:
        """When `batches` has something to say at the latest."""
        return min(self._said_at.values(), default=math.inf) + INTERVAL_S


def series_labels(labels: Mapping[str, str]) -> Labels:
    """The labels of an alert as those of a series: names made fit, texts cut, the empty ones left out."""
    fit = {_NOT_A_LABEL.sub("_", name)[:MAX_TEXT]: value[:MAX_TEXT] for name, value in labels.items() if value}
    return tuple(sorted(fit.items()))


def _stamped(labels: Mapping[str, str], pool: str) -> Labels:
    return series_labels({"pool": pool, **{k: v for k, v in labels.items() if v}})


def _read(body: bytes, now: float) -> list[tuple[dict[str, str], bool, float | None]]:
    """(labels, whether it fires, until when at most) of each alert. Raises RefusedError."""
    try:
        given = json.loads(body)
    except (ValueError, RecursionError) as error:
        raise RefusedError(400, "malformed", f"the body is not JSON in UTF-8 ({error}); send a webhook's") from None
    if not isinstance(given, dict):
        raise _refused("body", "is not an object; point a webhook_config of an Alertmanager at this path")
    if given.get("version") not in VERSIONS:
        rule = "is not one that is read here; Alertmanager sends '4', Grafana '1'"
        raise _refused("version", f"{str(given.get('version'))[:50]!r} {rule}")
    alerts = given.get("alerts")
    if not isinstance(alerts, list) or len(alerts) > MAX_ALERTS:
        raise _refused("alerts", f"must be a list of up to {MAX_ALERTS:,} alerts")
    return [_alert(f"alerts[{n}]", alert, now) for n, alert in enumerate(alerts)]


def _alert(where: str, given: Any, now: float) -> tuple[dict[str, str], bool, float | None]:
    if not isinstance(given, dict):
        raise _refused(where, "is not an object with status and labels")
    if given.get("status") not in ("firing", "resolved"):
        raise _refused(f"{where}.status", f"is {str(given.get('status'))[:50]!r}; write firing or resolved")
    labels = given.get("labels")
    if not isinstance(labels, dict) or not 0 < len(labels) <= MAX_LABELS:
        raise _refused(f"{where}.labels", f"must be an object of 1 to {MAX_LABELS} labels, alertname among them")
    for name, value in labels.items():
        if not isinstance(value, str) or not _encodable(name + value):
            raise _refused(f"{where}.labels.{name[:50]}", "is not a text")
    if not labels.get("alertname"):
        raise _refused(f"{where}.labels.alertname", "is missing; rules find an alert by it")
    firing = given["status"] == "firing"
    return labels, firing, _until(f"{where}.endsAt", given.get("endsAt"), now) if firing else None


def _encodable(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def _until(where: str, given: Any, now: float) -> float | None:
    """When a firing alert ends at the latest; None when the sender leaves that open, as by the year 1."""
    if given in (None, ""):
        return None
    at = instant(given)
    if at is None:
        raise _refused(where, f"is {str(given)[:50]!r} and no RFC 3339 time; leave it out if it is not known")
    return at if at > now else None


def instant(given: object) -> float | None:
    """Unix seconds of an RFC 3339 time with up to nine digits of a second; None for what is none."""
    if not isinstance(given, str):
        return None
    try:
        # fromisoformat takes nanoseconds, which Go writes, and drops what a datetime cannot hold.
        found = datetime.fromisoformat(given)
        return found.timestamp() if found.tzinfo is not None else None
    except (ValueError, OverflowError):
        return None


def _refused(where: str, text: str) -> RefusedError:
    return RefusedError(422, "malformed", f"{where}: {text}", [(where, text)])
