"""Scale sets that the provider makes where an offer asks for it: from the offer's settings to the resource.

    - azure: {type: NC24ads_A100_v4, region: eastus, scale_set: chat-a100, create: true,
              image: "microsoft-dsvm:ubuntu-hpc:2204:latest", subnet: /subscriptions/.../subnets/gpus}

It is made empty; machines come with orders, as in any other scale set. One that exists is never changed by it.
"""

from __future__ import annotations

import re
import shlex
from base64 import b64encode
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from autoscaler import units
from autoscaler.errors import ProviderError
from autoscaler.types import Offer, OfferFault
from providers.offersettings import read_setting

SETTINGS: dict[str, str] = {
    "create": "`true`: the scale set is made when there is none of that name; the settings below describe it",
    "image": "its image: the resource id of one, or publisher:offer:sku:version; needed with `create`",
    "subnet": "resource id of the subnet of its machines; needed with `create`",
    "security_group": "resource id of their network security group; default: the subnet's",
    "spread": "zones that it spreads its machines over, such as [1, 2, 3]; default: the offer's zone, or none",
    "eviction": "what becomes of a spot machine that Azure takes back: Deallocate (default; its disk stays) or Delete",
    "max_price": "the most that a spot machine may cost, such as `1.9 USD/h`; default: up to the price on demand",
    "ssh_key": "file of the public key that may log in; default: a key that nobody has, so nobody can",
    "admin_user": "who logs in with that key; default sigmascale",
    "identity": "resource id of the managed identity of its machines, or `system`; default: none",
    "disk": "size of the disk of the system, such as `256GiB`; default: as large as the image says",
    "single_placement_group": "`true` (default): its machines stand close together, as InfiniBand needs it, and "
    "are at most 100; `false`: up to 1,000",
    "disk_type": "Premium_LRS (default), StandardSSD_LRS, Premium_ZRS or StandardSSD_ZRS",
}
_URN = re.compile(r"[\w.-]+:[\w.-]+:[\w.-]+:[\w.-]+")
_ID = re.compile(r"/(subscriptions|communityGalleries|sharedGalleries)/[\w./()-]{1,400}", re.IGNORECASE)
_USER = re.compile(r"[a-z_][a-z0-9_-]{0,31}")
_KEY = re.compile(r"(ssh-(rsa|ed25519)|ecdsa-sha2-nistp\d+) [A-Za-z0-9+/=]{40,4000}( .*)?")
_DISKS = ("Premium_LRS", "StandardSSD_LRS", "Premium_ZRS", "StandardSSD_ZRS")
_EVICTIONS = ("Deallocate", "Delete")
MADE = "sigmascale-made"
"""The tag of a scale set that we made."""
_MOST_CUSTOM_DATA = 64 * 1024
"""Bytes of custom data in base64 (limit of Azure)."""


@dataclass(frozen=True, slots=True)
class Made:
    """How a scale set is made. max_price: -1 = up to the price on demand. disk_gib: None = as the image says. together:
    in one placement group."""

    image: str
    subnet: str
    security_group: str
    zones: tuple[str, ...]
    eviction: str
    max_price: float
    ssh_key: str
    admin_user: str
    identity: str
    disk_gib: int | None
    disk_type: str
    together: bool


def read(offer: Offer, faults: list[OfferFault]) -> Made | None:
    """The settings that describe a new scale set; None where none is to be made. `faults` gets what is wrong."""
    given = dict(offer.settings)
    if not read_setting(given, "create", units.flag, False, faults):
        faults += [
            OfferFault(name, f"{name} describes a scale set that is made; write create: true beside it, or delete it")
            for name in given
            if name in SETTINGS and name != "create"
        ]
        return None
    for name in ("image", "subnet"):
        if not given.get(name):
            faults.append(OfferFault("create", f"create needs {name}: {SETTINGS[name].partition(';')[0]}"))
    if not offer.region:
        faults.append(OfferFault("create", "create needs region, where the scale set is made"))
    spread = tuple(shlex.split(given.get("spread", "")))
    if offer.zone and spread:
        faults.append(OfferFault("spread", "spread stands beside zone; keep one of the two"))
    disk = read_setting(given, "disk", units.size_bytes, None, faults)
    return Made(
        image=read_setting(given, "image", _image, "", faults),
        subnet=read_setting(given, "subnet", _resource, "", faults),
        security_group=read_setting(given, "security_group", _resource, "", faults),
        zones=spread or ((offer.zone,) if offer.zone else ()),
        eviction=read_setting(given, "eviction", lambda text: _one_of(text, _EVICTIONS), "Deallocate", faults),
        max_price=read_setting(given, "max_price", units.usd_per_hour, -1.0, faults),
        ssh_key=given.get("ssh_key", ""),
        admin_user=read_setting(given, "admin_user", _user, "sigmascale", faults),
        identity=read_setting(
            given, "identity", lambda text: text if text == "system" else _resource(text), "", faults
        ),
        disk_gib=max(1, round(disk / 2**30)) if disk is not None else None,
        disk_type=read_setting(given, "disk_type", lambda text: _one_of(text, _DISKS), "Premium_LRS", faults),
        together=read_setting(given, "single_placement_group", units.flag, True, faults),
    )


def resource(made: Made, offer: Offer, size: str, tags: Mapping[str, str], custom_data: str | None) -> dict[str, Any]:
    """The scale set as Azure takes it: empty, Uniform, with no more machines than asked for and no upgrade by itself.

    Raises ProviderError when a file that it needs cannot be used.
    """
    os_disk: dict[str, Any] = {"createOption": "FromImage", "managedDisk": {"storageAccountType": made.disk_type}}
    if made.disk_gib is not None:
        os_disk["diskSizeGB"] = made.disk_gib
    address: dict[str, Any] = {"name": "ip", "properties": {"subnet": {"id": made.subnet}}}
    network: dict[str, Any] = {"primary": True, "ipConfigurations": [address]}
    if made.security_group:
        network["networkSecurityGroup"] = {"id": made.security_group}
    profile: dict[str, Any] = {
        "priority": "Spot" if offer.purchase == "spot" else "Regular",
        "storageProfile": {"imageReference": _reference(made.image), "osDisk": os_disk},
        "osProfile": _login(made, custom_data),
        "networkProfile": {"networkInterfaceConfigurations": [{"name": "nic", "properties": network}]},
    }
    if offer.purchase == "spot":
        profile |= {"evictionPolicy": made.eviction, "billingProfile": {"maxPrice": made.max_price}}
    body: dict[str, Any] = {
        "location": offer.region,
        "tags": {**tags, MADE: "1"},
        "sku": {"name": size, "tier": "Standard", "capacity": 0},
        "properties": {
            "orchestrationMode": "Uniform",
            "overprovision": False,
            "singlePlacementGroup": made.together,
            "upgradePolicy": {"mode": "Manual"},
            "virtualMachineProfile": profile,
        },
    }
    if made.zones:
        body["zones"] = list(made.zones)
    if made.identity == "system":
        body["identity"] = {"type": "SystemAssigned"}
    elif made.identity:
        body["identity"] = {"type": "UserAssigned", "userAssignedIdentities": {made.identity: {}}}
    return body


def _login(made: Made, custom_data: str | None) -> dict[str, Any]:
    key = _key_of(Path(made.ssh_key)) if made.ssh_key else _nobodys_key()
    place = f"/home/{made.admin_user}/.ssh/authorized_keys"
    login: dict[str, Any] = {
        "computerNamePrefix": "gpu",
        "adminUsername": made.admin_user,
        "linuxConfiguration": {
            "disablePasswordAuthentication": True,
            "ssh": {"publicKeys": [{"path": place, "keyData": key}]},
        },
    }
    if custom_data is not None:
        text = b64encode(custom_data.encode()).decode("ascii")
        if len(text) > _MOST_CUSTOM_DATA:
            raise ProviderError(
                f"the bootstrap document has {len(text)} bytes in base64, Azure takes 65536; shorten it"
            )
        login["customData"] = text
    return login


def _key_of(file: Path) -> str:
    try:
        text = file.expanduser().read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError) as error:
        raise ProviderError(f"ssh_key {file}: cannot be read ({error}); name the file of a public key") from None
    if not _KEY.fullmatch(text):
        raise ProviderError(f"ssh_key {file}: holds no public key; name a file that begins with ssh-ed25519 or ssh-rsa")
    return text


def _nobodys_key() -> str:
    """A public key whose private part is thrown away: Azure makes no Linux machine without a way to log in."""
    from cryptography.hazmat.primitives import serialization
    from cryptography.hazmat.primitives.asymmetric.rsa import generate_private_key

    public = generate_private_key(public_exponent=65537, key_size=2048).public_key()
    encoding, form = serialization.Encoding.OpenSSH, serialization.PublicFormat.OpenSSH
    return public.public_bytes(encoding, form).decode("ascii")


def _reference(image: str) -> dict[str, str]:
    if not image.startswith("/"):
        return dict(zip(("publisher", "offer", "sku", "version"), image.split(":"), strict=True))
    kinds = {"/communitygalleries/": "communityGalleryImageId", "/sharedgalleries/": "sharedGalleryImageId"}
    return {next((kind for start, kind in kinds.items() if image.lower().startswith(start)), "id"): image}


def _image(text: str) -> str:
    if not (_URN.fullmatch(text) or _ID.fullmatch(text)):
        raise ValueError(f"{text!r} is no image; write its resource id or publisher:offer:sku:version")
    return text


def _resource(text: str) -> str:
    if not _ID.fullmatch(text):
        raise ValueError(f"{text!r} is no resource id; write one like /subscriptions/ID/resourceGroups/GROUP/...")
    return text


def _identity(text: str) -> str:
    return text if text == "system" else _resource(text)


def _user(text: str) -> str:
    if not _USER.fullmatch(text) or text in ("root", "admin", "administrator"):
        raise ValueError(f"{text!r} is no user that Azure takes; write one like gpu-ops")
    return text


def _one_of(text: str, known: tuple[str, ...]) -> str:
    if text not in known:
        raise ValueError(f"{text!r} is not one of {', '.join(known)}")
    return text
