"""What is asked of AWS besides our instances: regions, types, zones, quotas, launch templates, spot prices."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from typing import Any

from autoscaler.errors import ProviderError
from autoscaler.ports import Clock
from autoscaler.types import Offer
from providers.aws.failures import AbsentError
from providers.aws.quotas import quota_of
from providers.aws.region import Region
from providers.inquiry import Key

LINUX = "Linux/UNIX"
MOST_TYPES = 100


@dataclass(frozen=True, slots=True)
class Kind:
    """An instance type as a region sells it."""

    vcpus: int
    gpus: int
    spot: bool
    hibernates: bool


@dataclass(frozen=True, slots=True)
class Price:
    """USD per hour of one instance, and since when."""

    usd_per_hour: float
    at: float


@dataclass(frozen=True, slots=True)
class Questions:
    """quotas: the same regions at Service Quotas, empty = it is not asked. prices: whether spot prices are wanted."""

    regions: Mapping[str, Region]
    quotas: Mapping[str, Region]
    prices: bool
    clock: Clock

    def of(self, offers: Iterable[Offer]) -> dict[Key, Callable[[], Any]]:
        """What there is to know for some offers, each question once, in the order in which answers help most."""
        home = next(iter(self.regions))
        here: dict[str, list[Offer]] = {}
        for offer in offers:
            here.setdefault(offer.region or home, []).append(offer)
        known = {name: some for name, some in here.items() if name in self.regions}
        asked: dict[Key, Callable[[], Any]] = {}
        if here:
            asked["regions",] = partial(regions_of, self.regions[home])
        for name, some in known.items():
            region, types = self.regions[name], types_of(some)
            asked["types", name, *types] = partial(kinds_of, region, types)
            asked["zones", name, *types] = partial(zones_of, region, types)
            for template in sorted({dict(o.settings).get("launch_template", "") for o in some} - {""}):
                asked["template", name, template] = partial(has_template, region, template)
            for quota in {q for o in some if (q := quota_of(o.type, o.purchase)) is not None}:
                if name in self.quotas:
                    asked["quota", name, quota.code] = partial(limit_of, self.quotas[name], quota.code)
            spot = types_of([o for o in some if o.purchase == "spot"])
            if spot and self.prices:
                asked["prices", name, *spot] = partial(spot_prices, region, spot, self.clock.now())
        return asked


def types_of(some: Sequence[Offer]) -> tuple[str, ...]:
    """The instance types of offers, as they are part of a question."""
    return tuple(sorted({o.type for o in some})[:MOST_TYPES])


def regions_of(region: Region) -> dict[str, bool]:
    """Every region of AWS's by name, and whether this account may use it."""
    answer = region.call("describe_regions", AllRegions=True)
    return {r["RegionName"]: r.get("OptInStatus") != "not-opted-in" for r in answer.get("Regions", ())}


def kinds_of(region: Region, types: Sequence[str]) -> dict[str, Kind]:
    """Those of some types that the region sells."""
    found: dict[str, Kind] = {}
    # As a filter, a type that does not exist is one that is not listed; by name it would be an error for all.
    for page in region.pages("describe_instance_types", [{"Name": "instance-type", "Values": list(types)}], page=100):
        for one in page.get("InstanceTypes", ()):
            gpus = sum(int(g.get("Count", 0)) for g in one.get("GpuInfo", {}).get("Gpus", ()))
            found[one["InstanceType"]] = Kind(
                int(one.get("VCpuInfo", {}).get("DefaultVCpus", 0)),
                gpus,
                "spot" in one.get("SupportedUsageClasses", ("spot",)),
                bool(one.get("HibernationSupported")),
            )
    return found


def zones_of(region: Region, types: Sequence[str]) -> dict[str, tuple[str, ...]]:
    """The zones that sell each of some types."""
    found: dict[str, set[str]] = {}
    asked = [{"Name": "instance-type", "Values": list(types)}]
    for page in region.pages("describe_instance_type_offerings", asked, LocationType="availability-zone"):
        for one in page.get("InstanceTypeOfferings", ()):
            found.setdefault(one["InstanceType"], set()).add(one["Location"])
    return {kind: tuple(sorted(zones)) for kind, zones in found.items()}


def has_template(region: Region, template: str) -> bool:
    """Whether there is a launch template of that id or name."""
    by = "LaunchTemplateIds" if template.startswith("lt-") else "LaunchTemplateNames"
    try:
        return bool(region.call("describe_launch_templates", **{by: [template]}).get("LaunchTemplates"))
    except AbsentError:
        return False


def limit_of(quotas: Region, code: str) -> float:
    """vCPUs that a quota allows."""
    answer = quotas.call("get_service_quota", ServiceCode="ec2", QuotaCode=code)
    value = answer.get("Quota", {}).get("Value")
    if not isinstance(value, int | float):
        raise ProviderError(f"aws {quotas.name} get_service_quota: {code} has no value")
    return float(value)


def spot_prices(region: Region, types: Sequence[str], now: float) -> dict[tuple[str, str], Price]:
    """The price now by (type, zone). AWS gives for a start of now the price that was in force then."""
    found: dict[tuple[str, str], Price] = {}
    more: dict[str, Any] = {
        "InstanceTypes": list(types),
        "ProductDescriptions": [LINUX],
        "StartTime": datetime.fromtimestamp(now, UTC),
    }
    for page in region.pages("describe_spot_price_history", [], **more):
        for one in page.get("SpotPriceHistory", ()):
            key = (one["InstanceType"], one["AvailabilityZone"])
            price = _price(one)
            if price is not None and (key not in found or found[key].at < price.at):
                found[key] = price
    return found


def _price(one: Mapping[str, Any]) -> Price | None:
    at = one.get("Timestamp")
    try:
        usd = float(one["SpotPrice"])
    except (KeyError, ValueError):
        return None
    if not 0.0 < usd < 1e6 or not isinstance(at, datetime):
        return None
    return Price(usd, at.timestamp())
