"""What a launch of an offer hands to its machine: from the settings of the offer to the document."""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from autoscaler.errors import InputError
from autoscaler.types import Offer, OfferFault
from providers.bootstrap.render import render
from providers.bootstrap.settings import Finding, Reader, Values, flattened
from providers.bootstrap.template import own_template, read_template

OWN = "default"
SETTINGS: Mapping[str, str] = {
    "bootstrap": f"file of a cloud-init template, or `{OWN}` for ours; see bootstrap.md",
    "serve": "a mapping: the command that serves, as a service of the machine; see bootstrap.md",
    "agent": "a mapping: how the machine's agent is installed and where it pushes; see bootstrap.md",
}
"""Settings of an offer that are about the first boot."""
SECTIONS = ("serve", "agent")
"""Those of them that are mappings."""
_NOTHING = "has nothing to start; write serve or agent beside it, or into the provider's configuration"


@dataclass(frozen=True, slots=True)
class Defaults:
    """What the provider's configuration says for all its offers; an offer's own words win, key by key."""

    bootstrap: Path | None = None
    serve: Mapping[str, Any] = field(default_factory=dict)
    agent: Mapping[str, Any] = field(default_factory=dict)

    def filled(self, offer: Offer) -> Offer:
        """The offer with what it leaves open."""
        ours = {**dict(flattened("serve", self.serve)), **dict(flattened("agent", self.agent))}
        if self.bootstrap is not None:
            ours["bootstrap"] = str(self.bootstrap)
        left = ours.keys() - dict(offer.settings).keys()
        return replace(offer, settings=(*offer.settings, *((name, ours[name]) for name in sorted(left))))


def user_data(pool: str, offer: Offer, *, port: int = 8000, ready: str = "/health") -> str | None:
    """The document of a machine of the offer; None where nobody asks for one. The same for the same words and files.

    port, ready: where and how it serves. Raises InputError with everything that is wrong.
    """
    given = _given(offer)
    if not given:
        return None
    values, faults = _values(pool, offer, given, port, ready)
    file = given.get("bootstrap", OWN)
    if file == OWN and values.serve is None and values.agent is None and not faults:
        faults.append(("bootstrap", _NOTHING))
    if faults:
        raise InputError(*(f"{name}: {text}" for name, text in faults))
    return render(own_template() if file == OWN else read_template(Path(file)), values)


def offer_faults(offer: Offer, *, port: int = 8000, ready: str = "/health") -> list[OfferFault]:
    """What is wrong with the settings of an offer about the first boot, for a check before anything is launched.

    What the provider's configuration may make good is a warning.
    """
    given = _given(offer)
    if not given:
        return []
    values, found = _values("pool", offer, given, port, ready)
    if found:
        return [_fault(name, text) for name, text in found]
    file = given.get("bootstrap", OWN)
    if file == OWN and values.serve is None and values.agent is None:
        return [OfferFault("bootstrap", f"bootstrap {_NOTHING}", "warning")]
    try:
        render(own_template() if file == OWN else read_template(Path(file)), values)
    except InputError as error:
        return [_fault("bootstrap", fault.text.removeprefix("bootstrap: ")) for fault in error.faults]
    return []


def port_of(settings: Mapping[str, str]) -> str:
    """Where the replicas serve: `port` of the offer, or of its `serve`. Raises ValueError when the two differ."""
    own, inner = settings.get("port"), settings.get("serve.port")
    if own is not None and inner is not None and own != inner:
        raise ValueError(f"is {own} here and {inner} in serve; keep one of the two")
    return own or inner or "8000"


def _fault(name: str, text: str) -> OfferFault:
    # Both may be made good by the configuration of the provider.
    curable = text.startswith("is missing") or "has no value" in text
    return OfferFault(name, text if name == "bootstrap" else f"{name}: {text}", "warning" if curable else "error")


def _given(offer: Offer) -> dict[str, str]:
    return {name: text for name, text in offer.settings if name.partition(".")[0] in SETTINGS}


def _azure_name(offer: Offer) -> str:
    """Prints the name that the provider knows a machine of Azure's by: its computer name, with the offer's suffix."""
    suffix = dict(offer.settings).get("dns_suffix", "").lstrip(".")
    return f'echo "$(hostname)"{shlex.quote("." + suffix)}' if suffix else "hostname"


def _values(pool: str, offer: Offer, given: Mapping[str, str], port: int, ready: str) -> tuple[Values, list[Finding]]:
    reader = Reader(given, offer.provider)
    reader.faults += [
        (name, "is a single word where a mapping belongs; write keys below it") for name in SECTIONS if name in given
    ]
    home = reader.home()
    serve, agent = reader.serve(), reader.agent(home)
    if agent is not None and not agent.address and offer.provider == "azure":
        agent = replace(agent, address=_azure_name(offer))
    if serve is not None and not 1 <= port <= 65535:
        reader.faults.append(("serve.port", f"{port} is not a port; write 1 to 65535"))
    values = Values(
        pool=pool,
        offer=offer.key,
        provider=offer.provider,
        type=offer.type,
        region=offer.region,
        zone=offer.zone,
        purchase=offer.purchase,
        replicas=offer.replicas,
        port=port,
        ready=ready,
        home=home,
        serve=serve,
        agent=agent,
    )
    return values, reader.faults
