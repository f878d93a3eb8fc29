"""A cloud that is played: one provider's machines of the simulated fleet, its quotas, spot prices and shortages."""

from __future__ import annotations

import math
import zlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

from autoscaler.errors import CapacityError, QuotaError, UnreachableError
from autoscaler.ruleset import SHADOW, RuleSet
from autoscaler.simfleet.world import World
from autoscaler.types import Action, Fleet, Instance, Launch, Offer, Outcome, Standing
from providers.sim import SimProvider

ROOM = 1.25
"""The quota: so many times what the pools may have at most."""
PRICE_S = 30.0
"""Spot prices change this often."""
SWING, TURN_S = 0.15, 420.0
"""Of spot prices, by the fleet's own time."""


@dataclass(frozen=True, slots=True)
class SimCloud:
    """What the provider `name` has of the fleet. `rules`: those in force, by pool, whose offers it is asked for."""

    name: str
    world: World
    rules: Callable[[], Mapping[str, RuleSet]]

    def observe(self) -> Fleet:
        """Its machines, each with the address of its page. Raises UnreachableError while it is down."""
        world = self.world
        with world.lock:
            now = world.clock.now()
            world.follow(self.rules())
            world.advance(now)
            self._answer()
            fleet = world.cluster.report()
            mine = [i for i in fleet.instances if i.offer.split("/")[0] == self.name]
            return Fleet(now, tuple(self._shown(i) for i in mine), standings=self._standings(now, len(mine)))

    def apply(self, action: Action) -> Outcome:
        """As a cloud would: accepted, done, or failed for lack of capacity or quota. Raises UnreachableError."""
        world = self.world
        with world.lock:
            now = world.clock.now()
            world.follow(self.rules())
            world.advance(now)
            self._answer()
            refused = self._refused(action) if isinstance(action, Launch) else None
            if refused is not None:
                return Outcome(action.id, action.pool, "failed", now, None, refused.code, str(refused))
            if isinstance(action, Launch):
                world.offers.setdefault(action.offer.key, action.offer)
            return SimProvider(world.cluster, world.clock).apply(action)

    def _answer(self) -> None:
        if self.name in self.world.down:
            raise UnreachableError(f"the simulated cloud {self.name} does not answer")

    def _refused(self, action: Launch) -> CapacityError | QuotaError | None:
        if action.id in self.world.cluster.made:
            return None  # it was ordered before; the answer is the same
        offer = action.offer
        where = offer.zone or offer.region
        if where in self.world.short:
            return CapacityError(f"there is no {offer.type} in {where} now, says the simulated cloud")
        have = sum(m.offer.split("/")[0] == self.name for m in self.world.cluster.machines.values())
        if have >= self._most():
            return QuotaError(f"the simulated account may have {self._most()} machines in {self.name}, and has {have}")
        return None

    def _shown(self, instance: Instance) -> Instance:
        """Pages of all machines are on one server, each under a path of its own."""
        if instance.address is None:
            return instance
        return replace(instance, address=f"{self.world.pages}/machines/{instance.id}")

    def _offers(self) -> list[tuple[str, Offer]]:
        return [
            (pool, offer)
            for pool, ruled in self.rules().items()
            if not pool.endswith(SHADOW)
            for offer in ruled.offers
            if offer.provider == self.name
        ]

    def _most(self) -> int:
        smallest: dict[str, int] = {}
        for pool, offer in self._offers():
            smallest[pool] = min(smallest.get(pool, offer.replicas), offer.replicas)
        rules = self.rules()
        return math.ceil(sum(ROOM * rules[pool].bounds.max / size for pool, size in smallest.items()))

    def _standings(self, now: float, have: int) -> tuple[Standing, ...]:
        most = self._most()
        return tuple(self._standing(pool, offer, now, have, most) for pool, offer in self._offers())

    def _standing(self, pool: str, offer: Offer, now: float, have: int, most: int) -> Standing:
        price, priced_at = None, None
        if offer.purchase == "spot":
            priced_at = now // PRICE_S * PRICE_S
            phase = zlib.crc32(offer.key.encode()) % 1000 / 1000
            turn = 2 * math.pi * (self.world.seconds(priced_at) / TURN_S + phase)
            price = round(offer.usd_per_hour * (1 + SWING * math.sin(turn)), 4)
        quota = f"{most} machines in {self.name} (simulated)"
        return Standing(
            pool, offer.key, now, units=max(0, most - have), quota=quota, usd_per_hour=price, priced_at=priced_at
        )
