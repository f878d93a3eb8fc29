"""Pushes samples to the service, in the background: collection never waits for it.

http.client on one connection: httpx, which the rest of the program uses, adds 9 MB to an agent that promises less than
80, and 0.26 s to its start (measured). Redirects are not followed and proxies not used, so that the token goes to
nobody but the address given.
"""

from __future__ import annotations

import http.client
import json
import socket
import ssl
import threading
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field

import numpy as np
import structlog

from autoscaler.agent.settings import service
from autoscaler.errors import InputError

log = structlog.get_logger(__name__)

PATH = "/api/v1/push"
TIMEOUT_S = 5.0
QUEUE_LIMIT = 60
QUEUE_BYTES = 16 << 20
ANSWER_BYTES = 64 << 10
FIRST_WAIT_S, LAST_WAIT_S = 0.5, 60.0
JITTER = 0.5
"""A wait is between this part of itself and all of it, so that a thousand nodes do not come back at once."""
STOP_S = 0.3


@dataclass(frozen=True, slots=True)
class Body:
    """One push: JSON text and how many samples are in it."""

    text: bytes
    samples: int


@dataclass(slots=True)
class PushCounts:
    """What became of pushes; each try that failed is counted, each push once taken, refused or dropped."""

    taken: int = 0
    samples: int = 0
    failed: int = 0
    refused: int = 0
    dropped: int = 0


@dataclass(eq=False)
class Pusher:
    """Sends what is offered, oldest first. When the service is away, the newest pushes wait and the oldest are dropped.

    secret: the token, asked for each push so that a new one is found; raises InputError. token_place: where it came
    from, for messages. jitter: a seeded generator.
    """

    url: str
    secret: Callable[[], str | None]
    token_place: str
    jitter: np.random.Generator
    tls: ssl.SSLContext | None = None
    counts: PushCounts = field(default_factory=PushCounts, init=False)
    _queue: deque[Body] = field(default_factory=deque, init=False, repr=False)
    _bytes: int = field(default=0, init=False)
    _lock: threading.Lock = field(default_factory=threading.Lock, init=False, repr=False)
    _news: threading.Event = field(default_factory=threading.Event, init=False, repr=False)
    _stopping: threading.Event = field(default_factory=threading.Event, init=False, repr=False)
    _thread: threading.Thread | None = field(default=None, init=False, repr=False)
    _connection: http.client.HTTPConnection | None = field(default=None, init=False, repr=False)
    _trouble: str = field(default="", init=False)
    _wait_s: float = field(default=FIRST_WAIT_S, init=False)

    def __post_init__(self) -> None:
        self._address = service(self.url)

    @property
    def waiting(self) -> int:
        """Pushes that wait."""
        return len(self._queue)

    def start(self) -> None:
        """Start sending."""
        self._thread = threading.Thread(target=self._run, name="push", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """Stop soon; what waits is lost, its values would be old by the time the agent runs again."""
        self._stopping.set()
        self._news.set()
        connection = self._connection
        sock = connection.sock if connection is not None else None
        if sock is not None:
            # Closing alone would not wake a thread that waits for an answer.
            with suppress(OSError):
                sock.shutdown(socket.SHUT_RDWR)
        if self._thread is not None:
            self._thread.join(STOP_S)

    def offer(self, body: Body) -> None:
        """Take a push; never waits."""
        with self._lock:
            self._queue.append(body)
            self._bytes += len(body.text)
            self._trim()
        self._news.set()

    # --- the sending thread -------------------------------------------------------------------------------------

    def _run(self) -> None:
        while not self._stopping.is_set():
            self._news.wait()
            self._news.clear()
            while (body := self._take()) is not None and not self._stopping.is_set():
                wait_s = self._send(body)
                if wait_s is not None:
                    self._put_back(body)
                    self._stopping.wait(wait_s)
        self._close()

    def _take(self) -> Body | None:
        with self._lock:
            if not self._queue:
                return None
            body = self._queue.popleft()
            self._bytes -= len(body.text)
            return body

    def _put_back(self, body: Body) -> None:
        with self._lock:
            self._queue.appendleft(body)
            self._bytes += len(body.text)
            self._trim()

    def _trim(self) -> None:
        while len(self._queue) > QUEUE_LIMIT or (self._bytes > QUEUE_BYTES and len(self._queue) > 1):
            self._bytes -= len(self._queue.popleft().text)
            self.counts.dropped += 1

    def _send(self, body: Body) -> float | None:
        """Post once. Seconds to wait before the same push is tried again; None when it is done with."""
        try:
            status, answer, retry_after_s = self._post(body.text)
        except (OSError, http.client.HTTPException, InputError) as error:
            self._close()
            if isinstance(error, InputError):
                return self._put_off(str(error))
            why = (isinstance(error, OSError) and error.strerror) or f"{type(error).__name__}: {error}"
            return self._put_off(f"the service does not answer: {why}; check --push and whether it runs")
        if 200 <= status < 300:
            self.counts.taken += 1
            self.counts.samples += body.samples
            self._wait_s = FIRST_WAIT_S
            self._tell("")
            return None
        if status in (401, 403):
            return self._put_off(
                f"the service refuses the token of {self.token_place} ({status}); it must be one with the role operator"
            )
        if status in (408, 429) or status >= 500:
            return self._put_off(f"the service answers {status}: {_reason(answer)}", retry_after_s)
        self.counts.refused += 1
        self._tell(f"the service refuses a push with {status}: {_reason(answer)}")
        return None

    def _post(self, text: bytes) -> tuple[int, bytes, float]:
        """Status, answer and Retry-After in seconds (0 = none)."""
        headers = {"Content-Type": "application/json", "User-Agent": "sigmascale-agent"}
        secret = self.secret()
        if secret:
            headers["Authorization"] = f"Bearer {secret}"
        connection = self._connection or self._open()
        connection.request("POST", self._address.path.rstrip("/") + PATH, body=text, headers=headers)
        response = connection.getresponse()
        answer = response.read(ANSWER_BYTES)
        if response.will_close or not response.isclosed():
            self._close()
        after = response.getheader("Retry-After", "")
        return response.status, answer, float(after) if after.isdigit() else 0.0

    def _open(self) -> http.client.HTTPConnection:
        host, port = self._address.hostname or "", self._address.port
        if self._address.scheme == "https":
            tls = self.tls or ssl.create_default_context()
            self._connection = http.client.HTTPSConnection(host, port, timeout=TIMEOUT_S, context=tls)
        else:
            self._connection = http.client.HTTPConnection(host, port, timeout=TIMEOUT_S)
        return self._connection

    def _close(self) -> None:
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    def _put_off(self, trouble: str, at_least_s: float = 0.0) -> float:
        self.counts.failed += 1
        self._tell(trouble)
        wait_s = self._wait_s * (JITTER + (1.0 - JITTER) * float(self.jitter.random()))
        self._wait_s = min(2.0 * self._wait_s, LAST_WAIT_S)
        return min(max(wait_s, at_least_s), LAST_WAIT_S)

    def _tell(self, trouble: str) -> None:
        """Log what changed, not what goes on."""
        if self._stopping.is_set() or trouble == self._trouble:
            return
        if trouble:
            log.warning("push failed", reason=trouble)
        else:
            log.info("pushes arrive", failed_before=self.counts.failed, dropped=self.counts.dropped)
        self._trouble = trouble


def _reason(answer: bytes) -> str:
    """What a problem document says, or the beginning of whatever came."""
    try:
        problem = json.loads(answer)
        told = problem.get("detail") or problem.get("title") if isinstance(problem, dict) else None
    except ValueError:
        told = None
    if not told and answer.lstrip()[:1] == b"<":
        return "a web page; is there a sigmascale service at the address of --push?"
    return (str(told) if told else answer.decode("utf-8", "replace")).strip()[:300] or "without a reason"
