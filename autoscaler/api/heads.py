"""Limits on the head of a request, which arrives before anything about it can be known."""

from __future__ import annotations

from starlette.types import ASGIApp, Receive, Scope, Send

from autoscaler.api.problems import answer

MAX_URL_BYTES = 8 << 10
MAX_HEADERS = 100
MAX_HEADER_BYTES = 8 << 10
MAX_HEAD_BYTES = 32 << 10
"""Of the whole head: the server stops reading there, and a larger one that came in one piece is refused here."""


class HeadLimit:
    """Answers 414 for an address and 431 for headers that are longer than any client of ours needs."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http":
            status, why = _fault(scope)
            if status:
                await answer(status, why)(scope, receive, send)
                return
        await self.app(scope, receive, send)


def _fault(scope: Scope) -> tuple[int, str]:
    """Status and sentence for a head beyond the limits; 0 for one within."""
    address = len(scope.get("raw_path") or scope["path"]) + len(scope["query_string"])
    if address > MAX_URL_BYTES:
        return 414, f"the address has {address:,} bytes, the limit is {MAX_URL_BYTES:,}; ask for less at once"
    headers = scope["headers"]
    if len(headers) > MAX_HEADERS:
        return 431, f"the request has {len(headers)} headers, the limit is {MAX_HEADERS}; send fewer"
    total = 0
    for name, value in headers:
        size = len(name) + len(value)
        total += size
        if size > MAX_HEADER_BYTES:
            shown = name[:40].decode("latin-1")
            return 431, f"the header {shown!r} has {size:,} bytes, the limit is {MAX_HEADER_BYTES:,}; shorten it"
    if total > MAX_HEAD_BYTES:
        return 431, f"the headers have {total:,} bytes together, the limit is {MAX_HEAD_BYTES:,}; send fewer"
    return 0, ""
