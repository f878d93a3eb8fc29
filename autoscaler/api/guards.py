"""What every request passes before an operation sees it, from the outermost guard to the innermost."""

from __future__ import annotations

from fastapi import FastAPI
from starlette.middleware.cors import CORSMiddleware

from autoscaler.api import push
from autoscaler.api.auth import caller
from autoscaler.api.bodies import BodyLimit
from autoscaler.api.crosssite import SameSite
from autoscaler.api.deps import PREFIX, ApiDeps
from autoscaler.api.etags import ETags
from autoscaler.api.heads import HeadLimit
from autoscaler.api.idempotency import HEADER, REPLAYED, Idempotency
from autoscaler.api.ratelimit import Limiter

PROBES = ("/healthz", "/readyz")
"""Whoever watches the watcher is never told to wait."""

STREAM = "/ui/events"
"""One request per open page; how many may be open has a limit of its own."""

PUSHED = frozenset({*push.LIMITS, f"{PREFIX}{push.WEBHOOK}"})
"""Senders of metrics, some of them hundreds of times a second, with places of their own (`push.Intake`)."""

EXEMPT = frozenset({*PUSHED, f"{PREFIX}/rules/check"})
"""POST that changes nothing which a second one would change again."""

CORS_AGE_S = 600


def guard(app: FastAPI, deps: ApiDeps) -> None:
    """Puts the guards around the app. The last one that is added here is the first to see a request."""
    app.add_middleware(ETags)
    app.add_middleware(Idempotency, deps=deps, prefix=f"{PREFIX}/", exempt=EXEMPT, caller=caller)
    app.add_middleware(BodyLimit, limit_bytes=deps.max_body_bytes, by_path=push.LIMITS)
    app.add_middleware(Limiter, limit=deps.rate_limit, free=(*PROBES, STREAM), pushed=PUSHED)
    app.add_middleware(SameSite, trusted=deps.cors_origins if deps.cors_writes else ())
    if deps.cors_origins:
        # Without credentials: a page elsewhere sends a token that it was given, never the cookie of our own page.
        app.add_middleware(
            CORSMiddleware,
            allow_origins=deps.cors_origins,
            allow_methods=["GET", "POST", "PUT", "DELETE"] if deps.cors_writes else ["GET"],
            allow_headers=["Authorization", "Content-Type", "If-Match", "If-None-Match", HEADER],
            expose_headers=["ETag", "Link", "Retry-After", "RateLimit", "RateLimit-Policy", REPLAYED],
            max_age=CORS_AGE_S,
        )
    app.add_middleware(HeadLimit)
