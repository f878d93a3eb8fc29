"""SimCluster: a fleet that never existed. Demand, queue, boots, faults and shortages, all from one seed.

Requests are whole: they arrive by a Poisson process, wait in one FIFO queue per pool, take a slot of a ready replica
for an exponential service time, and are lost when they wait past their deadline or die with their replica. Time
advances in steps of `STEP_S`.
"""

from __future__ import annotations

import math
import zlib
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

import numpy as np

from autoscaler.errors import CapacityError, UnreachableError
from autoscaler.types import Fleet, Instance, InstanceState, Launch, Operate

STEP_S = 1.0
TTFT_BUCKETS_S = (0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, math.inf)
FIRST_TOKEN_S = 0.2

Demand = Callable[[float], float]
"""Requests per second at a time."""

FaultKind = Literal["shortage", "silent", "invisible", "dead_collector", "provider_down", "lost_answer", "crash"]


@dataclass(frozen=True, slots=True)
class Fault:
    """Something that goes wrong from `since` until `until`.

    shortage: launches are refused. silent: launches are accepted and nothing comes of them. invisible: launches are
    listed only when the fault is over. dead_collector: no metrics of the pool. provider_down: no reports, no calls.
    lost_answer: calls are carried out and the answer is lost. crash: a replica dies at `since`. pool "" = every pool.
    """

    kind: FaultKind
    since: float
    until: float = math.inf
    pool: str = ""


@dataclass(frozen=True, slots=True)
class Workload:
    """What one pool is asked for and what one of its replicas can do: `slots` requests at a time, `service_s` each."""

    demand: Demand
    slots: int = 8
    service_s: float = 2.0
    deadline_s: float = 30.0

    @property
    def capacity(self) -> float:
        """Requests per second of one busy replica."""
        return self.slots / self.service_s


@dataclass(slots=True)
class Score:
    """What the users and the bill saw of one pool."""

    requests_sent: int = 0
    requests_ok: int = 0
    requests_lost: int = 0
    requests_aborted: int = 0
    wait_s: float = 0.0
    replica_seconds: float = 0.0
    launches: int = 0
    removals: int = 0
    peak_replicas: int = 0
    usd: float = 0.0


@dataclass(slots=True)
class _Machine:
    id: str
    pool: str
    offer: str
    action: str
    requested_at: float
    ready_at: float
    replicas: int
    usd_per_hour: float
    listed_at: float
    drained_at: float | None = None
    in_flight: int = 0
    silent: bool = False

    def state(self, now: float) -> InstanceState:
        if self.drained_at is not None:
            return "draining"
        return "ready" if now >= self.ready_at and not self.silent else "pending"


@dataclass(slots=True)
class _Pool:
    load: Workload
    rng: np.random.Generator
    score: Score = field(default_factory=Score)
    queue: deque[list[float]] = field(default_factory=deque)
    waiting: int = 0
    rejected: int = 0
    buckets: list[int] = field(default_factory=lambda: [0] * len(TTFT_BUCKETS_S))


@dataclass
class SimCluster:
    """The world of a simulation; `providers/sim.py` and `collectors/sim.py` are its two windows.

    boot_s, boot_sigma: median and log-normal spread of request-to-serving. fail_call: the n-th call of apply (from 1)
    is carried out when it is odd and not when it is even, and its answer is lost either way.
    """

    workloads: Mapping[str, Workload]
    seed: int = 0
    start: float = 0.0
    boot_s: float = 120.0
    boot_sigma: float = 0.0
    faults: Sequence[Fault] = ()
    max_instances: int = 1000
    fail_call: int | None = None
    now: float = field(init=False)
    calls: int = 0
    machines: dict[str, _Machine] = field(default_factory=dict)
    pools: dict[str, _Pool] = field(init=False)
    made: set[str] = field(default_factory=set)

    def __post_init__(self) -> None:
        self.now = self.start
        self.pools = {
            name: _Pool(load, np.random.default_rng([self.seed, zlib.crc32(name.encode())]))
            for name, load in self.workloads.items()
        }

    # --- time ---------------------------------------------------------------------------------------------------

    def advance(self, now: float) -> None:
        """Lets the world run until `now`."""
        while self.now + STEP_S <= now + 1e-9:
            self.now += STEP_S
            self._crashes()
            for name, pool in self.pools.items():
                self._serve(name, pool)

    def faulty(self, kind: FaultKind, pool: str = "") -> bool:
        """Whether a fault of this kind is on for the pool."""
        return any(f.kind == kind and f.since <= self.now < f.until and f.pool in ("", pool) for f in self.faults)

    def _serve(self, name: str, pool: _Pool) -> None:
        load, score = pool.load, pool.score
        mine = [m for m in self.machines.values() if m.pool == name]
        finish = 1.0 - math.exp(-STEP_S / load.service_s)
        for m in mine:
            if m.in_flight:
                done = int(pool.rng.binomial(m.in_flight, finish))
                m.in_flight -= done
                score.requests_ok += done
        arrived = int(pool.rng.poisson(max(0.0, load.demand(self.now)) * STEP_S))
        score.requests_sent += arrived
        if arrived:
            pool.queue.append([self.now, arrived])
            pool.waiting += arrived
        ready = [m for m in mine if m.state(self.now) == "ready"]
        for m in sorted(ready, key=lambda m: (m.in_flight / m.replicas, m.id)):
            self._start(pool, m, load.slots * m.replicas - m.in_flight)
        while pool.queue and self.now - pool.queue[0][0] > load.deadline_s:
            _, lost = pool.queue.popleft()
            pool.waiting -= int(lost)
            score.requests_lost += int(lost)
            pool.rejected += int(lost)
        replicas = sum(m.replicas for m in mine)
        score.replica_seconds += replicas * STEP_S
        score.usd += sum(m.usd_per_hour for m in mine) * STEP_S / 3600.0
        score.peak_replicas = max(score.peak_replicas, sum(m.replicas for m in ready))

    def _start(self, pool: _Pool, machine: _Machine, free: int) -> None:
        while free > 0 and pool.queue:
            cohort = pool.queue[0]
            taken = min(free, int(cohort[1]))
            wait = self.now - cohort[0]
            pool.score.wait_s += wait * taken
            for i, edge in enumerate(TTFT_BUCKETS_S):
                if wait + FIRST_TOKEN_S <= edge:
                    pool.buckets[i] += taken
            machine.in_flight += taken
            pool.waiting -= taken
            free -= taken
            cohort[1] -= taken
            if cohort[1] == 0:
                pool.queue.popleft()

    def _crashes(self) -> None:
        for f in self.faults:
            if f.kind == "crash" and self.now - STEP_S < f.since <= self.now:
                ready = [m for m in self.machines.values() if f.pool in ("", m.pool) and m.state(self.now) == "ready"]
                if ready:
                    self._remove(min(ready, key=lambda m: m.id))

    # --- the provider's side ------------------------------------------------------------------------------------

    def report(self) -> Fleet:
        """What a provider would list now. Raises UnreachableError while it is down."""
        if self.faulty("provider_down"):
            raise UnreachableError("the simulated provider does not answer")
        return Fleet(self.now, tuple(self._instance(m) for m in self.machines.values() if m.listed_at <= self.now))

    def launch(self, action: Launch) -> None:
        """Orders a machine; the same id orders it once. Raises CapacityError, UnreachableError."""
        carried_out = self._call(action.pool)
        if carried_out and action.id not in self.made:
            if self.faulty("shortage", action.pool) or len(self.machines) >= self.max_instances:
                raise CapacityError(f"{action.offer.key}: no capacity")
            self._make(action)
        self._answer(carried_out, action.pool)

    def operate(self, action: Operate) -> None:
        """Drains, resumes or terminates; unknown machines are gone already. Raises UnreachableError."""
        carried_out = self._call(action.pool)
        machine = self.machines.get(action.instance)
        if carried_out and machine is not None:
            match action.kind:
                case "drain":
                    machine.drained_at = machine.drained_at or self.now
                case "resume" | "start":
                    machine.drained_at = None
                case "terminate" | "stop":
                    self._remove(machine)
        self._answer(carried_out, action.pool)

    def _call(self, pool: str) -> bool:
        if self.faulty("provider_down", pool):
            raise UnreachableError("the simulated provider does not answer")
        self.calls += 1
        return self.calls != self.fail_call or self.calls % 2 == 1

    def _answer(self, carried_out: bool, pool: str) -> None:
        if self.calls == self.fail_call or self.faulty("lost_answer", pool):
            raise UnreachableError("the answer was lost")
        assert carried_out, "only the failing call is not carried out"

    def _make(self, action: Launch) -> None:
        # Drawn from the action, not from a shared stream: a repeated or reordered call boots in the same time.
        rng = np.random.default_rng([self.seed, zlib.crc32(action.id.encode())])
        boot = self.boot_s * math.exp(self.boot_sigma * rng.standard_normal())
        hidden = [f.until for f in self.faults if f.kind == "invisible" and f.since <= self.now < f.until]
        self.made.add(action.id)
        score = self.pools[action.pool].score
        score.launches += 1
        name = f"{action.pool}-{score.launches}"
        self.machines[name] = _Machine(
            id=name,
            pool=action.pool,
            offer=action.offer.key,
            action=action.id,
            requested_at=self.now,
            ready_at=self.now + boot,
            replicas=action.offer.replicas,
            usd_per_hour=action.offer.usd_per_hour,
            listed_at=math.inf if self.faulty("silent", action.pool) else max(hidden, default=self.now),
            silent=self.faulty("silent", action.pool),
        )

    def _remove(self, machine: _Machine) -> None:
        score = self.pools[machine.pool].score
        score.requests_aborted += machine.in_flight
        score.removals += 1
        del self.machines[machine.id]

    def _instance(self, m: _Machine) -> Instance:
        state = m.state(self.now)
        since = {"draining": m.drained_at or 0.0, "ready": m.ready_at}.get(state, m.requested_at)
        return Instance(
            id=m.id,
            pool=m.pool,
            offer=m.offer,
            state=state,
            since=since,
            replicas=m.replicas,
            requested_at=m.requested_at,
            address=f"{m.id}:8000" if state != "pending" else None,
            action=m.action,
            expected_at=m.ready_at,
            usd_per_hour=m.usd_per_hour,
        )
