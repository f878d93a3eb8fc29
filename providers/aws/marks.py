"""What an instance carries as tags: whose it is, what it was ordered as, and what it is kept for.

Tags are the provider's only memory, so that a restart, or another controller, finds what the last one knew.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, cast, get_args

from autoscaler.types import Launch

Role = Literal["serving", "draining", "warm"]
PREFIX = "sigmascale:"
OWNER, POOL, ACTION = f"{PREFIX}owner", f"{PREFIX}pool", f"{PREFIX}action"
REMEMBERED = 16
"""Operations an instance remembers, newest last: a tag holds 256 characters."""
_ZERO = re.compile(r"[0-9]+(?:\.[0-9]+)?")


@dataclass(frozen=True, slots=True)
class Mark:
    """The tags of an instance as values.

    since: when it got its role. ready_at: when it first answered its readiness check in that role, 0 = not yet.
    action None and offer "": it was made by somebody else and given to a pool by its tags. probe: see `order`.
    made_of: what stands for the settings it was ordered with, empty = not known.
    """

    owner: str
    pool: str
    action: str | None = None
    offer: str = ""
    replicas: int = 1
    usd_per_hour: float = 0.0
    port: int = 8000
    probe: str = "/health"
    role: Role = "serving"
    since: float = 0.0
    ready_at: float = 0.0
    requested_at: float = 0.0
    applied: tuple[str, ...] = ()
    made_of: str = ""

    def knows(self, action: str) -> bool:
        """Whether an operation was carried out before."""
        return short(action) in self.applied

    def after(self, action: str, role: Role, now: float) -> dict[str, str]:
        """The tags that an operation changes; one call sets them all."""
        applied = (*(a for a in self.applied if a != short(action)), short(action))[-REMEMBERED:]
        changed = role != self.role
        tags = {"role": role, "applied": " ".join(applied), "since": _text(now if changed else self.since)}
        if changed and "warm" in (role, self.role):
            tags["ready"] = ""
        return {PREFIX + name: value for name, value in tags.items()}


def ordered(launch: Launch, owner: str, port: int, probe: str) -> dict[str, str]:
    """The tags of a new instance. They hold nothing but what the action holds: a repeated call must be the same."""
    offer = launch.offer
    tags = {
        "owner": owner,
        "pool": launch.pool,
        "action": launch.id,
        "offer": offer.key,
        "replicas": str(offer.replicas),
        "usd_per_hour": f"{offer.usd_per_hour:.10g}",
        "port": str(port),
        "probe": probe,
        "role": "warm" if launch.into == "warm" else "serving",
        "since": _text(launch.at),
        "requested": _text(launch.at),
        "made_of": offer.made_of,
    }
    return {"Name": f"{owner}-{launch.pool}", **{PREFIX + name: value for name, value in tags.items()}}


def first_ready(now: float) -> dict[str, str]:
    """The tag that says since when it serves."""
    return {f"{PREFIX}ready": _text(now)}


def read(tags: Sequence[Mapping[str, str]], launched_at: float) -> Mark:
    """The mark of tags as EC2 lists them; what is missing or makes no sense is as if never written.

    launched_at: EC2's own LaunchTime, for instances that somebody else made.
    """
    found = {t["Key"].removeprefix(PREFIX): t.get("Value", "") for t in tags if t.get("Key", "").startswith(PREFIX)}
    role = found.get("role", "serving")
    requested = _number(found.get("requested"), launched_at)
    return Mark(
        owner=found.get("owner", ""),
        pool=found.get("pool", ""),
        action=found.get("action") or None,
        offer=found.get("offer", ""),
        replicas=max(1, int(_number(found.get("replicas"), 1))),
        usd_per_hour=_number(found.get("usd_per_hour"), 0.0),
        port=int(_number(found.get("port"), 8000)),
        probe=found.get("probe") or "/health",
        role=cast(Role, role) if role in get_args(Role) else "serving",
        since=_number(found.get("since"), requested),
        ready_at=_number(found.get("ready"), 0.0),
        requested_at=requested,
        applied=tuple(found.get("applied", "").split()[-REMEMBERED:]),
        made_of=found.get("made_of", ""),
    )


def as_list(tags: Mapping[str, str]) -> list[dict[str, str]]:
    """Tags as EC2 takes them."""
    return [{"Key": key, "Value": value} for key, value in tags.items()]


def with_tag(name: str, values: Iterable[str]) -> dict[str, Any]:
    """A filter of a Describe call."""
    return {"Name": f"tag:{name}", "Values": list(values)}


def short(action: str) -> str:
    """Ten characters that stand for an action's id."""
    return hashlib.sha256(action.encode()).hexdigest()[:10]


def _text(at: float) -> str:
    # Every digit: what is read again must equal what was reported.
    return repr(float(at))


def _number(text: str | None, otherwise: float) -> float:
    return float(text) if text and len(text) < 32 and _ZERO.fullmatch(text) else otherwise
