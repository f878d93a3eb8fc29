"""The first page: every pool at a glance."""

from __future__ import annotations

from fastapi import APIRouter, Request, Response

from autoscaler.api.deps import ApiDeps, Deps
from autoscaler.api.pools import summary
from autoscaler.api.room.pages import Looking, render

router = APIRouter(include_in_schema=False)


def page(request: Request, deps: ApiDeps, who: Looking) -> Response:
    """The page; `front` answers with it where a browser asks."""
    return render(request, deps, who, "overview.html", pools=_rows(deps))


@router.get("/ui/pools")
def rows(request: Request, deps: Deps, who: Looking) -> Response:
    """The part that follows the service."""
    return render(request, deps, who, "overview_rows.html", pools=_rows(deps))


def _rows(deps: ApiDeps) -> list[object]:
    return [summary(view, deps) for _, view in sorted(deps.board.pools().items()) if not view.rules.shadow_of]
