"""The limit on request bodies, with an answer that says what to do."""

from __future__ import annotations

from collections.abc import Mapping

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from autoscaler.api.problems import Problem, answer


class BodyLimit:
    """Refuses bodies beyond `limit_bytes`: at once when the header says so, else as soon as the bytes have come.

    FastAPI's own limit does the same and answers in plain text, where every other error of this API is a problem.
    by_path: limits of paths that take more than the rest.
    """

    def __init__(self, app: ASGIApp, limit_bytes: int, by_path: Mapping[str, int] | None = None) -> None:
        self.app = app
        self.limit_bytes = limit_bytes
        self.by_path = by_path or {}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        limit_bytes = self.by_path.get(scope["path"], self.limit_bytes)
        detail = f"the body is larger than {limit_bytes:,} bytes, which is the limit; send a smaller one"
        announced = dict(scope["headers"]).get(b"content-length", b"")
        if announced.isdigit() and int(announced) > limit_bytes:
            await answer(413, detail)(scope, receive, send)
            return
        received = 0

        async def counted() -> Message:
            nonlocal received
            message = await receive()
            received += len(message.get("body", b""))
            if received > limit_bytes:
                raise Problem(413, detail)
            return message

        await self.app(scope, counted, send)
