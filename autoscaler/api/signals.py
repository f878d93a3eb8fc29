"""Signals of a pool: the readings that the last decision used, and their past."""

from __future__ import annotations

import math
from typing import Annotated

from fastapi import APIRouter, Path

from autoscaler.api.deps import Deps, View
from autoscaler.api.models import Instant, SignalHistory, SignalReading, Signals
from autoscaler.api.problems import Problem, documented, found_close
from autoscaler.ruleset import RuleSet

HOUR_S = 3600.0
MAX_POINTS = 5000

router = APIRouter(tags=["signals"], responses=documented(401, 403, 404, 422, 503))


@router.get("/pools/{pool}/signals")
def list_signals(view: View, deps: Deps) -> Signals:
    """Every signal with value, quality and age, as the last decision saw it."""
    readings = view.decision.readings if view.decision is not None else {}
    now = deps.clock.now()
    return Signals(
        pool=view.rules.pool,
        decision=view.decision.number if view.decision is not None else None,
        readings=[
            SignalReading(
                signal=name,
                source=_source(view.rules, name),
                value=r.value,
                lower=r.lower,
                upper=r.upper,
                quality=r.quality,
                at=r.at,
                age_s=max(0.0, now - r.at),
                detail=r.detail,
            )
            for name, r in sorted(readings.items())
        ],
    )


@router.get("/pools/{pool}/signals/{signal}")
def signal_history(
    view: View,
    deps: Deps,
    signal: Annotated[str, Path(max_length=200)],
    since: Instant | None = None,
    until: Instant | None = None,
) -> SignalHistory:
    """The past of one signal, the last hour unless told; null is a gap. Long spans show every n-th point."""
    pool = view.rules.pool
    names = [s.name for s in view.rules.signals]
    if signal not in names:
        raise Problem(404, f"pool {pool!r} has no signal {signal!r}; {found_close(signal, names)}")
    end = deps.clock.now() if until is None else until
    start = end - HOUR_S if since is None else since
    if start > end:
        raise Problem(422, f"since ({start:g}) is after until ({end:g}); give the earlier instant as since")
    at, values = deps.store.history(pool, signal, start, end)
    step = max(1, math.ceil(len(at) / MAX_POINTS))
    # The newest point is always shown: whoever looks at a chart looks at its right end first.
    kept = slice((len(at) - 1) % step if len(at) else 0, None, step)
    return SignalHistory(
        pool=pool,
        signal=signal,
        since=start,
        until=end,
        at=[float(t) for t in at[kept]],
        values=[float(v) if math.isfinite(v) else None for v in values[kept]],
        thinned=step,
    )


def _source(rules: RuleSet, name: str) -> str:
    signal = rules.signal(name)
    if signal is None:
        return "capacity of a replica"
    if signal.promql is not None:
        return f"promql: {signal.promql}"
    return f"forecast of {signal.forecast}" if signal.forecast is not None else signal.metric or ""
