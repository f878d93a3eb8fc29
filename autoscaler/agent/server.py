"""A small HTTP/1.1 server for pages that are only read: bounded in connections, sizes and time.

asyncio's streams in one thread: sixty scrapers that keep their connections cost no thread each, and a whole request has
one limit in time, which a socket's own time-out (one for each read) does not give. Measured with sixty connections:
0.4 MB, where http.server with a pool of threads takes 1.7 MB; asyncio itself is loaded anyway, by structlog.
"""

from __future__ import annotations

import asyncio
import hmac
import os
import threading
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from hashlib import sha256
from http import HTTPStatus
from ssl import SSLContext

import structlog

from autoscaler.errors import SigmascaleError

log = structlog.get_logger(__name__)

HEAD_BYTES = 8192
REQUEST_S = 5.0
"""From the first byte of a request to its last, and for a TLS handshake."""
IDLE_S = 120.0
"""How long a connection may wait for its next request; scrapers come each minute at the latest."""
ANSWER_S = 10.0
STOP_S = 0.4


@dataclass(frozen=True, slots=True)
class Answer:
    """What is sent back. packed: the body compressed with gzip, for those who take it. secret: needs the token."""

    status: int
    body: bytes
    content_type: str = "text/plain; charset=utf-8"
    packed: bytes | None = None


Respond = Callable[[str], Answer]
"""Path without query -> answer. Quick: it runs between two reads of other connections."""


@dataclass(frozen=True, slots=True)
class Limits:
    """How much may be asked at once."""

    connections: int = 64
    request_s: float = REQUEST_S
    idle_s: float = IDLE_S


@dataclass(eq=False)
class Server:
    """Serves `respond` on host and port; port 0 takes a free one, `port` tells which once it runs.

    secret: bearer token for every path but those in `open_paths`; None = none is asked for. It stays out of every repr
    and log. `answered` counts by status, `refused` counts connections beyond the limit.
    """

    host: str
    port: int
    respond: Respond
    secret: str | None = field(default=None, repr=False)
    open_paths: frozenset[str] = frozenset()
    tls: SSLContext | None = None
    limits: Limits = Limits()
    answered: Counter[int] = field(default_factory=Counter, init=False)
    refused: int = field(default=0, init=False)
    _connected: dict[asyncio.Task[None], asyncio.StreamWriter] = field(default_factory=dict, init=False, repr=False)
    _loop: asyncio.AbstractEventLoop | None = field(default=None, init=False, repr=False)
    _ended: asyncio.Event | None = field(default=None, init=False, repr=False)
    _thread: threading.Thread | None = field(default=None, init=False, repr=False)
    _started: threading.Event = field(default_factory=threading.Event, init=False, repr=False)
    _failure: OSError | None = field(default=None, init=False, repr=False)

    @property
    def connections(self) -> int:
        """Open now."""
        return len(self._connected)

    def start(self) -> None:
        """Listen; returns once that is so. Raises SigmascaleError when the address cannot be had."""
        self._thread = threading.Thread(target=lambda: asyncio.run(self._serve()), name="pages", daemon=True)
        self._thread.start()
        self._started.wait()
        if self._failure is not None:
            # asyncio writes the address into the text once more; a name that is not known has a negative number.
            number = self._failure.errno or 0
            why = os.strerror(number) if number > 0 else self._failure.strerror or str(self._failure)
            raise SigmascaleError(
                f"cannot listen on {self.host}:{self.port}: {why}; free it, or name another with --listen"
            )

    def stop(self) -> None:
        """Close every connection and end."""
        if self._loop is not None and self._ended is not None and not self._loop.is_closed():
            self._loop.call_soon_threadsafe(self._ended.set)
        if self._thread is not None:
            self._thread.join(STOP_S)

    async def _serve(self) -> None:
        self._loop, self._ended = asyncio.get_running_loop(), asyncio.Event()
        handshake = None if self.tls is None else REQUEST_S
        try:
            server = await asyncio.start_server(
                self._connect, self.host, self.port, limit=HEAD_BYTES, ssl=self.tls, ssl_handshake_timeout=handshake
            )
        except OSError as error:
            self._failure = error
            self._started.set()
            return
        self.port = server.sockets[0].getsockname()[1]
        self._started.set()
        await self._ended.wait()
        server.close()
        for task in self._connected:
            task.cancel()
        await asyncio.gather(*self._connected, return_exceptions=True)

    async def _connect(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        if len(self._connected) >= self.limits.connections:
            self.refused += 1
            writer.write(_written(Answer(503, b"too many connections\n"), False, False, keep=False))
            writer.close()
            return
        self._connected[task] = writer
        try:
            while await self._exchange(reader, writer):
                pass
        except (TimeoutError, ConnectionError, asyncio.IncompleteReadError):
            pass
        except asyncio.CancelledError:
            # Only the end of the server cancels; asyncio would log what a connection's task raises.
            pass
        finally:
            del self._connected[task]
            # What a slow reader has not taken yet is not waited for.
            writer.transport.abort() if writer.transport.get_write_buffer_size() else writer.close()

    async def _exchange(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        """One request and its answer; whether another may follow on the connection."""
        async with asyncio.timeout(self.limits.idle_s):
            first = await reader.readexactly(1)
        try:
            async with asyncio.timeout(self.limits.request_s):
                head = first + await reader.readuntil(b"\r\n\r\n")
        except asyncio.LimitOverrunError:
            answer, keep, bare, packed = Answer(431, b"the head of the request is too long\n"), False, False, False
        except TimeoutError:
            answer, keep, bare, packed = Answer(408, b"the request took too long\n"), False, False, False
        else:
            answer, keep, bare, packed = self._answer(head)
        self.answered[answer.status] += 1
        writer.write(_written(answer, packed, bare, keep))
        async with asyncio.timeout(ANSWER_S):
            await writer.drain()
        return keep

    def _answer(self, head: bytes) -> tuple[Answer, bool, bool, bool]:
        """The answer to a request's head; whether the connection stays, without a body (HEAD), compressed."""
        lines = head.decode("latin-1").split("\r\n")
        words = lines[0].split(" ")
        if len(words) != 3 or not words[2].startswith("HTTP/1."):
            return Answer(400, b"this is not HTTP/1.1\n"), False, False, False
        method, target, version = words
        fields = {}
        for line in lines[1:]:
            name, _, value = line.partition(":")
            fields[name.strip().lower()] = value.strip()
        # A body is never read, so nothing that follows one would be understood.
        bodied = fields.get("content-length", "0") != "0" or "transfer-encoding" in fields
        asked = fields.get("connection", "").lower()
        keep = not bodied and asked != "close" and (version != "HTTP/1.0" or asked == "keep-alive")
        packed = "gzip" in fields.get("accept-encoding", "")
        if method not in ("GET", "HEAD"):
            return Answer(405, b"only GET and HEAD; nothing can be changed here\n"), False, False, False
        path = target.split("?", 1)[0]
        if not self._may(path, fields.get("authorization", "")):
            return Answer(401, b"send the token as `Authorization: Bearer TOKEN`\n"), keep, method == "HEAD", False
        return self.respond(path), keep, method == "HEAD", packed

    def _may(self, path: str, authorization: str) -> bool:
        if self.secret is None or path in self.open_paths:
            return True
        scheme, _, offered = authorization.partition(" ")
        same = hmac.compare_digest(sha256(offered.strip().encode()).digest(), sha256(self.secret.encode()).digest())
        return same and scheme.lower() == "bearer"


def _written(answer: Answer, packed: bool, bare: bool, keep: bool) -> bytes:
    """An answer as bytes."""
    small = answer.packed if packed else None
    body = answer.body if small is None else small
    head = [
        f"HTTP/1.1 {answer.status} {HTTPStatus(answer.status).phrase}",
        f"Content-Type: {answer.content_type}",
        f"Content-Length: {len(body)}",
        f"Connection: {'keep-alive' if keep else 'close'}",
    ]
    head += ["Content-Encoding: gzip"] if small is not None else []
    head += ["Vary: Accept-Encoding"] if answer.packed is not None else []
    head += ["Allow: GET, HEAD"] if answer.status == 405 else []
    head += ["WWW-Authenticate: Bearer"] if answer.status == 401 else []
    return ("\r\n".join(head) + "\r\n\r\n").encode("latin-1") + (b"" if bare else body)
