"""The gateway and the load driver on a thread with an event loop of their own, started and stopped from outside."""

from __future__ import annotations

import asyncio
from concurrent.futures import Future
from dataclasses import dataclass, field
from threading import Thread

import aiohttp

from autoscaler.demo.driver import Driver, Progress, Score
from autoscaler.demo.gateway import Endpoints, Gateway, http_endpoints
from autoscaler.demo.load import Requests


@dataclass(slots=True)
class Traffic:
    """What runs beside the service. Between `start` and `stop` the gateway listens at `address`.

    `concurrency` requests go to one replica at once: its slots and a few that wait, so that its own queue is seen.
    """

    concurrency: int = 12
    gateway: Gateway = field(init=False)
    _loop: asyncio.AbstractEventLoop = field(default_factory=asyncio.new_event_loop)
    _thread: Thread = field(init=False)
    _endpoints: Endpoints | None = None
    _session: aiohttp.ClientSession | None = None
    _driver: Driver | None = None

    def __post_init__(self) -> None:
        self.gateway = Gateway(self._listed, concurrency=self.concurrency)
        self._thread = Thread(target=self._loop.run_forever, name="demo traffic", daemon=True)

    @property
    def address(self) -> str:
        """host:port of the gateway."""
        return self.gateway.address

    def start(self) -> None:
        """Start the gateway, which routes to nothing yet. Raises OSError when it cannot listen."""
        self._thread.start()
        asyncio.run_coroutine_threadsafe(self.gateway.start(), self._loop).result()

    def follow(self, url: str, token: str | None) -> None:
        """Route to the endpoints that this page lists from now on."""

        async def connect() -> None:
            self._session = aiohttp.ClientSession()
            self._endpoints = http_endpoints(self._session, url, token)

        asyncio.run_coroutine_threadsafe(connect(), self._loop).result()

    def play(self, requests: Requests, duration_s: float) -> Future[Score]:
        """Send the requests; the result is there when each of them has been answered or given up."""
        self._driver = Driver(f"http://{self.address}/v1/completions", requests, duration_s)
        return asyncio.run_coroutine_threadsafe(self._driver.run(), self._loop)

    def progress(self) -> Progress | None:
        """The score so far; None before `play`."""
        driver = self._driver
        if driver is None:
            return None

        async def look() -> Progress:
            return driver.progress()

        return asyncio.run_coroutine_threadsafe(look(), self._loop).result()

    def stop(self) -> None:
        """End everything that runs here; requests under way are dropped. May be called at any time, and again."""
        if self._loop.is_closed():
            return
        if self._thread.is_alive():
            asyncio.run_coroutine_threadsafe(self._end(), self._loop).result()
            self._loop.call_soon_threadsafe(self._loop.stop)
            self._thread.join()
        self._loop.close()

    async def _listed(self) -> list[str] | None:
        found = await self._endpoints() if self._endpoints is not None else None
        return None if found is None else list(found)

    async def _end(self) -> None:
        # The driver's requests are tasks of the gateway's handlers too: end them first, or its clean-up waits for them.
        others = [task for task in asyncio.all_tasks() if task is not asyncio.current_task()]
        for task in others:
            task.cancel()
        await asyncio.gather(*others, return_exceptions=True)
        await self.gateway.stop()
        if self._session is not None:
            await self._session.close()
