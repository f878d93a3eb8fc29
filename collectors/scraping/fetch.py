"""Fetch one page within its limits of time and size, or say in words why it could not be had."""

from __future__ import annotations

import asyncio
import base64
import os
import socket
import ssl
import zlib
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Self
from urllib.parse import quote, unquote, urlsplit

from autoscaler.errors import SigmascaleError
from collectors.scraping.answer import Answer, BrokenOff, NotHttp, TooLarge, Unanswered
from collectors.scraping.connection import Buffers, Connection
from collectors.scraping.targets import Target

HEADERS = {
    "Accept": "text/plain; version=0.0.4, application/openmetrics-text; version=1.0.0; q=0.5, */*; q=0.1",
    "Accept-Encoding": "gzip",
    "User-Agent": "sigmascale",
}
STEP_BYTES = 1 << 20
"""Output of one decompression step: about a millisecond, after which other targets get their turn."""
_PORTS = {"http": 80, "https": 443}
_NEXT_STEPS = {
    401: "give the target a token_file, or a user and password in its address",
    403: "let this machine read the page",
    404: "check the path",
}
"""Of the answers that a wrong address or a missing permission causes."""
_AS_IT_IS = "/%?:@!$&'()*+,;=-._~[]"
"""Characters of an address that need no quoting, or are quoted already."""


class PageError(SigmascaleError):
    """The page could not be had; the message is for the person who owns the target."""


@dataclass(frozen=True, slots=True)
class Page:
    """A whole page, decompressed. `openmetrics` says which grammar its Content-Type names."""

    body: bytes
    openmetrics: bool


class Session:
    """The connections of one event loop, one for each target, kept from scrape to scrape. A context manager."""

    def __init__(self) -> None:
        self._buffers = Buffers()
        self._kept: dict[Target, tuple[Connection, bytes]] = {}
        self._tls: dict[Path | None, ssl.SSLContext] = {}

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for target in tuple(self._kept):
            self.forget(target)
        # Transports close in the loop's next turn.
        await asyncio.sleep(0)

    def forget(self, target: Target) -> None:
        """End the connection to a target that is not asked any more."""
        kept = self._kept.pop(target, None)
        if kept is not None:
            kept[0].close()

    async def get(self, target: Target, limit: int) -> Answer:
        """The answer to a GET, whatever its status; raises what `Connection.ask` and connecting raise.

        A target may end a connection between two scrapes; that shows only at the next request, which then goes out
        once more on a new one.
        """
        kept = self._kept.get(target)
        if kept is not None and kept[0].usable:
            try:
                return await self._ask(target, *kept, limit)
            except Unanswered:
                pass
        request = _request(target)
        connection = await self._connect(target)
        kept = self._kept[target] = (connection, request)
        return await self._ask(target, *kept, limit)

    async def _ask(self, target: Target, connection: Connection, request: bytes, limit: int) -> Answer:
        try:
            answer = await connection.ask(request, limit)
        except BaseException:
            self.forget(target)
            raise
        if answer.status in (401, 403):
            # A token that was changed is read with the next connection.
            self.forget(target)
        return answer

    async def _connect(self, target: Target) -> Connection:
        """A connection to the first of the host's addresses that takes one; OSError when none does."""
        loop, url = asyncio.get_running_loop(), urlsplit(target.url)
        assert url.hostname is not None
        port = url.port or _PORTS[url.scheme]
        tls, name = (self._context(target.ca_file), url.hostname) if url.scheme == "https" else (None, None)
        found = await loop.getaddrinfo(url.hostname, port, type=socket.SOCK_STREAM)
        refused: OSError = OSError("the name has no address")
        for family, _, protocol, _, address in found:
            try:
                _, connection = await loop.create_connection(
                    lambda: Connection(self._buffers),
                    str(address[0]),
                    port,
                    family=family,
                    proto=protocol,
                    ssl=tls,
                    server_hostname=name,
                )
            except OSError as error:
                refused = error
            else:
                return connection
        raise refused

    def _context(self, ca_file: Path | None) -> ssl.SSLContext:
        if ca_file not in self._tls:
            try:
                self._tls[ca_file] = ssl.create_default_context(cafile=None if ca_file is None else str(ca_file))
            except OSError as error:
                text = f"the certificates in {ca_file} cannot be read ({error.strerror or error}); name a PEM file"
                raise PageError(text) from None
        return self._tls[ca_file]


def open_session() -> Session:
    """The one session of an event loop; the caller closes it.

    No limit on connections: each target has at most one request under way, and a limit below their number would make
    targets wait for each other.
    """
    return Session()


async def fetch(session: Session, target: Target, max_page_bytes: int) -> Page:
    """The target's page; raises PageError in every other case."""
    try:
        async with asyncio.timeout(target.timeout_s):
            answer = await session.get(target, max_page_bytes)
            _check_status(answer)
            openmetrics = _check_type(answer)
            body = await _body(answer, max_page_bytes)
    except TimeoutError:
        raise PageError(
            f"no complete answer within {target.timeout_s:g} s; raise the target's timeout or find out why it is slow"
        ) from None
    except Unanswered:
        raise PageError("the connection was closed without an answer; is this an HTTP port?") from None
    except BrokenOff:
        raise PageError("the page broke off before its end; the target or a proxy closed the connection") from None
    except NotHttp as why:
        raise PageError(f"the answer is not HTTP ({why}); check the port") from None
    except TooLarge:
        raise _too_large(max_page_bytes) from None
    except OSError as error:
        url = urlsplit(target.url)
        where = f"{url.hostname}:{url.port or _PORTS[url.scheme]}"
        raise PageError(f"cannot connect to {where} ({_cause(error)}); {_next_step(error)}") from None
    except ValueError as error:
        raise PageError(f"the request failed ({type(error).__name__}: {error}); check the address") from None
    # Some exporters label the error page of the proxy before them as plain text.
    if body[:256].lstrip()[:1] == b"<":
        raise PageError("the page is HTML or XML although its type says otherwise; check the path")
    return Page(body, openmetrics)


def _request(target: Target) -> bytes:
    """What is sent at each scrape. Raises PageError when the token cannot be read."""
    url = urlsplit(target.url)
    path = quote(url.path or "/", safe=_AS_IT_IS) + (f"?{quote(url.query, safe=_AS_IT_IS)}" if url.query else "")
    host = url.netloc.rpartition("@")[2].encode("idna" if not url.netloc.isascii() else "ascii").decode("ascii")
    lines = [f"GET {path} HTTP/1.1", f"Host: {host}"]
    lines += [f"{name}: {value}" for name, value in HEADERS.items()]
    if target.token_file is not None:
        lines.append(f"Authorization: Bearer {_token(target.token_file)}")
    elif url.username is not None:
        user = f"{unquote(url.username)}:{unquote(url.password or '')}"
        lines.append(f"Authorization: Basic {base64.b64encode(user.encode()).decode('ascii')}")
    return "\r\n".join([*lines, "", ""]).encode("ascii")


def _token(path: Path) -> str:
    try:
        words = path.read_text(encoding="ascii").split()
    except (OSError, UnicodeDecodeError) as error:
        why = error.strerror if isinstance(error, OSError) else "it is not ASCII text"
        raise PageError(f"the token file {path} cannot be read ({why}); let this user read it") from None
    if len(words) != 1:
        raise PageError(f"the token file {path} holds {len(words)} words; write the token alone into it")
    return words[0]


def _cause(error: OSError) -> str:
    # A refused certificate has no system error below it, and a name that is not known has a negative number.
    if isinstance(error, ssl.SSLCertVerificationError):
        return error.verify_message
    number = 0 if isinstance(error, ssl.SSLError) else error.errno or 0
    return os.strerror(number) if number > 0 else error.strerror or str(error)


def _next_step(error: OSError) -> str:
    if isinstance(error, ssl.SSLCertVerificationError):
        return "let SSL_CERT_FILE name its authority, or correct the address"
    return "does it speak TLS? Else write http://" if isinstance(error, ssl.SSLError) else "is it running there?"


def _check_status(answer: Answer) -> None:
    if 300 <= answer.status < 400:
        goal = _without_secrets(answer.headers.get("location", "an unnamed place"))
        raise PageError(
            f"redirects (HTTP {answer.status}) to {goal}; redirects are not followed, name the final address"
        )
    if answer.status != 200:
        said = f"answered HTTP {answer.status} {answer.reason}".rstrip() + ", expected 200"
        raise PageError(f"{said}; {_NEXT_STEPS[answer.status]}" if answer.status in _NEXT_STEPS else said)


def _without_secrets(goal: str) -> str:
    """An address without what logs in: user, password, query."""
    parts = urlsplit(goal)
    return parts._replace(netloc=parts.netloc.rpartition("@")[2], query="", fragment="").geturl()[:200]


def _check_type(answer: Answer) -> bool:
    """Whether the page is OpenMetrics. A page without a type is taken for plain text, as old exporters mean it."""
    name = answer.headers.get("content-type", "text/plain").partition(";")[0].strip().lower()
    if name not in ("text/plain", "application/openmetrics-text"):
        raise PageError(
            f"answered with type {name!r}, expected text/plain or application/openmetrics-text; "
            "check the path, or what the server says of it"
        )
    return name == "application/openmetrics-text"


async def _body(answer: Answer, limit: int) -> bytes:
    encoding = answer.headers.get("content-encoding", "identity").strip().lower()
    # A server that hands out a packed file may not say so; no page begins with these bytes.
    if encoding in ("gzip", "x-gzip") or (encoding in ("identity", "") and answer.body.startswith(b"\x1f\x8b")):
        body = await _gunzipped(answer.body, limit)
    elif encoding in ("identity", ""):
        body = answer.body
    else:
        raise PageError(f"the page is encoded as {encoding!r}, which was not asked for; only gzip and none are read")
    if answer.framed or body.endswith(b"\n"):
        return body
    # Only the end of the connection marks the end of this page, so a last line without its newline may have been cut
    # within its number: one sample less is better than a wrong one.
    return body[: body.rfind(b"\n") + 1]


async def _gunzipped(packed: bytes, limit: int) -> bytes:
    page = bytearray()
    inflater = zlib.decompressobj(wbits=31)
    rest = packed
    try:
        while rest:
            if inflater.eof:  # a gzip file may be several, one after the other
                inflater = zlib.decompressobj(wbits=31)
            page += inflater.decompress(rest, STEP_BYTES)
            rest = inflater.unconsumed_tail or inflater.unused_data
            if len(page) > limit:
                raise _too_large(limit)
            if rest:
                await asyncio.sleep(0)
        page += inflater.flush()
    except zlib.error as error:
        raise PageError(f"the page says that it is gzip, which it is not ({error})") from None
    if not inflater.eof:
        raise PageError("the gzip page broke off before its end; the target or a proxy closed the connection")
    return bytes(page)


def _too_large(limit: int) -> PageError:
    words = f"{limit >> 20} MiB" if limit >= 1 << 20 else f"{limit} bytes"
    return PageError(f"the page is larger than {words} and was cut off; let the target show fewer series")
