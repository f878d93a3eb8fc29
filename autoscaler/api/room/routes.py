"""Every page of the control room, and what they share, put into the application."""

from __future__ import annotations

from urllib.parse import quote

from fastapi import FastAPI, Request, Response
from fastapi.responses import RedirectResponse

from autoscaler.api.room import assets, live, overview, signin
from autoscaler.api.room.pages import HEADERS, NotSignedInError

PARTS = (assets, signin, live, overview)
"""Each has a `router`; a page that is added stands here."""


def install(app: FastAPI) -> None:
    """Adds the pages, and the way to sign in for whoever must."""
    app.state.streams = live.Streams()
    for part in PARTS:
        app.include_router(part.router)
    app.add_exception_handler(NotSignedInError, _sign_in)


def _sign_in(request: Request, _: Exception) -> Response:
    if request.url.path.startswith("/ui/"):
        # A fragment of a page whose session has ended; the page loads itself anew and is sent on from there.
        return Response(status_code=401, headers={**HEADERS, "HX-Refresh": "true"})
    where = request.url.path + (f"?{request.url.query}" if request.url.query else "")
    return RedirectResponse(f"/signin?next={quote(where, safe='')}", 303, HEADERS)
