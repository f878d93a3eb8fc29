"""What Azure shows, as values: models of its SDK and the body of an operation."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal

from providers.azure.failures import CAPACITY, QUOTA, TEXT_LIMIT
from providers.azure.machines import MachineSeen, SetSeen
from providers.azure.settings import SetRef


@dataclass(frozen=True, slots=True)
class Progress:
    """How a long-running operation stands; `code` and `text` are Azure's when it failed."""

    status: Literal["running", "succeeded", "failed", "lost"]
    code: str = ""
    text: str = ""


def scale_set_of(ref: SetRef, model: Any) -> SetSeen:
    """A model of the SDK as a value."""
    profile = getattr(model, "virtual_machine_profile", None)
    priority = getattr(profile, "priority", None)
    return SetSeen(
        ref=ref,
        etag=str(model.etag or ""),
        location=str(model.location or ""),
        zones=tuple(model.zones or ()),
        size=str(model.sku.name),
        spot=getattr(priority, "value", priority) in ("Spot", "Low"),
        capacity=int(model.sku.capacity or 0),
        state=str(model.provisioning_state or ""),
        tags=dict(model.tags or {}),
    )


def machine_of(model: Any) -> MachineSeen:
    """A model of the SDK as a value; its instance view may be missing."""
    view = model.instance_view
    statuses = list(view.statuses or ()) if view is not None else []
    codes = {str(s.code or "").split("/")[0]: s for s in statuses}
    power = str(codes["PowerState"].code).split("/")[-1] if "PowerState" in codes else ""
    state = codes.get("ProvisioningState")
    parts = str(state.code or "").split("/") if state is not None else []
    health = view.vm_health if view is not None else None
    word = str(health.status.code or "") if health is not None and health.status is not None else ""
    profile = model.os_profile
    policy = model.protection_policy
    return MachineSeen(
        id=str(model.instance_id),
        etag=str(model.etag or ""),
        state=str(model.provisioning_state or ""),
        power=power,
        health=word.split("/")[-1].lower(),
        host=str(profile.computer_name or "") if profile is not None else "",
        protected=bool(policy is not None and policy.protect_from_scale_in),
        tags=dict(model.tags or {}),
        state_at=state.time.timestamp() if state is not None and isinstance(state.time, datetime) else None,
        code=parts[2] if len(parts) > 2 else "",
        text=str(state.message or "")[:TEXT_LIMIT] if state is not None else "",
    )


def progress_of(status: int, body: Mapping[str, Any]) -> Progress:
    """What an operation's address answered: its body (Azure-AsyncOperation), or only whether it is over (Location)."""
    match str(body.get("status", "succeeded" if status in (200, 204) else "running")).lower():
        case "succeeded":
            return Progress("succeeded")
        case "failed" | "canceled":
            code, text = _reason(body.get("error"))
            return Progress("failed", code or "Canceled", text)
        case _:
            return Progress("running")


def _reason(error: Any, depth: int = 0) -> tuple[str, str]:
    """Code and text of an error; one that means something to us may stand in its details."""
    if not isinstance(error, Mapping) or depth > 5:
        return "", ""
    outer = (str(error.get("code") or ""), str(error.get("message") or "")[:TEXT_LIMIT])
    inner = [_reason(one, depth + 1) for one in list(error.get("details") or ())[:20]]
    telling = [one for one in (outer, *inner) if one[0] in (*CAPACITY, *QUOTA) or "quota" in one[1].lower()]
    return telling[0] if telling else outer
