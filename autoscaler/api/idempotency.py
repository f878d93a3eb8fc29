"""Idempotency keys: a request that is sent again, since its answer was lost, is not carried out again.

What draft-ietf-httpapi-idempotency-key-header-07 asks for. The journal holds a row before the request is carried out,
so that a crash in the middle is told as what it is: nobody knows whether it was done.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Collection

import structlog
from starlette.concurrency import run_in_threadpool
from starlette.datastructures import Headers, MutableHeaders
from starlette.requests import Request
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from autoscaler.api.deps import ApiDeps
from autoscaler.api.problems import Problem, answer
from autoscaler.errors import StorageError
from autoscaler.tokens import Token

HEADER = "Idempotency-Key"
REPLAYED = "Idempotency-Replayed"
PATTERN = r"^[!-~]{1,200}$"
MAX_ANSWER_BYTES = 1 << 20

log = structlog.get_logger(__name__)


class Idempotency:
    """Middleware for POST below a prefix. Only answers of success are remembered: what was refused changed nothing.

    exempt: paths that take no key, such as pushes. caller: who asks, raising a Problem for nobody; keys of two tokens
    are two keys.
    """

    def __init__(
        self,
        app: ASGIApp,
        deps: ApiDeps,
        prefix: str,
        exempt: Collection[str],
        caller: Callable[[Request, ApiDeps], Token],
    ) -> None:
        self.app, self.deps, self.prefix, self.exempt, self.caller = app, deps, prefix, frozenset(exempt), caller
        self._under_way: set[str] = set()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        given = self._given(scope)
        if not given:
            await self.app(scope, receive, send)
            return
        try:
            self.caller(Request(scope), self.deps)
        except Problem:
            # Who may not ask is told so by the operation itself.
            await self.app(scope, receive, send)
            return
        try:
            response = await self._answered(scope, receive, given)
        except Problem as problem:
            response = answer(problem.status_code, problem.detail, problem.errors, **(problem.headers or {}))
        except StorageError as error:
            response = answer(503, f"{error}; the request was not carried out, send it again when the disk is repaired")
        await response(scope, receive, send)

    def _given(self, scope: Scope) -> list[str]:
        """The keys of a request that may have one."""
        if scope["type"] != "http" or scope["method"] != "POST" or not scope["path"].startswith(self.prefix):
            return []
        return [] if scope["path"] in self.exempt else Headers(scope=scope).getlist(HEADER)

    async def _answered(self, scope: Scope, receive: Receive, given: list[str]) -> Response:
        if len(given) > 1 or not re.fullmatch(PATTERN, given[0]):
            rule = "must be one word of at most 200 ASCII characters, such as a UUID"
            raise Problem(422, f"header.{HEADER}: {rule}", [(f"header.{HEADER}", rule)])
        body = await _whole(receive)
        token = self.caller(Request(scope), self.deps)
        key = _hash(token.role, token.name, scope["path"], scope["query_string"].decode("latin-1"), given[0])
        if key in self._under_way:
            raise Problem(409, "the first request with this idempotency key is still under way; wait for its answer")
        self._under_way.add(key)
        try:
            return await self._once(scope, key, body)
        finally:
            self._under_way.discard(key)

    async def _once(self, scope: Scope, key: str, body: bytes) -> Response:
        requests, asked = self.deps.journal.requests, hashlib.sha256(body).hexdigest()
        known = await run_in_threadpool(requests.begin, key, asked, self.deps.clock.now())
        if known is None:
            return await self._carried_out(scope, key, body)
        if known.asked != asked:
            rule = "another body was sent with this idempotency key before; use a new key for a new request"
            raise Problem(422, rule, [(f"header.{HEADER}", rule)])
        if known.status == 0:
            rule = "look at what is there, and use a new key if it was not done"
            raise Problem(409, f"a request with this idempotency key was begun, and its answer is not known; {rule}")
        return Response(known.body, known.status, {REPLAYED: "true"}, known.media_type or None)

    async def _carried_out(self, scope: Scope, key: str, body: bytes) -> Response:
        """The operation's own answer, kept when it is one of success. A bug leaves the row as of unknown outcome."""
        parts, said = bytearray(), Response()
        sent = False

        async def given() -> Message:
            nonlocal sent
            first, sent = not sent, True
            return {"type": "http.request", "body": body} if first else {"type": "http.disconnect"}

        async def kept(message: Message) -> None:
            if message["type"] == "http.response.start":
                said.status_code, said.raw_headers = message["status"], list(message["headers"])
            else:
                parts.extend(message.get("body", b""))

        await self.app(scope, given, kept)
        said.body = bytes(parts)
        MutableHeaders(raw=said.raw_headers)["content-length"] = str(len(parts))
        if said.status_code in (204, 304):
            del MutableHeaders(raw=said.raw_headers)["content-length"]
        await run_in_threadpool(self._note, key, said)
        return said

    def _note(self, key: str, said: Response) -> None:
        requests = self.deps.journal.requests
        try:
            if not 200 <= said.status_code < 300:
                requests.forget(key)
            elif len(said.body) <= MAX_ANSWER_BYTES:
                requests.finish(key, said.status_code, said.headers.get("content-type", ""), bytes(said.body))
        except StorageError as error:
            # It was done and is answered; whoever sends it again is told that the outcome is not known.
            log.error("the answer to an idempotency key is not kept", problem=str(error))


async def _whole(receive: Receive) -> bytes:
    """The body, within the limits that `BodyLimit` holds."""
    parts = bytearray()
    while True:
        message = await receive()
        if message["type"] == "http.disconnect":
            raise Problem(400, "the body broke off before its end; send it again")
        parts.extend(message.get("body", b""))
        if not message.get("more_body", False):
            return bytes(parts)


def _hash(*parts: str) -> str:
    return hashlib.sha256("\x00".join(parts).encode()).hexdigest()
