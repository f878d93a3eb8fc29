"""What a cloud told a machine about itself, as the machine passed it on."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Announced:
    """A notice. kind: terminate, stop, hibernate, preempt, reboot, redeploy, freeze, or rebalance, which is advice.

    at: when it happens, of advice when it was given. told_at: when the machine last passed it on.
    """

    kind: str
    at: float
    told_at: float
