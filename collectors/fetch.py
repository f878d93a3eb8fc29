"""Fetch one page within its limits of time and size, or say in words why it could not be had."""

from __future__ import annotations

import asyncio
import os
import zlib
from dataclasses import dataclass

import aiohttp

from autoscaler.errors import SigmascaleError
from collectors.discovery import Target

HEADERS = {
    "Accept": "text/plain; version=0.0.4, application/openmetrics-text; version=1.0.0; q=0.5, */*; q=0.1",
    "Accept-Encoding": "gzip",
    "User-Agent": "sigmascale",
}
STEP_BYTES = 1 << 20
"""Output of one decompression step: about a millisecond, after which other targets get their turn."""


class PageError(SigmascaleError):
    """The page could not be had; the message is for the person who owns the target."""


@dataclass(frozen=True, slots=True)
class Page:
    """A whole page, decompressed. `openmetrics` says which grammar its Content-Type names."""

    body: bytes
    openmetrics: bool


def open_session() -> aiohttp.ClientSession:
    """The one session of the process; the caller closes it.

    No limit on connections: each target has at most one request under way, and a limit below their number would make
    targets wait for each other. Connections outlive the longest usual interval.
    """
    return aiohttp.ClientSession(
        connector=aiohttp.TCPConnector(limit=0, keepalive_timeout=120, ttl_dns_cache=60),
        headers=HEADERS,
        cookie_jar=aiohttp.DummyCookieJar(),
        auto_decompress=False,  # we do it in bounded steps
    )


async def fetch(session: aiohttp.ClientSession, target: Target, max_page_bytes: int) -> Page:
    """The target's page; raises PageError in every other case."""
    try:
        async with session.get(
            target.url, allow_redirects=False, timeout=aiohttp.ClientTimeout(total=target.timeout_s)
        ) as response:
            _check_status(response)
            openmetrics = _check_type(response)
            body = await _body(response, max_page_bytes)
    except TimeoutError:
        raise PageError(
            f"no complete answer within {target.timeout_s:g} s; raise the target's timeout or find out why it is slow"
        ) from None
    except aiohttp.ClientConnectorError as error:
        raise PageError(
            f"cannot connect to {error.host}:{error.port} ({_cause(error)}); is it running there?"
        ) from None
    except aiohttp.ClientPayloadError:
        raise PageError("the page broke off before its end; the target or a proxy closed the connection") from None
    except aiohttp.ServerDisconnectedError:
        raise PageError("the connection was closed without an answer; is this an HTTP port?") from None
    except aiohttp.ClientResponseError as error:
        raise PageError(f"the answer is not HTTP ({error.message.splitlines()[0]}); check the port") from None
    except (aiohttp.ClientError, OSError, ValueError) as error:
        raise PageError(f"the request failed ({type(error).__name__}: {error}); check the address") from None
    # Some exporters label the error page of the proxy before them as plain text.
    if body[:256].lstrip()[:1] == b"<":
        raise PageError("the page is HTML or XML although its type says otherwise; check the path")
    return Page(body, openmetrics)


def _cause(error: aiohttp.ClientConnectorError) -> str:
    # A refused certificate has no system error below it, and a name that is not known has a negative number.
    cause = getattr(error, "os_error", error)
    number = getattr(cause, "errno", None) or 0
    return os.strerror(number) if number > 0 else getattr(cause, "strerror", None) or str(cause)


def _check_status(response: aiohttp.ClientResponse) -> None:
    if 300 <= response.status < 400:
        goal = response.headers.get("Location", "an unnamed place")
        raise PageError(
            f"redirects (HTTP {response.status}) to {goal}; redirects are not followed, name the final address"
        )
    if response.status != 200:
        raise PageError(f"answered HTTP {response.status} {response.reason or ''}".rstrip() + ", expected 200")


def _check_type(response: aiohttp.ClientResponse) -> bool:
    """Whether the page is OpenMetrics. A page without a type is taken for plain text, as old exporters mean it."""
    name = response.headers.get("Content-Type", "text/plain").partition(";")[0].strip().lower()
    if name not in ("text/plain", "application/openmetrics-text"):
        raise PageError(
            f"answered with type {name!r}, expected text/plain or application/openmetrics-text; check the path"
        )
    return name == "application/openmetrics-text"


async def _body(response: aiohttp.ClientResponse, limit: int) -> bytes:
    encoding = response.headers.get("Content-Encoding", "identity").strip().lower()
    if encoding in ("identity", ""):
        body = await _plain(response, limit)
    elif encoding in ("gzip", "x-gzip"):
        body = await _gunzipped(response, limit)
    else:
        raise PageError(f"the page is encoded as {encoding!r}, which was not asked for; only gzip and none are read")
    framed = response.content_length is not None or "chunked" in response.headers.get("Transfer-Encoding", "").lower()
    if framed or body.endswith(b"\n"):
        return body
    # Only the end of the connection marks the end of this page, so a last line without its newline may have been cut
    # within its number: one sample less is better than a wrong one.
    return body[: body.rfind(b"\n") + 1]


async def _plain(response: aiohttp.ClientResponse, limit: int) -> bytes:
    if (response.content_length or 0) > limit:
        raise _too_large(limit)
    pieces: list[bytes] = []
    size = 0
    async for piece in response.content.iter_any():
        size += len(piece)
        if size > limit:
            raise _too_large(limit)
        pieces.append(piece)
    return pieces[0] if len(pieces) == 1 else b"".join(pieces)


async def _gunzipped(response: aiohttp.ClientResponse, limit: int) -> bytes:
    page = bytearray()
    inflater = zlib.decompressobj(wbits=31)
    try:
        async for piece in response.content.iter_any():
            rest = piece
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
