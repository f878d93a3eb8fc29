"""What answers at the address itself: the control room for browsers, a list of operations for everybody else."""

from __future__ import annotations

from html import escape

from fastapi import APIRouter, Request, Response
from fastapi.responses import HTMLResponse, PlainTextResponse, RedirectResponse
from starlette.concurrency import run_in_threadpool

from autoscaler.api.deps import PREFIX, ApiDeps, Deps
from autoscaler.api.room.pages import visitor
from autoscaler.api.room.pools import page as pools

OPENAPI = f"{PREFIX}/openapi.json"
HEADERS = {"Content-Security-Policy": "default-src 'none'; style-src 'unsafe-inline'"}
STYLE = "body{font:16px/1.5 sans-serif;margin:2em;max-width:60em}td{padding:0 1em 0 0;vertical-align:top}"

router = APIRouter(include_in_schema=False)


@router.get("/")
async def front(request: Request, deps: Deps) -> Response:
    """The control room's first page for browsers; for programs and terminals what there is to ask."""
    if "text/html" in request.headers.get("accept", ""):
        who = await visitor(request, deps)
        return await run_in_threadpool(pools.page, request, deps, who)
    return await run_in_threadpool(_text, request, deps)


@router.get("/api")
def operations(request: Request, deps: Deps) -> Response:
    """Every operation with its first sentence: HTML for browsers, text for everybody else."""
    if "text/html" not in request.headers.get("accept", ""):
        return _text(request, deps)
    title, needs = _title(deps), _needs(deps)
    rows = [
        f"<tr><td>{m}</td><td>{_link(m, path)}</td><td>{escape(text)}</td></tr>"
        for m, path, text in _operations(request)
    ]
    body = f"""<!doctype html><html lang="en"><meta charset="utf-8"><title>{escape(title)}</title><style>{STYLE}</style>
<h1>{escape(title)}</h1>
<p>Autoscaling for GPU inference fleets. <code>sigmascale explain POOL</code> says in words why a pool has its size.</p>
<p><a href="/">control room</a> · <a href="{PREFIX}/pools">pools</a> · <a href="/metrics">metrics</a> ·
<a href="/readyz">readiness</a> · <a href="{OPENAPI}">OpenAPI document</a></p>
<p>{escape(needs)}</p>
<table>{"".join(rows)}</table></html>
"""
    return HTMLResponse(body, headers=HEADERS)


@router.get("/docs")
@router.get("/redoc")
def documentation() -> RedirectResponse:
    """Where people look for the documentation of an API."""
    return RedirectResponse("/api")


@router.get("/openapi.json")
def openapi() -> RedirectResponse:
    """Where programs look for its description."""
    return RedirectResponse(OPENAPI)


def _title(deps: ApiDeps) -> str:
    return f"sigmascale {deps.version}"


def _needs(deps: ApiDeps) -> str:
    """What a request must bring."""
    if deps.tokens:
        return "Requests need the header `Authorization: Bearer TOKEN`, with a token of the service's tokens file."
    return f"From this machine everybody may read; changes need the token in {deps.local_file or 'the data folder'}."


def _text(request: Request, deps: ApiDeps) -> Response:
    operations = _operations(request)
    width = max(len(path) for _, path, _ in operations)
    rows = [f"{method:<7}{path:<{width}}  {text}" for method, path, text in operations]
    says = "`sigmascale explain POOL` says in words why a pool has its size."
    lines = [_title(deps), "", _needs(deps), says, "", *rows]
    return PlainTextResponse("\n".join([*lines, "", f"{OPENAPI} describes all of it to programs.", ""]))


def _operations(request: Request) -> list[tuple[str, str, str]]:
    """Method, path and the first sentence of each operation."""
    found = []
    for path, operations in request.app.openapi()["paths"].items():
        for method, operation in operations.items():
            first = " ".join(operation["description"].split()).partition(". ")[0].rstrip(".")
            found.append((method.upper(), path, first))
    return found


def _link(method: str, path: str) -> str:
    shown = escape(path)
    return f'<a href="{shown}">{shown}</a>' if method == "GET" and "{" not in path else shown
