"""A pool as a peer's law sees it, one look at a time; a replica serves 1 unit of work per second."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field

from autoscaler.baselines.seen import SERVICE_S, Past, Policy, Seen

TICK_S = 15.0


def seen(
    load: float = 0.0,
    ready: int = 10,
    pending: int = 0,
    busy: float = 0.0,
    waiting: float = 0.0,
    now: float = 0.0,
    boot_s: float = 600.0,
    past: Past | None = None,
) -> Seen:
    """What is seen when `load` was the demand of the policy's window, and of the last tick without a past."""
    if past is None:
        past = Past(TICK_S)
        past.add(load)
    flight = busy * ready * SERVICE_S + waiting
    return Seen(now, load, busy, waiting, flight, ready, pending, ready + pending, 1.0, boot_s, past)


@dataclass
class Pool:
    """A pool that does as its law says; what is ordered is ready at once unless `boots` is false."""

    policy: Policy
    ready: int
    step_s: float = TICK_S
    boots: bool = True
    pending: int = 0
    now: float = 0.0
    past: Past = field(default_factory=lambda: Past(TICK_S))

    def look(self, load: float, busy: float | None = None, waiting: float = 0.0) -> int:
        """One step later: the size that the law wants after a step of this load; busy follows the load unless told."""
        for _ in range(max(1, round(self.step_s / TICK_S))):
            self.past.add(load)
        self.now += self.step_s
        used = min(1.0, load / max(1, self.ready)) if busy is None else busy
        demand = load if math.isnan(load) else self.past.mean(self.policy.window_s)
        wanted = self.policy.want(seen(demand, self.ready, self.pending, used, waiting, self.now, past=self.past))
        if self.boots:
            self.ready = wanted
        else:
            self.pending = max(0, wanted - self.ready)
            self.ready = min(self.ready, wanted)
        return wanted

    def looks(self, loads: Sequence[float], busy: float | None = None) -> list[int]:
        """The sizes of some steps."""
        return [self.look(load, busy) for load in loads]
