"""Whole worlds drawn from a seed: demand, rules, faults, restarts and people, and what must be true in all of them."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from autoscaler import sim_demand as shape
from autoscaler.ruleset import Bounds, BurstGuard, Flap, LaunchLimits, RuleSet, ScaleIn, ScaleOut
from autoscaler.sim import Demand, Fault, FaultKind, SimCluster, Workload
from autoscaler.simulation import START, Simulation
from autoscaler.types import Decision, Offer, Override
from collectors.sim import SimCollector
from providers.sim import SimProvider
from tests.scenarios.pools import pool

CHAOS_S = 1500.0
"""Faults, restarts and overrides end by then; from then on the demand is steady."""

SETTLE_S = 7200.0
"""The longest that a world may take to come to rest."""

GRACE_S = 300.0
"""What waited before the fleet came to rest is served or lost by then."""

CALM_S = 600.0
"""How long it must then stay at rest."""

PLANNED = 3.2
"""Requests per second that the rules plan for one replica: 80 % of the 4 that it can do."""

KINDS: tuple[FaultKind, ...] = (
    "shortage",
    "silent",
    "invisible",
    "dead_collector",
    "provider_down",
    "lost_answer",
    "crash",
)


@dataclass(frozen=True, slots=True)
class Scenario:
    """One world; its repr is enough to build it again, up to the shape of the demand, which the seed draws."""

    seed: int
    ruled: RuleSet
    demand_name: str
    steady: float
    boot_s: float
    boot_sigma: float
    faults: tuple[Fault, ...]
    restarts: tuple[float, ...]
    overrides: tuple[Override, ...]
    demand: Demand

    def __str__(self) -> str:
        r = self.ruled
        lines = [
            f"seed {self.seed}: demand {self.demand_name}, then {self.steady:.1f}/s; boot {self.boot_s:.0f} s "
            f"(sigma {self.boot_sigma:.1f}), tick {r.tick_s:g} s, {r.bounds}",
            *(f"  {part}" for part in (r.scale_out, r.scale_in, r.launch, r.flap, *r.offers)),
            *(f"  {f.kind} {f.since:.0f}..{f.until:.0f} {f.provider}" for f in self.faults),
            *(f"  restart at {at:.0f}" for at in self.restarts),
            *(
                f"  {o.kind} {o.replicas} {o.direction} {o.created_at - START:.0f}..{o.until - START:.0f}"
                for o in self.overrides
            ),
        ]
        return "\n".join(lines)


def draw(seed: int) -> Scenario:
    """The scenario of a seed."""
    rng = np.random.default_rng(seed)
    ruled = _rules(rng)
    providers = sorted({o.provider for o in ruled.offers})
    steady = float(rng.uniform(0.0, 30.0)) if rng.random() < 0.9 else 0.0
    name, before = _demand(rng)
    end = START + CHAOS_S

    def demand(now: float) -> float:
        return before(now) if now < end else steady

    return Scenario(
        seed=seed,
        ruled=ruled,
        demand_name=name,
        steady=steady,
        boot_s=float(rng.choice([15.0, 60.0, 150.0])),
        boot_sigma=float(rng.choice([0.0, 0.5])),
        faults=tuple(_fault(rng, providers) for _ in range(rng.integers(0, 6))),
        restarts=tuple(sorted(float(t) for t in rng.uniform(10, CHAOS_S, rng.integers(0, 4)))),
        overrides=tuple(_override(rng, n, ruled) for n in range(rng.integers(0, 4))),
        demand=demand,
    )


def _rules(rng: np.random.Generator) -> RuleSet:
    low = int(rng.integers(0, 4))
    sizes = [1, 1, 2, 8]
    offers = [Offer("sim", "small", replicas=int(rng.choice(sizes)), usd_per_hour=2.0)]
    if rng.random() < 0.5:
        other = str(rng.choice(["sim", "aux"]))
        offers.append(Offer(other, "spare", replicas=int(rng.choice(sizes)), usd_per_hour=float(rng.uniform(1, 9))))
    wide = Bounds(low, int(rng.integers(12, 31)))
    return pool(
        bounds=wide,
        tick_s=float(rng.choice([5.0, 15.0, 15.0, 30.0])),
        offers=tuple(offers),
        choose=str(rng.choice(["cheapest", "listed"])),
        scale_out=ScaleOut(
            window_s=float(rng.choice([0.0, 0.0, 45.0])),
            rate_replicas=int(rng.integers(1, 6)),
            rate_ratio=float(rng.choice([0.0, 0.5, 1.0])),
            rate_per_s=float(rng.choice([15.0, 60.0])),
            max_move=int(rng.choice([2, 8, 20])),
            burst=BurstGuard() if rng.random() < 0.7 else None,
        ),
        scale_in=ScaleIn(
            stabilization_s=float(rng.choice([0.0, 60.0, 300.0])),
            rate_replicas=int(rng.integers(1, 4)),
            rate_ratio=float(rng.choice([0.0, 0.1, 0.5])),
            rate_per_s=float(rng.choice([15.0, 60.0])),
            cool_off_s=float(rng.choice([0.0, 120.0, 300.0])),
            drain_s=120.0,
            settle_s=float(rng.choice([0.0, 5.0])),
            victim=str(rng.choice(["least_in_flight", "newest", "oldest"])),  # type: ignore[arg-type]
            to_zero_after_s=float(rng.choice([60.0, 300.0])),
        ),
        flap=Flap(moves=int(rng.choice([20, 60]))),
        launch=LaunchLimits(
            limit_s=float(rng.choice([60.0, 300.0])),
            register_s=float(rng.choice([600.0, 900.0])),
            shortage_s=float(rng.choice([30.0, 180.0])),
            shortage_max_s=600.0,
        ),
    )


def _demand(rng: np.random.Generator) -> tuple[str, Demand]:
    low, high = float(rng.uniform(0, 8)), float(rng.uniform(8, 60))
    at = START + float(rng.uniform(60, 900))
    shapes: list[tuple[str, Demand]] = [
        (f"constant {high:.1f}", shape.constant(high)),
        (f"step {low:.1f} to {high:.1f} at {at - START:.0f}", shape.step(low, high, at, at + 400)),
        (f"ramp {low:.1f} to {high:.1f}", shape.ramp(low, high, START, at)),
        (f"flapping {low:.1f} and {high:.1f}", shape.flapping(low, high, 240.0)),
        ("nothing", shape.constant(0.0)),
    ]
    return shapes[rng.integers(0, len(shapes))]


def _fault(rng: np.random.Generator, providers: Sequence[str]) -> Fault:
    kind = KINDS[rng.integers(0, len(KINDS))]
    since = float(rng.uniform(0, CHAOS_S - 60))
    until = min(CHAOS_S, since + float(rng.choice([30.0, 120.0, 400.0, 900.0])))
    one = str(rng.choice(providers)) if kind == "provider_down" and len(providers) > 1 and rng.random() < 0.7 else ""
    return Fault(kind, since, until, provider=one)


def _override(rng: np.random.Generator, n: int, ruled: RuleSet) -> Override:
    kind = str(rng.choice(["pin", "floor", "ceiling", "freeze", "pause"]))
    since = float(rng.uniform(0, CHAOS_S - 100))
    until = min(CHAOS_S, since + float(rng.choice([60.0, 300.0, 900.0])))
    count = int(rng.integers(0, ruled.bounds.max + 6)) if kind in ("pin", "floor", "ceiling") else None
    way = str(rng.choice(["out", "in", "both"]))
    return Override(
        f"o{n}", "chat", kind, START + until, "ada", "fuzz", count, way, START + since  # type: ignore[arg-type]
    )


def build(s: Scenario) -> Simulation:
    """The simulation of a scenario, not started yet."""
    cluster = SimCluster(
        {"chat": Workload(s.demand)},
        seed=s.seed,
        start=START,
        boot_s=s.boot_s,
        boot_sigma=s.boot_sigma,
        faults=[replace(f, since=START + f.since, until=START + f.until) for f in s.faults],
    )
    return Simulation({"chat": s.ruled}, cluster, SimProvider, SimCollector)


def live(s: Scenario) -> list[str]:
    """Runs the world of a scenario to its end; returns what was wrong with it, in words."""
    sim = build(s)
    events = [(at, None) for at in s.restarts] + [(o.created_at - START, o) for o in s.overrides]
    for at, override in sorted(events, key=lambda e: e[0]):
        sim.run(max(0.0, START + at - sim.clock.now()))
        sim.restart() if override is None else sim.journal.put_override(override)
    sim.run(max(0.0, START + CHAOS_S - sim.clock.now()))
    wrong = _settles(s, sim)
    decisions = sim.journal.decisions("chat", limit=100_000)[::-1]
    wrong += _lawful(s, decisions)
    score = sim.score("chat")
    if not any(f.kind == "crash" for f in s.faults) and score.requests_aborted:
        wrong.append(f"{score.requests_aborted} requests were aborted and nothing crashed")
    if sim.loop.stats.failures:
        wrong.append(f"{sim.loop.stats.failures} ticks broke: {sim.loop.board.pools()['chat'].error}")
    made = [m.action for m in sim.cluster.machines.values()]
    if len(made) != len(set(made)):
        wrong.append("a launch was carried out twice")
    return wrong


def _settles(s: Scenario, sim: Simulation) -> list[str]:
    end = START + CHAOS_S + SETTLE_S
    fault = "it never ran"
    while sim.clock.now() < end:
        sim.run(150.0)
        fault = _unrest(s, sim)
        if not fault:
            break
    if fault:
        return [f"{SETTLE_S:.0f} s after the last fault: {fault}"]
    sim.run(GRACE_S)
    before = sim.score("chat")
    since = sim.clock.now()
    sim.run(CALM_S)
    after = sim.score("chat")
    wrong = []
    lost = after.requests_lost - before.requests_lost
    if s.steady and s.ruled.bounds.max * PLANNED > s.steady and lost > 0.01 * CALM_S * s.steady:
        wrong.append(f"{lost} requests of a steady demand were lost")
    moves = sum(d.want != d.current for d in sim.journal.decisions("chat", since=since, limit=10_000))
    if moves > 3:
        wrong.append(f"{moves} changes of size in {CALM_S:.0f} s of steady demand")
    return wrong


def _unrest(s: Scenario, sim: Simulation) -> str:
    """What is not at rest yet; empty when everything is."""
    decision = sim.loop.board.pools()["chat"].decision
    if decision is None or decision.blind:
        return "no decision"
    there = sim.cluster.report()
    states = {state: there.count(state) for state in ("ready", "pending", "draining", "warm", "stopping", "failed")}
    if any(n for state, n in states.items() if state != "ready"):
        return f"instances are {states}; {decision.reasons[-1].text}"
    granule = max(o.replicas for o in s.ruled.offers) - 1
    if not decision.want <= there.ready <= decision.want + granule:
        return f"{there.ready} ready, {decision.want} wanted; {decision.reasons[-1].text}"
    need = s.steady / PLANNED
    most, least = s.ruled.bounds.max, s.ruled.bounds.min
    if decision.want < min(most, math.floor(need / 1.15)):
        return f"{decision.want} wanted are too few for {need:.1f}; {decision.reasons[-1].text}"
    if decision.want > max(least, math.ceil(need * 1.25) + 1):
        return f"{decision.want} wanted are too many for {need:.1f}; {decision.reasons[-1].text}"
    open_ = sim.journal.open_intents()
    return f"intents are open: {open_}" if open_ else ""


def _lawful(s: Scenario, decisions: Sequence[Decision]) -> list[str]:
    """What single decisions, and each with the one before it, did wrong."""
    r = s.ruled
    wrong = []
    moves: list[tuple[float, int, int]] = []
    for d in decisions:
        where = f"decision {d.number} at {d.at - START:.0f} s: "
        sources = {reason.source for reason in d.reasons}
        if d.reasons[-1].replicas != d.want:
            wrong.append(where + "the last reason has another count")
        if d.blind:
            if d.want != d.current:
                wrong.append(where + "a blind decision moved")
            continue
        if not r.bounds.min <= d.want <= r.bounds.max:
            wrong.append(where + f"{d.want} is out of {r.bounds}")
        if d.next_change_at is not None and d.next_change_at < d.at:
            wrong.append(where + f"the next change was {d.at - d.next_change_at:.0f} s ago")
        if not d.commanded and "bounds" not in sources and d.want > d.current:
            inside = [m for m in moves if m[0] > d.at - r.scale_out.rate_per_s]
            start = inside[0][1] if inside else d.current
            grown = sum(max(0, b - a) for _, a, b in inside) + d.want - d.current
            allowed = max(r.scale_out.rate_replicas, math.floor(r.scale_out.rate_ratio * start))
            if grown > allowed or d.want - d.current > r.scale_out.max_move:
                wrong.append(where + f"{grown} more in {r.scale_out.rate_per_s:.0f} s, {allowed} are allowed")
        unsure = any(p.sense == "hold" for p in d.proposals)
        if unsure and d.want < d.current and not d.commanded and "bounds" not in sources:
            wrong.append(where + f"went from {d.current} to {d.want} on unknown data")
        if d.want != d.current:
            moves.append((d.at, d.current, d.want))
    return wrong
