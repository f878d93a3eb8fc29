"""A simulated fleet that lives on real time: cluster, demand, machines' pages, and what goes wrong with them."""

from __future__ import annotations

import math
import threading
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TypeVar

import structlog

from autoscaler.ports import Clock
from autoscaler.ruleset import SHADOW, RuleSet
from autoscaler.sim import Fault, SimCluster, Workload
from autoscaler.sim_machines import Machine
from autoscaler.simfleet.boards import hardware
from autoscaler.simfleet.demand import NIGHTLY, Day
from autoscaler.simfleet.engines import Engine
from autoscaler.simfleet.gateways import Gateway
from autoscaler.simfleet.gpus import Gpus
from autoscaler.simfleet.hosts import Host
from autoscaler.simfleet.machines import Rack
from autoscaler.simfleet.opening import launches, machines
from autoscaler.simfleet.script import Incident, incidents
from autoscaler.types import Launch, Offer

log = structlog.get_logger()
T = TypeVar("T")

BOOT_S, BOOT_SIGMA, WARM_START_S = 28.0, 0.16, 5.0
"""Nine of ten machines serve 20 to 40 s after they were ordered."""
SERVICE_S = 2.0
USUAL_CAPACITY = 4.0
"""Requests per second of a replica whose rules state none."""
PEAK_OF_MOST = 0.8
"""The day's peak needs so much of a pool's upper bound."""
NIGHT_OF_PEAK = 0.22
LATE_S = 120.0
"""A process that was stopped for longer does not live through what it missed."""


@dataclass(eq=False)
class World:
    """Everything that is simulated. `lock` is held by whoever looks; `speed`: of the fleet's own time.

    brief: pages hold only what the page of the service and alerts need. Nothing goes wrong before `trouble`.
    """

    clock: Clock
    seed: int = 1
    speed: float = 1.0
    brief: bool = False
    pages: str = "127.0.0.1:0"
    lock: threading.RLock = field(default_factory=threading.RLock)
    days: dict[str, Day] = field(default_factory=dict)
    gateways: dict[str, Gateway] = field(default_factory=dict)
    racks: dict[str, Rack] = field(default_factory=dict)
    offers: dict[str, Offer] = field(default_factory=dict)
    rules: dict[str, RuleSet] = field(default_factory=dict)
    opening: dict[str, tuple[Launch, ...]] = field(default_factory=dict)
    """What each pool began with."""
    short: dict[str, float] = field(default_factory=dict)
    """Zones that cannot be had, and until when."""
    down: dict[str, float] = field(default_factory=dict)
    """Clouds that do not answer, and until when."""
    cluster: SimCluster = field(init=False)

    def __post_init__(self) -> None:
        self.start = self.clock.now()
        self.cluster = SimCluster(
            {}, self.seed, self.start, BOOT_S / self.speed, BOOT_SIGMA, warm_start_s=WARM_START_S / self.speed,
            max_instances=20_000,
        )  # fmt: skip
        self._script = incidents(self.seed)
        self._next = next(self._script)
        self._troubled_from = math.inf
        self._doomed: dict[str, float] = {}
        self._racked_at = -math.inf

    def seconds(self, now: float) -> float:
        """The fleet's own time: since its start, `speed` times as fast as the clock."""
        return (now - self.start) * self.speed

    def trouble(self) -> None:
        """From now on things go wrong, by the script."""
        with self.lock:
            self._troubled_from = self.clock.now()

    def follow(self, rules: Mapping[str, RuleSet]) -> None:
        """Has a world for every pool of the rules; a pool that is new begins with the machines that it needs."""
        for pool, ruled in rules.items():
            if self.rules.get(pool) is ruled or pool.endswith(SHADOW):
                continue
            self.rules[pool] = ruled
            self.offers |= {o.key: o for o in ruled.offers}
            if pool not in self.days:
                self._found(pool, ruled)

    def advance(self, now: float) -> None:
        """Lets the world run until `now`, with what goes wrong meanwhile."""
        if now - self.cluster.now > LATE_S:
            self.cluster.now = math.floor(now - 1.0)
        self.cluster.advance(now)
        while self._troubled_from + self._next.at_s / self.speed <= now:
            self._strike(self._next, now)
            self._next = next(self._script)
        for name in [name for name, at in self._doomed.items() if at <= now]:
            del self._doomed[name]
            if name in self.cluster.machines:
                self.cluster.remove(self.cluster.machines[name])
        for table in (self.short, self.down):
            for name in [name for name, until in table.items() if until <= now]:
                del table[name]
        if self._racked_at != self.cluster.now:
            self._racked_at = self.cluster.now
            self._racked()

    def rack(self, name: str) -> Rack | None:
        """A machine by its name, if it is there."""
        return self.racks.get(name)

    def _found(self, pool: str, ruled: RuleSet) -> None:
        """A pool's demand, its gateway, and machines for the demand of the first moment."""
        slots = max(1, round((ruled.capacity or USUAL_CAPACITY) * SERVICE_S))
        planned = slots / SERVICE_S * ruled.utilisation_target
        peak = PEAK_OF_MOST * ruled.bounds.max * planned
        nightly = ruled.bounds.min == 0 or any(word in pool for word in NIGHTLY)
        day = self.days[pool] = Day(pool, self.seed, NIGHT_OF_PEAK * peak, peak, nightly)
        self.cluster.add_pool(pool, Workload(lambda at: day(self.seconds(at)), slots, SERVICE_S))
        self.gateways[pool] = Gateway(pool, self.cluster.pools[pool], self.seed)
        now = self.cluster.now
        orders = launches(ruled, day(self.seconds(now)) / planned, now)
        for order, machine in zip(orders, machines(orders, now), strict=True):
            self.cluster.machines[machine.id] = machine
            self.cluster.made[order.id] = (pool, order.offer.key)
            self.cluster.pools[pool].score.launches += 1
        self.opening[pool] = orders

    def _racked(self) -> None:
        machines = self.cluster.machines
        for name in self.racks.keys() - machines.keys():
            del self.racks[name]
        for name in machines.keys() - self.racks.keys():
            self.racks[name] = self._rack(machines[name])

    def _rack(self, machine: Machine) -> Rack:
        ruled = self.rules[machine.pool]
        offer = self.offers[machine.offer]
        made = hardware(offer, ruled.gpus_per_replica)
        joined = made.joined and ruled.gpus_per_replica > 1
        where = {"host": machine.id, "instance": machine.id, "offer": machine.offer, "pool": machine.pool}
        where |= {"provider": offer.provider, "purchase": offer.purchase, "zone": offer.zone or offer.region}
        boot_s = max(1.0, machine.ready_at - machine.requested_at)
        return Rack(
            machine,
            Gpus(machine.id, made, self.seed, joined, self.speed, self.brief),
            Host(machine.id, made, machine.requested_at, self.brief),
            Engine(SERVICE_S, round(0.6 * boot_s, 1), self.brief),
            self.cluster.pools[machine.pool].load.slots,
            max(1, ruled.gpus_per_replica),
            tuple(sorted(pair for pair in where.items() if pair[1])),
        )

    # --- what goes wrong ----------------------------------------------------------------------------------------

    def _strike(self, incident: Incident, now: float) -> None:
        until = now + incident.lasts_s / self.speed
        machines = sorted((m for m in self.cluster.machines.values() if m.state(now) == "ready"), key=lambda m: m.id)
        told = ""
        match incident.trouble:
            case "hot" | "xid" | "ecc":
                told = self._strike_gpu(incident, machines, now, until)
            case "interruption" | "crash":
                told = self._take(incident, machines, until)
            case "shortage":
                zones = sorted({o.zone or o.region for o in self.offers.values()})
                if zones:
                    told = _one(zones, incident.where)
                    self.short[told] = until
            case "outage":
                clouds = sorted({o.provider for o in self.offers.values()})
                if len(clouds) > 1:
                    told = _one(clouds, incident.where)
                    self.down[told] = until
            case "surge" | "broken":
                told = self._strike_pool(incident, now, until)
        log.info("the script strikes", trouble=incident.trouble, what=told or "nothing that it could strike")

    def _strike_gpu(self, incident: Incident, machines: list[Machine], now: float, until: float) -> str:
        racks = [self.racks[m.id] for m in machines if m.id in self.racks]
        if not racks:
            return ""
        rack = _one(racks, incident.where)
        gpu = int(incident.gpu * min(rack.gpus.hardware.gpus, rack.machine.replicas * rack.gpus_of_replica))
        match incident.trouble:
            case "hot":
                rack.gpus.overheat(gpu, until)
            case "xid":
                rack.gpus.fault(gpu, incident.xid, now, until)
            case _:
                rack.gpus.decay(gpu, until)
        return f"{rack.machine.id} GPU {gpu}"

    def _take(self, incident: Incident, machines: list[Machine], until: float) -> str:
        """A spot machine is announced to go, or any machine goes at once; never the last one of its pool."""
        pools = [m.pool for m in machines]
        spare = [m for m in machines if pools.count(m.pool) > 1]
        spot = incident.trouble == "interruption"
        some = [m for m in spare if m.offer.endswith("/spot") == spot]
        if not some:
            return ""
        machine = _one(some, incident.where)
        self._doomed[machine.id] = until
        if spot and machine.id in self.racks:
            self.racks[machine.id].host.interruption_at = math.ceil(until)
        return machine.id

    def _strike_pool(self, incident: Incident, now: float, until: float) -> str:
        pools = sorted(self.days)
        if not pools:
            return ""
        pool = _one(pools, incident.where)
        if incident.trouble == "surge":
            self.days[pool].surge_until_s = self.seconds(until)
        else:
            left = [f for f in self.cluster.faults if f.until > now]
            self.cluster.faults = (*left, Fault("broken", now, until, pool))
        return pool


def _one(some: list[T], where: float) -> T:
    return some[min(len(some) - 1, int(where * len(some)))]
