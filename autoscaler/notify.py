"""Delivers alerts to webhooks from threads of its own, so that a slow receiver delays nothing but itself.

Which alerts are worth a message is decided in `alerts.py`; here each one is delivered once, late rather than never.
"""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, replace
from threading import Event, Lock, Thread
from typing import Literal

import structlog

from autoscaler.configparts import Webhook
from autoscaler.errors import InputError
from autoscaler.ports import Clock
from autoscaler.types import Alert
from autoscaler.webhook import groups, payload

log = structlog.get_logger(__name__)

Answer = Literal["delivered", "refused", "failed"]


@dataclass(frozen=True, slots=True)
class Patience:
    """Time-out of one attempt, how long a message is tried, the waits between (doubling), and how many may wait."""

    timeout_s: float = 5.0
    expires_s: float = 900.0
    first_wait_s: float = 1.0
    longest_wait_s: float = 60.0
    queue: int = 1000


@dataclass(frozen=True, slots=True)
class ReceiverStatus:
    """Counts of messages of one receiver since the start, and what went wrong last.

    failed_attempts: tries that will be repeated. refused: the receiver said that it never wants the message.
    expired: given up after trying for long. dropped: pushed out of a full queue by newer ones.
    """

    receiver: str
    queued: int = 0
    delivered: int = 0
    failed_attempts: int = 0
    refused: int = 0
    expired: int = 0
    dropped: int = 0
    last_delivered_at: float | None = None
    last_error: str = ""


class Notifier:
    """One worker per receiver. `send` never blocks: it queues, and a full queue drops its oldest message."""

    def __init__(
        self, urls: Sequence[str], clock: Clock, *, external_url: str = "", patience: Patience = Patience()
    ) -> None:
        for url in urls:
            if not url.startswith(("http://", "https://")):
                raise InputError(
                    f"webhook {Webhook(url).host}: does not start with http:// or https://; write a full URL"
                )
        # These loggers write whole URLs, and the path of a webhook's URL is often its secret.
        for name in ("httpx", "httpcore"):
            logging.getLogger(name).setLevel(logging.WARNING)
        self._external_url = external_url
        self._clock = clock
        self._workers = tuple(_Worker(Webhook(url), clock, patience) for url in urls)

    def send(self, alerts: Sequence[Alert]) -> None:
        """Queue one message per rule and pool for every receiver."""
        if not self._workers:
            return
        now = self._clock.now()
        for group in groups(alerts):
            body = payload(group, self._external_url)
            for worker in self._workers:
                worker.put(body, now)

    def start(self) -> None:
        """Start delivering, what was queued before included."""
        for worker in self._workers:
            worker.start()

    def stop(self, within_s: float = 5.0) -> None:
        """Try what is queued once more, without waits between, and return within about `within_s` per receiver."""
        for worker in self._workers:
            worker.ask_to_stop()
        for worker in self._workers:
            worker.join(within_s)

    def status(self) -> tuple[ReceiverStatus, ...]:
        """How each receiver does, in the order of the URLs."""
        return tuple(worker.status() for worker in self._workers)


@dataclass(slots=True)
class _Letter:
    body: bytes
    queued_at: float
    attempts: int = 0


class _Worker:
    """The queue and thread of one receiver. Messages keep their order, so that an end never overtakes its beginning."""

    def __init__(self, webhook: Webhook, clock: Clock, patience: Patience) -> None:
        self._webhook, self._clock, self._patience = webhook, clock, patience
        self._letters: deque[_Letter] = deque()
        self._lock = Lock()
        self._wake = Event()
        self._stopping = False
        self._status = ReceiverStatus(webhook.host)
        self._log = log.bind(receiver=webhook.host)
        self._thread: Thread | None = None

    def put(self, body: bytes, now: float) -> None:
        with self._lock:
            if len(self._letters) >= self._patience.queue:
                self._letters.popleft()
                self._status = replace(self._status, dropped=self._status.dropped + 1)
            self._letters.append(_Letter(body, now))
        self._wake.set()

    def start(self) -> None:
        if self._thread is None:
            self._thread = Thread(target=self._run, name=f"notify {self._webhook.host}", daemon=True)
            self._thread.start()

    def ask_to_stop(self) -> None:
        self._stopping = True
        self._wake.set()

    def join(self, within_s: float) -> None:
        if self._thread is not None:
            self._thread.join(within_s)
        left = len(self._letters)
        if left:
            self._log.warning("alerts not delivered before the stop", messages=left)

    def status(self) -> ReceiverStatus:
        with self._lock:
            return replace(self._status, queued=len(self._letters))

    def _run(self) -> None:
        import httpx

        # No redirects: a receiver that moved must be told to us by a person, not by whoever answers.
        with httpx.Client(timeout=self._patience.timeout_s, follow_redirects=False) as client:
            while True:
                letter = self._next()
                if letter is None:
                    return
                answer, error = self._post(client, letter)
                if not self._settle(letter, answer, error) and self._stopping:
                    return

    def _next(self) -> _Letter | None:
        """The oldest message, when it is its turn; None when the worker shall end."""
        while True:
            with self._lock:
                letter = self._letters[0] if self._letters else None
            if letter is not None and (letter.attempts == 0 or self._stopping):
                return letter
            if letter is None:
                if self._stopping:
                    return None
                self._wake.wait()
                self._wake.clear()
                continue
            self._pause(letter)
            return letter

    def _pause(self, letter: _Letter) -> None:
        """Wait before the next attempt; new messages do not cut the wait short, a stop does."""
        p = self._patience
        began = self._clock.now()
        until = began + min(p.longest_wait_s, p.first_wait_s * 2.0 ** min(letter.attempts - 1, 30))
        # A clock that went back must not stretch the wait.
        while began <= self._clock.now() < until and not self._stopping:
            self._clock.wait(until, self._wake)

    def _post(self, client: object, letter: _Letter) -> tuple[Answer, str]:
        import httpx

        assert isinstance(client, httpx.Client)
        headers = {"content-type": "application/json", "user-agent": "sigmascale"}
        try:
            # The stream is not read: the status says all, and a receiver cannot hold us with an endless body.
            with client.stream("POST", self._webhook.url, content=letter.body, headers=headers) as response:
                status = response.status_code
        except (httpx.HTTPError, httpx.InvalidURL) as error:
            # Only the class: the text of some errors repeats the URL.
            return "failed", type(error).__name__
        if 200 <= status < 300:
            return "delivered", ""
        # As Alertmanager does: a server's trouble passes, a client's does not.
        again = status >= 500 or status in (408, 425, 429)
        return ("failed" if again else "refused"), f"HTTP {status}"

    def _settle(self, letter: _Letter, answer: Answer, error: str) -> bool:
        """Count the attempt; True when the message is done with, one way or the other."""
        letter.attempts += 1
        now = self._clock.now()
        with self._lock:
            s = self._status
            expired = answer == "failed" and now - letter.queued_at >= self._patience.expires_s
            done = answer != "failed" or expired
            # The queue may have dropped the message meanwhile.
            if done and self._letters and self._letters[0] is letter:
                self._letters.popleft()
            self._status = replace(
                s,
                delivered=s.delivered + (answer == "delivered"),
                refused=s.refused + (answer == "refused"),
                failed_attempts=s.failed_attempts + (answer == "failed"),
                expired=s.expired + expired,
                last_delivered_at=now if answer == "delivered" else s.last_delivered_at,
                last_error=error or s.last_error,
            )
        if answer == "refused":
            self._log.error("the receiver refuses an alert; check its URL and what it accepts", error=error)
        elif expired:
            self._log.error("an alert was given up", error=error, attempts=letter.attempts)
        elif answer == "failed" and letter.attempts == 1:
            self._log.warning("an alert could not be delivered yet; trying again", error=error)
        return done
