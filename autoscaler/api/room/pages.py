"""A page from its template: what every page of the control room shows besides its own part."""

from __future__ import annotations

import hashlib
import math
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from typing import Annotated
from urllib.parse import quote

import jinja2
from fastapi import Depends, Request
from fastapi.responses import HTMLResponse, RedirectResponse

from autoscaler.api.auth import ANYBODY, require
from autoscaler.api.deps import ApiDeps, Deps
from autoscaler.api.problems import Problem
from autoscaler.api.room.concerns import concerns
from autoscaler.explain import clock_text
from autoscaler.tokens import Token
from autoscaler.words import amount
from autoscaler.words import seconds as span

HEADERS = {
    # Nothing from elsewhere, nothing inline: what a rule file, a label or a cloud's message says stays text.
    "Content-Security-Policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; "
        "form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
    ),
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "same-origin",
    "Cache-Control": "no-store",
}


SHELL = ("room/static/room.js", "room/static/room.css")


@dataclass(frozen=True, slots=True)
class Tab:
    """One entry of the navigation."""

    path: str
    title: str


TABS = (
    Tab("/", "Pools"),
    Tab("/fleet", "Fleet"),
    Tab("/offers", "Offers"),
    Tab("/alerts", "Alerts"),
    Tab("/sources", "Sources"),
    Tab("/rules", "Rules"),
    Tab("/reports", "Reports"),
)


@dataclass(frozen=True, slots=True)
class Visitor:
    """Who looks at a page. name: empty = nobody signed in. may_change: forms are shown and work."""

    name: str
    role: str
    may_change: bool


class NotSignedInError(Exception):
    """A page that only somebody who signed in may see; `install` answers with the way there."""


async def visitor(request: Request, deps: Deps) -> Visitor:
    """Who looks, with at least the role of a viewer; otherwise the way to sign in."""
    try:
        token = await require("viewer")(request, deps)
    except Problem as problem:
        if problem.status_code == 401:
            raise NotSignedInError from problem
        raise
    return seen_as(token)


def seen_as(token: Token) -> Visitor:
    """A token as pages show it."""
    return Visitor("" if token is ANYBODY else token.name, token.role, token.may("operator"))


Looking = Annotated[Visitor, Depends(visitor)]


def render(
    request: Request,
    deps: ApiDeps,
    who: Visitor | None,
    template: str,
    status: int = 200,
    **parts: object,
) -> HTMLResponse:
    """The page, or the fragment, of a template in web/room with these parts."""
    shown = (
        templates()
        .get_template(template)
        .render(
            now=deps.clock.now(),
            version=deps.version,
            who=who,
            withheld=deps.withheld,
            concerns=lambda: concerns(deps) if who is not None else (),
            build=build(deps.version),
            tabs=TABS,
            path=request.url.path,
            asset=asset,
            **parts,
        )
    )
    return HTMLResponse(shown, status, HEADERS)


@cache
def templates() -> jinja2.Environment:
    """The templates of web/room; a name that a page was not given is an error, not an empty place."""
    made = jinja2.Environment(
        loader=jinja2.PackageLoader("autoscaler", "web/room"),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    made.filters |= {
        "number": _number,
        "brief": _brief,
        "usd": _usd,
        "span": _span,
        "instant": clock_text,
        "iso": _iso,
        "path": _path,
    }
    return made


@cache
def asset(name: str) -> str:
    """The address of a file below web/, with its content's hash, so that browsers may keep it for ever."""
    content = files("autoscaler").joinpath("web", *name.split("/")).read_bytes()
    return f"/static/{name}?v={hashlib.sha256(content).hexdigest()[:12]}"


@cache
def build(version: str) -> str:
    """Names the version of what is in an open page, so that one that is kept open over an upgrade loads itself anew."""
    return f"{version}-{hashlib.sha256((asset(SHELL[0]) + asset(SHELL[1])).encode()).hexdigest()[:8]}"


def back(path: str, notice: str = "") -> RedirectResponse:
    """After a form: to a page of ours, with one sentence to show there."""
    return RedirectResponse(f"{path}?notice={quote(notice)}" if notice else path, 303, HEADERS)


def _number(value: float | None) -> str:
    return "–" if value is None or not math.isfinite(value) else amount(value)


def _brief(value: float | None) -> str:
    """As precise as a column of many needs: whole from 100 on, else one decimal unless it is whole."""
    if value is None or not math.isfinite(value):
        return "–"
    return f"{value:,.0f}" if abs(value) >= 99.95 or value == round(value) else f"{value:.1f}"


def _usd(value: float | None) -> str:
    return "–" if value is None else f"${value:,.2f}"


def _span(value: float | None) -> str:
    if value is None:
        return "–"
    return "under 1 s" if 0 < value < 1 else span(value)


def _iso(at: float) -> str:
    return clock_text(at).replace(" UTC", "Z").replace(" ", "T")


def _path(name: str) -> str:
    """A name as one segment of a path."""
    return quote(name, safe="")
