"""What people are told of a fault: what it is and what to do."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

FaultKind = Literal["xid", "recovery"]
"""xid: a driver's fault code. recovery: what a driver says must be done, as gpu_recovery_action counts it."""
Weight = Literal["note", "warn", "bad"]


@dataclass(frozen=True, slots=True)
class FaultAdvice:
    """A code in words. weight: note = worth knowing, warn = look at it, bad = the GPU should get no new work."""

    name: str
    weight: Weight
    advice: str


Advise = Callable[[FaultKind, int], FaultAdvice]
"""Who knows what codes mean."""


def no_advice(kind: FaultKind, code: int) -> FaultAdvice:
    """What is said where nobody knows the codes."""
    return FaultAdvice(f"{kind} {code}", "warn", "look the code up in the documentation of the GPU's driver")
