"""Which quota of Service Quotas bounds which instance types.

Codes and names: AWS documentation, "Amazon EC2 On-Demand Instance quotas" and "Spot Instance quotas" (2026). They count
vCPUs of what is pending or running. A capacity reservation was counted when it was made, so a launch into it is free.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from autoscaler.types import Purchase


@dataclass(frozen=True, slots=True)
class Quota:
    """A limit on vCPUs, by its code and its name in the console."""

    code: str
    name: str

    def __str__(self) -> str:
        return f"{self.code} ({self.name})"


ON_DEMAND_P = Quota("L-417A185B", "Running On-Demand P instances")
ON_DEMAND_G = Quota("L-DB2E81BA", "Running On-Demand G and VT instances")
SPOT_P4 = Quota("L-7212CCBC", "All P4, P3 and P2 Spot Instance Requests")
SPOT_P5 = Quota("L-C4BD4855", "All P5 Spot Instance Requests")
SPOT_G = Quota("L-3819A6DF", "All G and VT Spot Instance Requests")
_FAMILY = re.compile(r"([a-z]+)(\d*)")


def quota_of(instance_type: str, purchase: Purchase) -> Quota | None:
    """The quota that bounds it; None where none does, or none is known (P6 as spot, families without GPUs)."""
    found = _FAMILY.match(instance_type)
    letters, generation = found.groups() if found else ("", "")
    if purchase == "reserved":
        return None
    match letters, purchase:
        case "p", "on_demand":
            return ON_DEMAND_P
        case (("g" | "gr" | "vt"), "on_demand"):
            return ON_DEMAND_G
        case (("g" | "gr" | "vt"), "spot"):
            return SPOT_G
        case "p", "spot":
            return {"2": SPOT_P4, "3": SPOT_P4, "4": SPOT_P4, "5": SPOT_P5}.get(generation)
    return None
