"""A small continuous-batching engine for tests: Poisson arrivals, exponential outputs, chunked prefill, in steps."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field

import numpy as np

from autoscaler.capacity import Observation, Replica, Workload

CHUNK_TOKENS = 2048


@dataclass
class _Request:
    prompt_left: int
    output_left: int
    context: int
    arrived_at: float


@dataclass
class Engine:
    """Steps take alpha + (beta + gamma * context) * n + g1 * prompt tokens; at most `slots` requests run."""

    replica: Replica
    slots: int = 256
    seed: int = 1
    now: float = 0.0
    waiting: deque[_Request] = field(default_factory=deque)
    running: list[_Request] = field(default_factory=list)
    first_tokens_s: list[float] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.chance = np.random.default_rng(self.seed)
        self.next_arrival = 0.0

    def run(self, rate: float, workload: Workload, duration_s: float) -> Observation:
        """Serve `rate` requests/s for that long: what an engine would have said about the interval."""
        begin, until = self.now, self.now + duration_s
        self.next_arrival = max(self.next_arrival, begin)
        running_s = prompt = tokens = finished = kv_s = 0.0
        token_s = 0.0
        while self.now < until:
            self._arrive(rate, workload)
            while self.waiting and len(self.running) < self.slots:
                self.running.append(self.waiting.popleft())
            if not self.running:
                self.now = min(until, self.next_arrival)
                continue
            step_s, chunk, decoding = self._step()
            running_s += len(decoding) * step_s
            kv_s += sum(r.context for r in decoding) * step_s
            prompt += chunk
            tokens += len(decoding)
            token_s += len(decoding) * step_s
            finished += sum(r.output_left <= 0 for r in decoding)
            self.running = [r for r in self.running if r.output_left > 0]
        span = self.now - begin
        itl = token_s / tokens if tokens else 0.0
        return Observation(self.now, span, running_s / span, prompt, tokens, finished, itl, kv_tokens=kv_s / span)

    def _arrive(self, rate: float, workload: Workload) -> None:
        while self.next_arrival <= self.now:
            output = max(1, round(self.chance.exponential(workload.output_tokens)))
            prompt = int(workload.input_tokens)
            self.waiting.append(_Request(prompt, output, prompt, self.next_arrival))
            self.next_arrival += self.chance.exponential(1 / rate)

    def _step(self) -> tuple[float, int, list[_Request]]:
        decoding = [r for r in self.running if r.prompt_left == 0]
        chunk = 0
        ended = []
        for request in self.running:
            if request.prompt_left and chunk < CHUNK_TOKENS:
                done = min(request.prompt_left, CHUNK_TOKENS - chunk)
                request.prompt_left -= done
                chunk += done
                if not request.prompt_left:
                    ended.append(request)
        r, context = self.replica, sum(q.context for q in decoding)
        step_s = r.alpha_s + r.beta_s * len(decoding) + r.gamma_s * context + r.prefill_s * chunk
        self.now += step_s
        for request in decoding:
            request.output_left -= 1
            request.context += 1
        self.first_tokens_s += [self.now - request.arrived_at for request in ended]
        return step_s, chunk, decoding
