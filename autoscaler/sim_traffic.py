"""The requests of a SimCluster: one FIFO queue per pool, what becomes of each request, and the score of it all."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import numpy as np

from autoscaler.sim_machines import Machine

TTFT_BUCKETS_S = (0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, math.inf)
FIRST_TOKEN_S = 0.2

Demand = Callable[[float], float]
"""Requests per second at a time."""


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
    """What the users and the bill saw of one pool; stopped machines of its warm pool are neither billed nor counted."""

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
class Traffic:
    """One pool's requests. queue: (arrived at, how many) of those that wait. buckets: times to the first token."""

    load: Workload
    rng: np.random.Generator
    score: Score = field(default_factory=Score)
    queue: deque[list[float]] = field(default_factory=deque)
    waiting: int = 0
    rejected: int = 0
    buckets: list[int] = field(default_factory=lambda: [0] * len(TTFT_BUCKETS_S))

    def step(self, now: float, step_s: float, machines: Sequence[Machine]) -> None:
        """One step of the pool's machines: requests end, arrive, start and are given up."""
        load, score = self.load, self.score
        # Geometric in steps, with the mean that `Workload.capacity` promises. An exponential one, cut into steps, would
        # take longer, since a slot that becomes free is refilled at the next step only.
        finish = min(1.0, step_s / load.service_s)
        for m in machines:
            if m.in_flight:
                done = int(self.rng.binomial(m.in_flight, finish))
                m.in_flight -= done
                m.served += done
                score.requests_ok += done
        arrived = int(self.rng.poisson(max(0.0, load.demand(now)) * step_s))
        score.requests_sent += arrived
        if arrived:
            self.queue.append([now, arrived])
            self.waiting += arrived
        ready = [m for m in machines if m.state(now) == "ready"]
        for m in sorted(ready, key=lambda m: (m.in_flight / m.replicas, m.id)):
            self._start(now, m, load.slots * m.replicas - m.in_flight)
        while self.queue and now - self.queue[0][0] > load.deadline_s:
            _, lost = self.queue.popleft()
            self.waiting -= int(lost)
            score.requests_lost += int(lost)
            self.rejected += int(lost)
        paid = [m for m in machines if m.role != "warm"]
        score.replica_seconds += sum(m.replicas for m in paid) * step_s
        score.usd += sum(m.usd_per_hour for m in paid) * step_s / 3600.0
        score.peak_replicas = max(score.peak_replicas, sum(m.replicas for m in ready))

    def _start(self, now: float, machine: Machine, free: int) -> None:
        while free > 0 and self.queue:
            cohort = self.queue[0]
            taken = min(free, int(cohort[1]))
            wait = now - cohort[0]
            self.score.wait_s += wait * taken
            for i, edge in enumerate(TTFT_BUCKETS_S):
                if wait + FIRST_TOKEN_S <= edge:
                    self.buckets[i] += taken
            machine.in_flight += taken
            self.waiting -= taken
            free -= taken
            cohort[1] -= taken
            if cohort[1] == 0:
                self.queue.popleft()
