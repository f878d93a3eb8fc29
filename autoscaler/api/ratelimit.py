"""How often may be asked: a bucket per token, or per address when there is none; fewer tries for those who guess.

Nothing here knows tokens. Whoever checks one puts the bearer's name into `asker(scope)`, and what proved it (the value
of a header) is remembered by its hash together with the address, so that the next request finds its bucket at once.
"""

from __future__ import annotations

import hashlib
import math
from collections import OrderedDict
from collections.abc import Callable, Collection
from dataclasses import dataclass

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from autoscaler.api.crosssite import READING
from autoscaler.api.problems import answer
from autoscaler.clock import monotonic
from autoscaler.configparts import RateLimit

MOST = 10_000
"""Buckets and proofs that are remembered; the one that was quiet longest is forgotten, and has a full bucket again."""

FAILURE_BURST = 30
"""Wrong tokens at once. A client with an old token, asking every few seconds, never empties it."""

ASKER = "sigmascale.asker"


@dataclass(slots=True)
class Asker:
    """Who turned out to ask; empty = nobody whose name is known."""

    name: str = ""


def asker(scope: Scope) -> Asker:
    """Where the name of whoever asks is written, by the part that finds it out."""
    found = scope.setdefault(ASKER, Asker())
    assert isinstance(found, Asker)
    return found


class Buckets:
    """Token buckets by name, each kept as the one instant at which it will be full again.

    The generic cell rate algorithm (ITU-T I.371, annex A, virtual scheduling): equal to a bucket of `burst` tokens that
    fills at `per_s`, without a count that would have to be filled.
    """

    def __init__(self, per_s: float, burst: int, most: int = MOST) -> None:
        self.per_s, self.burst, self.most = per_s, burst, most
        self._full_at: OrderedDict[str, float] = OrderedDict()

    def __len__(self) -> int:
        return len(self._full_at)

    def wait_s(self, who: str, now: float) -> float:
        """Seconds until a token is there; 0 when one is there now."""
        full_at = max(self._full_at.get(who, now), now)
        return max(0.0, full_at - now - (self.burst - 1) / self.per_s)

    def take(self, who: str, now: float) -> float:
        """Takes a token and returns 0, or returns the seconds until there is one."""
        full_at = max(self._full_at.get(who, now), now)
        wait_s = full_at - now - (self.burst - 1) / self.per_s
        # Sums of many tenths end a hair above what they should be.
        if wait_s > 1e-9:
            return wait_s
        self._full_at[who] = full_at + 1.0 / self.per_s
        self._full_at.move_to_end(who)
        if len(self._full_at) > self.most:
            self._full_at.popitem(last=False)
        return 0.0


class Limiter:
    """Middleware that answers 429 with the seconds to wait.

    free: paths that are never limited. pushed: paths with limits of their own, where only wrong tokens count. Only the
    event loop calls it, so that it takes no lock.
    """

    def __init__(
        self,
        app: ASGIApp,
        limit: RateLimit,
        free: Collection[str] = (),
        pushed: Collection[str] = (),
        now: Callable[[], float] = monotonic,
    ) -> None:
        self.app = app
        self.free, self.pushed = frozenset(free), frozenset(pushed)
        self.reads = Buckets(limit.reads_per_s, limit.read_burst)
        self.writes = Buckets(limit.writes_per_s, limit.write_burst)
        self.failures = Buckets(limit.failures_per_s, FAILURE_BURST)
        self._now = now
        self._known: OrderedDict[tuple[str, bytes], str] = OrderedDict()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or scope["path"] in self.free:
            await self.app(scope, receive, send)
            return
        now, address, proof = self._now(), _address(scope), _proof(scope)
        reading = scope["method"] in READING
        name = self._known.get((address, proof), "") if proof else ""
        # A sign-in is a guess without any header.
        guess = bool(proof) or not reading
        if guess and not name and (wait_s := self.failures.wait_s(address, now)) > 0:
            why = "too many requests with a wrong token came from this address"
            await _refused("failures", self.failures, wait_s, why)(scope, receive, send)
            return
        if scope["path"] not in self.pushed:
            kind, buckets = ("reads", self.reads) if reading else ("writes", self.writes)
            if wait_s := buckets.take(name or address, now):
                who = "this token" if name else "this address, without a token,"
                why = f"{who} has sent more {kind} than {buckets.per_s:g} a second"
                await _refused(kind, buckets, wait_s, why)(scope, receive, send)
                return
        found, status = asker(scope), 0

        async def noted(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
            await send(message)

        await self.app(scope, receive, noted)
        if status == 401 and guess:
            self._known.pop((address, proof), None)
            self.failures.take(address, now)
        elif proof and found.name:
            self._remember(address, proof, found.name)

    def _remember(self, address: str, proof: bytes, name: str) -> None:
        self._known[address, proof] = f"token {name}"
        self._known.move_to_end((address, proof))
        if len(self._known) > MOST:
            self._known.popitem(last=False)


def _refused(kind: str, buckets: Buckets, wait_s: float, why: str) -> ASGIApp:
    """The answer, with the fields of draft-ietf-httpapi-ratelimit-headers-10."""
    seconds, window_s = max(1, math.ceil(wait_s)), math.ceil(buckets.burst / buckets.per_s)
    headers = {
        "Retry-After": str(seconds),
        "RateLimit": f'"{kind}";r=0;t={seconds}',
        "RateLimit-Policy": f'"{kind}";q={buckets.burst};w={window_s}',
    }
    detail = f"{why}; wait {seconds} s and ask again, or raise rate_limit in the configuration"
    return answer(429, detail, (), **headers)


def _proof(scope: Scope) -> bytes:
    """A hash of what the request brings to prove who it is from; empty = nothing."""
    found = [value for name, value in scope["headers"] if name in (b"authorization", b"cookie")]
    return hashlib.sha256(b"\x00".join(found)).digest() if found else b""


def _address(scope: Scope) -> str:
    """Where a request comes from. One customer of an IPv6 network has a whole /64, so that counts as one address."""
    host = str(scope["client"][0]) if scope.get("client") else ""
    if ":" not in host or host.startswith("::ffff:"):
        return host
    groups = host.partition("::")[0].split(":")
    return ":".join(groups[:4])
