"""Runs the API on a thread of its own, so that no request can delay a tick."""

from __future__ import annotations

import asyncio
import errno
import socket
import ssl
import threading
from contextlib import closing, suppress
from pathlib import Path

import h11
import uvicorn
from fastapi import FastAPI
from uvicorn.protocols.http.h11_impl import H11Protocol

from autoscaler.api.heads import MAX_HEAD_BYTES
from autoscaler.errors import InputError

STOP_S = 5.0
START_S = 10.0
HEAD_S = 10.0
"""How long the head of a request may take. Connections are counted, so that those who only hold one must lose it."""
BACKLOG = 128


class Server:
    """uvicorn in a thread. `start` returns when requests are answered; `stop` lets those under way finish.

    port 0 takes a free one; `port` says which after `start`. Raises InputError when the address cannot be had or the
    TLS files do not fit.
    """

    def __init__(
        self, app: FastAPI, host: str, port: int, tls_cert: Path | None = None, tls_key: Path | None = None
    ) -> None:
        self.host = host
        self.port = port
        self.tls = tls_cert is not None
        if tls_cert is not None:
            _check_tls(tls_cert, tls_key)
        self._app = app
        self._uvicorn = _Quiet(
            uvicorn.Config(
                app,
                # Whatever is installed: the faster parser has no limit on the head of a request.
                http=_Patient,
                h11_max_incomplete_event_size=MAX_HEAD_BYTES,
                loop="asyncio",
                # The service's own log says what matters; an access line per scrape of /metrics does not.
                log_config=None,
                access_log=False,
                server_header=False,
                lifespan="off",
                ws="none",
                limit_concurrency=200,
                timeout_keep_alive=30,
                timeout_graceful_shutdown=int(STOP_S),
                ssl_certfile=tls_cert,
                ssl_keyfile=tls_key,
            )
        )
        if (streams := getattr(app.state, "streams", None)) is not None:
            streams.hang_up = self._uvicorn.hang_up
        self._thread: threading.Thread | None = None
        self._socket: socket.socket | None = None

    @property
    def url(self) -> str:
        """Where the API answers."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{'https' if self.tls else 'http'}://{host}:{self.port}"

    def start(self) -> None:
        """Bind, then serve on a thread."""
        self._socket = _bind(self.host, self.port)
        self.port = self._socket.getsockname()[1]
        started = threading.Event()
        self._thread = threading.Thread(target=self._run, args=(started,), name="api", daemon=True)
        self._thread.start()
        started.wait(START_S)

    def stop(self) -> None:
        """Take no new connections, finish requests under way, release the port; returns within seconds."""
        if self._thread is None or self._socket is None:
            return
        # Streams of events have no end of their own.
        if (streams := getattr(self._app.state, "streams", None)) is not None:
            streams.close()
        self._uvicorn.leave()
        self._thread.join(STOP_S + 2.0)
        self._socket.close()
        self._thread = None

    def _run(self, started: threading.Event) -> None:
        assert self._socket is not None
        # The socket listens already: a client that connects before uvicorn is ready waits in the backlog.
        started.set()
        self._uvicorn.run(sockets=[self._socket])


class _Patient(H11Protocol):
    """Closes a connection whose next request does not come, or comes in drips; uvicorn waits for a head for ever."""

    _late: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self._late = self.loop.call_later(HEAD_S, self._give_up)

    def data_received(self, data: bytes) -> None:
        super().data_received(data)
        self._mind()

    def on_response_complete(self) -> None:
        super().on_response_complete()
        self._mind()

    def connection_lost(self, exc: Exception | None) -> None:
        if self._late is not None:
            self._late.cancel()
        super().connection_lost(exc)

    def _mind(self) -> None:
        """Counts from the first bytes of a head; a connection that rests between two requests has its own limit."""
        waits = self.conn.their_state is h11.IDLE and bool(self.conn.trailing_data[0])
        if not waits and self._late is not None:
            self._late.cancel()
            self._late = None
        elif waits and self._late is None:
            self._late = self.loop.call_later(HEAD_S, self._give_up)

    def _give_up(self) -> None:
        self._late = None
        if self.conn.their_state is h11.IDLE and not self.transport.is_closing():
            self.transport.close()


class _Quiet(uvicorn.Server):
    """A uvicorn that sleeps while nobody asks, instead of looking ten times a second whether it should end."""

    _leaving: tuple[asyncio.AbstractEventLoop, asyncio.Event] | None = None

    def leave(self) -> None:
        """End as soon as requests under way are answered; from any thread."""
        self.should_exit = True
        if self._leaving is not None:
            loop, event = self._leaving
            # A loop that is closed by now has nothing left to be told.
            with suppress(RuntimeError):
                loop.call_soon_threadsafe(event.set)

    def hang_up(self, client: tuple[str, int]) -> None:
        """Drop a connection with whatever waits in it, since its other end does not read; from the event loop."""
        for connection in list(self.server_state.connections):
            transport = getattr(connection, "transport", None)
            if transport is not None and getattr(connection, "client", None) == client:
                transport.abort()

    async def main_loop(self) -> None:
        """Once a second the date in the answers' heads is brought up to date; in between only `leave` is heard."""
        _, event = self._leaving = asyncio.get_running_loop(), asyncio.Event()
        while not await self.on_tick(0):
            with suppress(TimeoutError):
                await asyncio.wait_for(event.wait(), 1.0)


def _bind(host: str, port: int) -> socket.socket:
    try:
        family = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0][0]
        # With the protocol named, asyncio sends small answers at once (TCP_NODELAY) instead of 40 ms later.
        listener = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    except OSError as error:
        raise InputError(f"listen {host}:{port}: {error.strerror}; name an address of this machine") from error
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind((host, port))
        listener.listen(BACKLOG)
        listener.setblocking(False)
    except (OSError, OverflowError) as error:
        with closing(listener):
            raise InputError(_bind_advice(host, port, error)) from error
    return listener


def _bind_advice(host: str, port: int, error: OSError | OverflowError) -> str:
    code = error.errno if isinstance(error, OSError) else None
    if code == errno.EADDRINUSE:
        rule = "is taken by another program (perhaps another sigmascale)"
        return f"listen {host}:{port}: the port {rule}; stop it or choose another port with --listen HOST:PORT"
    if code == errno.EACCES:
        return f"listen {host}:{port}: ports below 1024 need privileges; choose a higher one with --listen HOST:PORT"
    why = error.strerror if isinstance(error, OSError) else str(error)
    return f"listen {host}:{port}: {why}; name an address of this machine with --listen HOST:PORT"


def _check_tls(cert: Path, key: Path | None) -> None:
    try:
        ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER).load_cert_chain(cert, key, password="")
    except (ssl.SSLError, OSError, ValueError) as error:
        why = getattr(error, "reason", None) or getattr(error, "strerror", None) or str(error)
        raise InputError(
            f"tls_cert {cert}, tls_key {key}: cannot be used ({why}); both must be PEM files without a password, and "
            "the key must belong to the certificate"
        ) from error
