"""The gateway of a simulated pool, and the business behind it: what users notice and what they bring."""

from __future__ import annotations

import zlib
from dataclasses import dataclass, field

import numpy as np

from autoscaler.sim_traffic import FIRST_TOKEN_S, TTFT_BUCKETS_S, Traffic
from autoscaler.simfleet.series import Series, histogram

TENANTS = ("acme", "globex", "initech")
SHARES = (0.55, 0.30, 0.15)
ORDER_SHARE = (0.06, 0.045, 0.03)
"""Of its requests that end in an order."""
ORDER_USD = (18.0, 31.0, 12.0)
TOKENS_OF_REQUEST = 980
TEXTS = {
    "tenant_requests_total": "Requests of a tenant",
    "tenant_tokens_total": "Tokens that a tenant is billed for",
    "orders_total": "Orders that a tenant's users placed",
    "revenue_usd_total": "What those orders bring, in USD",
    "sessions_active": "Users of a tenant who are there now",
}

QUEUE_BUCKETS_S = tuple(round(edge - FIRST_TOKEN_S, 3) for edge in TTFT_BUCKETS_S if edge > FIRST_TOKEN_S)
"""A first token comes `FIRST_TOKEN_S` after the wait, so the same counts say how long requests waited."""

SERIES: tuple[Series, ...] = (
    Series("requests_arrived_total"),
    Series("requests_rejected_total"),
    Series("requests_waiting"),
    *histogram("time_to_first_token_seconds", TTFT_BUCKETS_S),
    *histogram("request_queue_time_seconds", QUEUE_BUCKETS_S),
    *(Series(name, (("tenant", tenant),), text=text) for name, text in TEXTS.items() for tenant in TENANTS),
)


@dataclass(slots=True)
class Gateway:
    """What one pool's gateway and its shop export."""

    pool: str
    traffic: Traffic
    seed: int
    sent: int = 0
    requests: list[int] = field(default_factory=lambda: [0] * len(TENANTS))
    orders: list[int] = field(default_factory=lambda: [0] * len(TENANTS))
    sessions: list[float] = field(default_factory=lambda: [0.0] * len(TENANTS))
    _rng: np.random.Generator = field(init=False)

    def __post_init__(self) -> None:
        self._rng = np.random.default_rng([self.seed, 7, zlib.crc32(self.pool.encode())])

    def look(self) -> list[float]:
        """The value of every series now."""
        traffic = self.traffic
        self._sell(traffic.score.requests_sent - self.sent)
        self.sent = traffic.score.requests_sent
        answered = traffic.buckets[-1]
        first = [self.sent, traffic.rejected, traffic.waiting]
        waited = traffic.score.wait_s + FIRST_TOKEN_S * answered
        revenue = [round(n * usd, 2) for n, usd in zip(self.orders, ORDER_USD, strict=True)]
        tokens = [n * TOKENS_OF_REQUEST for n in self.requests]
        business = [*self.requests, *tokens, *self.orders, *revenue, *map(round, self.sessions)]
        queued = [*traffic.buckets[-len(QUEUE_BUCKETS_S) :], round(traffic.score.wait_s, 3), answered]
        return [*first, *traffic.buckets, round(waited, 3), answered, *queued, *business]

    def _sell(self, new: int) -> None:
        of_each = self._rng.multinomial(max(0, new), SHARES).tolist()
        for n, asked in enumerate(of_each):
            self.requests[n] += asked
            self.orders[n] += int(self._rng.binomial(asked, ORDER_SHARE[n]))
            self.sessions[n] += (4.0 * asked - self.sessions[n]) * 0.2
