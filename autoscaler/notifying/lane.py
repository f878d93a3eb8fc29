"""The queue and thread of one address, so that a slow receiver delays nothing but itself.

Messages of one group keep their order, so that an end never overtakes its beginning; a group in trouble does not hold
up the others.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from threading import Event, Lock, Thread

import numpy as np
import structlog

from autoscaler.alerting import Receiver
from autoscaler.notifying.hosts import HostRules
from autoscaler.notifying.sending import Verdict, attempt
from autoscaler.notifying.status import ReceiverStatus
from autoscaler.ports import Clock
from autoscaler.types import Message

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Patience:
    """The waits between attempts (doubling, each up to `jitter` of itself shorter), how many messages and characters
    may wait, and the longest wait that a receiver may ask for."""

    first_wait_s: float = 1.0
    longest_wait_s: float = 60.0
    jitter: float = 0.2
    queue: int = 5000
    queue_characters: int = 64 << 20
    retry_after_s: float = 600.0


USUAL = Patience()


class Lane:
    """One address. `put` never blocks: it queues, and a full queue drops its oldest message.

    settled: told of every message whose state changed, from this lane's thread.
    """

    def __init__(
        self,
        receiver: Receiver,
        number: int,
        clock: Clock,
        rules: HostRules,
        settled: Callable[[Message], None],
        patience: Patience = USUAL,
    ) -> None:
        self.receiver, self.number = receiver, number
        self.address = receiver.addresses[number]
        self._clock, self._rules, self._settled, self._patience = clock, rules, settled, patience
        self._waiting: list[Message] = []
        self._lock, self._wake = Lock(), Event()
        self._stopping = False
        # Of two services, or two receivers, that lost the same network no two come back at the same time.
        self._rng = np.random.default_rng([number, *f"{receiver.name}".encode()])
        self._status = ReceiverStatus(receiver.name, receiver.kind, self.address.host)
        self._log = log.bind(receiver=receiver.name, host=self._status.host)
        self._thread: Thread | None = None

    def put(self, messages: Sequence[Message], supersede: bool = False) -> None:
        """Queues messages. supersede: they say all that those which wait would say, and newer."""
        with self._lock:
            gone = [replace(m, state="superseded") for m in self._waiting] if supersede else []
            self._waiting = [] if supersede else self._waiting
            self._waiting += messages
            over = self._over()
            lost = [replace(m, state="dropped", last_error="the queue was full") for m in self._waiting[:over]]
            self._waiting = self._waiting[over:]
            self._status = replace(self._status, dropped=self._status.dropped + over)
        self._wake.set()
        now = self._clock.now()
        for message in (*gone, *lost):
            self._settled(replace(message, ended_at=now))

    def _over(self) -> int:
        """How many of the oldest messages are too many, or too much."""
        p, size = self._patience, 0
        for kept, message in enumerate(reversed(self._waiting)):
            size += len(message.body)
            if kept >= p.queue or size > p.queue_characters:
                return len(self._waiting) - kept
        return 0

    def start(self) -> None:
        """Starts delivering, what was queued before included."""
        if self._thread is None:
            name = f"notify {self.receiver.name}"
            self._thread = Thread(target=self._run, name=name, daemon=True)
            self._thread.start()

    def ask_to_stop(self) -> None:
        """Tries what waits once more, without waits between, and then ends."""
        self._stopping = True
        self._wake.set()

    def join(self, within_s: float) -> None:
        """Returns when the thread has ended, at the latest after `within_s`."""
        if self._thread is not None:
            self._thread.join(within_s)
        left = len(self._waiting)
        if left:
            self._log.warning(
                "messages not delivered before the stop; they are sent after the next start", messages=left
            )

    def status(self) -> ReceiverStatus:
        """How this address does."""
        with self._lock:
            return replace(self._status, queued=len(self._waiting))

    def _run(self) -> None:
        while True:
            message = self._next()
            if message is None:
                return
            now = self._clock.now()
            if now >= message.expires_at:
                self._settle(message, Verdict("failed", message.last_error or "its time was over"), now)
                continue
            verdict = attempt(self.receiver, self.address, message, self._rules, now)
            self._settle(replace(message, attempts=message.attempts + 1), verdict, self._clock.now())
            if self._stopping and verdict.became == "failed":
                return

    def _next(self) -> Message | None:
        """The message whose turn it is, once it is; None when the lane shall end."""
        while True:
            with self._lock:
                heads = {m.group: m for m in reversed(self._waiting)}
                found = min(heads.values(), key=lambda m: m.next_at, default=None)
            if found is None and self._stopping:
                return None
            now = self._clock.now()
            # A clock that went back must not stretch a wait.
            if found is not None and (self._stopping or not now < found.next_at <= now + self._longest_s):
                return found
            if found is None:
                self._wake.wait()
                self._wake.clear()
            else:
                self._clock.wait(found.next_at, self._wake)

    @property
    def _longest_s(self) -> float:
        return max(self._patience.longest_wait_s, self._patience.retry_after_s)

    def _wait_s(self, message: Message, verdict: Verdict) -> float:
        p = self._patience
        wait_s = min(p.longest_wait_s, p.first_wait_s * 2.0 ** min(message.attempts - 1, 30))
        wait_s *= 1.0 - p.jitter * float(self._rng.random())
        return max(wait_s, min(verdict.retry_after_s or 0.0, p.retry_after_s))

    def _settle(self, message: Message, verdict: Verdict, now: float) -> None:
        """Counts the attempt, and writes down what became of the message."""
        expired = verdict.became == "failed" and now >= message.expires_at
        done = verdict.became != "failed" or expired
        if verdict.became == "failed":
            state, ended = ("expired", now) if expired else ("waiting", None)
            message = replace(message, next_at=now + self._wait_s(message, verdict), last_error=verdict.error)
            message = replace(message, state=state, ended_at=ended)  # type: ignore[arg-type]
        else:
            kept = verdict.error or message.last_error
            message = replace(message, state=verdict.became, ended_at=now, last_error=kept)
        with self._lock:
            # The queue may have dropped or superseded it meanwhile.
            places = [n for n, m in enumerate(self._waiting) if m.id == message.id]
            for n in places:
                self._waiting[n : n + 1] = [] if done else [message]
            s = self._status
            self._status = replace(
                s,
                delivered=s.delivered + (verdict.became == "delivered"),
                refused=s.refused + (verdict.became == "refused"),
                failed_attempts=s.failed_attempts + (verdict.became == "failed" and not expired),
                expired=s.expired + expired,
                last_delivered_at=now if verdict.became == "delivered" else s.last_delivered_at,
                last_error=verdict.error or s.last_error,
            )
        if places or done:
            self._settled(message)
        self._tell(message, verdict, expired)

    def _tell(self, message: Message, verdict: Verdict, expired: bool) -> None:
        if verdict.became == "refused":
            self._log.error("the receiver refuses an alert; check its URL and what it accepts", error=verdict.error)
        elif expired:
            self._log.error("an alert was given up", error=verdict.error, attempts=message.attempts)
        elif verdict.became == "failed" and message.attempts == 1:
            self._log.warning("an alert could not be delivered yet; trying again", error=verdict.error)
