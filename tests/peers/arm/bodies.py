"""What the resources look like on the wire."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from tests.peers.arm.resources import Machine, Operation, ScaleSet, Size


def instant(at: float) -> str:
    return datetime.fromtimestamp(at, UTC).isoformat().replace("+00:00", "Z")


def path_of(one: ScaleSet) -> str:
    group = f"/subscriptions/{one.subscription}/resourceGroups/{one.group}"
    return f"{group}/providers/Microsoft.Compute/virtualMachineScaleSets/{one.name}"


def scale_set(one: ScaleSet) -> dict[str, Any]:
    return {
        "id": path_of(one),
        "name": one.name,
        "type": "Microsoft.Compute/virtualMachineScaleSets",
        "location": one.location,
        "tags": one.tags,
        "zones": list(one.zones) or None,
        "sku": {"name": one.size, "tier": "Standard", "capacity": one.capacity},
        "etag": one.etag,
        "properties": {
            "provisioningState": one.state,
            "overprovision": False,
            "orchestrationMode": "Uniform",
            "virtualMachineProfile": {"priority": one.priority, "evictionPolicy": one.eviction},
        },
    }


def set_view(one: ScaleSet, now: float) -> dict[str, Any]:
    return {"statuses": [_status(one.state, one.error, now)]}


def machine(one: ScaleSet, m: Machine, with_view: bool, host: str = "") -> dict[str, Any]:
    properties: dict[str, Any] = {
        "provisioningState": m.state,
        "vmId": f"00000000-0000-0000-0000-{int(m.id):012d}",
        "osProfile": {"computerName": host or f"{one.name[:9]}{int(m.id):06d}"},
    }
    if m.protected:
        properties["protectionPolicy"] = {"protectFromScaleIn": True, "protectFromScaleSetActions": False}
    if with_view:
        statuses = [_status(m.state, m.error, m.state_at)]
        if m.power:
            statuses.append({"code": f"PowerState/{m.power}", "level": "Info", "displayStatus": f"VM {m.power}"})
        properties["instanceView"] = {"statuses": statuses}
        if m.health:
            properties["instanceView"]["vmHealth"] = {"status": {"code": f"HealthState/{m.health}", "level": "Info"}}
    return {
        "id": f"{path_of(one)}/virtualMachines/{m.id}",
        "instanceId": m.id,
        "name": f"{one.name}_{m.id}",
        "location": one.location,
        "tags": m.tags,
        "zones": [m.zone] if m.zone else None,
        "sku": {"name": one.size, "tier": "Standard"},
        "etag": f'"{m.version}"',
        "properties": properties,
    }


def operation(op: Operation) -> dict[str, Any]:
    body: dict[str, Any] = {"name": op.id, "startTime": instant(op.started_at), "status": op.status}
    if op.status != "InProgress":
        body["endTime"] = instant(op.ends_at)
    if op.error is not None:
        # ARM nests: what a person can do something with often stands one level deeper.
        code, message = op.error
        body["error"] = {"code": code, "message": message, "details": [{"code": code, "message": message}]}
    return body


def _status(state: str, error: tuple[str, str] | None, at: float) -> dict[str, Any]:
    code = f"ProvisioningState/{state.lower()}" + (f"/{error[0]}" if error else "")
    said: dict[str, Any] = {"code": code, "level": "Error" if error else "Info", "time": instant(at)}
    return said | ({"message": error[1]} if error else {})


def sku(one: Size) -> dict[str, Any]:
    restrictions: list[dict[str, Any]] = []
    if one.closed:
        where: dict[str, Any] = {"locations": [one.location]}
        restrictions.append(
            {"type": "Location", "values": [one.location], "restrictionInfo": where, "reasonCode": one.closed}
        )
    if one.closed_zones:
        where = {"locations": [one.location], "zones": list(one.closed_zones)}
        reason = "NotAvailableForSubscription"
        restrictions.append({"type": "Zone", "values": [one.location], "restrictionInfo": where, "reasonCode": reason})
    capabilities = [{"name": "vCPUs", "value": str(one.vcpus)}]
    if one.gpus:
        capabilities.append({"name": "GPUs", "value": str(one.gpus)})
    return {
        "resourceType": "virtualMachines",
        "name": one.name,
        "family": one.family,
        "locations": [one.location],
        "locationInfo": [{"location": one.location, "zones": list(one.zones)}],
        "capabilities": capabilities,
        "restrictions": restrictions,
    }


def usage(family: str, current: int, limit: int) -> dict[str, Any]:
    name = {"value": family, "localizedValue": f"{family} vCPUs"}
    return {"unit": "Count", "currentValue": current, "limit": limit, "name": name}


def error(code: str, message: str) -> dict[str, Any]:
    return {"error": {"code": code, "message": message}}


def page(rows: list[dict[str, Any]], skip: int, size: int, link: str) -> dict[str, Any]:
    """One page; with a link to the next while there is one."""
    body: dict[str, Any] = {"value": rows[skip : skip + size]}
    if skip + size < len(rows):
        body["nextLink"] = f"{link}&$skiptoken={skip + size}"
    return body
