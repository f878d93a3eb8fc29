"""Whole worlds drawn from a seed: the demand, the rules, the faults, the restarts and the people."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from autoscaler import sim_demand as shape
from autoscaler.conditions import Condition, Test
from autoscaler.movement import Bounds, BurstGuard, Flap, LaunchLimits, ScaleIn, ScaleOut
from autoscaler.policies.step import Step
from autoscaler.policies.target import Target
from autoscaler.ruleset import Rule, RuleSet
from autoscaler.sim import Demand, Fault, FaultKind
from autoscaler.simulation import START
from autoscaler.thresholds.static import Static
from autoscaler.types import Direction, Offer, Override
from tests.scenarios.pools import pool
from tests.worlds import condition

CHAOS_S = 1500.0
"""Faults, restarts and overrides end by then; from then on the demand is steady."""

Kind = Literal["pin", "floor", "ceiling", "freeze", "pause"]

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
    """One world. restarts: when the service ends, and whether between a journal write and its provider calls. full:
    from when until when the journal cannot be written."""

    seed: int
    ruled: RuleSet
    demand_name: str
    steady: float
    boot_s: float
    boot_sigma: float
    faults: tuple[Fault, ...]
    restarts: tuple[tuple[float, bool], ...]
    full: tuple[tuple[float, float], ...]
    overrides: tuple[Override, ...]
    demand: Demand

    def __str__(self) -> str:
        r = self.ruled
        lines = [
            f"seed {self.seed}: demand {self.demand_name}, then {self.steady:.1f}/s; boot {self.boot_s:.0f} s "
            f"(sigma {self.boot_sigma:.1f}), tick {r.tick_s:g} s, {r.bounds}",
            *(f"  {part}" for part in (*r.rules, r.scale_out, r.scale_in, r.launch, r.flap, *r.offers)),
            *(f"  {f.kind} {f.since:.0f}..{f.until:.0f} {f.provider}" for f in self.faults),
            *(f"  {'kill' if killed else 'restart'} at {at:.0f}" for at, killed in self.restarts),
            *(f"  journal full {since:.0f}..{until:.0f}" for since, until in self.full),
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
        restarts=tuple((float(t), bool(rng.random() < 0.5)) for t in rng.uniform(10, CHAOS_S - 60, rng.integers(0, 4))),
        full=tuple((float(t), float(t) + 60.0) for t in rng.uniform(10, CHAOS_S - 60, rng.integers(0, 2))),
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
        rules=RULES[str(rng.choice(["demand", "demand", "two targets", "queue only"]))],
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
            when=Condition(Test("load", "below", Static(1.0, math.inf), text="1"), 60.0),
        ),
        flap=Flap(moves=int(rng.choice([20, 60]))),
        launch=LaunchLimits(
            limit_s=float(rng.choice([60.0, 300.0])),
            register_s=float(rng.choice([600.0, 900.0])),
            shortage_s=float(rng.choice([30.0, 180.0])),
            shortage_max_s=600.0,
        ),
    )


RULES: dict[str, tuple[Rule, ...]] = {
    "demand": pool().rules,
    "two targets": (pool().rules[0], Rule("backlog", Target("queue", 30.0))),
    "queue only": (Rule("queue", Step(2), condition("queue", 20, for_s=10), 60.0),),
}


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
    kinds: list[Kind] = ["pin", "floor", "ceiling", "freeze", "pause"]
    ways: list[Direction] = ["out", "in", "both"]
    kind = kinds[rng.integers(0, len(kinds))]
    since = float(rng.uniform(0, CHAOS_S - 100))
    until = START + min(CHAOS_S, since + float(rng.choice([60.0, 300.0, 900.0])))
    count = int(rng.integers(0, ruled.bounds.max + 6)) if kind in ("pin", "floor", "ceiling") else None
    way = ways[rng.integers(0, len(ways))]
    return Override(f"o{n}", "chat", kind, until, "ada", "fuzz", count, way, START + since)
