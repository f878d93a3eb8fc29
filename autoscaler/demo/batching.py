"""How long requests take on one replica: a queue, slots and a step time that grows with the batch. No I/O, no clock."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field

_ROUNDING_S = 1e-6
"""Work left that is a rounding error: more than the spacing of floats near a Unix time, so that events always end."""


@dataclass(frozen=True, slots=True)
class Speed:
    """The step time t(n) = step_s + step_per_sequence_s * n of a batch of n, and the prefill time of a prompt token.

    The defaults are the published fit of a 70B model on eight H100 (step 29.9 ms, 0.304 ms per sequence with 512
    tokens of context, prefill 0.091 ms a token; from the Splitwise performance model, MIT), all five times as fast.
    """

    step_s: float = 0.0299 / 5
    step_per_sequence_s: float = 0.000304 / 5
    prefill_per_token_s: float = 0.000091 / 5

    def step(self, sequences: int) -> float:
        """Seconds in which every one of `sequences` running sequences gains one token."""
        return self.step_s + self.step_per_sequence_s * sequences


@dataclass(slots=True, eq=False)
class Job:
    """One request inside a replica. Times are of the caller's clock; None = has not happened yet."""

    prompt_tokens: int
    max_tokens: int
    arrived_at: float
    prefill_left_s: float = 0.0
    generated: float = 0.0
    started_at: float | None = None
    first_token_at: float | None = None
    finished_at: float | None = None

    @property
    def tokens(self) -> float:
        """Tokens that it holds in the cache: its prompt and what it has generated."""
        return self.prompt_tokens + self.generated


@dataclass(slots=True)
class Batch:
    """Continuous batching on one replica: up to `slots` requests share the steps, `queue_limit` more wait in order.

    Nothing happens between two calls: `advance` computes what did happen up to `now`, exactly, however late it is
    called, and `next_at` says when it is worth calling again.
    """

    slots: int
    queue_limit: int
    speed: Speed = field(default_factory=Speed)
    at: float = 0.0
    running: list[Job] = field(default_factory=list)
    waiting: deque[Job] = field(default_factory=deque)

    @property
    def full(self) -> bool:
        """There is neither a slot nor a place in the queue."""
        return len(self.running) >= self.slots and len(self.waiting) >= self.queue_limit

    @property
    def cached_tokens(self) -> float:
        """Tokens in the cache of all running requests."""
        return sum(job.tokens for job in self.running)

    def submit(self, now: float, prompt_tokens: int, max_tokens: int) -> Job | None:
        """The accepted request, running or waiting; None when the queue is full. Call `advance(now)` before."""
        if self.full:
            return None
        job = Job(prompt_tokens, max(1, max_tokens), now)
        self.waiting.append(job)
        self._fill(now)
        return job

    def cancel(self, job: Job) -> None:
        """Forget a request whose caller has gone."""
        if job in self.running:
            self.running.remove(job)
            self._fill(self.at)
        elif job in self.waiting:
            self.waiting.remove(job)

    def advance(self, now: float) -> list[Job]:
        """The requests that finished up to `now`, in order, each with the exact times of its events."""
        finished: list[Job] = []
        while self.running and (until := self._event_at()) <= now:
            self._work(until)
            done = [job for job in self.running if job.finished_at is not None]
            for job in done:
                self.running.remove(job)
            finished += done
            self._fill(until)
        self._work(now)
        return finished

    def next_at(self) -> float | None:
        """When the next request can finish or get its first token; None while nothing runs."""
        return self._event_at() if self.running else None

    def _fill(self, now: float) -> None:
        self.at = now
        while self.waiting and len(self.running) < self.slots:
            job = self.waiting.popleft()
            job.started_at = now
            job.prefill_left_s = job.prompt_tokens * self.speed.prefill_per_token_s
            self.running.append(job)

    def _event_at(self) -> float:
        step_s = self.speed.step(len(self.running))
        return self.at + min(_left_s(job, step_s) for job in self.running)

    def _work(self, until: float) -> None:
        """Move every running request to `until`, which is not past the next event."""
        step_s = self.speed.step(len(self.running))
        elapsed_s = max(0.0, until - self.at)
        self.at = max(self.at, until)
        for job in self.running:
            if job.prefill_left_s > 0.0:
                job.prefill_left_s -= elapsed_s
                if job.prefill_left_s <= _ROUNDING_S:
                    job.prefill_left_s = 0.0
                continue
            job.generated += elapsed_s / step_s
            if job.first_token_at is None and (1.0 - job.generated) * step_s <= _ROUNDING_S:
                job.first_token_at = until
            if (job.max_tokens - job.generated) * step_s <= _ROUNDING_S:
                job.generated = float(job.max_tokens)
                job.finished_at = until


def _left_s(job: Job, step_s: float) -> float:
    """Seconds to the next event of one request: end of its prefill, its first token, its last token."""
    if job.prefill_left_s > 0.0:
        return job.prefill_left_s
    goal = 1.0 if job.first_token_at is None else float(job.max_tokens)
    return max(0.0, goal - job.generated) * step_s
