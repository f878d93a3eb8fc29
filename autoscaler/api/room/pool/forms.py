"""What a person can do to a pool, as forms: each ends in the function of the REST interface, with its rules and words.

What may leave users waiting, or cannot be taken back, is asked about once more: the page comes again with a sentence
that says what would happen, and only the form that carries this very sentence is carried out.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated
from urllib.parse import quote

from fastapi import APIRouter, Depends, Request, Response

from autoscaler.api.auth import require
from autoscaler.api.crosssite import refuse_cross_site
from autoscaler.api.deps import Deps
from autoscaler.api.problems import Problem
from autoscaler.api.room.pages import Looking, back
from autoscaler.api.room.pool.deeds import DEEDS, Asked, QuestionError, quick
from autoscaler.api.room.pool.missing import Found, Pool
from autoscaler.api.room.pool.page import Tried, shown
from autoscaler.api.room.signin import fields
from autoscaler.errors import StorageError
from autoscaler.tokens import Token

Fields = Annotated[Mapping[str, str], Depends(fields)]

router = APIRouter(include_in_schema=False)


async def _operator(request: Request, deps: Deps) -> Token | Problem:
    """Whose form it is, or why it is not carried out; said on the page, so nothing is raised here."""
    try:
        return await require("operator")(request, deps)
    except Problem as problem:
        return problem


@router.get("/pools/{pool}/do/{deed}")
def look(pool: Pool) -> Response:
    """Whoever comes back here from signing in is shown the page."""
    return back(_path(pool))


@router.post("/pools/{pool}/do/{deed}")
def do(
    request: Request,
    deps: Deps,
    who: Looking,
    pool: Pool,
    deed: str,
    said: Fields,
    token: Annotated[Token | Problem, Depends(_operator)],
) -> Response:
    """Carries out a form and goes back to the page, or shows the page with the form and what is wrong with it."""
    refuse_cross_site(request)
    if isinstance(token, Problem):
        return shown(request, deps, who, pool, Tried(deed, said, str(token.detail)), token.status_code)
    said = quick(said)
    carry_out = DEEDS.get(deed)
    if carry_out is None:
        return shown(request, deps, who, pool, Tried("", said, f"There is no form {deed[:40]!r}."), 404)
    try:
        notice = carry_out(Asked(pool, deps, token, said))
    except QuestionError as question:
        return shown(request, deps, who, pool, Tried(deed, said, asks=question.asks))
    except Problem as problem:
        return shown(request, deps, who, pool, Tried(deed, said, str(problem.detail)), problem.status_code)
    except StorageError as error:
        return shown(request, deps, who, pool, Tried(deed, said, str(error)), 503)
    return back(_path(pool), notice)


def _path(pool: Found) -> str:
    return f"/pools/{quote(pool.name, safe='')}"
