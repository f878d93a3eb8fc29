"""Query parameters that an operation does not have are refused: a typo must not look like an answer."""

from __future__ import annotations

from fastapi import Request
from starlette.concurrency import run_in_threadpool

from autoscaler.api.deps import PREFIX
from autoscaler.api.problems import Problem, found_close


async def known_only(request: Request) -> None:
    """Ends the request with 422 when it carries a query parameter that the OpenAPI document does not name."""
    if request.query_params:
        # On a thread, since the first to ask has the document made.
        await run_in_threadpool(_refuse_unknown, request)


def _refuse_unknown(request: Request) -> None:
    given = set(request.query_params.keys())
    # Some releases of FastAPI put the prefix of the including router into the route's path, others do not.
    path = PREFIX + request.scope["route"].path_format.removeprefix(PREFIX)
    operation = request.app.openapi()["paths"][path][request.method.lower()]
    known = [p["name"] for p in operation.get("parameters", ()) if p["in"] == "query"]
    faults = [
        (f"query.{name[:100]}", f"is not a parameter of this path; {found_close(name, known)}")
        for name in sorted(given.difference(known))
    ]
    if faults:
        raise Problem(422, "; ".join(f"{where}: {text}" for where, text in faults[:3]), faults[:20])
