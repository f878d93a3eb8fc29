"""Plays a rule file against a simulated cluster, and keeps what happened as values."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from itertools import pairwise
from pathlib import Path

from autoscaler.journal import Journal
from autoscaler.ports import Collector
from autoscaler.ruleset import RuleSet
from autoscaler.sim import Demand, Score, SimCluster, Workload
from autoscaler.simulation import START, Simulation
from autoscaler.types import Batch, Decision, Offer, Past
from autoscaler.words import seconds as span
from collectors.sim import SimCollector
from providers.sim import SimProvider

SERVICE_S = 2.0
DEFAULT_CAPACITY = 4.0
"""Requests per second of a replica whose rule file states none."""
SCRAPE_S = 5.0
MIN_SCRAPE_S = 1.0
BOOT_SIGMA = 0.3
ALL = 1_000_000


@dataclass(frozen=True, slots=True)
class Setting:
    """What is simulated. capacity: requests/s of a replica, None = the rule file's. boot_s: median from order to
    serving, None = the lead time of its first offer. start: replicas that serve at the start, None = what the demand
    needs then. journal: where to keep the journal, None = nowhere."""

    demand: Demand
    seconds: float
    boot_s: float | None = None
    capacity: float | None = None
    start: int | None = None
    seed: int = 1
    journal: Path | None = None


@dataclass(frozen=True, slots=True)
class Point:
    """The pool at one moment, `at_s` after the start. sent, lost: requests so far."""

    at_s: float
    ready: int
    pending: int
    sent: int
    lost: int


@dataclass(frozen=True, slots=True)
class Played:
    """A simulation that has ended. per_replica: requests/s that the rules plan a replica with. changes: decisions
    that changed the size. notes: what a reader must know to trust the result."""

    pool: str
    seconds: float
    boot_s: float
    start: int
    per_replica: float
    score: Score
    points: tuple[Point, ...]
    changes: tuple[Decision, ...]
    notes: tuple[str, ...]
    journal: Path | None


def play(ruled: RuleSet, given: Setting, progress: Callable[[float], None] = lambda _: None) -> Played:
    """Runs the simulation to its end; `progress` is told the simulated seconds now and then."""
    if not ruled.offers:
        ruled = replace(ruled, offers=(Offer("sim", "machine"),))
    per_replica = given.capacity or ruled.capacity or DEFAULT_CAPACITY
    boot_s = ruled.offers[0].lead_time_s if given.boot_s is None else given.boot_s
    load = Workload(given.demand, slots=max(1, round(per_replica * SERVICE_S)), service_s=SERVICE_S)
    cluster = SimCluster({ruled.pool: load}, seed=given.seed, start=START, boot_s=boot_s, boot_sigma=BOOT_SIGMA)
    planned = load.capacity * ruled.utilisation_target
    start = _start(ruled, given, planned)
    cluster.serve_from_start(ruled.pool, ruled.offers[0], math.ceil(start / ruled.offers[0].replicas))
    watched = _Watched(cluster, ruled, progress)
    journal = Journal(f"sqlite:///{given.journal.absolute()}" if given.journal is not None else "sqlite://")
    try:
        simulation = Simulation({ruled.pool: ruled}, cluster, SimProvider, watched.over, journal=journal, by_hand=False)
        simulation.run(given.seconds)
        decisions = tuple(reversed(journal.decisions(ruled.pool, limit=ALL)))
        return Played(
            pool=ruled.pool,
            seconds=given.seconds,
            boot_s=boot_s,
            start=start,
            per_replica=planned,
            score=simulation.score(ruled.pool),
            points=tuple(watched.points),
            changes=tuple(d for d in decisions if d.want != d.current),
            notes=(*_doubts(ruled, boot_s), *_bounded(ruled, decisions), *_unseen(decisions)),
            journal=given.journal,
        )
    finally:
        journal.close()


def _start(ruled: RuleSet, given: Setting, planned: float) -> int:
    """A live pool would have been sized for the demand that the simulation begins with."""
    if given.start is not None:
        return given.start
    needed = math.ceil(given.demand(START) / planned - 1e-9)
    return min(max(needed, ruled.bounds.min), ruled.bounds.max)


def _doubts(ruled: RuleSet, boot_s: float) -> Iterator[str]:
    limit_s = ruled.launch.register_s
    if boot_s * math.exp(2 * BOOT_SIGMA) > limit_s:
        yield (
            f"a boot takes {span(boot_s)} here, and the rules give an order up after {span(limit_s)} "
            "(launch.register): many orders never serve; raise it, or simulate a shorter --boot"
        )


def _bounded(ruled: RuleSet, decisions: Sequence[Decision]) -> Iterator[str]:
    """Whether the rules asked for more than the pool may have."""
    steps = [pair for d in decisions for pair in pairwise(d.reasons)]
    asked = [
        before.replicas for before, after in steps if after.source == "bounds" and before.replicas > after.replicas
    ]
    if asked:
        yield f"the rules asked for up to {max(asked)} replicas, limits.max is {ruled.bounds.max}"


def _unseen(decisions: Sequence[Decision]) -> Iterator[str]:
    """Signals that never had a value, which a simulation does not have or the rules never get."""
    names = sorted({name for d in decisions for name in d.readings})
    for name in names:
        readings = [d.readings[name] for d in decisions if name in d.readings]
        if all(r.quality == "missing" for r in readings):
            yield f"{name} was never known, so rules that need it only held: {readings[-1].detail}"


@dataclass
class _Watched:
    """The collector of the simulation, which also notes how the pool does whenever it is asked."""

    cluster: SimCluster
    ruled: RuleSet
    progress: Callable[[float], None]
    points: list[Point] = field(default_factory=list)
    _inner: Collector | None = None

    def over(self, cluster: SimCluster) -> Collector:
        """This collector; pages come at the pace at which the service would scrape the pool."""
        self._inner = SimCollector(cluster, min(SCRAPE_S, max(MIN_SCRAPE_S, self.ruled.tick_s)))
        return self

    def collect(self, now: float) -> Iterator[Batch | Past]:
        """What the simulator's collector gives."""
        assert self._inner is not None
        yield from self._inner.collect(now)
        states = [(m.state(now), m.replicas) for m in self.cluster.machines.values()]
        score = self.cluster.pools[self.ruled.pool].score
        self.points.append(
            Point(
                at_s=now - START,
                ready=sum(n for state, n in states if state == "ready"),
                pending=sum(n for state, n in states if state == "pending"),
                sent=score.requests_sent,
                lost=score.requests_lost + score.requests_aborted,
            )
        )
        self.progress(now - START)
