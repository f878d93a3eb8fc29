"""The pool that a page is about, or a page that says which pools there are."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

from fastapi import Depends, Path, Request, Response

from autoscaler.api.deps import Deps
from autoscaler.api.problems import found_close
from autoscaler.api.room.pages import HEADERS, Looking, Visitor, render
from autoscaler.board import PoolView

SHOWN = 50


@dataclass(frozen=True, slots=True)
class Found:
    """A pool by its name, as its last tick left it."""

    name: str
    view: PoolView


class NoSuchPoolError(Exception):
    """Answered with a page, where an API would answer with problem details."""

    def __init__(self, name: str, who: Visitor) -> None:
        super().__init__(name)
        self.name, self.who = name, who


def found(deps: Deps, who: Looking, pool: Annotated[str, Path(max_length=500)]) -> Found:
    """The pool of the path, once it is known that its visitor may look."""
    views = deps.board.pools()
    if pool not in views:
        raise NoSuchPoolError(pool, who)
    return Found(pool, views[pool])


Pool = Annotated[Found, Depends(found)]


def missing(request: Request, error: Exception) -> Response:
    """The page for a pool that is not there."""
    assert isinstance(error, NoSuchPoolError)
    deps = request.app.state.deps
    if request.url.path.startswith("/ui/"):
        # A part of a page whose pool has gone meanwhile; the page loads itself anew and says so.
        return Response(status_code=404, headers={**HEADERS, "HX-Refresh": "true"})
    names = sorted(name for name, view in deps.board.pools().items() if not view.rules.shadow_of)
    return render(
        request,
        deps,
        error.who,
        "pool_missing.html",
        404,
        name=error.name[:200],
        close=found_close(error.name, names),
        names=names[:SHOWN],
        more=max(0, len(names) - SHOWN),
    )
