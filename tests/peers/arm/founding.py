"""PUT of a scale set that is not there: what Azure requires of its description, and how long it takes."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from tests.peers.arm.cloud import Cloud
from tests.peers.arm.resources import ApiError, Operation, ScaleSet


def create(
    cloud: Cloud, key: tuple[str, str, str], body: Mapping[str, Any], only_new: bool
) -> tuple[ScaleSet, Operation]:
    """key: subscription, resource group, name."""
    subscription, group, name = key
    if (subscription, group.lower(), name.lower()) in cloud.sets:
        code = "PreconditionFailed" if only_new else "OperationNotAllowed"
        raise ApiError(412 if only_new else 409, code, f"The scale set {name} exists.")
    profile = _required(body, "properties", "virtualMachineProfile")
    nic = _required(profile, "networkProfile", "networkInterfaceConfigurations")[0]
    _required(_required(nic, "properties", "ipConfigurations")[0], "properties", "subnet", "id")
    _required(profile, "osProfile", "linuxConfiguration", "ssh", "publicKeys")
    _required(profile, "storageProfile", "imageReference")
    if body["sku"]["capacity"] != 0:
        raise ApiError(400, "InvalidParameter", "this stand-in makes only empty scale sets")
    made = cloud.add_set(
        name,
        body["sku"]["name"],
        subscription=subscription,
        group=group,
        location=body["location"],
        zones=tuple(body.get("zones", ())),
        priority=profile.get("priority", "Regular"),
        eviction=profile.get("evictionPolicy", "Deallocate"),
    )
    made.tags, made.given, made.state = dict(body.get("tags") or {}), dict(body), "Creating"

    def finish() -> None:
        made.version += 1
        if cloud.unmade is not None:
            made.state, made.error = "Failed", cloud.unmade
            raise ApiError(400, *cloud.unmade)
        made.state = "Succeeded"

    return made, cloud.begin(made.location, cloud.create_s, finish)


def _required(body: Mapping[str, Any], *way: str) -> Any:
    value: Any = body
    for step in way:
        if step not in value:
            raise ApiError(400, "InvalidParameter", f"Required parameter '{'.'.join(way)}' is missing (null).")
        value = value[step]
    return value
