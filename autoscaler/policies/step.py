"""Some replicas more than there are: the simplest answer to a saturated pool."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

from autoscaler.errors import InputError
from autoscaler.types import Fleet, Proposal, Reading
from autoscaler.words import replicas

ROUNDING = 1e-9
"""Relative error that a count may carry from floating point: 0.1 * 30 replicas are 3, not 4."""


@dataclass(frozen=True, slots=True)
class Step:
    """Raise by `by` replicas or by a share of the size, whichever is more, and by one at least."""

    by: int = 0
    by_ratio: float = 0.0

    def __post_init__(self) -> None:
        if self.by < 0:
            raise InputError(f"step: by is {self.by}, but a step only raises; write 1 or more, or use scale_in")
        if not (math.isfinite(self.by_ratio) and self.by_ratio >= 0):
            raise InputError(
                f"step: by_ratio is {self.by_ratio}, but must be a share of at least 0; write one like 0.25"
            )

    def propose(self, now: float, readings: Mapping[str, Reading], fleet: Fleet, current: int) -> tuple[Proposal, ...]:
        """At least the ready and pending replicas plus the step: what was ordered is not ordered again (law 7)."""
        size = fleet.size
        more = max(self.by, math.ceil(self.by_ratio * size * (1 - ROUNDING)), 1)
        text = f"{more} more than the {fleet.ready} ready and {fleet.pending} pending make {replicas(size + more)}"
        return (Proposal("", "raise", size + more, text),)
