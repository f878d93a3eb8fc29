"""Entity tags: a client that has an answer already is told so in a few bytes (RFC 9110, sections 8.8.3 and 13.1)."""

from __future__ import annotations

import hashlib

from starlette.datastructures import MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

MAX_BODY_BYTES = 16 << 20
"""Larger answers are sent without a tag: hashing one would hold up the others."""


def tag(body: bytes) -> str:
    """A strong entity tag: the same bytes have the same tag, and other bytes another one."""
    return f'"{hashlib.sha256(body).hexdigest()[:32]}"'


def listed(header: str, current: str, *, weakly: bool = False) -> bool:
    """Whether a tag is in the list of an If-Match or If-None-Match header; `*` stands for any.

    weakly: W/ is ignored, as If-None-Match wants it; If-Match takes strong tags only.
    """
    if header.strip() == "*":
        return True
    tags = [part.strip() for part in header.split(",")]
    return current in ([t.removeprefix("W/") for t in tags] if weakly else tags)


class ETags:
    """Middleware: JSON answers to GET carry a tag, and are left out when the client has them (304).

    Only an answer that comes in one piece has one; what is streamed passes through. A tag of the operation stays.
    """

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or scope["method"] != "GET":
            await self.app(scope, receive, send)
            return
        known = next((value for name, value in scope["headers"] if name == b"if-none-match"), None)
        start: Message | None = None

        async def tagged(message: Message) -> None:
            nonlocal start
            if message["type"] == "http.response.start" and _taggable(message):
                start = message
                return
            if start is not None:
                first, start = start, None
                body = message.get("body", b"")
                if not message.get("more_body", False) and len(body) <= MAX_BODY_BYTES:
                    message = _tagged(first, message, body, known)
                await send(first)
            await send(message)

        await self.app(scope, receive, tagged)


def _taggable(start: Message) -> bool:
    kind = next((value for name, value in start["headers"] if name == b"content-type"), b"")
    return bool(start["status"] == 200 and kind.startswith(b"application/json"))


def _tagged(start: Message, message: Message, body: bytes, known: bytes | None) -> Message:
    """Puts the tag into the head; returns the message that follows it, which is empty when the client has the body."""
    headers = MutableHeaders(raw=start["headers"])
    current = headers.get("etag") or tag(body)
    headers["ETag"] = current
    # The answer depends on who asks, and is asked for again each time; what is saved is its transport.
    headers.setdefault("Cache-Control", "private, no-cache")
    if known is None or not listed(known.decode("latin-1"), current, weakly=True):
        return message
    start["status"] = 304
    del headers["content-length"], headers["content-type"]
    return {"type": "http.response.body", "body": b""}
