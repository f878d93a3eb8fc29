"""Signing in and out: a token is given once, and a cookie stands for it from then on."""

from __future__ import annotations

from typing import Annotated
from urllib.parse import parse_qs, urlsplit

from fastapi import APIRouter, Query, Request, Response

from autoscaler.api.crosssite import refuse_cross_site
from autoscaler.api.deps import ApiDeps, Deps
from autoscaler.api.room.pages import back, render
from autoscaler.api.room.session import sign_in, sign_out
from autoscaler.tokens import match

MAX_FIELDS = 40

router = APIRouter(include_in_schema=False)


@router.get("/signin")
def ask(request: Request, deps: Deps, next_: Annotated[str, Query(alias="next", max_length=500)] = "/") -> Response:
    """The form, and where the token can be found."""
    return _form(request, deps, own_path(next_), "")


@router.post("/signin")
async def enter(request: Request, deps: Deps) -> Response:
    """Whoever gives a token that is known here is signed in and goes on where the form was asked for."""
    refuse_cross_site(request)
    given = await fields(request)
    path = own_path(given.get("next", "/"))
    known = deps.tokens or ((deps.local,) if deps.local is not None else ())
    token = match(given.get("token", "").strip(), known)
    if token is None:
        return _form(request, deps, path, "This token is not known here.", 401)
    response = back(path)
    sign_in(request, response, deps, token)
    return response


@router.post("/signout")
def leave(request: Request) -> Response:
    """The browser acts for nobody any more."""
    refuse_cross_site(request)
    response = back("/")
    sign_out(request, response)
    return response


async def fields(request: Request) -> dict[str, str]:
    """What a form says; of several values of a name the last one. Bodies are bounded before they come here."""
    body = (await request.body()).decode("utf-8", "replace")
    try:
        return {name: values[-1] for name, values in parse_qs(body, True, max_num_fields=MAX_FIELDS).items()}
    except ValueError:
        return {}


def own_path(path: str) -> str:
    """A path of ours to go on at; whatever leads elsewhere becomes the first page."""
    parts = urlsplit(path)
    ours = path.startswith("/") and not path.startswith(("//", "/\\")) and not parts.scheme and not parts.netloc
    return path if ours and path.isprintable() else "/"


def _form(request: Request, deps: ApiDeps, path: str, problem: str, status: int = 200) -> Response:
    where = "a line of the service's tokens file" if deps.tokens else f"the file {deps.local_file or 'token'}"
    return render(request, deps, None, "signin.html", status, next=path, problem=problem, where=where)
