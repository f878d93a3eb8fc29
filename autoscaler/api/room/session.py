"""Who signed in at the control room: a cookie that names a token and proves that its bearer had it.

The cookie is `name.end.mac`, where mac is the HMAC-SHA-256 of name, end and the token's digest under a key of the data
folder (the construction of Fu et al. 2001, "Dos and Don'ts of Client Authentication on the Web", section 4). Nothing is
kept per visitor, a restart signs nobody out, and a token that is taken out of the tokens file ends its sessions.
"""

from __future__ import annotations

import base64
import hashlib
import hmac

from fastapi import Request, Response

from autoscaler.api.deps import ApiDeps
from autoscaler.tokens import Token

LASTS_S = 12 * 3600.0
"""A shift. Whoever needs longer signs in again."""

MAX_CHARACTERS = 600


def cookie_name(request: Request) -> str:
    """Cookies are not kept apart by port, so that two services on one host need two names."""
    return f"sigmascale_{request.url.port or (443 if request.url.scheme == 'https' else 80)}"


def token_of(request: Request, deps: ApiDeps) -> Token | None:
    """The token whose bearer signed in with this browser; None when nobody did, or not any more."""
    value = request.cookies.get(cookie_name(request), "")
    name, _, rest = value.partition(".")
    end, _, mac = rest.partition(".")
    if not mac or len(value) > MAX_CHARACTERS or not end.isdigit() or int(end) <= deps.clock.now():
        return None
    for token in _known(deps):
        if _spelled(token.name) == name:
            return token if hmac.compare_digest(mac, _mac(deps, token, end)) else None
    return None


def sign_in(request: Request, response: Response, deps: ApiDeps, token: Token) -> None:
    """Lets the browser act for the token's bearer until the session ends."""
    end = str(int(deps.clock.now() + LASTS_S))
    response.set_cookie(
        cookie_name(request),
        f"{_spelled(token.name)}.{end}.{_mac(deps, token, end)}",
        max_age=int(LASTS_S),
        path="/",
        secure=request.url.scheme == "https",
        httponly=True,
        # Never sent with a request that another site begins, which is half of what keeps such requests from acting;
        # the other half is `crosssite`.
        samesite="strict",
    )


def sign_out(request: Request, response: Response) -> None:
    """The browser forgets who it acted for."""
    response.delete_cookie(cookie_name(request), path="/", httponly=True, samesite="strict")


def _known(deps: ApiDeps) -> tuple[Token, ...]:
    return deps.tokens or ((deps.local,) if deps.local is not None else ())


def _spelled(name: str) -> str:
    """A token's name in characters that a cookie may have."""
    return base64.urlsafe_b64encode(name.encode()).decode().rstrip("=")


def _mac(deps: ApiDeps, token: Token, end: str) -> str:
    said = b"\x00".join((token.name.encode(), end.encode(), token.digest))
    return hmac.new(deps.session_key, said, hashlib.sha256).hexdigest()
