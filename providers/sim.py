"""The `sim` provider: launches machines in a SimCluster."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from autoscaler.errors import ProviderError, ThrottledError, UnreachableError
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
        """Accepted (launch, start), done, or failed with the cluster's words. Raises ThrottledError and
        UnreachableError."""
        self.cluster.advance(self.clock.now())
        instance = None if isinstance(action, Launch) else action.instance
        status: Literal["accepted", "done"] = "accepted" if action.kind in ("launch", "start") else "done"
        try:
            self.cluster.launch(action) if isinstance(action, Launch) else self.cluster.operate(action)
        except (ThrottledError, UnreachableError):
            raise
        except ProviderError as error:
            return Outcome(action.id, action.pool, "failed", self.clock.now(), instance, error.code, str(error))
        return Outcome(action.id, action.pool, status, self.clock.now(), instance)
