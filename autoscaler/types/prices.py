"""What machines cost: rows as lists and people state them, and the price that follows for an offer."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import date

from autoscaler.types.fleet import Purchase

SHARE_OF_ON_DEMAND: Mapping[Purchase, float] = {"on_demand": 1.0, "spot": 0.5, "reserved": 0.4}
"""What spot and reserved machines are taken to cost until somebody states it. Assumptions of ours, on the dear side of
what both clouds advertise (up to 90 % off for spot, up to 72 % for three years): people's contracts differ."""

UNKNOWN_USD_PER_GPU_HOUR = 25.0
"""What a GPU without any known price counts as; the dearest in the catalogue is 23.33 (ND96isr_H100_v5 in
southafricawest, June 2026)."""

DEARER = 1.1
"""An offer without a known price counts as so many times the dearest replica of the same pool."""


@dataclass(frozen=True, slots=True)
class PriceRow:
    """The price of one machine type. region empty = wherever it is. own: people stated it, so it comes before lists.

    gpu, gpus, gpu_gib, link: what the machine holds, as far as the list says. source: where it comes from, in words.
    """

    provider: str
    type: str
    region: str
    usd_per_hour: float | None
    purchase: Purchase = "on_demand"
    as_of: date | None = None
    own: bool = False
    source: str = ""
    gpu: str = ""
    gpus: int = 0
    gpu_gib: float | None = None
    link: str = ""

    @property
    def usd_per_gpu_hour(self) -> float | None:
        """Its price shared by its GPUs."""
        return self.usd_per_hour / self.gpus if self.usd_per_hour is not None and self.gpus else None


@dataclass(frozen=True, slots=True)
class Priced:
    """A price, where it comes from, and of when it is."""

    usd_per_hour: float
    text: str
    as_of: date | None = None


Key = tuple[str, str, str, Purchase]


@dataclass(frozen=True, slots=True, eq=False)
class PriceList:
    """Rows by what they are about. homes: the region that stands for a provider where none is named.

    Lists are told apart by identity: to compare hundreds of rows would cost more than to read them.
    """

    rows: tuple[PriceRow, ...] = ()
    homes: Mapping[str, str] = field(default_factory=dict)
    _found: Mapping[Key, PriceRow] = field(init=False, repr=False)
    _types: Mapping[tuple[str, str], PriceRow] = field(init=False, repr=False)

    def __post_init__(self) -> None:
        # The last row about a thing counts, and people's rows come last.
        ordered = sorted(self.rows, key=lambda row: row.own)
        found = {
            (r.provider, plain_type(r.type), r.region, r.purchase): r for r in ordered if r.usd_per_hour is not None
        }
        object.__setattr__(self, "_found", found)
        described = {(r.provider, plain_type(r.type)): r for r in reversed(ordered) if r.gpus}
        object.__setattr__(self, "_types", described)

    def __bool__(self) -> bool:
        return bool(self.rows)

    def price(self, provider: str, type_: str, region: str, purchase: Purchase) -> Priced | None:
        """The price of an offer: as stated for it, else a share of what it costs on demand; None = not known."""
        stated = self._row(provider, type_, region, purchase)
        if stated is not None and stated.usd_per_hour is not None:
            return Priced(stated.usd_per_hour, _origin(stated), stated.as_of)
        share = SHARE_OF_ON_DEMAND[purchase]
        on_demand = None if purchase == "on_demand" else self._row(provider, type_, region, "on_demand")
        if on_demand is None or on_demand.usd_per_hour is None:
            return None
        usd = round(share * on_demand.usd_per_hour, 6)
        return Priced(usd, f"taken as {share:g} of the {_origin(on_demand)}", on_demand.as_of)

    def described(self, provider: str, type_: str) -> PriceRow | None:
        """A row that says what the machine holds, of whichever region."""
        return self._types.get((provider, plain_type(type_)))

    def at_home(self, provider: str, region: str) -> Iterable[PriceRow]:
        """Rows of list prices in a region, or where none is named in the provider's home region."""
        where = region or self.homes.get(provider, "")
        return (r for r in self.rows if r.provider == provider and r.region == where and not r.own)

    def _row(self, provider: str, type_: str, region: str, purchase: Purchase) -> PriceRow | None:
        name = plain_type(type_)
        places = (region, "") if region else ("", self.homes.get(provider, ""))
        rows = [self._found.get((provider, name, place, purchase)) for place in places]
        known = [row for row in rows if row is not None]
        return next((row for row in known if row.own), known[0] if known else None)


def plain_type(type_: str) -> str:
    """Azure's names with and without their prefix are one, in any case of letters."""
    return type_.lower().removeprefix("standard_")


def _origin(row: PriceRow) -> str:
    when = f" of {row.as_of}" if row.as_of is not None else ""
    return f"price of {row.source}{when}" if row.own else f"list price{when}"


NO_PRICES = PriceList()
"""Nobody has a list."""
