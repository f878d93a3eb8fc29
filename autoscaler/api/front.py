"""What answers at the address itself: a page that says what this is and where everything is, without any script."""

from __future__ import annotations

from html import escape

from fastapi import APIRouter, Request, Response
from fastapi.responses import HTMLResponse, PlainTextResponse, RedirectResponse

from autoscaler.api.deps import PREFIX, Deps

OPENAPI = f"{PREFIX}/openapi.json"
HEADERS = {"Content-Security-Policy": "default-src 'none'; style-src 'unsafe-inline'"}
STYLE = "body{font:16px/1.5 sans-serif;margin:2em;max-width:60em}td{padding:0 1em 0 0;vertical-align:top}"

router = APIRouter(include_in_schema=False)


@router.get("/")
def front(request: Request, deps: Deps) -> Response:
    """Every operation with its first sentence: HTML for browsers, text for everybody else."""
    title = f"sigmascale {deps.version}"
    needs = (
        "Requests need the header `Authorization: Bearer TOKEN`, with a token of the service's tokens file."
        if deps.tokens
        else f"From this machine everybody may read; changes need the token in {deps.local_file or 'the data folder'}."
    )
    operations = _operations(request)
    if "text/html" not in request.headers.get("accept", ""):
        width = max(len(path) for _, path, _ in operations)
        rows = [f"{method:<7}{path:<{width}}  {text}" for method, path, text in operations]
        lines = [title, "", needs, "`sigmascale explain POOL` says in words why a pool has its size.", "", *rows]
        return PlainTextResponse("\n".join([*lines, "", f"{OPENAPI} describes all of it to programs.", ""]))
    rows = [f"<tr><td>{m}</td><td>{_link(m, path)}</td><td>{escape(text)}</td></tr>" for m, path, text in operations]
    body = f"""<!doctype html><html lang="en"><meta charset="utf-8"><title>{escape(title)}</title><style>{STYLE}</style>
<h1>{escape(title)}</h1>
<p>Autoscaling for GPU inference fleets. <code>sigmascale explain POOL</code> says in words why a pool has its size.</p>
<p><a href="{PREFIX}/pools">pools</a> · <a href="/metrics">metrics</a> · <a href="/readyz">readiness</a> ·
<a href="{OPENAPI}">OpenAPI document</a></p>
<p>{escape(needs)}</p>
<table>{"".join(rows)}</table></html>
"""
    return HTMLResponse(body, headers=HEADERS)


@router.get("/docs")
@router.get("/redoc")
def documentation() -> RedirectResponse:
    """Where people look for the documentation of an API."""
    return RedirectResponse("/")


@router.get("/openapi.json")
def openapi() -> RedirectResponse:
    """Where programs look for its description."""
    return RedirectResponse(OPENAPI)


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
