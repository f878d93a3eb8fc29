"""The alerts of an Alertmanager, asked for: the only way to know that one does not fire.

A webhook tells what fires and what was resolved; an alert of which nothing came may be quiet, or its route may be
wrong. Who asks `GET /api/v2/alerts` knows: what is not in the answer does not fire.
"""

from __future__ import annotations

import json
import math
import threading
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit

import numpy as np
import structlog

from autoscaler.errors import InputError, SigmascaleError
from autoscaler.ports import Clock
from autoscaler.types import Batch, Labels, SeriesKey
from collectors.background import Background
from collectors.outbox import Outbox
from collectors.push.alerts import METRIC, series_labels

__all__ = ["Alertmanager"]

log = structlog.get_logger(__name__)

PATH = "/api/v2/alerts"
ASKED = {"active": "true", "silenced": "false", "inhibited": "false", "unprocessed": "true"}
MAX_ALERTS = 5000
MAX_BODY = 16 << 20
QUEUE_LIMIT = 256
STOP_S = 0.9


class _UnansweredError(SigmascaleError):
    """Nothing is known now; the message says why."""


@dataclass(eq=False)
class Alertmanager:
    """A collector that asks an Alertmanager every `interval_s` which alerts are active. `start` it, `stop` it.

    alerts: names that are then known to be 0 while none of that name fires; each is one series with the label
    `alertname` and `labels`. Active alerts of other names are series with labels of their own, 1 while they fire. An
    alert with a label `pool` counts for that pool only. Silenced and inhibited alerts do not fire. An Alertmanager that
    does not answer within `timeout_s` is down: its alerts become unknown, never 0.
    """

    clock: Clock
    url: str = field(repr=False)
    alerts: tuple[str, ...] = ()
    labels: Labels = ()
    interval_s: float = 5.0
    timeout_s: float = 3.0
    wake: threading.Event | None = None
    _outbox: Outbox[Batch] = field(init=False, repr=False)
    _keys: tuple[SeriesKey, ...] = field(default=(), init=False, repr=False)
    _last_at: float = field(default=-math.inf, init=False, repr=False)
    _problem: str = field(default="", init=False, repr=False)
    _background: Background = field(init=False, repr=False)

    def __post_init__(self) -> None:
        parts = urlsplit(self.url)
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise InputError(f"alertmanager: url {self.url!r} is no address; write http://HOST:9093")
        for name, value in (("interval_s", self.interval_s), ("timeout_s", self.timeout_s)):
            if not 0.0 < value < math.inf:
                raise InputError(f"alertmanager: {name} is {value}, but must be above 0; write one such as 5s")
        self.labels = tuple(sorted(self.labels))
        self._outbox = Outbox(QUEUE_LIMIT, self.wake)
        self._background = Background("alertmanager", self.clock)

    @property
    def source(self) -> str:
        """The name of its batches: the address without a password, and the labels that tell two of them apart."""
        netloc = urlsplit(self.url).netloc.rpartition("@")[2]
        return f"alertmanager {netloc}{{{','.join(f'{name}={value!r}' for name, value in self.labels)}}}"

    def start(self) -> None:
        """Start asking."""
        self._background.start(self._run)

    def stop(self) -> None:
        """Stop within a second; a request under way is left behind."""
        self._background.stop(STOP_S)

    def collect(self, now: float) -> tuple[Batch, ...]:
        """Every answer since the last call, oldest first."""
        return self._outbox.take()

    def _run(self) -> None:
        import httpx

        url = self.url.rstrip("/") + PATH
        with httpx.Client(timeout=self.timeout_s, trust_env=False) as client:
            for _ in self._background.rounds(self.interval_s):
                self._outbox.put(self._asked(client, url))

    def _asked(self, client: Any, url: str) -> Batch:
        try:
            batch = self._batch(_active(client, url))
        except _UnansweredError as problem:
            batch = Batch(self.source, self._date(), self.interval_s, (), np.zeros(0), self.labels, "down")
            if str(problem) != self._problem:
                log.warning("alertmanager down", source=self.source, reason=str(problem))
            self._problem = str(problem)
        else:
            self._problem = ""
        return batch

    def _batch(self, active: list[dict[str, str]]) -> Batch:
        own = dict(self.labels)
        values: dict[SeriesKey, float] = {}
        for name in self.alerts:
            values[SeriesKey(METRIC, series_labels({"alertname": name, **own}))] = 0.0
        for alert in active:
            if alert.get("pool", own.get("pool", "")) != own.get("pool", alert.get("pool", "")):
                continue
            named = alert.get("alertname", "")
            labels = {"alertname": named, **own} if named in self.alerts else {**alert, **own}
            values[SeriesKey(METRIC, series_labels(labels))] = 1.0
        keys = tuple(sorted(values, key=lambda key: key.labels))
        if keys != self._keys:
            self._keys = keys
        return Batch(
            self.source,
            self._date(),
            self.interval_s,
            self._keys,
            np.array([values[key] for key in keys], dtype=np.float64),
            self.labels,
        )

    def _date(self) -> float:
        """Now, later than the batch before unless the clock was set back."""
        now = self.clock.now()
        if 0.0 <= self._last_at - now < self.interval_s:
            now = math.nextafter(self._last_at, math.inf)
        self._last_at = now
        return now


def _active(client: Any, url: str) -> list[dict[str, str]]:
    """Labels of the alerts that are active; raises _UnansweredError for anything but a whole answer."""
    import httpx

    body = b""
    try:
        with client.stream("GET", url, params=ASKED) as answer:
            status = answer.status_code
            for part in answer.iter_bytes():
                body += part
                if len(body) > MAX_BODY:
                    raise _UnansweredError(f"its answer is longer than {MAX_BODY:,} bytes; is it an Alertmanager?")
    except httpx.HTTPError as error:
        raise _UnansweredError(f"{type(error).__name__}: {error}; is it running there?") from None
    if status != 200:
        raise _UnansweredError(f"it answers {status} to GET {PATH}; is it an Alertmanager from 0.16 on?")
    try:
        given = json.loads(body)
        if not isinstance(given, list) or len(given) > MAX_ALERTS:
            raise _UnansweredError(f"its answer is no list of at most {MAX_ALERTS:,} alerts; is it an Alertmanager?")
        return [{str(name): str(value) for name, value in alert["labels"].items()} for alert in given]
    except (ValueError, KeyError, TypeError, AttributeError):
        raise _UnansweredError("its answer is not JSON of the API v2; is it an Alertmanager?") from None
