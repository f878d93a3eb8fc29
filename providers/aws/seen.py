"""What EC2 says of an instance, as an `Instance` of the fleet."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Literal

from autoscaler.types import Instance, InstanceState
from providers.aws.marks import Mark, Role, read

_ENDED_AT = re.compile(r"\((\d{4}-\d\d-\d\d \d\d:\d\d:\d\d) (?:GMT|UTC)\)")
_BY_A_PERSON = ("Client.UserInitiatedShutdown", "Client.UserInitiatedHibernate", "")
ODD_CLOCK_S = 60.0
"""How far AWS's clock and ours may be apart."""
FIRST_START_S = 900.0
"""A start that is later than this after the order was somebody else's."""


@dataclass(frozen=True, slots=True)
class Seen:
    """One instance of a Describe answer, with its mark."""

    record: Mapping[str, Any]
    region: str
    mark: Mark

    @property
    def id(self) -> str:
        return str(self.record["InstanceId"])

    @property
    def ec2_state(self) -> str:
        """EC2's word: pending, running, stopping, stopped, shutting-down or terminated."""
        return str(self.record.get("State", {}).get("Name", ""))

    @property
    def role(self) -> Role:
        """What it is kept for. Who starts a warm instance by hand wants it to serve."""
        by_hand = self.ec2_state in ("pending", "running") and self.launched_at > self.mark.since + FIRST_START_S
        return "serving" if self.mark.role == "warm" and by_hand else self.mark.role

    @property
    def ended(self) -> bool:
        return self.ec2_state in ("shutting-down", "terminated")

    @property
    def spot(self) -> bool:
        return self.record.get("InstanceLifecycle") == "spot"

    @property
    def hibernates(self) -> bool:
        return bool(self.record.get("HibernationOptions", {}).get("Configured"))

    @property
    def launched_at(self) -> float:
        """When EC2 last started it, by EC2's clock."""
        return _seconds(self.record.get("LaunchTime"))

    @property
    def why(self) -> str:
        """EC2's reason of its present state, in its words; empty when somebody asked for it."""
        reason = self.record.get("StateReason", {})
        return "" if reason.get("Code", "") in _BY_A_PERSON else str(reason.get("Message") or reason["Code"])[:200]

    @property
    def ended_at(self) -> float | None:
        """When it ended, as far as EC2 says."""
        found = _ENDED_AT.search(str(self.record.get("StateTransitionReason", "")))
        return None if found is None else datetime.fromisoformat(found[1]).replace(tzinfo=UTC).timestamp()

    def ready_since(self, remembered: float) -> float:
        """When it first answered its readiness check since it was last started; 0 = it has not."""
        at = self.mark.ready_at or remembered
        return at if at >= self.launched_at - ODD_CLOCK_S else 0.0

    def host(self, address: Literal["private", "public"]) -> str:
        """Where it can be reached; empty while it has no address."""
        kind = "PrivateIpAddress" if address == "private" else "PublicIpAddress"
        return str(self.record.get(kind) or "")


def seen(record: Mapping[str, Any], region: str) -> Seen:
    """A record of DescribeInstances."""
    return Seen(record, region, read(record.get("Tags", ()), _seconds(record.get("LaunchTime"))))


def listed(one: Seen, now: float, ready_at: float, notice: str, address: Literal["private", "public"]) -> Instance:
    """The instance as the fleet shows it. ready_at: 0 = not yet. notice: why EC2 will take it back, empty if not."""
    mark = one.mark
    state, detail = _state(one, ready_at, notice)
    since = max(mark.since, ready_at) if state == "ready" else mark.since
    if state == "failed" and one.ended_at is not None:
        since = one.ended_at
    host = one.host(address)
    return Instance(
        id=one.id,
        pool=mark.pool,
        offer=mark.offer or _offer(one),
        state=state,
        since=min(max(since, mark.requested_at), now),
        replicas=mark.replicas,
        requested_at=min(mark.requested_at, now),
        address=f"{host}:{mark.port}" if host and state in ("ready", "draining") else None,
        action=mark.action,
        usd_per_hour=mark.usd_per_hour,
        made_of=mark.made_of,
        detail=detail,
        rests=one.role == "warm" and state in ("warm", "stopping") and one.ec2_state != "shutting-down",
    )


def _state(one: Seen, ready_at: float, notice: str) -> tuple[InstanceState, str]:
    """Our state and why. What EC2 takes back counts for nothing any more, so that its replacement is ordered now."""
    role = one.role
    state: InstanceState = "stopping"
    detail = one.why
    match one.ec2_state:
        case "pending" | "running" if role == "warm":
            detail = "boots once before it rests in the warm pool"
        case "running" if notice:
            detail = f"EC2 takes it back: {notice}"
        case "pending":
            state, detail = "pending", "EC2 starts it"
        case "running" if role == "draining":
            state, detail = "draining", ""
        case "running":
            state, detail = ("ready", "") if ready_at else ("pending", f"runs, waits for {one.mark.probe}")
        case "stopped":
            by_us = one.mark.role == "warm"
            state, detail = "warm", "" if by_us else f"stopped though it was to serve; {one.why}".rstrip("; ")
        case "terminated" | "shutting-down" if one.why:
            state = "failed"
    return state, detail


def _offer(one: Seen) -> str:
    """The key of the offer that an instance of somebody else's would have come of."""
    zone = one.record.get("Placement", {}).get("AvailabilityZone", "")
    purchase = "spot" if one.spot else "reserved" if one.record.get("CapacityReservationId") else "on_demand"
    return "/".join(part for part in ("aws", one.record.get("InstanceType", ""), one.region, zone, purchase) if part)


def _seconds(at: Any) -> float:
    return float(at.timestamp()) if isinstance(at, datetime) else 0.0
