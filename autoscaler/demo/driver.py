"""The load driver: sends requests at their times whatever the answers do (open loop), and keeps the score."""

from __future__ import annotations

import asyncio
from collections import deque
from dataclasses import dataclass, field

import aiohttp
import numpy as np

from autoscaler.demo.load import Requests


@dataclass(frozen=True, slots=True)
class Progress:
    """The score so far. `sent_per_s` and `latency_p99_s` are of the last `window_s`; None = no answer in it."""

    elapsed_s: float
    duration_s: float
    sent: int
    ok: int
    lost: int
    sent_per_s: float
    latency_p99_s: float | None


@dataclass(slots=True)
class Score:
    """What became of the requests. Lost = sent and without a 2xx within the deadline."""

    window_s: float = 10.0
    sent: int = 0
    ok: int = 0
    lost: int = 0
    latencies_s: list[float] = field(default_factory=list)
    _sent_at: deque[float] = field(default_factory=deque)
    _answered: deque[tuple[float, float]] = field(default_factory=deque)

    def count_sent(self, at: float) -> None:
        """A request left."""
        self.sent += 1
        self._sent_at.append(at)

    def count_answer(self, at: float, latency_s: float, ok: bool) -> None:
        """A request ended, with a 2xx or without."""
        self.ok += ok
        self.lost += not ok
        self.latencies_s.append(latency_s)
        self._answered.append((at, latency_s))

    def quantile(self, share: float) -> float | None:
        """Latency of that share of all requests; a lost one counts with the time after which it was given up."""
        return float(np.quantile(self.latencies_s, share)) if self.latencies_s else None

    def progress(self, now: float, duration_s: float) -> Progress:
        """The score as of `now`, seconds since the start."""
        while self._sent_at and self._sent_at[0] < now - self.window_s:
            self._sent_at.popleft()
        while self._answered and self._answered[0][0] < now - self.window_s:
            self._answered.popleft()
        recent = [latency_s for _, latency_s in self._answered]
        return Progress(
            elapsed_s=now,
            duration_s=duration_s,
            sent=self.sent,
            ok=self.ok,
            lost=self.lost,
            sent_per_s=len(self._sent_at) / max(1.0, min(now, self.window_s)),
            latency_p99_s=float(np.quantile(recent, 0.99)) if recent else None,
        )


@dataclass(slots=True)
class Driver:
    """Sends `requests` to `url`, which takes completions; `duration_s` is for the progress only."""

    url: str
    requests: Requests
    duration_s: float
    deadline_s: float = 30.0
    score: Score = field(default_factory=Score)
    _started_at: float | None = None

    async def run(self) -> Score:
        """Send everything and wait for every answer, at most `deadline_s` after the last request."""
        self._started_at = _now()
        async with (
            aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0)) as session,
            asyncio.TaskGroup() as under_way,
        ):
            columns = (self.requests.at_s, self.requests.prompt_tokens, self.requests.output_tokens)
            for at_s, prompt_tokens, output_tokens in zip(*(c.tolist() for c in columns), strict=True):
                await asyncio.sleep(self._started_at + at_s - _now())
                under_way.create_task(self._send(session, prompt_tokens, output_tokens))
        return self.score

    def progress(self) -> Progress:
        """The score so far; call it on the driver's loop."""
        elapsed_s = 0.0 if self._started_at is None else _now() - self._started_at
        return self.score.progress(elapsed_s, self.duration_s)

    async def _send(self, session: aiohttp.ClientSession, prompt_tokens: int, output_tokens: int) -> None:
        assert self._started_at is not None, "run() set it"
        sent_at = _now()
        self.score.count_sent(sent_at - self._started_at)
        ok = False
        try:
            async with asyncio.timeout(self.deadline_s):
                body = {"prompt_tokens": prompt_tokens, "max_tokens": output_tokens}
                async with session.post(self.url, json=body) as answer:
                    await answer.read()
                    ok = 200 <= answer.status < 300
        except (aiohttp.ClientError, TimeoutError):
            ok = False
        self.score.count_answer(_now() - self._started_at, _now() - sent_at, ok)


def _now() -> float:
    return asyncio.get_running_loop().time()
