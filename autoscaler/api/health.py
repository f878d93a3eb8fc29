"""Is it alive, does it do its work, and what does it cost: /healthz, /readyz, /metrics and the scraped pages."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Annotated
from urllib.parse import urlsplit

from fastapi import APIRouter, Query, Request, Response

from autoscaler.api import offers
from autoscaler.api.auth import Viewer
from autoscaler.api.deps import ApiDeps, Deps
from autoscaler.api.models import Health, Readiness, Target, Targets
from autoscaler.api.operations import in_force
from autoscaler.api.paging import After, link_next, page
from autoscaler.api.problems import documented
from autoscaler.errors import StorageError
from autoscaler.exposition import Moment, render
from autoscaler.units import duration_text

LATE_TICKS = 3
LATE_AT_LEAST_S = 5.0
"""Pools with compressed times are not called late for a pause that only a demo would notice."""
MAX_PAGE = 5000
MAX_WARNINGS = 100

probes = APIRouter(tags=["health"])
router = APIRouter(tags=["health"], responses=documented(401, 403))


@probes.get("/healthz")
def healthz(deps: Deps) -> Health:
    """The process is alive; restart it when this does not answer."""
    return Health(version=deps.version)


@probes.get(
    "/readyz",
    response_model_exclude_unset=True,
    responses={503: {"model": Readiness, "description": "Not ready, with the reasons"}},
)
def readyz(deps: Deps, response: Response) -> Readiness:
    """Whether every pool was judged within its last three ticks and the journal can be written."""
    reasons = list(not_ready(deps))
    response.status_code = 503 if reasons else 200
    found = [f for _, some in sorted(deps.findings().items()) for f in some]
    alone = [o.text for _, o in sorted(deps.board.ownerless.items()) if o.release is None]
    about = [f"pool {f.pool}, signal {f.signal}: {f.text}" for f in found]
    warnings = [*deps.problems(), *alone, *offers.problems(deps), *about][:MAX_WARNINGS]
    if not warnings:
        return Readiness(ready=not reasons, reasons=reasons)
    return Readiness(ready=not reasons, reasons=reasons, warnings=warnings)


@probes.get(
    "/metrics",
    response_class=Response,
    responses={**documented(401, 403), 200: {"content": {"text/plain": {"schema": {"type": "string"}}}}},
)
def metrics(deps: Deps, _: Viewer) -> Response:
    """The service's own metrics in Prometheus's text format; docs/metrics.md lists them."""
    now = deps.clock.now()
    problems, marks = len(deps.rulebook.problems), in_force(deps)
    moment = Moment(now, deps.version, deps.journal.overrides(now), problems, marks)
    page = render(deps.board, deps.counts(), moment)
    return Response(page, media_type="text/plain; version=0.0.4; charset=utf-8")


@router.get("/targets", responses=documented(422))
def list_targets(
    deps: Deps,
    request: Request,
    response: Response,
    pool: Annotated[str | None, Query(max_length=200)] = None,
    up: bool | None = None,
    limit: Annotated[int, Query(ge=1, le=MAX_PAGE)] = 1000,
    after: After = "",
) -> Targets:
    """How every scraped page does, those that are down first."""
    known = [t for t in deps.counts().targets if up in (None, t.up) and pool in (None, dict(t.labels).get("pool"))]
    found, next_after = page(known, lambda t: (t.up, _without_user(t.url), json.dumps(t.labels)), after, limit, "up")
    link_next(request, response, after=next_after)
    return Targets(
        targets=[
            Target(
                url=_without_user(t.url),
                labels=dict(t.labels),
                up=t.up,
                last_at=t.last_at,
                error=t.error,
                rejected=t.rejected,
            )
            for t in found
        ],
        next_after=next_after,
    )


def not_ready(deps: ApiDeps) -> Iterator[str]:
    """Every reason why the service does not do its work now."""
    now, views, rules = deps.clock.now(), deps.board.pools(), deps.rulebook.current()
    if not rules:
        yield "no rule file is in force, so nothing is scaled; put one into the rules folder, see GET /api/v1/rules"
    for pool in sorted(rules):
        if pool not in views:
            yield f"pool {pool} was not judged yet"
            continue
        late_s = max(LATE_AT_LEAST_S, LATE_TICKS * views[pool].rules.tick_s)
        age_s = now - views[pool].at
        if age_s > late_s:
            yield f"pool {pool} was last judged {duration_text(round(age_s, 1))} ago; look for errors in the log"
    try:
        deps.journal.check()
    except StorageError as error:
        yield str(error)


def _without_user(url: str) -> str:
    parts = urlsplit(url)
    return parts._replace(netloc=parts.netloc.rpartition("@")[2]).geturl()
