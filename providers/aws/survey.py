"""What AWS was asked about offers, as standings: can it be had there at all, how many more, and at what price."""

from __future__ import annotations

import difflib
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from functools import cache
from typing import NamedTuple

from autoscaler.errors import ProviderError, QuotaError
from autoscaler.types import Offer, Standing
from providers.aws.questions import Kind, Price, Questions, types_of
from providers.aws.quotas import Quota, quota_of
from providers.aws.seen import Seen
from providers.catalog import read_catalog
from providers.inquiry import Inquiry, Key

BILLED = ("pending", "running")


class Use(NamedTuple):
    """Of which quota vCPUs are used; pool and series only of what was ordered since the quota was asked for."""

    region: str
    code: str
    pool: str = ""
    series: str = ""


@dataclass
class Survey:
    """`ask` is for one thread. `standings` may be called from any, and asks nobody."""

    questions: Questions
    inquiry: Inquiry
    _types: dict[str, tuple[str, ...]] = field(default_factory=dict, init=False, repr=False)
    _spot: dict[str, tuple[str, ...]] = field(default_factory=dict, init=False, repr=False)

    def ask(self, offers: Iterable[Offer]) -> bool:
        """One turn of questions; whether everything was asked by now."""
        offers = tuple(offers)
        by_region: dict[str, list[Offer]] = {}
        for offer in offers:
            by_region.setdefault(self._region(offer), []).append(offer)
        self._types = {name: types_of(some) for name, some in by_region.items()}
        self._spot = {name: types_of([o for o in some if o.purchase == "spot"]) for name, some in by_region.items()}
        return self.inquiry.ask(self.questions.of(offers))

    def standings(self, offers: Iterable[tuple[str, Offer]], found: Sequence[Seen], now: float) -> tuple[Standing, ...]:
        """How each offer of a pool stands. found: our instances, which use up quotas."""
        used = self._used(found)
        unanswered = self.inquiry.unanswered()
        doubtful: set[Key] = set()
        told = tuple(self._standing(pool, offer, used, unanswered, now, doubtful) for pool, offer in offers)
        self.inquiry.doubt(doubtful)
        return told

    def _standing(
        self,
        pool: str,
        offer: Offer,
        used: Counter[Use],
        unanswered: dict[Key, str],
        now: float,
        doubtful: set[Key],
    ) -> Standing:
        name = self._region(offer)
        quota = quota_of(offer.type, offer.purchase)
        about: list[Key] = [
            ("regions",),
            ("types", name, *self._types.get(name, ())),
            ("zones", name, *self._types.get(name, ())),
            ("template", name, dict(offer.settings).get("launch_template", "")),
            *([("quota", name, quota.code)] if quota is not None else []),
        ]
        problem, error = self._problem(offer, name)
        units, limit = (None, "") if problem or quota is None else self._room(pool, offer, name, quota, used)
        if units == 0 and self._limit(name, quota) < self._vcpus(offer, name):
            problem, error = limit, QuotaError.code
        if problem or units == 0:
            doubtful.update(about)
        price = self._price(offer, name)
        return Standing(
            pool=pool,
            offer=offer.key,
            at=self._at(about, now),
            problem=problem,
            error=error,
            units=units,
            quota=limit,
            usd_per_hour=price.usd_per_hour if price is not None else None,
            priced_at=price.at if price is not None else None,
            unknown=tuple(unanswered[key] for key in about if key in unanswered),
        )

    def _at(self, about: Sequence[Key], now: float) -> float:
        """When the last of it was heard: the quota, where there is one. 0 = nothing was, and now it is our own word."""
        return (
            self.inquiry.heard_at(*about[-1]) or max((self.inquiry.heard_at(*key) for key in about), default=0.0) or now
        )

    # --- what stands in the way -------------------------------------------------------------------------------------

    def _problem(self, offer: Offer, name: str) -> tuple[str, str]:
        """Why nothing of it can be launched, in words, and the error's code; empty = nothing known."""
        for text in (self._about_region(name), self._about_type(offer, name), self._about_template(offer, name)):
            if text:
                return text, ProviderError.code
        return "", ""

    def _about_region(self, name: str) -> str:
        regions: dict[str, bool] | None = self.inquiry.heard("regions")
        if regions and name not in regions:
            close = difflib.get_close_matches(name, regions, n=1)
            return f"AWS has no region {name}" + (f"; did you mean {close[0]}?" if close else "; correct the offer")
        if regions and not regions[name]:
            return f"region {name} is not enabled for this account; enable it under Account, AWS Regions"
        if name not in self.questions.regions:
            known = ", ".join(self.questions.regions)
            return f"region {name} is not one of the provider's ({known}); add it to regions in the configuration"
        return ""

    def _about_type(self, offer: Offer, name: str) -> str:
        kinds: dict[str, Kind] | None = self.inquiry.heard("types", name, *self._types.get(name, ()))
        if kinds is None:
            return ""
        kind = kinds.get(offer.type)
        zones: dict[str, tuple[str, ...]] | None = self.inquiry.heard("zones", name, *self._types.get(name, ()))
        if kind is None or (zones is not None and offer.type not in zones):
            others = [r for r in self._types if r != name and offer.type in self._kinds(r)]
            where = f"; {', '.join(sorted(others))} has it" if others else "; take another type or region"
            unknown = "" if offer.type in _vcpus_by_type() else " (or there is no such type)"
            return f"region {name} does not offer {offer.type}{unknown}{where}"
        about = _about_kind(offer, kind, name)
        if not about and zones and offer.zone and offer.zone not in zones[offer.type]:
            return f"zone {offer.zone} does not offer {offer.type}; {', '.join(zones[offer.type])} do"
        return about

    def _about_template(self, offer: Offer, name: str) -> str:
        template = dict(offer.settings).get("launch_template", "")
        if template and self.inquiry.heard("template", name, template) is False:
            return f"region {name} has no launch template {template}; make it there, or correct launch_template"
        return ""

    # --- how many, at what price --------------------------------------------------------------------------------------

    def _room(self, pool: str, offer: Offer, name: str, quota: Quota, used: Counter[Use]) -> tuple[int | None, str]:
        """Instances that the quota still has room for as far as we use it, and the quota in words."""
        limit, each = self._limit(name, quota), self._vcpus(offer, name)
        if limit == float("inf") or not each:
            return None, ""
        # The planner takes off by itself what its own pool ordered of the series since the quota was asked for.
        series = _series(offer.type)
        ours = sum(n for u, n in used.items() if u[:2] == (name, quota.code) and u[2:] != (pool, series))
        text = f"quota {quota} in {name} is {limit:.0f} vCPUs, we use {ours}, one {offer.type} takes {each}"
        units = max(0, int((limit - ours) // each))
        return units, text if units else f"{text}; ask for more in Service Quotas of {name}"

    def _limit(self, name: str, quota: Quota | None) -> float:
        limit = self.inquiry.heard("quota", name, quota.code) if quota is not None else None
        return float("inf") if limit is None else float(limit)

    def _vcpus(self, offer: Offer, name: str) -> int:
        kind = self._kinds(name).get(offer.type)
        return kind.vcpus if kind is not None else _catalogued(offer.type)

    def _used(self, found: Sequence[Seen]) -> Counter[Use]:
        """vCPUs of ours by quota. What others of the account use is not known."""
        used: Counter[Use] = Counter()
        for one in found:
            if one.ec2_state not in BILLED or one.record.get("CapacityReservationId"):
                continue
            kind = str(one.record.get("InstanceType", ""))
            quota = quota_of(kind, "spot" if one.spot else "on_demand")
            if quota is None:
                continue
            known = self._kinds(one.region).get(kind)
            new = one.mark.requested_at > self.inquiry.heard_at("quota", one.region, quota.code)
            use = Use(one.region, quota.code, one.mark.pool if new else "", _series(kind) if new else "")
            used[use] += known.vcpus if known is not None else _catalogued(kind)
        return used

    def _kinds(self, name: str) -> dict[str, Kind]:
        kinds: dict[str, Kind] | None = self.inquiry.heard("types", name, *self._types.get(name, ()))
        return kinds or {}

    def _price(self, offer: Offer, name: str) -> Price | None:
        """Of spot. Where EC2 chooses the zone, that of the dearest: a budget must hold wherever it comes from."""
        prices: dict[tuple[str, str], Price] | None = self.inquiry.heard("prices", name, *self._spot.get(name, ()))
        if offer.purchase != "spot" or not prices:
            return None
        here = [p for (kind, zone), p in prices.items() if kind == offer.type and offer.zone in ("", zone)]
        return max(here, key=lambda p: p.usd_per_hour, default=None)

    def _region(self, offer: Offer) -> str:
        return offer.region or next(iter(self.questions.regions))


def _series(kind: str) -> str:
    return kind.partition(".")[0]


def _about_kind(offer: Offer, kind: Kind, name: str) -> str:
    if kind.gpus == 0:
        return f"{offer.type} has no GPU; name a type with GPUs, such as g5.xlarge"
    if offer.purchase == "spot" and not kind.spot:
        return f"{offer.type} is not sold as spot in {name}; use on_demand or reserved"
    if dict(offer.settings).get("hibernate", "") == "true" and not kind.hibernates:
        return f"{offer.type} cannot hibernate; delete hibernate, a stopped instance is warm without it"
    return ""


def _catalogued(kind: str) -> int:
    """vCPUs of a type by the catalogue, 0 = not known."""
    return _vcpus_by_type().get(kind, 0)


@cache
def _vcpus_by_type() -> dict[str, int]:
    return {m.type: m.vcpus or 0 for m in read_catalog() if m.provider == "aws"}
