"""What the providers themselves say is wrong with the offers of a rule file, at the place where it was written.

A provider's class may have `offer_faults` (see `ports.ChecksOffers`). It is asked when the file is read, so that a
setting with a slip is told by `check`, a reload and the start, and not by the first launch that fails.
"""

from __future__ import annotations

from collections.abc import Iterator

import structlog

from autoscaler import plugins
from autoscaler.errors import Fault, InputError
from autoscaler.rulefile.model import PoolFile
from autoscaler.rulefile.offered import Defaults, combinations
from autoscaler.types import Offer, OfferFault
from autoscaler.yamltree import Step, Tree

log = structlog.get_logger()

MOST = 200
"""Offers of one entry that are judged; they differ only in type, region, zone and purchase option."""
_MANY = {"type": "types", "region": "regions", "zone": "zones"}


def offer_faults(model: PoolFile, tree: Tree, defaults: Defaults, *, short: bool) -> list[Fault]:
    """Errors and warnings of all offers, each once. A short dialect has no place for settings, so there it is all
    warnings: another file, or the service's configuration, has to say what is missing."""
    found: dict[tuple[tuple[Step, ...], str], Fault] = {}
    for index, entry in enumerate(model.offers.from_):
        for provider, section in entry.items():
            if provider not in plugins.names("providers"):
                continue
            way: tuple[Step, ...] = ("offers", "from", index, provider)
            for offer in combinations(provider, section, model.replica.gpus, defaults)[:MOST]:
                for fault in _said(provider, offer):
                    place = _place(tree, way, fault.key, offer)
                    severity = "warning" if short else fault.severity
                    found.setdefault((place, fault.text), tree.fault(place, fault.text, severity=severity))
    return list(found.values())


def _said(provider: str, offer: Offer) -> Iterator[OfferFault]:
    try:
        kind = plugins.load("providers", provider)
    except InputError:
        return  # its package is broken; the service says so when it plugs it in
    ask = getattr(kind, "offer_faults", None)
    if ask is None:
        return
    try:
        yield from ask(offer)
    except Exception as error:
        log.exception("a provider's check of offers broke", provider=provider)
        text = f"provider {provider} could not check this offer ({type(error).__name__}); it is taken as it stands"
        yield OfferFault("", text, "warning")


def _place(tree: Tree, way: tuple[Step, ...], key: str, offer: Offer) -> tuple[Step, ...]:
    """The most precise place that the file has for a setting such as `subnet.us-east-1a` or `type`."""
    if not key:
        return way
    value = {"type": offer.type, "region": offer.region, "zone": offer.zone, "purchase": offer.purchase}.get(key)
    if value is not None:
        for name in (_MANY.get(key, key), key):
            if (*way, name) in tree.marks:
                for index in range(len(tree.marks)):
                    if (*way, name, index) not in tree.marks:
                        break
                    if _at(tree, (*way, name, index)) == value:
                        return (*way, name, index)
                return (*way, name)
        return way
    exact = (*way, *key.split(".", 1))
    return exact if exact in tree.marks else (*way, key.split(".", 1)[0])


def _at(tree: Tree, way: tuple[Step, ...]) -> object:
    value: object = tree.root
    for step in way:
        value = value[step]  # type: ignore[index]
    return value
