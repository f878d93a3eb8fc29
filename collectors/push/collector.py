"""The collector that is told instead of asking: posts in, batches out."""

from __future__ import annotations

import math
import threading
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import get_args

import structlog

from autoscaler.errors import InputError
from autoscaler.ports import Clock
from autoscaler.types import Batch, Post, PostKind, Receipt
from collectors.background import Background
from collectors.push import otlp
from collectors.push.alerts import BELIEVED_S, Alerts
from collectors.push.json_push import JsonPush
from collectors.push.otlp import Otlp
from collectors.push.refusal import RefusedError
from collectors.push.remote_write import RemoteWrite
from collectors.push.source import Source
from collectors.push.sources import CHECK_S, Limits, Sources, Tally

__all__ = ["Push", "PushStatus"]

log = structlog.get_logger(__name__)
STOP_S = 0.9
REFUSALS = ("malformed", "unsupported", "too_large", "no_room", "full", "conflict")
SKIPPED = ("out_of_order", "duplicates", "late", "too_old", "ahead", "unusable", "no_room")
"""What is counted from the start, at 0; a series that appears with its first event hides it from a rate."""
KINDS: tuple[PostKind, ...] = get_args(PostKind)


@dataclass(frozen=True, slots=True)
class PushStatus:
    """What came by one kind of post since the start. refused: posts by reason. skipped: samples by reason."""

    kind: PostKind
    taken: int
    samples: int
    refused: Mapping[str, int]
    skipped: Mapping[str, int]


@dataclass(eq=False)
class Push:
    """Receives posts on the caller's threads, one at a time, and hands batches to whoever collects.

    `start` runs the thread that hands on rows whose last pieces do not come and that notices silence; without it the
    collector does so itself when it is collected. alerts_believed_s: how long a notification of the Alertmanager is
    believed that is not repeated; more than its repeat_interval. Batches set `wake`.
    """

    clock: Clock
    wake: threading.Event | None = None
    window_s: float = 1200.0
    alerts_believed_s: float = BELIEVED_S
    _lock: threading.Lock = field(default_factory=threading.Lock, init=False, repr=False)
    _tallies: dict[PostKind, Tally] = field(init=False, repr=False)
    _sources: Sources = field(init=False, repr=False)
    _looks_at: float = field(default=math.inf, init=False, repr=False)
    _background: Background = field(init=False, repr=False)

    def __post_init__(self) -> None:
        for name, value in (("window_s", self.window_s), ("alerts_believed_s", self.alerts_believed_s)):
            if not 0.0 < value < float("inf"):
                raise InputError(f"push: {name} is {value}, but must be above 0; write one such as 20m")
        self._background = Background("push", self.clock)
        self._tallies = {kind: Tally() for kind in KINDS}
        self._sources = Sources(Limits(window_s=self.window_s), self._renumbered)
        self._remote_write = RemoteWrite(self._sources, self._tallies["remote_write"])
        self._json = JsonPush(self._sources, self._tallies["json"])
        self._otlp = Otlp(self._sources, self._tallies["otlp"])
        self._alerts = Alerts(self.alerts_believed_s)

    def start(self) -> None:
        """Start the thread that waits for what does not come."""
        self._background.start(self._run)

    def stop(self) -> None:
        """Stop within a second. What has arrived can still be collected."""
        self._background.stop(STOP_S)

    def collect(self, now: float) -> tuple[Batch, ...]:
        """Every batch since the last call, oldest first; never waits for a post that is being decoded."""
        if not self._background.started and self._lock.acquire(blocking=False):
            try:
                self._hand_on(now)
            finally:
                self._lock.release()
        was_full = self._sources.queue.full
        batches = self._sources.queue.take()
        if was_full:
            self._background.rouse()
        return batches

    def receive(self, post: Post) -> Receipt:
        """Take in a post, whole or not at all. Called on any thread but an event loop's: decoding takes its time."""
        tally = self._tallies[post.kind]
        with self._lock:
            now = self.clock.now()
            try:
                receipt, samples = self._take(post, now)
            except RefusedError as refused:
                tally.refused[refused.reason] += 1
                log.debug("post refused", kind=post.kind, reason=refused.detail)
                return _refusal(post, refused)
            tally.taken += 1
            tally.samples += samples
            self._hand_on(now)
            # Nothing that came just now is due before the thread looks again; it is left alone at each further post.
            if self._looks_at > now + CHECK_S:
                self._background.rouse()
        return receipt

    def status(self) -> tuple[PushStatus, ...]:
        """What came so far, by kind."""
        return tuple(
            PushStatus(
                kind,
                t.taken,
                t.samples,
                dict.fromkeys(REFUSALS, 0) | dict(t.refused),
                dict.fromkeys(SKIPPED, 0) | dict(t.skipped),
            )
            for kind, t in self._tallies.items()
        )

    def contested(self) -> tuple[str, ...]:
        """In words, the names under which two processes push."""
        return self._json.senders.contested(self.clock.now())

    @property
    def queued(self) -> int:
        """Batches that nobody has collected yet."""
        return len(self._sources.queue)

    @property
    def sources(self) -> int:
        """Sources that push samples."""
        return len(self._sources)

    def _take(self, post: Post, now: float) -> tuple[Receipt, int]:
        self._sources.refuse_when_full()
        match post.kind:
            case "remote_write":
                return Receipt(), self._remote_write.take(post.body, post.headers, now)
            case "json":
                return Receipt(), self._json.take(post.body, post.headers, now)
            case "otlp":
                taken, receipt = self._otlp.take(post.body, post.headers, now)
                return receipt, taken
            case "alerts":
                return Receipt(), self._alerts.take(post.body, post.headers, now, post.pool)

    def _hand_on(self, now: float) -> None:
        """Queue what is complete, due or silent. The caller holds the lock."""
        queue = self._sources.queue
        before = len(queue)
        if not queue.full:
            self._sources.flush(now)
            self._sources.check(now)
            for batch in self._alerts.batches(now):
                queue.put(batch)
        if len(queue) != before and self.wake is not None:
            self.wake.set()

    def _renumbered(self, source: Source) -> None:
        self._remote_write.forget(source)
        self._otlp.forget(source)

    def _run(self) -> None:
        while not self._background.stopping:
            with self._lock:
                now = self.clock.now()
                self._hand_on(now)
                due = min(self._sources.due_at(now), self._alerts.due_at(), now + 60.0)
                self._looks_at = max(due, now + 0.02)
            self._background.rest(self._looks_at)


def _refusal(post: Post, refused: RefusedError) -> Receipt:
    if post.kind == "otlp":
        return otlp.refusal(refused, post.headers)
    return Receipt(refused.status, refused.detail, refused.errors, refused.reason, refused.retry_after_s)
