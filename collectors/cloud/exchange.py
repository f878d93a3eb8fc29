"""One request to a metadata service, bounded in time and size as a whole: also an answer that drips must end.

Written over a socket, since time-outs of HTTP libraries are those of one read. Redirects are not followed and proxies
not used: such a service is on the machine's own link, and nobody else may answer for it.
"""

from __future__ import annotations

import http.client
import io
import socket
from collections.abc import Mapping
from dataclasses import dataclass
from typing import cast
from urllib.parse import urlsplit

from autoscaler.clock import monotonic

MOST_BYTES = 64 << 10
TOKEN_SHAPE = frozenset(map(chr, range(0x21, 0x7F)))


class SilentError(Exception):
    """No usable answer; the message says why. gone: nobody is there at all."""

    def __init__(self, text: str, *, gone: bool = False) -> None:
        super().__init__(text)
        self.gone = gone


@dataclass(frozen=True, slots=True)
class Reply:
    """Status and body of an answer."""

    status: int
    body: bytes


@dataclass(frozen=True, slots=True)
class Exchange:
    """Asks `base_url`, http://HOST[:PORT]. timeout_s: of a whole exchange, connecting included."""

    base_url: str
    timeout_s: float

    def ask(self, method: str, path: str, headers: Mapping[str, str] | None = None) -> Reply:
        """The answer, whatever its status. Raises SilentError."""
        parts = urlsplit(self.base_url)
        host, port = parts.hostname or "", parts.port or 80
        lines = [f"{method} {parts.path.rstrip('/')}{path} HTTP/1.1", f"Host: {parts.netloc}", "Connection: close"]
        lines += [f"{name}: {value}" for name, value in (headers or {}).items()]
        lines += ["Content-Length: 0"] if method != "GET" else []
        until = monotonic() + self.timeout_s
        try:
            with socket.create_connection((host, port), timeout=self.timeout_s) as link:
                link.sendall(("\r\n".join(lines) + "\r\n\r\n").encode("ascii"))
                said = _read(link, until)
        except TimeoutError:
            raise SilentError(f"no answer in {self.timeout_s:g} s", gone=True) from None
        except OSError as error:
            raise SilentError(error.strerror or type(error).__name__, gone=True) from None
        return _understood(said, method)


def _read(link: socket.socket, until: float) -> bytes:
    """Everything until the other side closes."""
    said = b""
    while True:
        left_s = until - monotonic()
        if left_s <= 0:
            raise SilentError("the answer does not end in time")
        link.settimeout(left_s)
        chunk = link.recv(16 << 10)
        if not chunk:
            return said
        said += chunk
        if len(said) > MOST_BYTES:
            raise SilentError(f"an answer of more than {MOST_BYTES} bytes")
        if _whole(said):
            return said


def _whole(said: bytes) -> bool:
    """Whether all of a body with a length is there, from one who does not close though he was asked to."""
    head, separator, body = said.partition(b"\r\n\r\n")
    if not separator:
        return False
    for line in head.split(b"\r\n")[1:]:
        name, _, value = line.partition(b":")
        if name.strip().lower() == b"content-length" and value.strip().isdigit():
            return len(body) >= int(value)
    return False


class _Bytes:
    """What `HTTPResponse` reads from in place of a socket."""

    def __init__(self, said: bytes) -> None:
        self._said = said

    def makefile(self, *_: object, **__: object) -> io.BytesIO:
        return io.BytesIO(self._said)


def _understood(said: bytes, method: str) -> Reply:
    try:
        response = http.client.HTTPResponse(cast("socket.socket", _Bytes(said)), method=method)
        response.begin()
        return Reply(response.status, response.read(MOST_BYTES))
    except (http.client.HTTPException, ValueError) as error:
        raise SilentError(f"an answer that is no HTTP ({type(error).__name__})") from None
