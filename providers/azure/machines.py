"""Machines of a scale set as the fleet knows them."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Literal

from autoscaler.errors import ProviderError
from autoscaler.types import Instance, InstanceState, Operate
from providers.azure.orders import POOL, ROLE, TAG, Entry, Terms
from providers.azure.settings import Order, SetRef, same_size

Role = Literal["serving", "draining", "warm"]
ACTION, SINCE, AT, APPLIED = TAG + "action", TAG + "since", TAG + "at", TAG + "applied"
READY = TAG + "ready"
_REMEMBERED = 18
"""How many actions a machine remembers: 18 marks of 12 characters and a space fit into one tag."""


@dataclass(frozen=True, slots=True)
class SetSeen:
    """A scale set as Azure shows it. state: Azure's provisioning state; `failure` its code when that is Failed."""

    ref: SetRef
    etag: str
    location: str
    zones: tuple[str, ...]
    size: str
    spot: bool
    capacity: int
    state: str
    tags: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class MachineSeen:
    """A machine as Azure shows it. power: running, starting, stopped, deallocated, deallocating, "" = not known yet.
    health: of the application health extension, "" = there is none. state_at: of the newest status, None = not told."""

    id: str
    etag: str
    state: str
    power: str
    health: str
    host: str
    protected: bool
    tags: Mapping[str, str]
    state_at: float | None = None
    code: str = ""
    text: str = ""


@dataclass(frozen=True, slots=True)
class Label:
    """What we keep of a machine, in its tags. action: the launch that it came of, None = nobody here ordered it.
    ready_at: when it first served in its role, 0 = not yet."""

    action: str | None
    role: Role
    at: float
    since: float
    applied: tuple[str, ...] = ()
    ready_at: float = 0.0

    def after(self, action: str, role: Role, now: float) -> Label:
        """The label after an action was carried out."""
        since = self.since if role == self.role else now
        ready_at = 0.0 if "warm" in (self.role, role) else self.ready_at
        applied = (*self.applied, mark(action))[-_REMEMBERED:]
        return replace(self, role=role, since=since, applied=applied, ready_at=ready_at)


def mark(action: str) -> str:
    """A short name of an action: 48 bits, enough to tell a few dozen apart."""
    return hashlib.sha256(action.encode()).hexdigest()[:12]


def label_tags(label: Label, pool: str) -> dict[str, str]:
    """A label as tags."""
    return {
        POOL: pool,
        ACTION: label.action or "",
        ROLE: label.role,
        AT: f"{label.at:.3f}",
        SINCE: f"{label.since:.3f}",
        APPLIED: " ".join(label.applied),
        READY: f"{label.ready_at:.3f}" if label.ready_at else "",
    }


def label_of(machine: MachineSeen, entry: Entry | None) -> Label | None:
    """Whose machine it is: its own tags tell, before it has any the order that it was assigned to. None = not ours."""
    role = machine.tags.get(ROLE, "")
    if role in ("serving", "draining", "warm"):
        try:
            at, since = float(machine.tags[AT]), float(machine.tags[SINCE])
            ready_at = float(machine.tags.get(READY) or 0.0)
        except (KeyError, ValueError):
            at = since = ready_at = machine.state_at or 0.0
        applied = tuple(machine.tags.get(APPLIED, "").split())
        return Label(machine.tags.get(ACTION) or None, role, at, since, applied, ready_at)  # type: ignore[arg-type]
    if entry is not None:
        return Label(entry.action, entry.into, entry.at, entry.at)
    if machine.protected:
        # Only we protect machines of this scale set: somebody removed its tags. It goes on serving.
        at = machine.state_at or 0.0
        return Label(None, "serving", at, at, ready_at=at)
    return None


def instance_of(ref: SetRef, terms: Terms, machine: MachineSeen, label: Label, spot: bool, now: float) -> Instance:
    """The machine as an instance of its pool."""
    state, detail = _state(machine, label, spot, terms.ready)
    since = max(label.since, label.ready_at) if state == "ready" else label.since
    if state in ("failed", "stopping"):
        since = max(label.since, machine.state_at or label.since)
    reachable = machine.host and state not in ("warm", "failed")
    return Instance(
        id=f"{ref}/{machine.id}",
        pool=terms.pool,
        offer=terms.offer,
        state=state,
        since=min(since, now),
        replicas=terms.replicas,
        requested_at=min(label.at, since, now),
        address=address_of(machine, terms) if reachable else None,
        action=label.action,
        usd_per_hour=terms.usd_per_hour,
        detail=detail,
        rests=label.role == "warm" and state in ("warm", "stopping") and machine.state != "Deleting",
    )


def _state(machine: MachineSeen, label: Label, spot: bool, ready: str) -> tuple[InstanceState, str]:
    said = f"Azure says {machine.state or 'nothing'}, {machine.power or 'no power state'}"
    if machine.state == "Deleting":
        return "stopping", said
    if machine.power in ("deallocated", "deallocating", "stopped"):
        return _resting(machine, label, spot, said)
    if machine.state == "Failed":
        return "failed", f"{said}: {machine.code}: {machine.text}"[:300]
    return _up(machine, label, said, ready)


def _up(machine: MachineSeen, label: Label, said: str, ready: str) -> tuple[InstanceState, str]:
    if label.role == "warm":
        return "stopping", f"{said}; boots once before it rests in the warm pool"
    if machine.state == "Creating" or machine.power != "running":
        return "pending", said
    if label.role == "draining":
        return "draining", ""
    if not label.ready_at:
        return "pending", f"runs, waits for {ready}"
    return "ready", ""


def address_of(machine: MachineSeen, terms: Terms) -> str:
    """host:port of what it serves: Azure's DNS knows every machine of the network by its computer name."""
    return f"{machine.host}.{terms.dns_suffix}:{terms.port}" if terms.dns_suffix else f"{machine.host}:{terms.port}"


def _resting(machine: MachineSeen, label: Label, spot: bool, said: str) -> tuple[InstanceState, str]:
    ours = label.role == "warm"
    if spot and not ours:
        return "failed", f"evicted: {said}"
    if machine.power == "deallocating":
        return "stopping", said if ours else f"{said}; somebody else stops it"
    if machine.state == "Failed":
        return "warm", f"its last start failed: {machine.code}: {machine.text}"[:300]
    return "warm", "" if ours else f"{said}; somebody else stopped it, it can be started"


def role_after(action: Operate, label: Label) -> Role:
    """What a machine is kept for after an action. Raises ProviderError where that makes no sense."""
    match action.kind, label.role:
        case "drain", "serving" | "draining":
            return "draining"
        case "resume", "draining" | "serving":
            return "serving"
        case "start", "warm" | "serving":
            return "serving"
        case "stop", _:
            return "warm"
    raise ProviderError(f"{action.instance} is {label.role}, which {action.kind} does not apply to; observe again")


def differences(order: Order, seen: SetSeen) -> list[str]:
    """In what a scale set is not what its offer says."""
    offer, faults = order.offer, []
    if not same_size(seen.size, order.size):
        faults.append(f"its machines are {seen.size}, the offer says {offer.type}")
    if offer.region and seen.location.replace(" ", "").lower() != offer.region.replace(" ", "").lower():
        faults.append(f"it is in {seen.location}, the offer says {offer.region}")
    if offer.zone and tuple(seen.zones) != (offer.zone,):
        zones = ", ".join(seen.zones) or "none"
        faults.append(f"its zones are {zones}, the offer says {offer.zone}; a zone needs a scale set of its own")
    if seen.spot != (offer.purchase == "spot"):
        is_ = "spot" if seen.spot else "on demand"
        faults.append(f"its machines are {is_}, the offer says {offer.purchase}")
    return faults
