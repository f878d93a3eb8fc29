"""What is asked of Azure besides our machines: sizes and their restrictions, quotas by family, retail prices."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from typing import Any
from urllib.parse import urlsplit

from autoscaler.errors import InputError, ProviderError, ThrottledError, UnreachableError
from autoscaler.types import Offer
from providers.azure.calls import bounded
from providers.azure.client import Client
from providers.azure.failures import translated
from providers.azure.settings import size_of
from providers.inquiry import Key

RETAIL = "https://prices.azure.com"
SPOT_CORES = "lowprioritycores"
"""The usage that counts the cores of all spot machines of a region."""
RETAIL_PAGES = 5
RETAIL_BYTES = 4 << 20
RETAIL_S = 10.0
MOST_SIZES = 100


@dataclass(frozen=True, slots=True)
class Size:
    """A size as a region sells it to this subscription. gpus None = Azure does not say. closed: why it is not sold at
    all, in Azure's word; closed_zones: where it is not."""

    family: str
    vcpus: int
    gpus: int | None
    zones: tuple[str, ...] = ()
    closed: str = ""
    closed_zones: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Limit:
    """Cores that a quota allows, and those that others of the subscription use of it."""

    limit: float
    others: float
    name: str


@dataclass(frozen=True, slots=True)
class Price:
    """USD per hour of one machine, and since when."""

    usd_per_hour: float
    at: float


Ours = Callable[[str, str], Mapping[str, int]]
"""Cores that our machines use now, by family, of a subscription and region."""


@dataclass(frozen=True, slots=True)
class Questions:
    """retail: where retail prices are asked for; empty = nowhere. ours: taken off what Azure says is used."""

    client: Client
    retail: str
    ours: Ours

    def of(self, offers: Iterable[tuple[str, Offer]]) -> dict[Key, Callable[[], Any]]:
        """What there is to know for some offers, each with its subscription."""
        asked: dict[Key, Callable[[], Any]] = {}
        here: dict[tuple[str, str], list[Offer]] = {}
        for subscription, offer in offers:
            if offer.region:
                here.setdefault((subscription, place(offer.region)), []).append(offer)
        for (subscription, region), some in here.items():
            sizes = sizes_of(some)
            asked["sizes", subscription, region, *sizes] = partial(sizes_in, self.client, subscription, region, sizes)
            asked["limits", subscription, region] = partial(self._limits, subscription, region)
            if self.retail:
                for size in sizes:
                    asked["price", region, size] = partial(retail_prices, self.retail, region, size)
        return asked

    def _limits(self, subscription: str, region: str) -> dict[str, Limit]:
        return limits_in(self.client, subscription, region, self.ours(subscription, region))


def sizes_of(some: Sequence[Offer]) -> tuple[str, ...]:
    """The sizes of offers by Azure's own names, as they are part of a question."""
    return tuple(sorted({size_of(o.type).lower() for o in some})[:MOST_SIZES])


def place(region: str) -> str:
    """A region as Azure's interface writes it: `East US` is eastus."""
    return region.replace(" ", "").lower()


def sizes_in(client: Client, subscription: str, region: str, sizes: Sequence[str]) -> dict[str, Size]:
    """Those of some sizes that a region knows, by their names in small letters."""
    found: dict[str, Size] = {}
    with translated(f"asking for the sizes of {region}"):
        listed = client.sdk(subscription).resource_skus.list(filter=f"location eq '{region}'")
        for sku in bounded(listed, f"sizes of {region}"):
            name = str(sku.name or "").lower()
            if sku.resource_type == "virtualMachines" and name in sizes:
                found[name] = _size(sku, region)
    return found


def limits_in(client: Client, subscription: str, region: str, ours: Mapping[str, int]) -> dict[str, Limit]:
    """Quotas of a region by family, in small letters."""
    found: dict[str, Limit] = {}
    with translated(f"asking for the quotas of {region}"):
        for usage in bounded(client.sdk(subscription).usage.list(region), f"quotas of {region}"):
            name = str(usage.name.value or "")
            others = max(0.0, float(usage.current_value or 0) - ours.get(name.lower(), 0))
            found[name.lower()] = Limit(float(usage.limit or 0), others, str(usage.name.localized_value or name))
    return found


def _size(sku: Any, region: str) -> Size:
    can = {str(c.name): str(c.value) for c in sku.capabilities or ()}
    zones = {
        str(z) for info in sku.location_info or () if place(str(info.location)) == region for z in info.zones or ()
    }
    closed, closed_zones = "", set()
    for restriction in sku.restrictions or ():
        reason = _word(restriction.reason_code) or "restricted"
        if _word(restriction.type) == "Zone":
            closed_zones |= {str(z) for z in (restriction.restriction_info.zones or ())}
        elif region in (place(str(v)) for v in _values(restriction)):
            closed = reason
    return Size(
        family=str(sku.family or "").lower(),
        vcpus=_number(can.get("vCPUs")) or 0,
        # Azure leaves the capability out where there is none.
        gpus=_number(can.get("GPUs", "0")),
        zones=tuple(sorted(zones)),
        closed=closed,
        closed_zones=tuple(sorted(closed_zones)),
    )


def _values(restriction: Any) -> Sequence[str]:
    info = restriction.restriction_info
    return tuple(restriction.values_property or ()) or tuple(info.locations or () if info is not None else ())


def _word(value: Any) -> str:
    return str(getattr(value, "value", value) or "")


def _number(text: str | None) -> int | None:
    return int(text) if text and text.isascii() and text.isdigit() else None


# --- retail prices ---------------------------------------------------------------------------------------------


def check_retail(url: str) -> None:
    """Raises InputError for an address that is none, or in the open outside this machine."""
    parts = urlsplit(url)
    loopback = parts.hostname in ("localhost", "::1") or (parts.hostname or "").startswith("127.")
    if url and parts.scheme != "https" and not (parts.scheme == "http" and loopback):
        raise InputError(f"azure.retail_prices {url!r}: is no https address; write {RETAIL}")


def retail_prices(url: str, region: str, size: str) -> dict[str, Price]:
    """Prices of a size with Linux, by purchase option. No login: the interface is public.

    Retail Prices REST API (Microsoft Learn, Cost Management): the region and size are given in Azure's own names.
    """
    import httpx

    wanted = f"serviceName eq 'Virtual Machines' and priceType eq 'Consumption' and armRegionName eq '{region}'"
    # Unlike everywhere else, capitals count here.
    query: dict[str, str] | None = {"$filter": f"{wanted} and armSkuName eq '{_spelled(size)}'", "currencyCode": "USD"}
    address: str | None = f"{url.rstrip('/')}/api/retail/prices"
    found: dict[str, Price] = {}
    try:
        with httpx.Client(timeout=RETAIL_S, follow_redirects=False, trust_env=True) as client:
            for _ in range(RETAIL_PAGES):
                if address is None:
                    break
                answer = client.get(address, params=query)
                rows, address = _rows(answer, url)
                query = None
                for row in rows:
                    _take(row, found)
    except (httpx.HTTPError, httpx.InvalidURL) as error:
        raise UnreachableError(f"retail prices of {size} in {region}: no answer ({type(error).__name__})") from None
    return found


def _rows(answer: Any, url: str) -> tuple[list[dict[str, Any]], str | None]:
    what = "asking for retail prices"
    if answer.status_code == 429:
        wait = answer.headers.get("Retry-After", "")
        raise ThrottledError(f"{what}: asked to wait", float(min(3600, int(wait))) if wait.isdigit() else 60.0)
    if answer.status_code != 200 or len(answer.content) > RETAIL_BYTES:
        raise ProviderError(f"{what}: HTTP {answer.status_code} with {len(answer.content)} bytes")
    try:
        body = answer.json()
        rows = [row for row in body["Items"] if isinstance(row, dict)]
        more = body.get("NextPageLink")
    except (ValueError, KeyError, TypeError, AttributeError):
        raise ProviderError(f"{what}: the answer makes no sense") from None
    # Followed only to where we asked: an address in an answer is not ours.
    same = isinstance(more, str) and urlsplit(more).netloc.split(":")[0] == urlsplit(url).netloc.split(":")[0]
    return rows, more if same else None


def _take(row: Mapping[str, Any], found: dict[str, Price]) -> None:
    words = f"{row.get('skuName', '')} {row.get('meterName', '')}".lower()
    if "windows" in str(row.get("productName", "")).lower() or "low priority" in words:
        return
    if str(row.get("unitOfMeasure", "")) != "1 Hour" or row.get("currencyCode", "USD") != "USD":
        return
    usd, since = row.get("retailPrice"), _instant(str(row.get("effectiveStartDate", "")))
    if not isinstance(usd, int | float) or not 0 < usd < 1e6 or since is None:
        return
    purchase = "spot" if "spot" in words else "on_demand"
    if purchase not in found or found[purchase].at < since:
        found[purchase] = Price(float(usd), since)


def _instant(text: str) -> float | None:
    try:
        at = datetime.fromisoformat(text.replace("Z", "+00:00"))
    except ValueError:
        return None
    return (at if at.tzinfo is not None else at.replace(tzinfo=UTC)).timestamp()


def _spelled(size: str) -> str:
    """Azure's own spelling of a size in small letters, from the catalogue; as it is for one that is not listed."""
    from providers.catalog import read_catalog

    return next((m.type for m in read_catalog() if m.type.lower() == size), size)
