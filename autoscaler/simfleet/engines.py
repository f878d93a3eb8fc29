"""The inference engine of a simulated machine: what it would say of the requests that it serves."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from autoscaler.simfleet.series import Series, histogram

ITL_EDGES_S = (0.005, 0.01, 0.015, 0.02, 0.03, 0.04, 0.06, 0.08, 0.12, 0.2, math.inf)
LATENCY_EDGES_S = (0.25, 0.5, 1.0, 1.5, 2.0, 3.0, 5.0, 8.0, 15.0, 30.0, math.inf)
PROMPT_TOKENS, ANSWER_TOKENS = 820.0, 160.0
"""Of the mean request."""
CACHE_TOKENS_OF_SLOT = 2400
BUSY_ITL, IDLE_ITL = 0.026, 0.011
"""Seconds between tokens of a full and of an idle engine."""

SERIES: tuple[Series, ...] = (
    Series("requests_running"),
    Series("requests_waiting"),
    Series("kv_cache_used_ratio"),
    Series("kv_cache_capacity_tokens"),
    Series("generation_tokens_per_second"),
    Series("prefix_cache_hit_ratio"),
    Series("model_load_seconds"),
    Series("request_success_total", (("finished_reason", "length"),)),
    Series("request_success_total", (("finished_reason", "stop"),)),
    Series("prompt_tokens_total"),
    Series("generation_tokens_total"),
    Series("preemptions_total"),
    *histogram("time_per_output_token_seconds", ITL_EDGES_S),
    *histogram("e2e_request_latency_seconds", LATENCY_EDGES_S),
)
BRIEF = ("requests_running", "requests_waiting", "kv_cache_used_ratio", "generation_tokens_per_second")


@dataclass(slots=True)
class Tally:
    """A histogram that is filled with many values at once, log-normal around a mean."""

    edges: Sequence[float]
    sigma: float
    counts: NDArray[np.float64] = field(init=False)
    total: float = 0.0

    def __post_init__(self) -> None:
        self.counts = np.zeros(len(self.edges))

    def add(self, count: float, median: float) -> None:
        """So many values whose median is that."""
        if count <= 0:
            return
        # The logistic function stands for the normal one: 1.702 makes them differ by less than 0.01 (Johnson 1970).
        z = np.log(np.asarray(self.edges[:-1]) / median) / self.sigma
        shares = np.append(1.0 / (1.0 + np.exp(-1.702 * z)), 1.0)
        self.counts += count * shares
        self.total += count * median * math.exp(self.sigma**2 / 2)

    @property
    def values(self) -> list[float]:
        """Buckets, sum and count, as a page has them: whole counts."""
        whole = np.floor(self.counts).tolist()
        return [*whole, round(self.total, 6), whole[-1]]


@dataclass(slots=True)
class Engine:
    """`brief`: only what the rules of a large fleet need. boot_s: what loading its model took."""

    service_s: float
    boot_s: float
    brief: bool = False
    at: float | None = None
    served: int = 0
    _prompt: float = 0.0
    _answer: float = 0.0
    _preempted: float = 0.0
    _itl: Tally = field(default_factory=lambda: Tally(ITL_EDGES_S, 0.28))
    _latency: Tally = field(default_factory=lambda: Tally(LATENCY_EDGES_S, 0.45))

    @property
    def series(self) -> tuple[Series, ...]:
        """The lines of a page about it, in the order of `look`."""
        return tuple(s for s in SERIES if s.name in BRIEF) if self.brief else SERIES

    def look(self, now: float, running: int, slots: int, served: int) -> list[float]:
        """The value of every series now. served: requests that it has ended well since it was started."""
        share = running / slots
        kv = min(0.99, 0.04 + 0.9 * share)
        passed = 0.0 if self.at is None else max(1e-3, now - self.at)
        new = max(0, served - self.served)
        speed = new * ANSWER_TOKENS / passed if passed else 0.0
        self.at, self.served = now, served
        if self.brief:
            return [running, 0.0, kv, speed]
        itl = IDLE_ITL + (BUSY_ITL - IDLE_ITL) * share**2
        self._itl.add(new * ANSWER_TOKENS, itl)
        self._latency.add(new, self.service_s * (0.75 + 0.25 * share))
        self._prompt += new * PROMPT_TOKENS
        self._answer += new * ANSWER_TOKENS
        self._preempted += new * max(0.0, share - 0.95)
        by_length = served // 25
        return [
            running, 0.0, kv, slots * CACHE_TOKENS_OF_SLOT, speed, 0.41 + 0.08 * share, self.boot_s, by_length,
            served - by_length, self._prompt // 1, self._answer // 1, self._preempted // 1, *self._itl.values,
            *self._latency.values,
        ]  # fmt: skip
