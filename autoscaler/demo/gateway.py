"""A small HTTP gateway in front of the replicas of one pool.

It routes to the endpoints that the service lists, holds requests while there is no room for them, asks another
replica when one refuses, and counts arrivals where demand is true: before anything is rejected.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field

import aiohttp
from aiohttp import web
from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest

from autoscaler.demo.routing import Router

_METRICS_TYPE = "text/plain; version=0.0.4; charset=utf-8"

Endpoints = Callable[[], Awaitable[Sequence[str] | None]]
"""Asks for the routable host:port addresses; None = unknown, keep what is known."""


def http_endpoints(session: aiohttp.ClientSession, url: str, token: str | None = None) -> Endpoints:
    """Endpoints from a page in the http_sd format of Prometheus; a bearer token is sent when given."""
    headers = {"Authorization": f"Bearer {token}"} if token else {}

    async def ask() -> list[str] | None:
        try:
            async with session.get(url, headers=headers, timeout=aiohttp.ClientTimeout(total=2.0)) as answer:
                if answer.status != 200:
                    return None
                groups = await answer.json()
        except (aiohttp.ClientError, TimeoutError, ValueError):
            return None
        return [str(target) for group in groups for target in group["targets"]]

    return ask


@dataclass(slots=True)
class GatewayMetrics:
    """What the gateway counts, under canonical names where there is one; the scrape target adds the pool."""

    waiting: Callable[[], float]
    registry: CollectorRegistry = field(default_factory=CollectorRegistry)
    arrived: Counter = field(init=False)
    rejected: Counter = field(init=False)
    retried: Counter = field(init=False)
    duration: Histogram = field(init=False)

    def __post_init__(self) -> None:
        where = self.registry
        self.arrived = Counter("requests_arrived", "Requests that arrived, rejected ones included", registry=where)
        self.rejected = Counter("requests_rejected", "Requests answered without a replica's answer", registry=where)
        self.retried = Counter("gateway_retries", "Requests sent again after a replica refused", registry=where)
        self.duration = Histogram(
            "gateway_request_duration_seconds",
            "Arrival to answer",
            buckets=(0.1, 0.25, 0.5, 1.0, 2.0, 3.0, 5.0, 7.5, 10.0, 15.0, 20.0, 30.0),
            registry=where,
        )
        Gauge("requests_waiting", "Requests held at the gateway", registry=where).set_function(self.waiting)


@dataclass(slots=True)
class Gateway:
    """`queue` requests may wait here, each at most `deadline_s`; a replica gets `concurrency` at once."""

    endpoints: Endpoints
    queue: int = 1000
    concurrency: int = 10
    deadline_s: float = 30.0
    refresh_s: float = 0.2
    host: str = "127.0.0.1"
    port: int = 0
    router: Router = field(init=False)
    metrics: GatewayMetrics = field(init=False)
    _turns: deque[asyncio.Future[str]] = field(default_factory=deque)
    _session: aiohttp.ClientSession | None = None
    _runner: web.AppRunner | None = None
    _refresher: asyncio.Task[None] | None = None

    def __post_init__(self) -> None:
        self.router = Router(self.concurrency)
        self.metrics = GatewayMetrics(lambda: self.waiting)

    @property
    def address(self) -> str:
        """host:port it listens on."""
        return f"{self.host}:{self.port}"

    @property
    def waiting(self) -> int:
        """Requests held here."""
        return sum(not turn.done() for turn in self._turns)

    async def start(self) -> None:
        """Listen and follow the endpoints list; port 0 becomes the port that was free. Raises OSError."""
        self._session = aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0))
        app = web.Application(handler_args={"access_log": None})
        app.router.add_post("/v1/completions", self.complete)
        app.router.add_get("/metrics", self.page)
        app.router.add_get("/health", self.health)
        self._runner = web.AppRunner(app, shutdown_timeout=1.0)
        await self._runner.setup()
        await web.TCPSite(self._runner, self.host, self.port).start()
        self.port = self._runner.addresses[0][1]
        self._refresher = asyncio.create_task(self._follow())

    async def stop(self) -> None:
        """Stop listening and close every connection."""
        if self._refresher is not None:
            self._refresher.cancel()
            await asyncio.gather(self._refresher, return_exceptions=True)
        if self._runner is not None:
            await self._runner.cleanup()
        if self._session is not None:
            await self._session.close()

    async def health(self, request: web.Request) -> web.Response:
        """200 while it listens."""
        return web.Response(text="ok")

    async def page(self, request: web.Request) -> web.Response:
        """The metrics as of now."""
        return web.Response(body=generate_latest(self.metrics.registry), headers={"Content-Type": _METRICS_TYPE})

    async def complete(self, request: web.Request) -> web.Response:
        """Pass a request to a replica and its answer back; 503 when the queue is full, 504 at the deadline."""
        arrived_at = _now()
        self.metrics.arrived.inc()
        body = await request.read()
        try:
            if self.waiting >= self.queue:
                return self._reject(503, f"{self.queue} requests are waiting already")
            async with asyncio.timeout_at(arrived_at + self.deadline_s):
                return await self._forward(body)
        except TimeoutError:
            return self._reject(504, f"no answer within {self.deadline_s:g} s")
        finally:
            self.metrics.duration.observe(_now() - arrived_at)

    async def _forward(self, body: bytes) -> web.Response:
        """The first answer of a replica that is not a refusal; completions are idempotent, so asking again is safe."""
        assert self._session is not None, "start() comes first"
        again = False
        while True:
            address = await self._turn(first=again)
            refused = True
            try:
                async with self._session.post(f"http://{address}/v1/completions", data=body) as answer:
                    payload = await answer.read()
                    refused = answer.status == 503
                if not refused:
                    return web.Response(status=answer.status, body=payload, content_type=answer.content_type)
            except aiohttp.ClientError:
                refused = True
            except asyncio.CancelledError:
                refused = False
                raise
            finally:
                self.router.give_back(address, _now(), failed=refused)
                self._deal()
            self.metrics.retried.inc()
            again = True

    async def _turn(self, first: bool) -> str:
        """Wait in line for an endpoint; a request that was refused elsewhere goes to the head of the line."""
        turn: asyncio.Future[str] = asyncio.get_running_loop().create_future()
        if first:
            self._turns.appendleft(turn)
        else:
            self._turns.append(turn)
        self._deal()
        try:
            return await turn
        except asyncio.CancelledError:
            # It may have been dealt an endpoint in the same instant: that place must not stay taken.
            if turn.done() and not turn.cancelled():
                self.router.give_back(turn.result(), _now())
                self._deal()
            raise

    def _deal(self) -> None:
        """Give endpoints with room to the requests that wait longest."""
        while self._turns:
            if self._turns[0].done():
                self._turns.popleft()
                continue
            address = self.router.take(_now())
            if address is None:
                return
            self._turns.popleft().set_result(address)

    def _reject(self, status: int, text: str) -> web.Response:
        self.metrics.rejected.inc()
        return web.json_response({"error": text}, status=status, headers={"Retry-After": "1"})

    async def _follow(self) -> None:
        while True:
            found = await self.endpoints()
            if found is not None:
                self.router.update(found)
            self._deal()
            await asyncio.sleep(self.refresh_s)


def _now() -> float:
    return asyncio.get_running_loop().time()
