"""The offers that a rule file means, with what the service's configuration adds where it is silent."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import date

from autoscaler.rulefile.model import PoolFile
from autoscaler.rulefile.offers import OfferSection
from autoscaler.rulefile.pricing import priced
from autoscaler.rulefile.replica import hosted
from autoscaler.types import Offer
from autoscaler.types.prices import NO_PRICES, PriceList

LEAD_TIME_S = Offer("", "").lead_time_s
"""Request to serving when nobody says: the prior of an offer."""


@dataclass(frozen=True, slots=True)
class Defaults:
    """What the service's configuration says where a rule file is silent.

    max: upper bound of pools that name none. region: of offers that name none. require_bound: refuse a short dialect
    without a bound (to run it) instead of only warning (to check it). prices: of offers that state none. today: what
    their age is counted from; None = it is not looked at.
    """

    max: int | None = None
    region: str | None = None
    require_bound: bool = False
    prices: PriceList = field(default=NO_PRICES, repr=False)
    today: date | None = None


def offers(model: PoolFile, defaults: Defaults) -> tuple[Offer, ...]:
    """One offer for every combination of type, region, zone and purchase option, in the order of the file."""
    stated = [
        (offer, section.price is not None)
        for entry in model.offers.from_
        for provider, section in entry.items()
        for offer in combinations(provider, section, model.replica.gpus, defaults)
    ]
    return priced(stated, defaults.prices, model.replica.gpus, hosted(model.replica))


def combinations(provider: str, section: OfferSection, gpus_each: int, defaults: Defaults) -> list[Offer]:
    """The offers of one entry."""
    regions = section.regions or section.region or [defaults.region or ""]
    return [
        Offer(
            provider=provider,
            type=kind,
            # A machine at hand has no region; the service's default is meant for clouds.
            region="" if section.at_hand(provider) and not (section.region or section.regions) else region,
            zone=zone,
            purchase=purchase,  # type: ignore[arg-type]
            replicas=max(1, section.replicas_of(kind, gpus_each)),
            usd_per_hour=section.price or 0.0,
            settings=section.settings,
            gpus=section.gpus_of(kind) or 0,
            lead_time_s=LEAD_TIME_S if section.lead_time is None else section.lead_time,
        )
        for kind in section.kinds(provider)
        for region in regions
        for zone in section.zones or section.zone or [""]
        for purchase in section.purchase
    ]
