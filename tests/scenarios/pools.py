"""Pools and clusters for closed-loop scenarios."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from autoscaler.movement import Bounds, ScaleIn, ScaleOut
from autoscaler.policies.step import Step
from autoscaler.policies.target import Target
from autoscaler.ruleset import Rule, RuleSet, Signal
from autoscaler.sim import Demand, Fault, SimCluster, Workload
from autoscaler.simulation import START, Simulation
from autoscaler.types import Offer
from collectors.sim import SimCollector
from providers.sim import SimProvider
from tests.worlds import condition

OFFER = Offer("sim", "small", usd_per_hour=2.0)


def pool(name: str = "chat", **changes: object) -> RuleSet:
    """One replica serves 4 requests/s; it is planned at 3.2. A queue rule stands behind the target."""
    base = RuleSet(
        pool=name,
        bounds=Bounds(1, 40),
        capacity=4.0,
        offers=(OFFER,),
        signals=(
            Signal("load", metric="requests_arrived_total", rate_s=60),
            Signal("queue", metric="requests_waiting", aggregate="sum"),
        ),
        rules=(Rule("demand", Target("load")), Rule("queue", Step(2), condition("queue", 60, for_s=10), 600.0)),
        scale_out=ScaleOut(max_move=20),
        scale_in=ScaleIn(stabilization_s=300, cool_off_s=300, drain_s=120, rate_per_s=30),
        hash="scenario",
    )
    return replace(base, **changes)  # type: ignore[arg-type]


def simulate(
    demand: Demand,
    faults: Sequence[Fault] = (),
    seed: int = 1,
    boot_s: float = 60.0,
    ruled: RuleSet | None = None,
    **changes: object,
) -> Simulation:
    """A simulation of one pool; faults count their times from its start."""
    r = ruled or pool()
    return several({r.pool: (r, demand)}, faults, seed, boot_s, **changes)


def several(
    pools: dict[str, tuple[RuleSet, Demand]],
    faults: Sequence[Fault] = (),
    seed: int = 1,
    boot_s: float = 60.0,
    **changes: object,
) -> Simulation:
    """A simulation of some pools on one provider."""
    cluster = SimCluster(
        {name: Workload(demand) for name, (_, demand) in pools.items()},
        seed=seed,
        start=START,
        boot_s=boot_s,
        faults=[replace(f, since=START + f.since, until=START + f.until) for f in faults],
        **changes,  # type: ignore[arg-type]
    )
    return Simulation({name: r for name, (r, _) in pools.items()}, cluster, SimProvider, SimCollector)
