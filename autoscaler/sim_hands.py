"""A person's hands in a simulated cluster: what is done to machines without an order of the service."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from autoscaler.sim import SimCluster
from autoscaler.sim_machines import Machine, ordered
from autoscaler.types import Launch, Offer


@dataclass(frozen=True, slots=True)
class ByHand:
    """Does to machines of a cluster what a console does. Each takes effect at the cluster's present time."""

    cluster: SimCluster

    def ends(self, pool: str, count: int = 1) -> list[str]:
        """Ends machines that serve; returns their ids."""
        some = self._serving(pool, count)
        for machine in some:
            del self.cluster.machines[machine.id]
        return [m.id for m in some]

    def stops(self, pool: str, count: int = 1) -> list[str]:
        """Stops machines that serve: they are still there, at rest."""
        some = self._serving(pool, count)
        for machine in some:
            machine.halted, machine.in_flight, machine.since = True, 0, self.cluster.now
        return [m.id for m in some]

    def starts(self, ids: Sequence[str]) -> None:
        """Starts machines of the warm pool, or such as were stopped."""
        for name in ids:
            machine = self.cluster.machines[name]
            machine.role, machine.halted = "serving", False
            machine.since, machine.ready_at = self.cluster.now, self.cluster.now + self.cluster.warm_start_s

    def adds(self, pool: str, offer: Offer, count: int = 1, action: str | None = None) -> list[str]:
        """Makes machines with the pool's tags; `action`: as if this launch had ordered them."""
        cluster, made = self.cluster, list[str]()
        for _ in range(count):
            name = f"{pool}-hand-{sum(m.id.startswith(f'{pool}-hand-') for m in cluster.machines.values()) + 1}"
            launch = Launch(action or name, pool, cluster.now, cluster.now, offer=offer)
            machine = ordered(launch, name, cluster.now, boot_s=0.0, listed_at=cluster.now, silent=False)
            machine.action = action
            cluster.machines[name] = machine
            made.append(name)
        return made

    def removes_tags(self, pool: str, count: int = 1) -> list[str]:
        """Takes the tags of machines that serve: they run on, and no report lists them."""
        some = self._serving(pool, count)
        for machine in some:
            machine.listed_at = math.inf
        return [m.id for m in some]

    def _serving(self, pool: str, count: int) -> list[Machine]:
        now = self.cluster.now
        ready = [m for m in self.cluster.machines.values() if m.pool == pool and m.state(now) == "ready"]
        return sorted((m for m in ready if m.listed_at <= now), key=lambda m: m.id)[:count]
