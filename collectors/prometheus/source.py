"""The collector `prometheus`: asks a store for the pools' signals, each at its own pace, and for their past."""

from __future__ import annotations

import math
import threading
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from pathlib import Path
from threading import Event
from urllib.parse import urlsplit

import numpy as np
import structlog

from autoscaler.clock import monotonic
from autoscaler.errors import InputError
from autoscaler.ports import Clock
from autoscaler.types import Batch, Labels, Past, Query
from collectors.background import Background
from collectors.outbox import Outbox
from collectors.prometheus.answers import Answer, answered, past_of
from collectors.prometheus.asked import Asked, QueryStatus, entered
from collectors.prometheus.client import Access, Client, QueryError
from collectors.prometheus.promql import expression

log = structlog.get_logger(__name__)

MAX_PAUSE_S = 60.0
"""The longest pause before a server that does not answer, or a query that it refuses, is tried again."""
MAX_STEPS = 10_000
"""Prometheus answers at most 11,000 points of a series (web/api/v1/api.go)."""
MAX_QUERIES = 20_000
STOP_S = 0.9
LOOK_S = 0.2
SHORTEST_PAUSE_S = 0.01


@dataclass(eq=False)
class Prometheus:
    """Answers of one server. `start` it, `collect` at every tick, `stop` it.

    url: up to but without /api/v1. push_down: ask for signals given as a metric too, not only for those in PromQL.
    pool_label: the label by which series there name their pool; a pool with a `match` is found by that instead.
    interval_s: 0 = the pace of each pool. backfill_s: how much of the past is read at most; a pool gets what its rules
    look back on, and at least `backfill_min_s`, which is what a forecaster starts from. delay_s: how far before now
    questions are evaluated, for stores that show new samples late. params: added to every request. workers: questions
    under way at once.
    """

    clock: Clock
    url: str
    queries: Callable[[], Iterable[Query]]
    wake: Event | None = None
    push_down: bool = True
    pool_label: str = "pool"
    interval_s: float = 0.0
    timeout_s: float = 5.0
    delay_s: float = 0.0
    backfill_s: float = 7 * 86400.0
    backfill_min_s: float = 86400.0
    workers: int = 4
    max_answer_bytes: int = 16 << 20
    params: Labels = ()
    headers: Labels = ()
    token_file: Path | None = None
    username: str = ""
    password_file: Path | None = None
    ca_file: Path | None = None
    _asked: dict[tuple[str, str], Asked] = field(default_factory=dict, init=False, repr=False)
    _outbox: Outbox[Batch | Past] = field(init=False, repr=False)
    _lock: threading.Lock = field(default_factory=threading.Lock, init=False, repr=False)
    _background: Background = field(init=False, repr=False)
    _local: threading.local = field(default_factory=threading.local, init=False, repr=False)
    _down_until: float = field(default=-math.inf, init=False, repr=False)
    _failures: int = field(default=0, init=False, repr=False)
    _problem: str = field(default="", init=False, repr=False)

    def __post_init__(self) -> None:
        parts = urlsplit(self.url)
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise InputError(
                f"prometheus: url {self.url!r} is not a server; write http://HOST:PORT or https://HOST/PATH"
            )
        if parts.username or parts.password:
            raise InputError("prometheus: url holds a user or password; write username and password_file instead")
        if self.url.rstrip("/").endswith("/api/v1"):
            raise InputError(f"prometheus: url {self.url!r} must end before /api/v1; shorten it")
        for name in ("timeout_s", "workers"):
            if not getattr(self, name) > 0:
                raise InputError(f"prometheus: {name} is {getattr(self, name):g}, but must be above 0")
        for name in ("interval_s", "delay_s", "backfill_s", "backfill_min_s"):
            if not (math.isfinite(getattr(self, name)) and getattr(self, name) >= 0):
                raise InputError(f"prometheus: {name} is {getattr(self, name):g}, but must be 0 or more")
        self._outbox = Outbox(MAX_QUERIES, self.wake)
        self._background = Background("prometheus", self.clock)
        self._access = Access(self.token_file, self.username, self.password_file, self.ca_file, self.headers)

    def start(self) -> None:
        """Start asking, on threads of its own."""
        self._background.start(self._run)

    def stop(self) -> None:
        """Stop within a second; a question under way ends with its own time-out."""
        self._background.stop(STOP_S)

    def collect(self, now: float) -> tuple[Batch | Past, ...]:
        """Every answer since the last call, oldest first."""
        return self._outbox.take()

    def status(self) -> tuple[QueryStatus, ...]:
        """How each question does."""
        with self._lock:
            return tuple(asked.status for asked in self._asked.values())

    # --- which questions, and when ------------------------------------------------------------------------------

    def _run(self) -> None:
        with ThreadPoolExecutor(self.workers, "prometheus") as pool:
            while not self._background.stopping:
                try:
                    self._refresh()
                except Exception:
                    log.exception("queries unknown", next_step="asking goes on with the queries known before")
                for asked in self._due(monotonic()):
                    pool.submit(self._ask, asked)
                self._background.rest(self.clock.now() + self._pause_s(monotonic()))
            pool.shutdown(wait=False, cancel_futures=True)

    def _refresh(self) -> None:
        """Take in new and changed queries; what nobody asks for any more is gone."""
        wanted = {(q.pool, q.signal): q for q in self.queries() if q.promql is not None or self.push_down}
        gone = []
        with self._lock:
            for name in [n for n, asked in self._asked.items() if wanted.get(n) != asked.query]:
                asked = self._asked.pop(name)
                if name not in wanted:
                    gone.append(asked)
            for name, query in wanted.items():
                if name not in self._asked and len(self._asked) < MAX_QUERIES:
                    found = expression(query, self.pool_label)
                    if found is not None:
                        self._asked[name] = entered(query, found, self.interval_s)
        for asked in gone:
            self._outbox.put(
                Batch(asked.source, self.clock.now(), asked.interval_s, (), np.empty(0), asked.labels, "gone")
            )

    def _pause_s(self, now: float) -> float:
        """Until the next question is due, and never long: queries come and go with rule files."""
        with self._lock:
            next_due = min((asked.due for asked in self._asked.values() if not asked.running), default=math.inf)
        return min(LOOK_S, max(SHORTEST_PAUSE_S, next_due - now))

    def _due(self, now: float) -> list[Asked]:
        """The questions whose time has come; while the server is down, one of them as a probe."""
        with self._lock:
            due = [asked for asked in self._asked.values() if not asked.running and now >= asked.due]
            if now < self._down_until:
                return []
            chosen = due[:1] if self._failures else due
            for asked in chosen:
                asked.running = True
        if self._failures:
            for asked in due[1:]:
                self._silent(asked)
        return chosen

    # --- one question -------------------------------------------------------------------------------------------

    def _ask(self, asked: Asked) -> None:
        began, at = monotonic(), self.clock.now() - self.delay_s
        try:
            points = self._client().instant(asked.expression.question, at)
            found = answered(points, asked.expression, asked.query.aggregate, at)
            if not asked.past_known:
                self._recall(asked, at)
        except QueryError as error:
            self._failed(asked, error, monotonic() - began)
        except Exception as error:
            log.exception("answer unread", pool=asked.query.pool, signal=asked.query.signal)
            self._failed(asked, QueryError("refused", f"{type(error).__name__}: {error}"), monotonic() - began)
        else:
            self._answered(asked, found, monotonic() - began)
        finally:
            asked.running = False

    def _answered(self, asked: Asked, found: Answer, took_s: float) -> None:
        if self._failures:
            log.info("server answers again", url=self.url)
        if found.problem and found.problem != asked.status.error:
            # What a rule file asks in PromQL nobody else answers; a metric may well come from elsewhere.
            tell = log.warning if asked.query.promql is not None else log.info
            tell("query gives no number", pool=asked.query.pool, signal=asked.query.signal, reason=found.problem)
        self._failures, self._problem, self._down_until = 0, "", -math.inf
        asked.refusals = 0
        asked.due = monotonic() + asked.interval_s
        asked.status = replace(
            asked.status, error=found.problem, last_at=found.at, duration_s=took_s, answers=asked.status.answers + 1
        )
        # The same time again is the same sample again; an earlier one means that a clock was set back.
        if found.at != asked.newest_at:
            asked.newest_at = found.at
            values = np.array([found.value, found.lower, found.upper])
            self._outbox.put(Batch(asked.source, found.at, asked.interval_s, asked.keys, values, asked.labels))

    def _failed(self, asked: Asked, error: QueryError, took_s: float) -> None:
        now = monotonic()
        text = f"{self.url} {error}"
        if error.kind == "refused":
            asked.refusals += 1
            asked.due = now + min(MAX_PAUSE_S, asked.interval_s * 2.0 ** min(asked.refusals, 10))
        else:
            self._failures += 1
            pause = min(MAX_PAUSE_S, 2.0 ** min(self._failures - 1, 10))
            self._down_until = now + (error.retry_after_s if error.retry_after_s is not None else pause)
            asked.due = now
        said = asked.status.error if error.kind == "refused" else self._problem
        if said != text:
            log.warning("no answer", pool=asked.query.pool, signal=asked.query.signal, reason=text)
        if error.kind == "down":
            self._problem = text
        failures = asked.status.failures + 1
        asked.status = replace(asked.status, error=text, duration_s=took_s, failures=failures)
        self._silent(asked)

    def _silent(self, asked: Asked) -> None:
        self._outbox.put(Batch(asked.source, self.clock.now(), asked.interval_s, (), np.empty(0), asked.labels, "down"))

    def _recall(self, asked: Asked, at: float) -> None:
        """Read the signal's past once; the store keeps what it has and takes what it lacks."""
        span_s = min(self.backfill_s, max(self.backfill_min_s, asked.query.lookback_s))
        if span_s > 0:
            step_s = max(asked.interval_s, math.ceil(span_s / MAX_STEPS))
            series = self._client().range(asked.expression.value, at - span_s, at, step_s)
            past = past_of(series, asked.query, before=at - step_s / 2)
            if past is not None:
                self._outbox.put(past)
        asked.past_known = True

    def _client(self) -> Client:
        """A client of this thread's own: the sessions of `requests` are not safe to share."""
        client: Client | None = getattr(self._local, "client", None)
        if client is None:
            client = Client(self.url, self._access, self.timeout_s, self.max_answer_bytes, self.params)
            self._local.client = client
        return client
