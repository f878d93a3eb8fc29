"""Who asks, and whether they may. Bearer tokens with roles; without a tokens file only this machine is heard."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Annotated

from fastapi import Depends, Request, Security
from fastapi.security import HTTPBearer

from autoscaler.api.crosssite import refuse_cross_site
from autoscaler.api.deps import ApiDeps, Deps
from autoscaler.api.problems import Problem
from autoscaler.api.ratelimit import asker
from autoscaler.api.room.session import token_of
from autoscaler.config import is_loopback
from autoscaler.tokens import Role, Token, match

MAX_TOKEN_CHARACTERS = 512
CHALLENGE = {"WWW-Authenticate": 'Bearer realm="sigmascale"'}
ANYBODY = Token("viewer", "anybody on this machine", b"")

# Only describes the scheme in the OpenAPI document: its own errors do not say what to do.
_documents_bearer = HTTPBearer(auto_error=False, scheme_name="bearer", description="a line of the tokens file")


def require(role: Role) -> Callable[..., Awaitable[Token]]:
    """A dependency that returns the caller's token, or ends the request with 401 or 403 and the reason."""

    async def allowed(request: Request, deps: Deps, _: Annotated[object, Security(_documents_bearer)] = None) -> Token:
        token = caller(request, deps)
        if not token.may(role):
            if token is ANYBODY:
                raise Problem(401, f"changing something needs a token; {_advice(deps)}", headers=CHALLENGE)
            rule = f"this needs the role {role}; ask with a token that has it"
            raise Problem(403, f"the token {token.name!r} has the role {token.role}; {rule}")
        return token

    return allowed


def caller(request: Request, deps: ApiDeps) -> Token:
    """The token that a request proves to have. Raises Problem, 401 or 403."""
    token = _caller(request, deps)
    if token is not ANYBODY:
        asker(request.scope).name = token.name
    return token


def _caller(request: Request, deps: ApiDeps) -> Token:
    header = request.headers.get("authorization")
    if not deps.tokens:
        _refuse_foreign_host(request)
    if header is None:
        signed_in = token_of(request, deps)
        if signed_in is not None:
            # A browser sends its cookie whoever asks for the request; what another site asks for changes nothing.
            refuse_cross_site(request)
            return signed_in
        if not deps.tokens:
            return ANYBODY
        raise Problem(401, f"this needs a token; {_advice(deps)}", headers=CHALLENGE)
    scheme, _, secret = header.partition(" ")
    secret = secret.strip()
    if scheme.lower() != "bearer":
        raise Problem(401, f"the Authorization header is not a bearer token; {_advice(deps)}", headers=CHALLENGE)
    if not secret or " " in secret or not secret.isascii() or len(secret) > MAX_TOKEN_CHARACTERS:
        rule = f"one word of at most {MAX_TOKEN_CHARACTERS} ASCII characters"
        raise Problem(401, f"the token is malformed, it must be {rule}; {_advice(deps)}", headers=CHALLENGE)
    known = deps.tokens or ((deps.local,) if deps.local is not None else ())
    token = match(secret, known)
    if token is None:
        raise Problem(401, f"the token is not known here; {_advice(deps)}", headers=CHALLENGE)
    return token


def _refuse_foreign_host(request: Request) -> None:
    # A web page may resolve its own name to 127.0.0.1 and read what anybody on this machine may read; its requests
    # still carry that name.
    host = request.url.hostname or ""
    if not is_loopback(host):
        rule = "without tokens only 127.0.0.1, [::1] and localhost are answered"
        raise Problem(403, f"the request is addressed to the host {host!r}; {rule}")


def _advice(deps: ApiDeps) -> str:
    if deps.tokens:
        return "send `Authorization: Bearer TOKEN` with a token of the service's tokens file"
    return f"send `Authorization: Bearer TOKEN` with the token in {deps.local_file or 'the data folder'}"


Viewer = Annotated[Token, Depends(require("viewer"))]
Operator = Annotated[Token, Depends(require("operator"))]
