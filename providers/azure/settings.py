"""What an offer of the rule file says to the Azure provider, checked."""

from __future__ import annotations

import difflib
import re
from dataclasses import dataclass

from autoscaler.errors import ProviderError
from autoscaler.types import Offer

SETTINGS: dict[str, str] = {
    "scale_set": "name of the scale set that grows; it must exist. One scale set serves one pool and one offer",
    "resource_group": "its resource group, one that the provider watches; default: the provider's `resource_group`",
    "subscription": "its subscription id, one that the provider watches; default: the provider's `subscription`",
    "port": "port on which a machine serves; default 8000",
    "ready": "path that answers 2xx when a machine serves; health: Azure's application health extension says so; "
    "running: as soon as it runs. Default /health",
    "dns_suffix": "appended to a machine's computer name to form its address; default: the bare name",
    "gpus": "GPUs of one machine, read by the planner; Azure is not told",
}
"""Every setting of an offer, and what it means; docs/azure.md repeats it."""

_NAMES = re.compile(r"[A-Za-z0-9._()-]{1,90}")
_SUFFIX = re.compile(r"[A-Za-z0-9.-]{0,200}")
_PATH = re.compile(r"/[!-~]{0,100}")
_PREFIX = "Standard_"


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
    """An offer, understood: which scale set grows, and what its machines are."""

    ref: SetRef
    offer: Offer
    size: str
    port: int
    dns_suffix: str
    ready: str


def size_of(name: str) -> str:
    """Azure's own name of a size: NC6s_v3, standard_nc6s_v3 and Standard_NC6s_v3 are the same."""
    bare = name[len(_PREFIX) :] if name.lower().startswith(_PREFIX.lower()) else name
    return _PREFIX + bare


def same_size(one: str, other: str) -> bool:
    """Azure's names do not tell capitals apart."""
    return size_of(one).lower() == size_of(other).lower()


def order(offer: Offer, subscription: str, resource_group: str) -> Order:
    """An offer with the provider's defaults. Raises ProviderError that lists everything that is wrong."""
    given = dict(offer.settings)
    faults = [f"{name!r} is no setting of an azure offer{_close(name)}" for name in given if name not in SETTINGS]
    found = {
        "subscription": given.get("subscription", subscription),
        "resource_group": given.get("resource_group", resource_group),
        "scale_set": given.get("scale_set", ""),
    }
    for name, value in found.items():
        if not value:
            faults.append(f"{name} is missing; add '{name}: NAME' to the offer")
        elif not _NAMES.fullmatch(value):
            faults.append(f"{name} {value!r} is no name of Azure's; write letters, digits, '-', '_', '.'")
    port = given.get("port", "8000")
    if not (port.isascii() and port.isdigit() and 1 <= int(port) <= 65535):
        faults.append(f"port {port!r} is no port; write a number from 1 to 65535")
    suffix = given.get("dns_suffix", "").lstrip(".")
    if not _SUFFIX.fullmatch(suffix):
        faults.append(f"dns_suffix {suffix!r} is no domain; write one like internal.example")
    ready = given.get("ready", "/health")
    if not (ready in ("health", "running") or _PATH.fullmatch(ready)):
        faults.append(f"ready {ready!r} is neither a path nor health nor running; write one like /health")
    if offer.purchase == "reserved":
        faults.append(
            "purchase 'reserved' is unknown to scale sets: Azure applies reservations by itself; write on_demand"
        )
    if len(offer.key) > 256:
        faults.append("its name is longer than the 256 characters that a tag of Azure's holds")
    if faults:
        raise ProviderError(f"{offer.key}: " + "; ".join(faults))
    ref = SetRef(found["subscription"], found["resource_group"].lower(), found["scale_set"].lower())
    return Order(ref, offer, size_of(offer.type), int(port), suffix, ready)


def _close(name: str) -> str:
    close = difflib.get_close_matches(name, SETTINGS, n=1)
    return f"; did you mean {close[0]}?" if close else f"; known are {', '.join(SETTINGS)}"
