"""The limits on request bodies, with answers that say what to do."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from autoscaler.api.problems import Problem, answer

READ_S = 30.0
"""How long a body may take; one that drips would hold a connection for as long as its sender likes."""


class BodyLimit:
    """Refuses bodies beyond `limit_bytes`: at once when the header says so, else as soon as the bytes have come.

    FastAPI's own limit does the same and answers in plain text, where every other error of this API is a problem.
    by_path: limits of paths that take more than the rest. read_s: seconds until a body must be there.
    """

    def __init__(
        self, app: ASGIApp, limit_bytes: int, by_path: Mapping[str, int] | None = None, read_s: float = READ_S
    ) -> None:
        self.app = app
        self.limit_bytes = limit_bytes
        self.by_path = by_path or {}
        self.read_s = read_s

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or not _has_body(scope):
            await self.app(scope, receive, send)
            return
        limit_bytes = self.by_path.get(scope["path"], self.limit_bytes)
        detail = f"the body is larger than {limit_bytes:,} bytes, which is the limit; send a smaller one"
        announced = dict(scope["headers"]).get(b"content-length", b"")
        if announced.isdigit() and int(announced) > limit_bytes:
            await answer(413, detail)(scope, receive, send)
            return
        received, whole = 0, False
        ends = asyncio.get_running_loop().time() + self.read_s

        async def counted() -> Message:
            nonlocal received, whole
            # What comes after the body is the client going away, which may take as long as the answer does.
            message = await (receive() if whole else self._in_time(receive, ends))
            received += len(message.get("body", b""))
            whole = not message.get("more_body", False)
            if received > limit_bytes:
                raise Problem(413, detail)
            return message

        await self.app(scope, counted, send)

    async def _in_time(self, receive: Receive, ends: float) -> Message:
        try:
            async with asyncio.timeout_at(ends):
                return await receive()
        except TimeoutError:
            rule = f"the body did not come within {self.read_s:g} s; send it faster or smaller"
            raise Problem(408, rule, headers={"Connection": "close"}) from None


def _has_body(scope: Scope) -> bool:
    return any(name in (b"content-length", b"transfer-encoding") for name, _ in scope["headers"])
