"""Cross-site requests: a page of another site changes nothing here, whatever credentials its reader's browser holds."""

from __future__ import annotations

from collections.abc import Collection
from urllib.parse import urlsplit

from starlette.requests import HTTPConnection
from starlette.types import ASGIApp, Receive, Scope, Send

from autoscaler.api.problems import Problem, answer

READING = frozenset({"GET", "HEAD", "OPTIONS"})
"""Methods that change nothing."""

OURS = frozenset({"same-origin", "none"})
"""What a browser says of requests from our own pages, and of those that a person typed or bookmarked."""


def refuse_cross_site(request: HTTPConnection, trusted: Collection[str] = ()) -> None:
    """Raises a Problem, 403, for a request that changes something and comes from a page of another site.

    A browser says where a request comes from in Sec-Fetch-Site, older ones in Origin only; programs send neither, and
    they carry no cookies that somebody else could use. trusted: origins that may, such as https://grafana.example.
    """
    why = cross_site(request, trusted)
    if why:
        raise Problem(403, why)


def cross_site(request: HTTPConnection, trusted: Collection[str] = ()) -> str:
    """Why a request is refused as cross-site, empty when it is not."""
    if request.scope["method"] in READING:
        return ""
    origin, site = request.headers.get("origin"), request.headers.get("sec-fetch-site")
    if origin is not None and origin in trusted:
        return ""
    advice = "ask from the service's own page, or without a browser"
    if site is not None:
        # Another port of this host is the same site and yet somebody else's page.
        return "" if site in OURS else f"a change was asked for by a page of another origin ({site[:20]!r}); {advice}"
    if origin is None or _host(origin) == request.headers.get("host", "").lower():
        return ""
    return f"a change was asked for by a page of {origin[:200]!r}, which is another origin; {advice}"


def _host(origin: str) -> str:
    """Host and port of an origin. Its scheme is not compared: a proxy may have ended TLS in front of us."""
    try:
        return urlsplit(origin).netloc.lower()
    except ValueError:
        return ""


class SameSite:
    """Middleware that answers cross-site changes with 403 before anything looks at their credentials."""

    def __init__(self, app: ASGIApp, trusted: Collection[str] = ()) -> None:
        self.app = app
        self.trusted = frozenset(trusted)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http":
            why = cross_site(HTTPConnection(scope), self.trusted)
            if why:
                await answer(403, why)(scope, receive, send)
                return
        await self.app(scope, receive, send)
