"""One schedule played against the ordinary loop, and what must be true of it whatever happened."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from autoscaler import sim_demand as shape
from autoscaler.journal import Entry, Journal
from autoscaler.movement import Bounds, LaunchLimits, ScaleIn
from autoscaler.ruleset import RuleSet
from autoscaler.sim import SimCluster, Workload
from autoscaler.simulation import START, Simulation
from autoscaler.types import Offer, Override
from collectors.sim import SimCollector
from providers.sim import SimProvider
from tests.campaign.schedules import END_S, MOST, Kill, Schedule
from tests.campaign.unlucky import Fate, Unlucky
from tests.scenarios.pools import pool

SETTLE_S = 9000.0
"""The longest that a pool may take to come to rest: an offer that never served rests for the longest shortage."""

CALM_S = 300.0
"""How long it must then stay at rest."""

STEP_S = 60.0
DRAIN_S = 60.0
SHORTAGE_MAX_S = 300.0
FOREVER_S = 30 * 86_400.0


class Killed(BaseException):
    """The process is gone."""


class Mortal(Journal):
    """A journal whose process dies at some of its writes, and which knows what was wanted lately."""

    kills: tuple[Kill, ...] = ()
    writes = 0
    cluster: SimCluster | None = None
    valid_s = 0.0
    surplus = 0
    wanted: tuple[tuple[float, int], ...] = ()

    def __init__(self) -> None:
        super().__init__()
        self.leaving: dict[str, float] = {}
        self.known: set[str] = set()

    def record(self, entries: Sequence[Entry]) -> None:
        self.writes += 1
        due = [k.when for k in self.kills if k.write == self.writes]
        if "before" in due:
            raise Killed
        super().record(entries)
        self._watch(entries)
        if "after" in due:
            raise Killed

    def _watch(self, entries: Sequence[Entry]) -> None:
        machines = self.cluster.machines.values() if self.cluster is not None else ()
        for e in entries:
            going = {a.instance: e.decision.at for a in e.plan.actions if a.kind in ("drain", "terminate")}
            self.leaving = {n: at for n, at in self.leaving.items() if at > e.decision.at - self.valid_s} | going
        # One that was told to leave counts for nothing, though the order may never arrive.
        there = sum(m.replicas for m in machines if m.role == "serving" and m.id not in self.leaving)
        for e in entries:
            # An order may be carried out for as long as it is valid, whatever is wanted by then.
            known = [w for w in self.wanted if w[0] > e.decision.at - self.valid_s]
            self.wanted = (*known, (e.decision.at, e.decision.want))
        ids = {m.id for m in machines}
        if ids - self.known:
            self.surplus = max(self.surplus, there - max(w for _, w in self.wanted))
        self.known |= ids


def ruled(s: Schedule) -> RuleSet:
    """A pool whose size people give; offers in the order in which they are asked for."""
    offers = tuple(
        Offer("sim", f"type{n}", replicas=size, usd_per_hour=1.0 + n + size) for n, size in enumerate(s.sizes)
    )
    return pool(
        bounds=Bounds(0, MOST + max(s.sizes)),
        offers=offers,
        choose="listed",
        signals=pool().signals[:1],
        rules=(),
        tick_s=s.tick_s,
        scale_in=ScaleIn(stabilization_s=0.0, cool_off_s=0.0, drain_s=DRAIN_S, rate_per_s=15.0, settle_s=5.0),
        launch=LaunchLimits(
            limit_s=s.limit_s, register_s=300.0, shortage_s=20.0, shortage_max_s=SHORTAGE_MAX_S, per_hour=1000
        ),
    )


def live(s: Schedule) -> list[str]:
    """Plays a schedule; returns what was wrong with it, in words."""
    load = Workload(shape.constant(s.load), slots=40, service_s=10.0)
    cluster = SimCluster({"chat": load}, seed=s.seed, start=START, boot_s=s.boot_s)
    fate = Fate(s, START, DRAIN_S)
    journal = Mortal()
    journal.cluster, journal.kills, journal.valid_s = cluster, s.kills, s.limit_s + 2 * s.tick_s + 60.0
    sim = Simulation(
        {"chat": ruled(s)}, cluster, lambda c, k: Unlucky(SimProvider(c, k), c, k, fate), SimCollector, journal=journal
    )
    try:
        wrong = _played(s, sim)
    finally:
        journal.close()
    if sim.loop.stats.failures:
        wrong.append(f"{sim.loop.stats.failures} ticks broke: {sim.loop.board.pools()['chat'].error}")
    if len(set(cluster.made)) != cluster.pools["chat"].score.launches:
        wrong.append("a launch was carried out twice")
    if journal.surplus > max(s.sizes) - 1:
        wrong.append(f"the fleet grew by {journal.surplus} replicas beyond what anybody wanted")
    return wrong + fate.wrong[:5]


def _played(s: Schedule, sim: Simulation) -> list[str]:
    for at, count in s.wanted:
        _until(sim, START + at)
        _pin(sim, at, count)
    _until(sim, START + END_S)
    return _rests(s, sim)


def _pin(sim: Simulation, at: float, count: int) -> None:
    now = sim.clock.now()
    for known in sim.journal.overrides(now):
        sim.journal.end_override("chat", known.id, "ada", "another size", now)
    sim.journal.put_override(
        Override(f"pin{at:.0f}", "chat", "pin", START + FOREVER_S, "ada", "campaign", count, "both", START + at)
    )


def _until(sim: Simulation, end: float) -> None:
    while sim.clock.now() < end:
        try:
            sim.run(end - sim.clock.now())
        except Killed:
            sim.restart()


def _rests(s: Schedule, sim: Simulation) -> list[str]:
    end = START + END_S + SETTLE_S
    fault = "it never ran"
    while fault and sim.clock.now() < end:
        _until(sim, sim.clock.now() + STEP_S)
        fault = _unrest(s, sim)
    if fault:
        return [f"{SETTLE_S:.0f} s after the last fault: {fault}"]
    machines = {m.id for m in sim.cluster.machines.values()}
    _until(sim, sim.clock.now() + CALM_S)
    if machines != {m.id for m in sim.cluster.machines.values()}:
        return ["the fleet did not stay as it had come to rest"]
    return []


def _unrest(s: Schedule, sim: Simulation) -> str:
    """What is not at rest yet; empty when everything is, and nobody pays for what nobody knows."""
    decision = sim.loop.board.pools()["chat"].decision
    if decision is None or decision.blind:
        return "no decision"
    want = s.wanted[-1][1]
    states = {m.id: m.state(sim.clock.now()) for m in sim.cluster.machines.values()}
    others = {name: state for name, state in states.items() if state != "ready"}
    if others:
        return f"machines are {others}; {decision.reasons[-1].text}"
    ready = sum(m.replicas for m in sim.cluster.machines.values())
    # Nobody is left whom the others could do without: of machines of several replicas some may be too many.
    spare = any(ready - m.replicas >= want for m in sim.cluster.machines.values())
    if decision.want != want or ready < want or spare:
        return f"{ready} ready, {want} wanted, {decision.want} decided; {decision.reasons[-1].text}"
    open_ = sim.journal.open_intents()
    return f"intents are open: {open_}" if open_ else ""


def shorter(s: Schedule) -> Schedule:
    """The same schedule without whatever it fails without: what a person wants to look at."""
    for n in range(len(s.troubles) - 1, -1, -1):
        less = replace(s, troubles=(*s.troubles[:n], *s.troubles[n + 1 :]))
        s = less if live(less) else s
    for n in range(len(s.kills) - 1, -1, -1):
        less = replace(s, kills=(*s.kills[:n], *s.kills[n + 1 :]))
        s = less if live(less) else s
    return s
