"""Every page of the control room, and what they share, put into the application."""

from __future__ import annotations

from http import HTTPStatus
from urllib.parse import quote

from fastapi import FastAPI, Request, Response
from fastapi.responses import RedirectResponse

from autoscaler.api.deps import PREFIX, of_request
from autoscaler.api.problems import Problem, as_details
from autoscaler.api.room import alerts, assets, dryruns, live, offers, reports, rules, signin, sources
from autoscaler.api.room.fleet import machine
from autoscaler.api.room.fleet import page as fleet
from autoscaler.api.room.pages import HEADERS, NotSignedInError, render, visitor
from autoscaler.api.room.pool import decisions, forms, series
from autoscaler.api.room.pool import page as pool
from autoscaler.api.room.pool.missing import NoSuchPoolError, missing
from autoscaler.api.room.pools import page as pools
from autoscaler.api.room.pools.glances import Glances

PARTS = (
    assets,
    signin,
    live,
    pools,
    series,
    decisions,
    pool,
    forms,
    rules,
    dryruns,
    reports,
    fleet,
    machine,
    offers,
    alerts,
    sources,
)
"""Each has a `router`; a page that is added stands here."""


def install(app: FastAPI) -> None:
    """Adds the pages, and the way to sign in for whoever must."""
    app.state.streams = live.Streams()
    app.state.glances = Glances()
    for part in PARTS:
        app.include_router(part.router)
    app.add_exception_handler(NotSignedInError, _sign_in)
    app.add_exception_handler(NoSuchPoolError, missing)
    app.add_exception_handler(Problem, _problem)


def _sign_in(request: Request, _: Exception) -> Response:
    if request.url.path.startswith("/ui/"):
        # A fragment of a page whose session has ended; the page loads itself anew and is sent on from there.
        return Response(status_code=401, headers={**HEADERS, "HX-Refresh": "true"})
    where = request.url.path + (f"?{request.url.query}" if request.url.query else "")
    return RedirectResponse(f"/signin?next={quote(where, safe='')}", 303, HEADERS)


async def _problem(request: Request, error: Exception) -> Response:
    """A page for whoever asked for a page; programs, and scripts of pages, get problem details as everywhere."""
    assert isinstance(error, Problem)
    if request.url.path.startswith((PREFIX, "/ui/")) or "text/html" not in request.headers.get("accept", ""):
        return as_details(request, error)
    deps = await of_request(request)
    try:
        who = await visitor(request, deps)
    except (NotSignedInError, Problem):
        who = None
    title = HTTPStatus(error.status_code).phrase
    return render(request, deps, who, "problem.html", error.status_code, title=title, detail=error.detail)
