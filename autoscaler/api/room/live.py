"""What open pages hear of: which pools were judged anew, and what keeps the service from its work.

One stream of server-sent events per page. It says only *that* something changed; the page asks for the parts that it
shows, so that a stream costs the same for one pool and for five hundred.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Mapping

from fastapi import APIRouter, Request
from fastapi.responses import StreamingResponse

from autoscaler.api.deps import ApiDeps, Deps
from autoscaler.api.health import not_ready
from autoscaler.api.problems import Problem
from autoscaler.api.room.pages import HEADERS, Looking
from autoscaler.board import PoolView

PACE_S = 0.5
"""Between two looks: soon enough for people, and pools that tick together are told together."""

BEAT_S = 5.0
"""At the latest so often something is said, so that a page knows that it is still heard."""

MAX_STREAMS = 64
SHOWN = 5

router = APIRouter(include_in_schema=False)


class Streams:
    """How many pages listen, and a way to end them all."""

    def __init__(self) -> None:
        self.open = 0
        self.closed = False


@router.get("/ui/events")
async def events(request: Request, deps: Deps, _: Looking) -> StreamingResponse:
    """Events `change`: {at, pools: those judged since the last one, ready, reasons}."""
    streams = request.app.state.streams
    if streams.open >= MAX_STREAMS:
        rule = f"{MAX_STREAMS} pages listen already, which is the limit; close one, or reload this page now and then"
        raise Problem(503, rule, headers={"Retry-After": "30"})
    headers = HEADERS | {"X-Accel-Buffering": "no"}
    return StreamingResponse(_told(request, deps, streams), media_type="text/event-stream", headers=headers)


async def _told(request: Request, deps: ApiDeps, streams: Streams) -> AsyncIterator[str]:
    loop = asyncio.get_running_loop()
    seen: Mapping[str, PoolView] = {}
    told_at, reasons = float("-inf"), list[str]()
    streams.open += 1
    try:
        while not streams.closed and not await request.is_disconnected():
            views = deps.board.pools()
            changed = [name for name, view in views.items() if name not in seen or seen[name].at != view.at]
            gone = [name for name in seen if name not in views]
            quiet_s = loop.time() - told_at
            if changed or gone or quiet_s >= BEAT_S:
                # Whether the journal can be written is asked of the disk, which must not hold up the other streams.
                reasons = await asyncio.to_thread(lambda: list(not_ready(deps)))
                data = {
                    "at": deps.clock.now(),
                    "pools": [] if told_at == float("-inf") else [*changed, *gone],
                    "ready": not reasons,
                    "reasons": reasons[:SHOWN],
                }
                yield f"event: change\ndata: {json.dumps(data)}\n\n"
                seen, told_at = views, loop.time()
            await asyncio.sleep(PACE_S)
    finally:
        streams.open -= 1
