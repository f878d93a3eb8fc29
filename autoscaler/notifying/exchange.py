"""One POST in bounds: to a judged address, within one deadline for all of it, without redirects.

httpcore's own time-outs are those of one read, so that a receiver which sends a byte now and then would hold us for
ever. Its network back end is replaced: it resolves names, asks the allow-list about every address, connects to an
address that was judged, and shares one deadline among name, connection, TLS, request and answer.
"""

from __future__ import annotations

import socket
import ssl
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

import httpcore

from autoscaler.clock import monotonic
from autoscaler.notifying.hosts import HostRules

SHOWN = 200
READ_BYTES = 4096
"""How much of a refusal is read: its first words are for people."""


PIECE_BYTES = 4096


class RefusedAddressError(Exception):
    """The allow-list has no place for a host; the text says which and what to do."""


@dataclass(frozen=True, slots=True)
class Reply:
    """What a receiver answered. text: the beginning of a refusal. retry_after_s: as its header asks, None = not."""

    status: int
    text: str = ""
    retry_after_s: float | None = None


def post(
    url: str,
    body: bytes,
    headers: Mapping[str, str],
    *,
    timeout_s: float,
    rules: HostRules,
    ca_file: Path | None = None,
) -> Reply:
    """The answer to one request. Raises httpcore's errors, OSError, ValueError and RefusedAddressError."""
    deadline = monotonic() + timeout_s
    context = ssl.create_default_context(cafile=ca_file) if url.startswith("https://") else None
    sent = [("Content-Type", "application/json"), ("User-Agent", "sigmascale"), *headers.items()]
    limits = dict.fromkeys(("connect", "read", "write", "pool"), timeout_s)
    with (
        httpcore.ConnectionPool(ssl_context=context, network_backend=_Guarded(rules, deadline)) as pool,
        pool.stream("POST", url, headers=sent, content=body, extensions={"timeout": limits}) as answer,
    ):
        if 200 <= answer.status < 300:
            # The body is not read: the status says all, and nobody can hold us with an endless one.
            return Reply(answer.status)
        after = next((v for k, v in answer.headers if k.lower() == b"retry-after"), b"")
        retry_after_s = float(after) if after.isdigit() and len(after) < 6 else None
        return Reply(answer.status, _beginning(answer), retry_after_s)


def _beginning(answer: httpcore.Response) -> str:
    found = b""
    try:
        for piece in answer.iter_stream():
            found += piece
            if len(found) >= READ_BYTES:
                break
    except (httpcore.NetworkError, httpcore.ProtocolError, httpcore.TimeoutException):
        pass  # the status is known
    words = " ".join(found[:READ_BYTES].decode("utf-8", "replace").split())
    return "".join(c for c in words if c.isprintable())[:SHOWN]


class _Guarded(httpcore.NetworkBackend):
    """Connects to addresses that the rules permit, within one deadline."""

    def __init__(self, rules: HostRules, deadline: float) -> None:
        self._rules, self._deadline = rules, deadline
        self._system = httpcore.SyncBackend()

    def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,
        socket_options: Iterable[httpcore.SOCKET_OPTION] | None = None,
    ) -> httpcore.NetworkStream:
        try:
            found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
        except OSError as error:
            raise httpcore.ConnectError(f"{host} has no address ({error.strerror or error})") from None
        addresses = list(dict.fromkeys(str(one[4][0]) for one in found))
        refusal = self._rules.refusal(host, addresses)
        if refusal:
            raise RefusedAddressError(refusal)
        problem: Exception = httpcore.ConnectError(f"{host} has no address")
        for number, address in enumerate(addresses):
            # An address that swallows everything leaves time for the next one.
            left_s = _left(self._deadline) / (2 if number < len(addresses) - 1 else 1)
            try:
                stream = self._system.connect_tcp(address, port, left_s, local_address, socket_options)
                return _Bounded(stream, self._deadline)
            except (httpcore.ConnectError, httpcore.ConnectTimeout) as error:
                problem = error
        raise problem


class _Bounded(httpcore.NetworkStream):
    """A connection whose every step ends at the deadline at the latest."""

    def __init__(self, stream: httpcore.NetworkStream, deadline: float) -> None:
        self._stream, self._deadline = stream, deadline

    def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
        return self._stream.read(max_bytes, _left(self._deadline))

    def write(self, buffer: bytes, timeout: float | None = None) -> None:
        # In pieces: a receiver that takes a byte now and then makes every send succeed.
        for first in range(0, len(buffer), PIECE_BYTES):
            self._stream.write(buffer[first : first + PIECE_BYTES], _left(self._deadline))

    def close(self) -> None:
        self._stream.close()

    def start_tls(
        self, ssl_context: ssl.SSLContext, server_hostname: str | None = None, timeout: float | None = None
    ) -> httpcore.NetworkStream:
        stream = self._stream.start_tls(ssl_context, server_hostname, _left(self._deadline))
        return _Bounded(stream, self._deadline)

    def get_extra_info(self, info: str) -> object:
        return self._stream.get_extra_info(info)


def _left(deadline: float) -> float:
    left = deadline - monotonic()
    if left <= 0:
        raise httpcore.ReadTimeout("no answer within the time-out")
    return left
