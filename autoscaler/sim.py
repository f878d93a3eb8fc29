"""SimCluster: a fleet that never existed. Demand, queue, boots, faults and shortages, all from one seed.

Requests are whole: they arrive by a Poisson process, wait in one FIFO queue per pool, take a slot of a ready replica
for an exponential service time, and are lost when they wait past their deadline or die with their replica. Time
advances in steps of `STEP_S`. Calls are answered as strictly as by a real provider: ids are remembered, and what
cannot be done is refused.
"""

from __future__ import annotations

import math
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

import numpy as np

from autoscaler.errors import CapacityError, ProviderError, QuotaError, ThrottledError, UnreachableError
from autoscaler.sim_machines import Machine, ordered
from autoscaler.sim_traffic import TTFT_BUCKETS_S, Demand, Score, Traffic, Workload
from autoscaler.types import Fleet, Launch, Offer, Operate

__all__ = ["STEP_S", "TTFT_BUCKETS_S", "Demand", "Fault", "FaultKind", "Score", "SimCluster", "Workload"]

STEP_S = 1.0

FaultKind = Literal[
    "shortage",
    "silent",
    "invisible",
    "dead_collector",
    "provider_down",
    "lost_answer",
    "crash",
    "throttled",
    "broken",
]


@dataclass(frozen=True, slots=True)
class Fault:
    """Something that goes wrong from `since` until `until`.

    shortage: launches are refused. silent: launches are accepted and nothing comes of them. invisible: launches are
    listed only when the fault is over. dead_collector: no metrics of the pool. provider_down: no reports, no calls.
    lost_answer: calls are carried out and the answer is lost. crash: a replica dies at `since`. throttled: every call
    is told that there are too many. broken: machines that are launched are listed and never serve. pool "" = every
    pool; provider: only this one of several is down or short.
    """

    kind: FaultKind
    since: float
    until: float = math.inf
    pool: str = ""
    provider: str = ""


@dataclass
class SimCluster:
    """The world of a simulation; `providers/sim.py` and `collectors/sim.py` are its two windows.

    boot_s, boot_sigma: median and log-normal spread of request-to-serving. warm_start_s: the same from the start of a
    warm one. fail_call: the n-th call of apply (from 1) is carried out when it is odd and not when it is even, and its
    answer is lost either way. quota: machines that the account may have; None = any number.
    """

    workloads: Mapping[str, Workload]
    seed: int = 0
    start: float = 0.0
    boot_s: float = 120.0
    boot_sigma: float = 0.0
    faults: Sequence[Fault] = ()
    max_instances: int = 1000
    fail_call: int | None = None
    warm_start_s: float = 10.0
    quota: int | None = None
    now: float = field(init=False)
    calls: int = 0
    refused: int = 0
    machines: dict[str, Machine] = field(default_factory=dict)
    pools: dict[str, Traffic] = field(init=False)
    made: dict[str, tuple[str, str]] = field(default_factory=dict)
    """Launches that were carried out: id -> (pool, offer)."""

    def __post_init__(self) -> None:
        self.now = self.start
        self.pools = {}
        for name, load in self.workloads.items():
            self.add_pool(name, load)

    def add_pool(self, name: str, load: Workload) -> None:
        """A pool more; what it draws depends on the seed and its name alone."""
        self.pools[name] = Traffic(load, np.random.default_rng([self.seed, zlib.crc32(name.encode())]))

    def serve_from_start(self, pool: str, offer: Offer, machines: int) -> None:
        """Machines of an offer that serve already, as those of a pool that was looked after before; no launches."""
        for n in range(1, machines + 1):
            action = Launch(f"start-{pool}-{n}", pool, self.now, self.now, offer=offer)
            machine = ordered(action, f"{pool}-start-{n}", self.now, boot_s=0.0, listed_at=self.now, silent=False)
            self.machines[machine.id] = machine

    # --- time ---------------------------------------------------------------------------------------------------

    def advance(self, now: float) -> None:
        """Lets the world run until `now`."""
        while self.now + STEP_S <= now + 1e-9:
            self.now += STEP_S
            self._crashes()
            of_pool: dict[str, list[Machine]] = {name: [] for name in self.pools}
            for machine in self.machines.values():
                of_pool.setdefault(machine.pool, []).append(machine)
            for name, pool in self.pools.items():
                pool.step(self.now, STEP_S, of_pool[name])

    def faulty(self, kind: FaultKind, pool: str = "", provider: str = "") -> bool:
        """Whether a fault of this kind is on for the pool and the provider."""
        on = [f for f in self.faults if f.kind == kind and f.since <= self.now < f.until]
        return any(f.pool in ("", pool) and f.provider in ("", provider) for f in on)

    def _crashes(self) -> None:
        for f in self.faults:
            if f.kind == "crash" and self.now - STEP_S < f.since <= self.now:
                ready = [m for m in self.machines.values() if f.pool in ("", m.pool) and m.state(self.now) == "ready"]
                if ready:
                    self.remove(min(ready, key=lambda m: m.id))

    # --- the provider's side ------------------------------------------------------------------------------------

    def report(self) -> Fleet:
        """What a provider would list now. Raises UnreachableError while it is down."""
        if self.faulty("provider_down"):
            raise UnreachableError("the simulated provider does not answer")
        self._throttle()
        return Fleet(self.now, tuple(m.instance(self.now) for m in self.machines.values() if m.listed_at <= self.now))

    def launch(self, action: Launch) -> None:
        """Orders a machine; the same id orders it once. Raises CapacityError, QuotaError, ThrottledError,
        UnreachableError, and ProviderError when the id was another order's."""
        carried_out = self._call(action.pool)
        order = (action.pool, action.offer.key)
        if self.made.get(action.id, order) != order:
            raise ProviderError(f"launch {action.id} was another order; give every launch an id of its own")
        if carried_out and action.id not in self.made:
            if self.quota is not None and len(self.machines) >= self.quota:
                raise QuotaError(f"{action.offer.key}: the account may have {self.quota} machines")
            if self.faulty("shortage", action.pool, action.offer.provider) or len(self.machines) >= self.max_instances:
                raise CapacityError(f"{action.offer.key}: no capacity")
            self._make(action)
        self._answer(carried_out, action.pool)

    def operate(self, action: Operate) -> None:
        """Starts, drains, resumes, stops or terminates; to terminate one that is not there is done already.

        Raises UnreachableError, and ProviderError for what cannot be done.
        """
        carried_out = self._call(action.pool)
        if carried_out:
            self._operate(action)
        self._answer(carried_out, action.pool)

    def _operate(self, action: Operate) -> None:
        machine = self.machines.get(action.instance)
        if machine is not None and machine.pool != action.pool:
            raise ProviderError(f"{machine.id} serves pool {machine.pool}, not {action.pool}; nothing was done")
        if action.kind == "terminate":
            if machine is not None:
                self.remove(machine)
        elif machine is None:
            raise ProviderError(f"no instance {action.instance} to {action.kind}; it ended or never was, observe again")
        else:
            aborted = machine.operate(action, self.now, self.warm_start_s)
            self.pools[machine.pool].score.requests_aborted += aborted

    def _call(self, pool: str) -> bool:
        if self.faulty("provider_down", pool):
            raise UnreachableError("the simulated provider does not answer")
        self._throttle(pool)
        self.calls += 1
        return self.calls != self.fail_call or self.calls % 2 == 1

    def _throttle(self, pool: str = "") -> None:
        if self.faulty("throttled", pool):
            self.refused += 1
            raise ThrottledError("the simulated provider is called too often", 2.0)

    def _answer(self, carried_out: bool, pool: str) -> None:
        if self.calls == self.fail_call or self.faulty("lost_answer", pool):
            raise UnreachableError("the answer was lost")
        assert carried_out, "only the failing call is not carried out"

    def _make(self, action: Launch) -> None:
        # Drawn from the action, not from a shared stream: a repeated or reordered call boots in the same time.
        rng = np.random.default_rng([self.seed, zlib.crc32(action.id.encode())])
        boot_s = self.boot_s * math.exp(self.boot_sigma * rng.standard_normal())
        hidden = [f.until for f in self.faults if f.kind == "invisible" and f.since <= self.now < f.until]
        silent, broken = self.faulty("silent", action.pool), self.faulty("broken", action.pool)
        listed_at = math.inf if silent else max(hidden, default=self.now)
        self.made[action.id] = (action.pool, action.offer.key)
        score = self.pools[action.pool].score
        score.launches += 1
        name = f"{action.pool}-{score.launches}"
        self.machines[name] = ordered(action, name, self.now, boot_s, listed_at, silent or broken)

    def remove(self, machine: Machine) -> None:
        """Ends a machine at once, with what it is doing."""
        score = self.pools[machine.pool].score
        score.requests_aborted += machine.in_flight
        score.removals += 1
        del self.machines[machine.id]
