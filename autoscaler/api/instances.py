"""The instances of a pool, page by page."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Query, Request, Response
from pydantic import BaseModel

from autoscaler.api.deps import View
from autoscaler.api.paging import After, link_next, page
from autoscaler.api.problems import Problem, documented
from autoscaler.types import Instance, InstanceState

PAGE = 500
MAX_PAGE = 5000

router = APIRouter(tags=["pools"], responses=documented(401, 403, 404, 422, 503))


class Instances(BaseModel):
    """Instances of a pool by id, those on order too. next_after: for `after`, null = the end."""

    pool: str
    instances: list[Instance]
    next_after: str | None


@router.get("/pools/{pool}/instances")
def list_instances(
    view: View,
    request: Request,
    response: Response,
    state: InstanceState | None = None,
    offer: Annotated[str, Query(max_length=500, description="how the key of their offer begins")] = "",
    made_of: Annotated[str | None, Query(max_length=200, description="fingerprint of the settings they have")] = None,
    limit: Annotated[int, Query(ge=1, le=MAX_PAGE)] = PAGE,
    after: After = "",
) -> Instances:
    """What a pool has and has ordered, as its last tick saw it."""
    if view.fleet is None:
        raise Problem(503, f"the provider of pool {view.rules.pool!r} has not reported its fleet yet; ask again soon")
    found = [
        i
        for i in view.fleet.instances
        if state in (None, i.state) and i.offer.startswith(offer) and made_of in (None, i.made_of)
    ]
    shown, next_after = page(found, lambda i: (i.id,), after, limit)
    link_next(request, response, after=next_after)
    return Instances(pool=view.rules.pool, instances=shown, next_after=next_after)
