"""What Azure was asked about offers, as standings: can it be had there at all, how many more, and at what price."""

from __future__ import annotations

import difflib
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from autoscaler.errors import ProviderError, QuotaError
from autoscaler.types import Instance, Offer, Standing
from providers.azure.creation import absent
from providers.azure.machines import SetSeen, differences
from providers.azure.questions import SPOT_CORES, Limit, Price, Questions, Size, place, sizes_of
from providers.azure.settings import Order, SetRef, size_of
from providers.catalog import read_catalog
from providers.inquiry import Inquiry, Key


@dataclass(frozen=True, slots=True)
class Asked:
    """An offer of a pool, understood, or why it cannot be."""

    pool: str
    offer: Offer
    subscription: str
    order: Order | None
    fault: str = ""


@dataclass(frozen=True, slots=True)
class Grown:
    """A scale set with its machines, as the last look found them."""

    seen: SetSeen
    instances: tuple[Instance, ...]


@dataclass
class Survey:
    """`ask` is for one thread. `standings` may be called from any, and asks nobody."""

    questions: Questions
    inquiry: Inquiry
    _sizes: dict[tuple[str, str], tuple[str, ...]] = field(default_factory=dict, init=False, repr=False)

    def ask(self, offers: Sequence[Asked]) -> bool:
        """One turn of questions; whether everything was asked by now."""
        by_place: dict[tuple[str, str], list[Offer]] = {}
        for one in offers:
            by_place.setdefault((one.subscription, place(one.offer.region)), []).append(one.offer)
        self._sizes = {where: sizes_of(some) for where, some in by_place.items()}
        return self.inquiry.ask(self.questions.of((one.subscription, one.offer) for one in offers))

    def cores(self, sets: Iterable[Grown], subscription: str, region: str) -> Counter[str]:
        """Cores of all our machines by family, as the quotas of a region count them: also those that rest."""
        used: Counter[str] = Counter()
        for one in sets:
            if (one.seen.ref.subscription, place(one.seen.location)) == (subscription, region):
                size = self._size(subscription, region, one.seen.size)
                if size is not None:
                    used[SPOT_CORES if one.seen.spot else size.family] += size.vcpus * len(one.instances)
        return used

    def standings(self, offers: Iterable[Asked], sets: Sequence[Grown], now: float) -> tuple[Standing, ...]:
        """How each offer of a pool stands. sets: what the last look found."""
        there = {one.seen.ref: one for one in sets}
        unanswered = self.inquiry.unanswered()
        doubtful: set[Key] = set()
        told = tuple(self._standing(one, there, unanswered, now, doubtful) for one in offers)
        self.inquiry.doubt(doubtful)
        return told

    def _standing(
        self, one: Asked, there: dict[SetRef, Grown], unanswered: dict[Key, str], now: float, doubtful: set[Key]
    ) -> Standing:
        offer, where = one.offer, (one.subscription, place(one.offer.region))
        about: list[Key] = [("sizes", *where, *self._sizes.get(where, ())), ("limits", *where)]
        problem = one.fault or self._about_size(one) or _about_set(one, there)
        error = ProviderError.code if problem else ""
        units, quota, short = (None, "", False) if problem else self._room(one, there)
        if short:
            problem, error = quota, QuotaError.code
        if problem or units == 0:
            doubtful.update(about)
        prices: dict[str, Price] = self.inquiry.heard("price", where[1], size_of(offer.type).lower()) or {}
        price = prices.get(offer.purchase)
        return Standing(
            pool=one.pool,
            offer=offer.key,
            at=self.inquiry.heard_at(*about[1]) or self.inquiry.heard_at(*about[0]) or now,
            problem=problem,
            error=error,
            units=units,
            quota=quota,
            usd_per_hour=price.usd_per_hour if price is not None else None,
            priced_at=price.at if price is not None else None,
            unknown=tuple(unanswered[key] for key in about if key in unanswered),
        )

    def _about_size(self, one: Asked) -> str:
        offer, region = one.offer, place(one.offer.region)
        sizes: dict[str, Size] | None = self.inquiry.heard(
            "sizes", one.subscription, region, *self._sizes.get((one.subscription, region), ())
        )
        if not region or sizes is None:
            return ""
        size = sizes.get(size_of(offer.type).lower())
        if size is None:
            return f"region {region} does not sell {size_of(offer.type)}{_elsewhere(offer, region)}"
        if size.closed:
            hint = "ask for access in the portal, or take another region"
            return f"{size_of(offer.type)} is not sold to this subscription in {region} ({size.closed}); {hint}"
        if offer.zone and size.zones and (offer.zone not in size.zones or offer.zone in size.closed_zones):
            zones = ", ".join(z for z in size.zones if z not in size.closed_zones) or "none"
            return f"zone {offer.zone} of {region} does not sell {size_of(offer.type)}; zones that do: {zones}"
        if size.gpus == 0:
            return f"{size_of(offer.type)} has no GPU; name a size with GPUs, such as NC24ads_A100_v4"
        return ""

    def _room(self, one: Asked, there: dict[SetRef, Grown]) -> tuple[int | None, str, bool]:
        """Machines that the quota still has room for, the quota in words, whether it is too small for even one."""
        offer, region = one.offer, place(one.offer.region)
        size = self._size(one.subscription, region, offer.type)
        limits: dict[str, Limit] | None = self.inquiry.heard("limits", one.subscription, region)
        family = SPOT_CORES if offer.purchase == "spot" else (size.family if size is not None else "")
        limit = (limits or {}).get(family)
        if size is None or limit is None or not size.vcpus:
            return None, "", False
        at = self.inquiry.heard_at("limits", one.subscription, region)
        # The planner takes off by itself what its own pool ordered of the offer since the quota was asked for.
        before = [
            Grown(
                g.seen,
                tuple(i for i in g.instances if (i.pool, i.offer) != (one.pool, offer.key) or i.requested_at <= at),
            )
            for g in there.values()
        ]
        ours = self.cores(before, one.subscription, region)[family]
        units = max(0, int((limit.limit - limit.others - ours) // size.vcpus))
        text = (
            f"quota {limit.name} in {region} is {limit.limit:.0f} cores, {limit.others + ours:.0f} in use, one "
            f"{size_of(offer.type)} takes {size.vcpus}"
        )
        wanted = "" if units else "; ask for more under Quotas in the portal"
        return units, text + wanted, limit.limit < size.vcpus

    def _size(self, subscription: str, region: str, name: str) -> Size | None:
        sizes: dict[str, Size] | None = self.inquiry.heard(
            "sizes", subscription, region, *self._sizes.get((subscription, region), ())
        )
        return (sizes or {}).get(size_of(name).lower())


def _about_set(one: Asked, there: dict[SetRef, Grown]) -> str:
    order = one.order
    if order is None:
        return ""
    grown = there.get(order.ref)
    if grown is None:
        return "" if order.made is not None else absent(order.ref)
    faults = differences(order, grown.seen)
    return f"scale set {order.ref}: {'; '.join(faults)}; correct the offer" if faults else ""


def _elsewhere(offer: Offer, region: str) -> str:
    mine = [m for m in read_catalog() if m.provider == "azure"]
    regions = {m.region for m in mine}
    if region not in regions:
        close = difflib.get_close_matches(region, regions, n=1)
        if close:
            return f"; did you mean {close[0]}?"
    known = sorted(m.region for m in mine if m.type.lower() == size_of(offer.type).lower() and m.region != region)[:3]
    return f"; {', '.join(known)} may have it" if known else "; correct the type, or take another region"
