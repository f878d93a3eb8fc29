"""What an offer of a rule file asks of EC2: its settings, checked, and the parameters of the RunInstances call.

offers:
  from:
    - aws: {types: [p4d.24xlarge], regions: us-east-1, zones: [us-east-1a, us-east-1b], purchase: [spot, on_demand],
            launch_template: gpu-serving, subnet: {us-east-1a: subnet-1a, us-east-1b: subnet-1b}}
"""

from __future__ import annotations

import difflib
import hashlib
import re
import shlex
from collections.abc import Mapping
from functools import cache
from typing import Any

from autoscaler import units
from autoscaler.errors import InputError, ProviderError
from autoscaler.types import Launch, Offer, OfferFault
from providers import bootstrap
from providers.aws import marks
from providers.catalog import read_catalog
from providers.offersettings import read_setting

SETTINGS: Mapping[str, str] = {
    "launch_template": "id (`lt-...`) or name of the launch template that describes the machine",
    "launch_template_version": "its version; `$Default` when left out",
    "image": "AMI id; needed without a launch template, replaces the template's otherwise",
    "subnet": "subnet id, or a mapping of zones to subnet ids",
    "security_groups": "security group ids",
    "key": "name of the key pair",
    "iam_profile": "name or ARN of the instance profile",
    "placement_group": "name of the placement group",
    "reservation": "id (`cr-...`) of the capacity reservation, or ARN of a group; needed for `purchase: reserved`",
    "capacity_block": "`true`: the reservation is a Capacity Block for ML",
    "max_price": "the most that a spot instance may cost, such as `9 USD/h`; the on-demand price when left out",
    "hibernate": "`true`: stopping keeps the memory on disk; image and template must allow it",
    "port": "port at which its replicas serve; 8000 when left out",
    "ready": "path that answers 2xx when replicas serve, `checks` for EC2's status checks, or `running`; "
    "`/health` when left out",
    "gpus": "GPUs of one instance, for types that the catalogue does not list",
    "tags": "a mapping of further tags",
    **bootstrap.SETTINGS,
}
"""Settings of an offer, and what each means; docs/aws.md says the same."""
_MAPPINGS = ("subnet", "tags", *bootstrap.SECTIONS)
_LONGEST_TOKEN = 64
_PROBE = re.compile(r"/[\w+\-=.:/@]{0,200}|checks|running")


def parameters(launch: Launch, owner: str) -> dict[str, Any]:
    """Of RunInstances, the same for the same action and owner for ever. Raises ProviderError, which names everything
    that is wrong with the offer."""
    offer = launch.offer
    settings = dict(offer.settings)
    faults: list[OfferFault] = []
    described, port, probe = _described(offer, settings, faults)
    if launch.into == "warm" and offer.purchase == "spot":
        text = "a spot instance cannot be stopped, so it cannot wait in the warm pool; use on_demand"
        faults.append(OfferFault("purchase", text))
    if faults:
        raise ProviderError(f"launch {launch.id} of {offer.key}: " + "; ".join(f.text for f in faults))
    made: dict[str, Any] = {"ClientToken": token(launch.id), "MinCount": 1, "MaxCount": 1, **described}
    made |= _first_boot(launch, port, probe)
    more = {name.removeprefix("tags."): value for name, value in settings.items() if name.startswith("tags.")}
    tags = marks.as_list({**more, **marks.ordered(launch, owner, port, probe)})
    kinds = ["instance", "volume", *(["spot-instances-request"] if offer.purchase == "spot" else [])]
    made["TagSpecifications"] = [{"ResourceType": kind, "Tags": tags} for kind in kinds]
    return made


def offer_faults(offer: Offer) -> tuple[OfferFault, ...]:
    """Everything that is wrong with an offer, without asking anybody."""
    faults: list[OfferFault] = []
    _described(offer, dict(offer.settings), faults)
    return tuple(faults)


def _described(offer: Offer, settings: Mapping[str, str], faults: list[OfferFault]) -> tuple[dict[str, Any], int, str]:
    """The parameters that describe the machine, its port and its probe; `faults` gets what is wrong."""
    faults += [*_unknown(settings), *_wrong_type(offer, settings), *_left_out(settings)]
    port = read_setting({**settings, "port": _port_text(settings, faults)}, "port", _port, 8000, faults)
    probe = read_setting(settings, "ready", _probe, "/health", faults)
    faults += bootstrap.offer_faults(offer, port=port, ready=probe)
    made: dict[str, Any] = {
        "InstanceType": offer.type,
        **_machine(settings, faults),
        **_place(offer, settings, faults),
        **_purchase(offer, settings, faults),
    }
    if read_setting(settings, "hibernate", units.flag, False, faults):
        made["HibernationOptions"] = {"Configured": True}
    return made, port, probe


def token(action: str) -> str:
    """The client token of an action: its id, which is scoped to attempt, type, zone and purchase option already."""
    return action if len(action) <= _LONGEST_TOKEN and action.isascii() else hashlib.sha256(action.encode()).hexdigest()


def _unknown(settings: Mapping[str, str]) -> list[OfferFault]:
    faults = []
    for name in settings:
        first, _, rest = name.partition(".")
        if first in SETTINGS and (not rest or first in _MAPPINGS) and name != "tags":
            continue
        close = difflib.get_close_matches(first, SETTINGS, n=1)
        hint = f"did you mean {close[0]}?" if close else f"known are {', '.join(SETTINGS)}"
        faults.append(OfferFault(name, f"{name!r} is not a setting of an aws offer; {hint}"))
    ours = [n for n in settings if n.startswith(f"tags.{marks.PREFIX}")]
    return faults + [OfferFault(n, f"{n!r} is a tag of ours; choose another name") for n in ours]


@cache
def _types() -> frozenset[str]:
    return frozenset(m.type for m in read_catalog() if m.provider == "aws")


def _wrong_type(offer: Offer, settings: Mapping[str, str]) -> list[OfferFault]:
    """A type that nobody described may have no GPU at all, or not exist."""
    if offer.type in _types() or settings.get("gpus", "0") not in ("", "0"):
        return []
    close = difflib.get_close_matches(offer.type, _types(), n=1)
    hint = f"did you mean {close[0]}? If it exists, " if close else ""
    text = f"type {offer.type!r} is not in the catalogue of GPU types; {hint}write `gpus` beside it"
    return [OfferFault("type", text)]


def _left_out(settings: Mapping[str, str]) -> list[OfferFault]:
    if settings.get("launch_template") or settings.get("image"):
        return []
    # A warning until it is launched, since the provider's configuration may name a template for all offers.
    return [OfferFault("", "write launch_template or image, so that EC2 knows what to start", "warning")]


def _machine(settings: Mapping[str, str], faults: list[OfferFault]) -> dict[str, Any]:
    made: dict[str, Any] = {}
    template = settings.get("launch_template")
    if template:
        kind = "LaunchTemplateId" if template.startswith("lt-") else "LaunchTemplateName"
        version = settings.get("launch_template_version", "$Default")
        made["LaunchTemplate"] = {kind: template, "Version": version}
    elif "launch_template_version" in settings:
        text = "launch_template_version stands without launch_template; write both"
        faults.append(OfferFault("launch_template_version", text))
    if image := settings.get("image"):
        made["ImageId"] = image
    if key := settings.get("key"):
        made["KeyName"] = key
    if groups := settings.get("security_groups"):
        made["SecurityGroupIds"] = shlex.split(groups)
    if profile := settings.get("iam_profile"):
        made["IamInstanceProfile"] = {"Arn" if profile.startswith("arn:") else "Name": profile}
    return made


def _place(offer: Offer, settings: Mapping[str, str], faults: list[OfferFault]) -> dict[str, Any]:
    made: dict[str, Any] = {}
    by_zone = {n.removeprefix("subnet."): value for n, value in settings.items() if n.startswith("subnet.")}
    subnet = settings.get("subnet")
    if by_zone and offer.zone not in by_zone:
        zones = ", ".join(sorted(by_zone))
        text = f"subnet has none for zone {offer.zone!r}, only for {zones}; write the zones or add the subnet"
        faults.append(OfferFault("subnet", text))
    subnet = by_zone.get(offer.zone, subnet)
    if subnet:
        made["SubnetId"] = subnet
    placement = {"AvailabilityZone": offer.zone, "GroupName": settings.get("placement_group", "")}
    if any(placement.values()):
        made["Placement"] = {name: value for name, value in placement.items() if value}
    return made


def _purchase(offer: Offer, settings: Mapping[str, str], faults: list[OfferFault]) -> dict[str, Any]:
    """One-time spot requests that end with their instance: a persistent one would buy again behind the loop's back."""
    made: dict[str, Any] = {}
    price = read_setting(settings, "max_price", units.usd_per_hour, None, faults)
    block = read_setting(settings, "capacity_block", units.flag, False, faults)
    match offer.purchase:
        case "spot":
            spot: dict[str, Any] = {"SpotInstanceType": "one-time", "InstanceInterruptionBehavior": "terminate"}
            if price is not None:
                spot["MaxPrice"] = f"{price:.10g}"
            made["InstanceMarketOptions"] = {"MarketType": "spot", "SpotOptions": spot}
        case "reserved":
            reservation = settings.get("reservation", "")
            if not reservation:
                text = "purchase reserved needs reservation, the id of a capacity reservation (cr-...)"
                faults.append(OfferFault("purchase", text))
            kind = "CapacityReservationResourceGroupArn" if reservation.startswith("arn:") else "CapacityReservationId"
            made["CapacityReservationSpecification"] = {"CapacityReservationTarget": {kind: reservation}}
            if block:
                made["InstanceMarketOptions"] = {"MarketType": "capacity-block"}
    return made


def _first_boot(launch: Launch, port: int, probe: str) -> dict[str, str]:
    """What the machine is told; it takes the place of what the launch template says. The SDK writes it in base64."""
    try:
        text = bootstrap.user_data(launch.pool, launch.offer, port=port, ready=probe)
    except InputError as error:
        raise ProviderError(f"launch {launch.id} of {launch.offer.key}: {error}") from None
    return {} if text is None else {"UserData": text}


def _port_text(settings: Mapping[str, str], faults: list[OfferFault]) -> str:
    try:
        return bootstrap.port_of(settings)
    except ValueError as error:
        faults.append(OfferFault("port", f"port: {error}"))
        return settings["port"]


def _port(text: str) -> int:
    port = units.count(text)
    if not 1 <= port <= 65535:
        raise ValueError(f"{text!r} is not a port; write 1 to 65535")
    return port


def _probe(text: str) -> str:
    if not _PROBE.fullmatch(text):
        raise ValueError(f"{text!r} is neither a path such as /health nor checks nor running")
    return text
