"""The FastAPI application: routes, roles and limits put together."""

from __future__ import annotations

from fastapi import APIRouter, Depends, FastAPI

from autoscaler.api import (
    alerts,
    changes,
    decisions,
    deliveries,
    front,
    health,
    instances,
    learned,
    offers,
    operations,
    overrides,
    ownership,
    pools,
    push,
    rollbacks,
    rolls,
    rules,
    shadows,
    signals,
    silences,
)
from autoscaler.api.auth import require
from autoscaler.api.deps import PREFIX, ApiDeps
from autoscaler.api.description import describe, operation_id
from autoscaler.api.guards import guard
from autoscaler.api.problems import documented, install
from autoscaler.api.queries import known_only
from autoscaler.api.room import routes as room

__all__ = ["PREFIX", "ApiDeps", "create_app"]

DESCRIPTION = (
    "Autoscaling of GPU inference fleets: what each pool has, what it should have, and why. Times are Unix seconds, "
    "ratios are 0 to 1, money is USD per hour. Errors are RFC 9457 problem details whose detail says what to do."
)


def create_app(deps: ApiDeps) -> FastAPI:
    """The application over a running service. Nothing is started here; `serve.Server` runs it."""
    app = FastAPI(
        title="sigmascale",
        version=deps.version,
        description=DESCRIPTION,
        openapi_url=front.OPENAPI,
        # The bundled documentation pages load scripts from a public network, which a fleet's controller must not;
        # `front` answers in their place.
        docs_url=None,
        redoc_url=None,
        redirect_slashes=False,
        generate_unique_id_function=operation_id,
        telemetry={"tracing": False, "metrics": False, "logs": False, "auto_configure": False},
    )
    app.state.deps = deps
    app.state.intake = push.Intake()
    guard(app, deps)
    # First, since routes are tried in their order.
    app.include_router(push.often, prefix=PREFIX)
    readable = APIRouter(
        prefix=PREFIX, responses=documented(422), dependencies=[Depends(require("viewer")), Depends(known_only)]
    )
    for part in (
        pools,
        instances,
        shadows,
        decisions,
        changes,
        signals,
        learned,
        offers,
        overrides,
        ownership,
        operations,
        rolls,
        rollbacks,
        rules,
        alerts,
        silences,
        deliveries,
        push,
        health,
    ):
        readable.include_router(part.router)
    app.include_router(readable)
    app.include_router(push.otlp)
    app.include_router(health.probes)
    app.include_router(front.router)
    room.install(app)
    install(app, describe)
    return app
