"""The fleet: offers, and the instances that came of them."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from functools import lru_cache
from typing import Literal

Purchase = Literal["on_demand", "spot", "reserved"]
_NO_PART = ("max_price", "gpus", "tags")
"""Settings of offers, or the first word of them, that change nothing inside the machine."""
InstanceState = Literal["pending", "ready", "draining", "warm", "stopping", "failed"]


@dataclass(frozen=True, slots=True)
class Offer:
    """Something a provider can launch. `key` names it everywhere: memory of shortages, lead times, ids.

    `lead_time_s`: request to serving, median; a prior until it is learned (published cold starts: p50 360 s).
    `settings` are the provider's own keys of the rule file (a command, a subnet), as (name, text) pairs. gpus: of one
    instance, 0 = not known. priced: where a price comes from that the rule file does not state; price_known: False =
    nobody knows it, and `usd_per_hour` is more than every known one. unfit: why the model cannot run on it.
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
    gpus: int = 0
    priced: str = ""
    price_known: bool = True
    unfit: str = ""

    @property
    def key(self) -> str:
        """`provider/type/region/zone/purchase`, empty parts left out."""
        return "/".join(part for part in (self.provider, self.type, self.region, self.zone, self.purchase) if part)

    @property
    def made_of(self) -> str:
        """Ten characters that stand for the settings that make the machine: what it costs and how it is called is not
        among them."""
        return _fingerprint(self.settings)


@dataclass(frozen=True, slots=True)
class OfferFault:
    """What is wrong with an offer of a rule file. key: the setting it is about, as `Offer.settings` names it, or
    `type`, `region`, `zone`, `purchase`; empty = the offer as a whole. severity: warning for what the provider's own
    configuration may make good.
    """

    key: str
    text: str
    severity: Literal["error", "warning"] = "error"

    def __str__(self) -> str:
        return self.text


@dataclass(frozen=True, slots=True)
class Standing:
    """What a cloud says of one offer of a pool, as of `at`.

    problem: why nothing of it can be launched and the next step, empty = nothing known stands in the way; `error` is
    then the class of it as in outcomes (provider, quota). units: instances more that the account's quota has room for,
    None = not known. quota: that limit in words. usd_per_hour: what the cloud asks for it now, None = not known.
    unknown: questions that could not be asked, and why.
    """

    pool: str
    offer: str
    at: float
    problem: str = ""
    error: str = ""
    units: int | None = None
    quota: str = ""
    usd_per_hour: float | None = None
    priced_at: float | None = None
    unknown: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Instance:
    """A machine or process that hosts `replicas` replicas of one pool, as its provider reports it.

    `action` is the id of the launch that made it (None: adopted). `address` is host:port of what it serves.
    `in_flight` counts requests inside it at `in_flight_at`; None means unknown, which is never taken for zero.
    `expected_at` is when a pending one should serve, infinite = it is not counted on any more. `since` is when it
    entered its present state. `rests`: it is kept for the warm pool, also while it is still on its way into it
    (`stopping`); a warm one without it was stopped by somebody else. `made_of`: as `Offer.made_of` when it was
    ordered, empty = its provider does not keep that. `held`: its drain hook has not answered yet, so nothing proves it
    empty.
    `asked`: the state is what an open intent asks for, and no report has shown it yet.
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
    rests: bool = False
    made_of: str = ""
    held: bool = False
    asked: bool = False


@dataclass(frozen=True, slots=True)
class Fleet:
    """Instances as reported at `observed_at`, united with what was ordered and is not listed yet.

    reported: (provider, time of its last report) when several providers serve the pool; `observed_at` is the newest.
    standings: what the providers know of offers besides what they have, at most one each.
    """

    observed_at: float
    instances: tuple[Instance, ...] = ()
    reported: tuple[tuple[str, float], ...] = ()
    standings: tuple[Standing, ...] = ()

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
        standings = tuple(s for s in self.standings if s.pool == pool)
        return replace(self, instances=tuple(i for i in self.instances if i.pool == pool), standings=standings)

    def standing(self, offer: str) -> Standing | None:
        """What is known of an offer by its key, in the fleet of one pool."""
        return next((s for s in self.standings if s.offer == offer), None)

    def priced(self, offer: Offer) -> Offer:
        """The offer at what its cloud asks for it now, where that is known; what a rule file states stands."""
        told = self.standing(offer.key)
        if told is None or told.usd_per_hour is None or not offer.priced:
            return offer
        since = f"of {datetime.fromtimestamp(told.priced_at, UTC).date()}" if told.priced_at is not None else "now"
        return replace(offer, usd_per_hour=told.usd_per_hour, priced=f"the cloud's price {since}", price_known=True)


@lru_cache(maxsize=4096)
def _fingerprint(settings: tuple[tuple[str, str], ...]) -> str:
    parts = sorted(pair for pair in settings if pair[0].partition(".")[0] not in _NO_PART)
    return hashlib.sha256(repr(parts).encode()).hexdigest()[:10]
