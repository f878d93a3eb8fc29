"""Signals of a pool: the readings that the last decision used, and their past."""

from __future__ import annotations

import math
from typing import Annotated

from fastapi import APIRouter, Path, Request, Response
from fastapi import Query as QueryParameter

from autoscaler.api.deps import ApiDeps, Deps, View
from autoscaler.api.learned import learned_view
from autoscaler.api.models import (
    AllSignals,
    Instant,
    RawMetric,
    SignalFinding,
    SignalHistory,
    SignalReading,
    Signals,
)
from autoscaler.api.paging import After, link_next, page
from autoscaler.api.problems import Problem, documented, found_close
from autoscaler.board import PoolView
from autoscaler.ruleset import RuleSet
from autoscaler.signals import metric
from autoscaler.store import SeriesInfo

HOUR_S = 3600.0
MAX_POINTS = 5000
MAX_METRICS = 5000
EXAMPLES = 5

router = APIRouter(tags=["signals"], responses=documented(401, 403, 404, 422, 503))


@router.get("/pools/{pool}/signals")
def list_signals(view: View, deps: Deps) -> Signals:
    """Every signal with value, quality and age, as the last decision saw it, and what is wrong with any of them."""
    return _of_pool(view, deps)


@router.get("/signals")
def list_all_signals(
    deps: Deps,
    request: Request,
    response: Response,
    pool: Annotated[str | None, QueryParameter(max_length=200, description="only this pool")] = None,
    prefix: Annotated[str, QueryParameter(max_length=200, description="how the metric's name begins")] = "",
    limit: Annotated[int, QueryParameter(ge=1, le=MAX_METRICS)] = MAX_METRICS,
    after: After = "",
) -> AllSignals:
    """Signals of every pool, and every metric that some source gives: unit, series, sources, interval, age."""
    views = deps.board.pools()
    if pool is not None and pool not in views:
        raise Problem(404, f"there is no pool {pool!r}; {found_close(pool, views)}")
    now = deps.clock.now()
    # What carries no pool may belong to any, by the labels that a rule file matches.
    known = [i for i in deps.store.describe() if (pool is None or i.pool in (pool, "")) and i.metric.startswith(prefix)]
    infos, next_after = page(known, lambda i: (i.pool, i.metric), after, limit)
    link_next(request, response, after=next_after)
    left = sum((i.pool, i.metric) > (infos[-1].pool, infos[-1].metric) for i in known) if infos else 0
    return AllSignals(
        pools=[_of_pool(view, deps) for name, view in sorted(views.items()) if pool is None or name == pool],
        metrics=[_metric(info, now) for info in infos],
        more_metrics=left,
        next_after=next_after,
    )


def _of_pool(view: PoolView, deps: ApiDeps) -> Signals:
    readings = view.decision.readings if view.decision is not None else {}
    now = deps.clock.now()
    found = deps.findings().get(view.rules.pool, ())
    return Signals(
        findings=[SignalFinding(signal=f.signal, kind=f.kind, text=f.text) for f in found],
        pool=view.rules.pool,
        learned=learned_view(view, deps),
        decision=view.decision.number if view.decision is not None else None,
        readings=[
            SignalReading(
                signal=name,
                source=_source(view.rules, name),
                unit=_unit(view.rules, name),
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


def _unit(rules: RuleSet, name: str) -> str | None:
    """The unit of a signal's value, as far as its metric and what is made of it tell."""
    signal = rules.signal(name)
    if signal is not None and signal.forecast is not None:
        signal = rules.signal(signal.forecast)
    known = metric(signal.metric) if signal is not None and signal.metric is not None else None
    if signal is None or known is None or signal.promql is not None:
        return None
    if signal.aggregate == "count":
        return "series"
    return f"{known.unit}/s" if signal.rate_s is not None else known.unit


def _metric(info: SeriesInfo, now: float) -> RawMetric:
    known = metric(info.metric)
    part = known is not None and known.kind == "histogram" and info.metric != known.name
    known_at = math.isfinite(info.newest_at)
    unit = None if known is None else "observations" if part and not info.metric.endswith("_sum") else known.unit
    return RawMetric(
        pool=info.pool,
        metric=info.metric,
        unit=unit,
        kind=known.kind if known is not None else "counter" if info.counter else "gauge",
        series=info.series,
        sources=len(info.sources),
        examples=[_without_user(name) for name in info.sources[:EXAMPLES]],
        interval_s=info.interval_s,
        newest_at=info.newest_at if known_at else None,
        age_s=max(0.0, now - info.newest_at) if known_at else None,
    )


def _without_user(source: str) -> str:
    """The name of a source, which may be a URL, without the user and password in it."""
    scheme, separator, rest = source.partition("://")
    authority, slash, path = rest.partition("/")
    return f"{scheme}{separator}{authority.rpartition('@')[2]}{slash}{path}" if separator else source


def _source(rules: RuleSet, name: str) -> str:
    signal = rules.signal(name)
    if signal is None:
        return "capacity of a replica"
    if signal.promql is not None:
        return f"promql: {signal.promql}"
    return f"forecast of {signal.forecast}" if signal.forecast is not None else signal.metric or ""
