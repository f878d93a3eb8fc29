"""Alerts of every pool, as the last tick judged them."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Query

from autoscaler.api.deps import Deps
from autoscaler.api.models import Alerts
from autoscaler.api.problems import documented
from autoscaler.types import AlertState

MAX_PAGE = 5000

router = APIRouter(tags=["alerts"], responses=documented(401, 403, 422))


@router.get("/alerts")
def list_alerts(
    deps: Deps,
    pool: Annotated[str | None, Query(max_length=200)] = None,
    state: AlertState | None = None,
    limit: Annotated[int, Query(ge=1, le=MAX_PAGE)] = 1000,
) -> Alerts:
    """Alerts that are not inactive, firing ones first, the newest first among equals."""
    found = [
        alert for name, view in deps.board.pools().items() if pool is None or pool == name for alert in view.alerts
    ]
    found += [o.alert for o in deps.board.ownerless.values() if o.alert is not None and pool in (None, o.pool)]
    found = [a for a in found if a.state == state or (state is None and a.state != "inactive")]
    order = {"firing": 0, "pending": 1, "resolved": 2, "inactive": 3}
    return Alerts(alerts=sorted(found, key=lambda a: (order[a.state], -a.since, a.key))[:limit])
