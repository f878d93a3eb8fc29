"""What is known of a pool besides its signals: outlooks, what a replica serves, how long launches take."""

from __future__ import annotations

import math
from collections.abc import Sequence

from fastapi import APIRouter

from autoscaler.api.deps import ApiDeps, Deps, View
from autoscaler.api.learned_models import CapacityView, LeadTimeView, LearnedView, OutlookView
from autoscaler.api.problems import documented
from autoscaler.board import PoolView
from autoscaler.measure import OUTLOOK_MAX_AGE_S
from autoscaler.types import Learned

router = APIRouter(tags=["learned"], responses=documented(401, 403, 404, 422))


@router.get("/pools/{pool}/learned")
def show_learned(view: View, deps: Deps) -> LearnedView:
    """Forecasts, capacity and lead times of a pool, each with its version as decisions name it."""
    return learned_view(view, deps)


def learned_view(view: PoolView, deps: ApiDeps) -> LearnedView:
    """What is known of a pool, now."""
    pool, now = view.rules.pool, deps.clock.now()
    known = deps.foresight.learned(pool) if deps.foresight is not None else Learned()
    success = deps.foresight.success(pool, now) if deps.foresight is not None else {}
    c = known.capacity
    return LearnedView(
        pool=pool,
        outlooks=[
            OutlookView(
                signal=name,
                of=o.of,
                version=o.version,
                at=o.at,
                age_s=max(0.0, now - o.at),
                usable=now - o.at <= OUTLOOK_MAX_AGE_S,
                horizons_s=list(o.horizons_s),
                quantiles=list(o.quantiles),
                growth=[_cells(row) for row in o.growth],
                floor=o.floor,
            )
            for name, o in sorted(known.outlooks.items())
        ],
        capacity=None
        if c is None
        else CapacityView(low=c.low, median=c.median, unit=c.unit, version=c.version, drifting=c.drifting),
        lead_times=[
            LeadTimeView(offer=name, p50_s=t.p50_s, p90_s=t.p90_s, version=t.version, success_ratio=success.get(name))
            for name, t in sorted(known.lead_times.items())
        ],
        moved=dict(known.moved or {}),
    )


def _cells(row: Sequence[float]) -> list[float | None]:
    return [cell if math.isfinite(cell) else None for cell in row]
