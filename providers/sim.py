"""The `sim` provider: launches machines in a SimCluster."""

from __future__ import annotations

from dataclasses import dataclass

from autoscaler.ports import Clock
from autoscaler.sim import SimCluster
from autoscaler.types import Action, Fleet, Launch, Outcome


@dataclass(slots=True)
class SimProvider:
    """A window on `cluster`, which runs up to the clock's time whenever it is looked at."""

    cluster: SimCluster
    clock: Clock

    def observe(self) -> Fleet:
        """What the cluster lists. Raises UnreachableError while it is down."""
        self.cluster.advance(self.clock.now())
        return self.cluster.report()

    def apply(self, action: Action) -> Outcome:
        """Accepted, or one of the provider errors."""
        self.cluster.advance(self.clock.now())
        if isinstance(action, Launch):
            self.cluster.launch(action)
            return Outcome(action.id, action.pool, "accepted", self.clock.now())
        self.cluster.operate(action)
        return Outcome(action.id, action.pool, "done", self.clock.now(), action.instance)
