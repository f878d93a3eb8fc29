"""The decisions that changed a size, of one pool or of all: what an on-call engineer asks for first."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Query
from pydantic import BaseModel, Field

from autoscaler.api.deps import Deps
from autoscaler.api.models import Instant
from autoscaler.api.problems import Problem, documented, found_close
from autoscaler.explain import headline

PAGE = 20
MAX_PAGE = 200

router = APIRouter(tags=["decisions"], responses=documented(401, 403, 404, 422, 503))


class ChangeView(BaseModel):
    """A journalled decision that wanted another size than the one before it."""

    pool: str
    number: int = Field(description="of the decision, for GET /pools/{pool}/explain?decision=")
    at: float
    before: int
    after: int
    headline: str = Field(description="the decision in one sentence")


class Changes(BaseModel):
    """Such decisions, newest first."""

    changes: list[ChangeView]


@router.get("/changes")
def list_changes(
    deps: Deps,
    pool: Annotated[
        str | None, Query(max_length=200, description="only this pool; default: all but candidates")
    ] = None,
    since: Instant = 0.0,
    until: Instant = 1e11,
    limit: Annotated[int, Query(ge=1, le=MAX_PAGE)] = PAGE,
) -> Changes:
    """The last changes of size. For older ones ask again with `until` = the time of the last one."""
    views = deps.board.pools()
    if pool is not None and pool not in views:
        raise Problem(404, f"there is no pool {pool!r}; {found_close(pool, views)}")
    if since > until:
        raise Problem(422, f"since ({since:g}) is after until ({until:g}); give the earlier instant as since")
    asked = [pool] if pool is not None else sorted(name for name, view in views.items() if not view.rules.shadow_of)
    found = deps.journal.changes(asked, since, until, limit)
    made = [(c, deps.journal.decision(c.pool, c.number)) for c in found]
    return Changes(
        changes=[
            ChangeView(
                pool=c.pool, number=c.number, at=c.at, before=c.before, after=c.after, headline=headline(decision)
            )
            for c, decision in made
            if decision is not None
        ]
    )
