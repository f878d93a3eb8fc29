"""What open pages hear of: which pools were judged anew, and what keeps the service from its work.

One stream of server-sent events per page, and one look at the board for all of them. A stream says only *that*
something changed; the page asks for the parts that it shows, so that a stream costs the same for one pool and for five
hundred.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

from fastapi import APIRouter, Request, Response
from starlette.types import Receive, Scope, Send

from autoscaler.api.deps import ApiDeps, Deps
from autoscaler.api.problems import Problem
from autoscaler.api.room.concerns import concerns
from autoscaler.api.room.pages import HEADERS, Looking, build

PACE_S = 0.5
"""Between two looks: soon enough for people, and pools that tick together are told together."""

BEAT_S = 5.0
"""At the latest so often something is said, so that a page knows that it is still heard."""

CONCERNS_S = 1.0
"""What keeps the service from its work is asked of the disk too, and so not at every look."""

SLOW_S = 30.0
"""A page that takes nothing for so long is hung up on; one that lives comes back by itself."""

MAX_STREAMS = 64

router = APIRouter(include_in_schema=False)


@dataclass(slots=True, eq=False)
class Listener:
    """One open page. pools: what it has not been told yet, at most every pool however slowly it reads. sending: it is
    being told just now. client: its address."""

    client: tuple[str, int] | None
    pools: set[str] = field(default_factory=set)
    woken: asyncio.Event = field(default_factory=asyncio.Event)
    sending: bool = False


class Streams:
    """The pages that listen. `close` may be called from any thread, the rest from the event loop.

    hang_up: drops a connection with whatever waits in it; set by the server that has the connections.
    """

    def __init__(self, pace_s: float = PACE_S, beat_s: float = BEAT_S) -> None:
        self.pace_s, self.beat_s = pace_s, beat_s
        self.closed = False
        self.concerns: tuple[str, ...] = ()
        self.hang_up: Callable[[tuple[str, int]], None] = lambda _: None
        self._listeners: set[Listener] = set()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._poller: asyncio.Task[None] | None = None
        self._asked_at = float("-inf")

    @property
    def open(self) -> int:
        """How many pages listen."""
        return len(self._listeners)

    async def join(self, client: tuple[str, int] | None, deps: ApiDeps) -> Listener:
        """A page begins to listen; the first one starts the look-out."""
        listener = Listener(client)
        self._listeners.add(listener)
        if self._poller is None or self._poller.done():
            self._loop = asyncio.get_running_loop()
            self._poller = asyncio.create_task(self._look_out(deps))
        await self._ask(deps)
        return listener

    def leave(self, listener: Listener) -> None:
        """A page listens no more; after the last one nobody looks."""
        self._listeners.discard(listener)

    def close(self) -> None:
        """Ends every stream now, those too that wait for a page that does not read."""
        self.closed = True
        if self._loop is not None and not self._loop.is_closed():
            self._loop.call_soon_threadsafe(self._end)

    def _end(self) -> None:
        for listener in self._listeners:
            listener.woken.set()
            if listener.sending and listener.client is not None:
                self.hang_up(listener.client)

    async def _look_out(self, deps: ApiDeps) -> None:
        loop = asyncio.get_running_loop()
        seen, told_at = deps.board.pools(), loop.time()
        while self._listeners and not self.closed:
            await asyncio.sleep(self.pace_s)
            views = deps.board.pools()
            changed = (
                [p for p in views.keys() | seen.keys() if views.get(p) is not seen.get(p)] if views is not seen else []
            )
            if changed or loop.time() - told_at >= self.beat_s:
                await self._ask(deps)
                self._tell(changed)
                seen, told_at = views, loop.time()

    def _tell(self, changed: Iterable[str]) -> None:
        for listener in self._listeners:
            listener.pools.update(changed)
            listener.woken.set()

    async def _ask(self, deps: ApiDeps) -> None:
        """What keeps the service from its work; a disk that hangs must not hold up whoever is asked something else."""
        now = asyncio.get_running_loop().time()
        if now - self._asked_at >= CONCERNS_S:
            self._asked_at = now
            self.concerns = await asyncio.to_thread(concerns, deps)


@router.get("/ui/events")
async def events(request: Request, deps: Deps, _: Looking) -> Response:
    """Events `change`: {at, pools: those judged since the last one, ready, reasons, build: of the pages}."""
    streams = request.app.state.streams
    if streams.open >= MAX_STREAMS:
        rule = f"{MAX_STREAMS} pages listen already, which is the limit; close one, or reload this page now and then"
        raise Problem(503, rule, headers={"Retry-After": "30"})
    return Stream(streams, deps)


class Stream(Response):
    """One page's events, until it leaves, does not read, or the service ends."""

    media_type = "text/event-stream"

    def __init__(self, streams: Streams, deps: ApiDeps) -> None:
        super().__init__(headers=HEADERS | {"X-Accel-Buffering": "no"})
        del self.headers["content-length"]
        self._streams, self._deps = streams, deps

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        listener = await self._streams.join(_address(scope), self._deps)
        gone = asyncio.create_task(_gone(receive, listener))
        try:
            await send({"type": "http.response.start", "status": self.status_code, "headers": self.raw_headers})
            while not self._streams.closed and not gone.done():
                listener.woken.clear()
                listener.sending = True
                body = self._event(listener)
                await asyncio.wait_for(send({"type": "http.response.body", "body": body, "more_body": True}), SLOW_S)
                listener.sending = False
                if not self._streams.closed and not gone.done():
                    await listener.woken.wait()
            await send({"type": "http.response.body", "body": b"", "more_body": False})
        except TimeoutError:
            if listener.client is not None:
                self._streams.hang_up(listener.client)
                # An answer that ends before the server knows that nobody is there any more is a bug to it.
                await asyncio.wait([gone], timeout=1.0)
        finally:
            gone.cancel()
            self._streams.leave(listener)

    def _event(self, listener: Listener) -> bytes:
        reasons = self._streams.concerns
        told, listener.pools = sorted(listener.pools), set()
        said = {
            "at": self._deps.clock.now(),
            "pools": told,
            "ready": not reasons,
            "reasons": list(reasons),
            "build": build(self._deps.version),
        }
        return f"event: change\ndata: {json.dumps(said)}\n\n".encode()


async def _gone(receive: Receive, listener: Listener) -> None:
    """Returns when the page has left."""
    while (await receive())["type"] != "http.disconnect":
        pass
    listener.woken.set()


def _address(scope: Scope) -> tuple[str, int] | None:
    client = scope.get("client")
    return (str(client[0]), int(client[1])) if client else None
