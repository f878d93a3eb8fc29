"""Readiness probes: asked in the background, one at a time per worker, collected by whoever wants to know."""

from __future__ import annotations

import ssl
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from queue import Empty, SimpleQueue
from threading import Lock
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    import httpx


@dataclass(frozen=True, slots=True)
class Answer:
    """What a worker said: ready, not ready (an answer, or nobody listens), or silent, which a busy one may be too."""

    action: str
    says: Literal["ready", "not ready", "silent"]
    text: str


@dataclass
class Prober:
    """GET of a path with a time-out, at most `at_once` at a time."""

    timeout_s: float
    at_once: int = 8
    _pool: ThreadPoolExecutor | None = field(default=None, init=False, repr=False)
    _client: httpx.Client | None = field(default=None, init=False, repr=False)
    _asked: set[str] = field(default_factory=set, init=False, repr=False)
    _answers: SimpleQueue[Answer] = field(default_factory=SimpleQueue, init=False, repr=False)
    _lock: Lock = field(default_factory=Lock, init=False, repr=False)

    def ask(self, action: str, url: str) -> None:
        """Ask one worker, unless it still owes an answer. Returns at once."""
        import httpx

        with self._lock:
            if action in self._asked:
                return
            if self._pool is None or self._client is None:
                self._pool = ThreadPoolExecutor(self.at_once, thread_name_prefix="readiness")
                # Workers of this machine are asked in plain HTTP and not through a proxy; a context without authorities
                # saves 30 ms of reading them, in which no launch could proceed.
                no_tls = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
                self._client = httpx.Client(timeout=self.timeout_s, trust_env=False, verify=no_tls)
            try:
                self._pool.submit(self._probe, self._client, action, url)
            except RuntimeError:
                # The interpreter is going down: nobody will ask for the answer.
                return
            self._asked.add(action)

    def answers(self) -> list[Answer]:
        """What was heard since the last call."""
        heard = []
        while True:
            try:
                heard.append(self._answers.get_nowait())
            except Empty:
                return heard

    def close(self) -> None:
        """Wait for the probes under way, which their time-out bounds."""
        with self._lock:
            pool, client = self._pool, self._client
            self._pool = self._client = None
        if pool is not None:
            pool.shutdown(wait=True, cancel_futures=True)
        if client is not None:
            client.close()

    def _probe(self, client: httpx.Client, action: str, url: str) -> None:
        answer = Answer(action, *_ask(client, url))
        with self._lock:
            self._asked.discard(action)
        self._answers.put(answer)


def _ask(client: httpx.Client, url: str) -> tuple[Literal["ready", "not ready", "silent"], str]:
    """Only the status counts; the body is not read, however long it is."""
    import httpx

    try:
        with client.stream("GET", url) as response:
            if response.is_success:
                return "ready", ""
            return "not ready", f"{url} answered {response.status_code}"
    except httpx.TimeoutException:
        return "silent", f"{url} does not answer in time"
    except httpx.ConnectError:
        return "not ready", f"nobody listens at {url}"
    except (httpx.HTTPError, httpx.InvalidURL) as error:
        return "not ready", f"{url}: {error}"
