"""The `offers` section: what may be launched, at which provider."""

from __future__ import annotations

import math
import shlex
from typing import Annotated, Any

from pydantic import ConfigDict, Field, model_validator

from autoscaler.rulefile.machinetypes import gpus_of
from autoscaler.rulefile.section import Faults, Section, did_you_mean, key, wrong
from autoscaler.rulefile.words import Count, Duration, Money, Words, choice

AT_HAND = {"local": "process", "sim": "replica"}
"""Providers that take no machine type, and what an offer's type is called there."""
MAX_OFFERS = 1000
PURCHASES = ("on_demand", "spot", "reserved")


class OfferSection(Section):
    """One entry: every combination of types, regions, zones and purchase options is an offer."""

    model_config = ConfigDict(extra="allow")

    types: Words | None = Field(None, description="Machine types; `type` for a single one.")
    type: Words | None = Field(None, description="One machine type.")
    regions: Words | None = Field(None, description="Regions; `region` for a single one. Default: the service's.")
    region: Words | None = Field(None, description="One region.")
    zones: Words | None = Field(None, description="Zones; `zone` for a single one. Default: the provider chooses.")
    zone: Words | None = Field(None, description="One zone.")
    purchase: Words = key("on_demand", f"One or a list of {', '.join(PURCHASES)}, in order.")
    replicas: Count | None = Field(None, description="Replicas that one instance hosts. Default: as many as fit.")
    gpus: Count | None = Field(None, description="GPUs of one instance, for types that we do not know.")
    price: Money | None = Field(None, description="Price of one instance. Default: the service's list of prices.")
    lead_time: Duration | None = Field(None, description="From order to serving, until it was measured.")

    @model_validator(mode="after")
    def _named_once(self) -> OfferSection:
        faults: Faults = []
        for one, many in (("type", "types"), ("region", "regions"), ("zone", "zones")):
            if getattr(self, one) is not None and getattr(self, many) is not None:
                faults.append(((one,), f"says the same as {many}; keep one of the two"))
            faults += [((k,), "is empty; write at least one") for k in (one, many) if getattr(self, k) == []]
        for index, purchase in enumerate(self.purchase):
            if purchase not in PURCHASES:
                close = did_you_mean(purchase, PURCHASES) or "; write spot"
                text = f"{purchase!r} is not one of {', '.join(PURCHASES)}{close}"
                faults.append((("purchase", index), text))
        # Other keys are the provider's own. One that differs from ours by a letter is a slip, not a setting.
        known = type(self).model_fields
        for name in self.model_extra or {}:
            close = did_you_mean(name, known, cutoff=0.8)
            if close:
                faults.append(((name,), f"is not a known key{close}"))
        if faults:
            raise wrong(*faults)
        return self

    @property
    def combinations(self) -> int:
        """How many offers the entry makes."""
        lists = (self.types, self.regions or self.region, self.zones or self.zone, self.purchase)
        return math.prod(len(names) for names in lists if names)

    def kinds(self, provider: str) -> list[str]:
        """The machine types; a provider of machines at hand needs none."""
        return self.types or self.type or ([AT_HAND[provider]] if provider in AT_HAND else [])

    def at_hand(self, provider: str) -> bool:
        """Whether the provider's machines are already there, so that no region has to be chosen."""
        return provider in AT_HAND

    def gpus_of(self, kind: str) -> int | None:
        """GPUs of one instance of a type, None when nobody says."""
        return self.gpus if self.gpus is not None else gpus_of(kind)

    def replicas_of(self, kind: str, gpus_each: int) -> int:
        """Replicas on one instance of a type: as stated, else as many as fit, else one. 0 = not even one fits."""
        gpus = self.gpus_of(kind)
        if self.replicas is not None:
            return self.replicas
        return gpus // gpus_each if gpus and gpus_each else 1

    @property
    def settings(self) -> tuple[tuple[str, str], ...]:
        """The provider's own keys as text: a list as words of a command line, a mapping as `key.name`."""
        extra: dict[str, Any] = dict(self.model_extra or {})
        if self.gpus is not None:
            extra["gpus"] = str(self.gpus)
        return tuple(sorted(pair for name, value in extra.items() for pair in _as_text(name, value)))


def _as_text(name: str, value: Any) -> list[tuple[str, str]]:
    if isinstance(value, dict):
        return [pair for inner, v in value.items() for pair in _as_text(f"{name}.{inner}", v)]
    if isinstance(value, list):
        return [(name, shlex.join(v if isinstance(v, str) else str(v) for v in value))]
    return [(name, value)]


class Offers(Section):
    """What may be launched, and how to choose."""

    choose: Annotated[str, *choice("cheapest", "listed")] = Field(
        "cheapest", description="cheapest = least expected cost for what is missing; listed = in the order of the file."
    )
    from_: list[dict[str, OfferSection]] = Field([], description="Entries `- PROVIDER: {...}`.", alias="from")

    @model_validator(mode="after")
    def _one_provider_each(self) -> Offers:
        faults: Faults = [
            (("from", index), "names no or several providers; write '- aws: {types: [...]}', one provider an entry")
            for index, entry in enumerate(self.from_)
            if len(entry) != 1
        ]
        total = sum(section.combinations for entry in self.from_ for section in entry.values())
        if total > MAX_OFFERS:
            text = f"makes {total} offers, more than {MAX_OFFERS}; name fewer types, regions or zones"
            faults.append((("from",), text))
        if faults:
            raise wrong(*faults)
        return self
