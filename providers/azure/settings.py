"""What an offer of the rule file says to the Azure provider, checked."""

from __future__ import annotations

import difflib
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from autoscaler.errors import ProviderError
from autoscaler.types import Offer, OfferFault
from providers import bootstrap
from providers.azure import making

SETTINGS: dict[str, str] = {
    "scale_set": "name of the scale set that grows; it must exist, or be made with `create`. One scale set serves one "
    "pool and one offer",
    "resource_group": "its resource group, one that the provider watches; default: the provider's `resource_group`",
    "subscription": "its subscription id, one that the provider watches; default: the provider's `subscription`",
    "port": "port on which a machine serves; default 8000",
    "ready": "path that answers 2xx when a machine serves; health: Azure's application health extension says so; "
    "running: as soon as it runs. Default /health",
    "dns_suffix": "appended to a machine's computer name to form its address; default: the bare name",
    "gpus": "GPUs of one machine, read by the planner; Azure is not told",
    **making.SETTINGS,
    **bootstrap.SETTINGS,
}
"""Every setting of an offer, and what it means; docs/azure.md repeats it."""

_NAMES = re.compile(r"[A-Za-z0-9._()-]{1,90}")
_SIZE = re.compile(r"[A-Za-z0-9_-]{2,80}")
_SUFFIX = re.compile(r"[A-Za-z0-9.-]{0,200}")
_PATH = re.compile(r"/[!-~]{0,100}")
_PREFIX = "Standard_"
UNKNOWN = "?"


@dataclass(frozen=True, slots=True)
class SetRef:
    """Which scale set. Azure's names do not tell capitals apart; ours have none."""

    subscription: str
    group: str
    name: str

    def __str__(self) -> str:
        return f"{self.group}/{self.name}"


@dataclass(frozen=True, slots=True)
class Order:
    """An offer, understood: which scale set grows, and what its machines are. made: how it is made where there is none;
    None = it must exist."""

    ref: SetRef
    offer: Offer
    size: str
    port: int
    dns_suffix: str
    ready: str
    made: making.Made | None = None


def size_of(name: str) -> str:
    """Azure's own name of a size: NC6s_v3, standard_nc6s_v3 and Standard_NC6s_v3 are the same."""
    bare = name[len(_PREFIX) :] if name.lower().startswith(_PREFIX.lower()) else name
    return _PREFIX + bare


def same_size(one: str, other: str) -> bool:
    """Azure's names do not tell capitals apart."""
    return size_of(one).lower() == size_of(other).lower()


def order(offer: Offer, subscription: str, resource_group: str) -> Order:
    """An offer with the provider's defaults. Raises ProviderError that lists everything that is wrong."""
    faults: list[OfferFault] = []
    found = _order(offer, subscription, resource_group, faults)
    if faults:
        raise ProviderError(f"{offer.key}: " + "; ".join(fault.text for fault in faults))
    return found


def offer_faults(offer: Offer) -> tuple[OfferFault, ...]:
    """Everything that is wrong with an offer, without asking anybody; the configuration may name what it leaves out."""
    faults: list[OfferFault] = []
    _order(offer, UNKNOWN, UNKNOWN, faults)
    return tuple(faults)


def _order(offer: Offer, subscription: str, resource_group: str, faults: list[OfferFault]) -> Order:
    given = dict(offer.settings)
    faults += [
        OfferFault(name, f"{name!r} is no setting of an azure offer{_close(name)}")
        for name in given
        if (name.partition(".")[0] if name.partition(".")[0] in bootstrap.SECTIONS else name) not in SETTINGS
    ]
    if not _SIZE.fullmatch(offer.type):
        faults.append(OfferFault("type", f"{offer.type!r} is no size of Azure's; write one like NC24ads_A100_v4"))
    ref = _ref(given, subscription, resource_group, faults)
    port, suffix, ready = _reached(given, faults)
    if offer.purchase == "reserved":
        text = "purchase 'reserved' is unknown to scale sets: Azure applies reservations by itself; write on_demand"
        faults.append(OfferFault("purchase", text))
    if len(offer.key) > 256:
        faults.append(OfferFault("", "its name is longer than the 256 characters that a tag of Azure's holds"))
    made = making.read(offer, faults)
    if made is not None:
        faults += bootstrap.offer_faults(offer, port=port, ready=ready if ready.startswith("/") else "/health")
    return Order(ref, offer, size_of(offer.type), port, suffix, ready, made)


def _ref(given: Mapping[str, str], subscription: str, resource_group: str, faults: list[OfferFault]) -> SetRef:
    found = {
        "subscription": given.get("subscription", subscription),
        "resource_group": given.get("resource_group", resource_group),
        "scale_set": given.get("scale_set", ""),
    }
    for name, value in found.items():
        if not value:
            # A file may be written before the machines are described; what is launched must name them.
            severity: Literal["error", "warning"] = "warning" if not given else "error"
            faults.append(OfferFault("", f"{name} is missing; add '{name}: NAME' to the offer", severity))
        elif value != UNKNOWN and not _NAMES.fullmatch(value):
            text = f"{name} {value!r} is no name of Azure's; write letters, digits, '-', '_', '.'"
            faults.append(OfferFault(name, text))
    return SetRef(found["subscription"], found["resource_group"].lower(), found["scale_set"].lower())


def _reached(given: Mapping[str, str], faults: list[OfferFault]) -> tuple[int, str, str]:
    """Port, domain and readiness."""
    port = "8000"
    try:
        port = bootstrap.port_of(given)
    except ValueError as error:
        faults.append(OfferFault("port", f"port {error}"))
    if not (port.isascii() and port.isdigit() and 1 <= int(port) <= 65535):
        faults.append(OfferFault("port", f"port {port!r} is no port; write a number from 1 to 65535"))
        port = "8000"
    suffix = given.get("dns_suffix", "").lstrip(".")
    if not _SUFFIX.fullmatch(suffix):
        faults.append(OfferFault("dns_suffix", f"dns_suffix {suffix!r} is no domain; write one like internal.example"))
    ready = given.get("ready", "/health")
    if not (ready in ("health", "running") or _PATH.fullmatch(ready)):
        text = f"ready {ready!r} is neither a path nor health nor running; write one like /health"
        faults.append(OfferFault("ready", text))
    return int(port), suffix, ready


def _close(name: str) -> str:
    close = difflib.get_close_matches(name, SETTINGS, n=1)
    return f"; did you mean {close[0]}?" if close else f"; known are {', '.join(SETTINGS)}"
