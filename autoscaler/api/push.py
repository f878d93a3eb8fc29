"""What others push: Prometheus remote write, JSON, OTLP metrics, webhooks of an Alertmanager.

Bodies are decoded on a thread of their own, so that a large one holds up neither the event loop nor the threads that
answer people. A place is taken before a body is read: what waits in memory is bounded.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Coroutine
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Query, Request, Response
from fastapi.routing import APIRoute
from starlette.requests import ClientDisconnect

from autoscaler.api.auth import require
from autoscaler.api.deps import PREFIX, ApiDeps, Deps, of_request
from autoscaler.api.problems import Problem, answer, documented
from autoscaler.api.queries import known_only
from autoscaler.ports import Receiver
from autoscaler.types import Post, PostKind, Receipt

PLACES = 16
WAIT_S = 5.0
"""How long a request waits for a place before it is told to come back; senders time out after 10 s and more."""
READ_S = 30.0
RETRY_AFTER_S = 1

WRITE, PUSH, WEBHOOK = "/write", "/push", "/alerts/webhook"
OTLP, OTLP_LIKE_PROMETHEUS = "/v1/metrics", "/otlp/v1/metrics"
LIMITS = {
    f"{PREFIX}{WRITE}": 16 << 20,
    f"{PREFIX}{PUSH}": 8 << 20,
    f"{PREFIX}{OTLP_LIKE_PROMETHEUS}": 16 << 20,
    OTLP: 16 << 20,
}
"""Bytes of a body as it comes, compressed or not; other paths have the limit of the API."""

_TEXTS: dict[str, Any] = {"type": "object", "additionalProperties": {"type": "string"}}
_SAMPLE = {
    "type": "object",
    "required": ["metric", "value"],
    "properties": {
        "metric": {"type": "string"},
        "labels": _TEXTS,
        "value": {"type": ["number", "null"]},
        "at": {"type": "number"},
    },
}
_PUSHED = {
    "type": "object",
    "required": ["source", "samples"],
    "properties": {
        "source": {"type": "string", "maxLength": 200},
        "interval_s": {"type": "number", "minimum": 0.05, "maximum": 3600},
        "labels": _TEXTS,
        "at": {"type": "number"},
        "instance": {"type": "string", "minLength": 1, "maxLength": 200},
        "started_at": {"type": "number"},
        "samples": {"type": "array", "items": _SAMPLE, "minItems": 1, "maxItems": 50000},
    },
}
_ALERTS = {
    "type": "object",
    "required": ["version", "alerts"],
    "properties": {
        "version": {"type": "string", "enum": ["4", "1"]},
        "alerts": {
            "type": "array",
            "items": {
                "type": "object",
                "required": ["status", "labels"],
                "properties": {
                    "status": {"type": "string", "enum": ["firing", "resolved"]},
                    "labels": _TEXTS,
                    "endsAt": {"type": "string"},
                },
            },
        },
    },
}
_EXPORTED = {"type": "object", "properties": {"resourceMetrics": {"type": "array", "items": {"type": "object"}}}}
REFUSALS = documented(400, 401, 403, 408, 409, 413, 415, 422, 429, 503)

_operator = require("operator")
operators = [Depends(_operator)]


class Straight(APIRoute):
    """A route that asks who sends and calls its endpoint itself, which takes the request and the ApiDeps.

    The dependencies stay declared for the document; FastAPI's way through them and through the routers costs a
    remote-write request as much as 300 samples.
    """

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        endpoint: Callable[[Request, ApiDeps], Coroutine[Any, Any, Response]] = self.endpoint

        async def handle(request: Request) -> Response:
            deps = await of_request(request)
            await _operator(request, deps)
            await known_only(request)
            return await endpoint(request, deps)

        return handle


often = APIRouter(tags=["push"], responses=REFUSALS, dependencies=operators, route_class=Straight)
"""Below the API's prefix, and asked hundreds of times a second."""
router = APIRouter(tags=["push"], responses=REFUSALS, dependencies=operators)
"""Below the API's prefix."""
otlp = APIRouter(tags=["push"], dependencies=operators)
"""Where exporters of OpenTelemetry send to when they are given the address alone."""


class Intake:
    """The places for bodies under way, and the one thread that has them decoded, in the order of their arrival."""

    def __init__(self) -> None:
        self._places = asyncio.Semaphore(PLACES)
        self._worker = ThreadPoolExecutor(1, "push-decode")

    @asynccontextmanager
    async def place(self) -> AsyncIterator[None]:
        """Room for one body; a Problem when there is none for a while."""
        try:
            async with asyncio.timeout(WAIT_S):
                await self._places.acquire()
        except TimeoutError:
            text = f"{PLACES} requests are being read already; send this one again"
            raise Problem(429, text, headers={"Retry-After": str(RETRY_AFTER_S)}) from None
        try:
            yield
        finally:
            self._places.release()

    async def receive(self, receiver: Receiver, post: Post) -> Receipt:
        """What the receiver says, while the event loop goes on."""
        return await asyncio.get_running_loop().run_in_executor(self._worker, receiver.receive, post)


def _body(media_type: str, schema: dict[str, Any]) -> dict[str, Any]:
    return {"requestBody": {"required": True, "content": {media_type: {"schema": schema}}}}


@often.post(WRITE, status_code=204)
async def remote_write(request: Request, deps: Deps) -> Response:
    """Samples from a Prometheus or vmagent by remote write 1.0. The body is snappy-compressed protobuf
    (`prometheus.WriteRequest`) with `Content-Encoding: snappy`; all of it is taken or nothing."""
    return await _receive(request, deps, "remote_write")


@router.post(PUSH, status_code=204, openapi_extra=_body("application/json", _PUSHED))
async def push(request: Request, deps: Deps) -> Response:
    """Samples from an agent or a script. `labels` belong to every sample, `at` is in Unix seconds and defaults to the
    time of arrival, a value of null says that there is none now. `instance` and `started_at` say which process sends:
    of two under one name the one that began later is taken, the other gets 409."""
    return await _receive(request, deps, "json")


@router.post(WEBHOOK, status_code=204, openapi_extra=_body("application/json", _ALERTS))
async def receive_alerts(
    request: Request,
    deps: Deps,
    pool: Annotated[str, Query(max_length=200, description="pool of alerts that carry no label `pool`")] = "",
) -> Response:
    """Notifications of an Alertmanager or of Grafana. A firing alert becomes the series `alert_firing` with value 1 and
    the alert's labels, 0 after it was resolved."""
    return await _receive(request, deps, "alerts", pool)


_OTLP_ANSWERS: dict[int | str, dict[str, Any]] = {
    200: {
        "description": "ExportMetricsServiceResponse in the encoding of the request",
        "content": {kind: {"schema": {}} for kind in ("application/json", "application/x-protobuf")},
    }
}
for _status in (400, 413, 415, 422, 429):
    _OTLP_ANSWERS[_status] = {
        "description": "google.rpc.Status in the encoding of the request, or problem details",
        "content": {
            kind: {"schema": {}} for kind in ("application/json", "application/x-protobuf", "application/problem+json")
        },
    }
_OTLP_ANSWERS |= documented(401, 403, 408, 503)


@router.post(
    OTLP_LIKE_PROMETHEUS,
    operation_id="otlp_metrics_below_prefix",
    responses=_OTLP_ANSWERS,
    openapi_extra=_body("application/json", _EXPORTED),
)
@otlp.post(OTLP, responses=_OTLP_ANSWERS, openapi_extra=_body("application/json", _EXPORTED))
async def otlp_metrics(request: Request, deps: Deps) -> Response:
    """Metrics of an OpenTelemetry SDK or collector by OTLP/HTTP, as protobuf or JSON, plain or gzip. What is no sample
    here (exponential histograms, summaries) is named in `partial_success`."""
    return await _receive(request, deps, "otlp")


async def _receive(request: Request, deps: Deps, kind: PostKind, pool: str = "") -> Response:
    if deps.receiver is None:
        raise Problem(503, "this service takes no pushes; ask one that was started by `sigmascale run`")
    intake = request.app.state.intake
    assert isinstance(intake, Intake)
    async with intake.place():
        try:
            async with asyncio.timeout(READ_S):
                body = await request.body()
        except TimeoutError:
            raise Problem(408, f"the body did not come within {READ_S:g} s; send it faster or smaller") from None
        except ClientDisconnect:
            raise Problem(400, "the body broke off before its end; send it again") from None
        receipt = await intake.receive(deps.receiver, Post(kind, body, dict(request.headers), pool))
    headers = {} if receipt.retry_after_s is None else {"Retry-After": str(receipt.retry_after_s)}
    if receipt.media_type:
        return Response(receipt.body, receipt.status, headers, receipt.media_type)
    if receipt.status < 400:
        return Response(status_code=receipt.status)
    return answer(receipt.status, receipt.detail, receipt.errors, **headers)
