"""The fleet: offers, and the instances that came of them."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal

Purchase = Literal["on_demand", "spot", "reserved"]
InstanceState = Literal["pending", "ready", "draining", "warm", "stopping", "failed"]


@dataclass(frozen=True, slots=True)
class Offer:
    """Something a provider can launch. `key` names it everywhere: memory of shortages, lead times, ids.

    `lead_time_s`: request to serving, median; a prior until it is learned (published cold starts: p50 360 s).
    `settings` are the provider's own keys of the rule file (a command, a subnet), as (name, text) pairs.
    """

    provider: str
    type: str
    region: str = ""
    zone: str = ""
    purchase: Purchase = "on_demand"
    replicas: int = 1
    usd_per_hour: float = 0.0
    lead_time_s: float = 360.0
    settings: tuple[tuple[str, str], ...] = ()

    @property
    def key(self) -> str:
        """`provider/type/region/zone/purchase`, empty parts left out."""
        return "/".join(part for part in (self.provider, self.type, self.region, self.zone, self.purchase) if part)


@dataclass(frozen=True, slots=True)
class Instance:
    """A machine or process that hosts `replicas` replicas of one pool, as its provider reports it.

    `action` is the id of the launch that made it (None: adopted). `address` is host:port of what it serves.
    `in_flight` counts requests inside it at `in_flight_at`; None means unknown, which is never taken for zero.
    `expected_at` is when a pending one should serve, infinite = it is not counted on any more. `since` is when it
    entered its present state. asked: that state is what an open intent asks for, and no report has shown it yet.
    """

    id: str
    pool: str
    offer: str
    state: InstanceState
    since: float
    replicas: int = 1
    requested_at: float = 0.0
    address: str | None = None
    action: str | None = None
    expected_at: float | None = None
    in_flight: int | None = None
    in_flight_at: float | None = None
    usd_per_hour: float = 0.0
    detail: str = ""
    asked: bool = False


@dataclass(frozen=True, slots=True)
class Fleet:
    """Instances as reported at `observed_at`, united with what was ordered and is not listed yet.

    reported: (provider, time of its last report) when several providers serve the pool; `observed_at` is the newest.
    """

    observed_at: float
    instances: tuple[Instance, ...] = ()
    reported: tuple[tuple[str, float], ...] = ()

    def seen_at(self, provider: str) -> float:
        """When that provider last told what it has."""
        return dict(self.reported).get(provider, self.observed_at)

    def silent(self, since: float) -> tuple[tuple[str, float], ...]:
        """Providers, of several, that have not reported after `since`, and when they last did."""
        return tuple((name, at) for name, at in self.reported if at < since)

    def count(self, *states: InstanceState) -> int:
        """Replicas on instances in one of these states."""
        return sum(i.replicas for i in self.instances if i.state in states)

    @property
    def ready(self) -> int:
        """Replicas that serve and take new requests."""
        return self.count("ready")

    @property
    def pending(self) -> int:
        """Replicas ordered that do not serve yet."""
        return self.count("pending")

    @property
    def size(self) -> int:
        """Ready and pending replicas: what a scale-out must not order again."""
        return self.count("ready", "pending")

    @property
    def usd_per_hour(self) -> float:
        """What everything that is paid for costs, warm machines left out (stopped ones are not billed as running)."""
        return sum(i.usd_per_hour for i in self.instances if i.state != "warm")

    def of(self, pool: str) -> Fleet:
        """The part of the fleet that serves one pool."""
        return replace(self, instances=tuple(i for i in self.instances if i.pool == pool))
