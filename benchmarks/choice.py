"""Choosing among 200 offers for 1,000 instances: how long it takes, and what the cheapest-first peer pays more.

    python -m benchmarks.choice

Offers are drawn: four sizes, prices per GPU within a factor of two and a half, six zones, spot and on demand, lead
times of two to fifteen minutes, and for each as many as may be had now. The peer covers the need by what is cheapest
per replica, one offer after the other, which is what provisioners without a programme do; it is given the same expected
costs, so that only the search differs. Times are CPU of one core, so that other work on the machine shows less.
"""

from __future__ import annotations

import os

# One core is what is claimed; BLAS must know before numpy is loaded.
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

import numpy as np

from autoscaler.choice import Candidate, Limits, Wanted, choose, prepare
from autoscaler.choice.choosing import _problem
from autoscaler.choice.costs import costs_of
from autoscaler.choice.greedy import filled
from autoscaler.choice.programme import value
from autoscaler.clock import cpu_seconds
from benchmarks.table import Row, show

OFFERS, INSTANCES, SMALL = 200, 1000, 12
SEEDS = range(40)
TARGET_S = 0.1
LIMITS = Limits(solver_s=10.0)


def run() -> list[Row]:
    """Median and slowest of the large choice, a small one, and the ratio of costs, all from the same draws."""
    prepare()
    rows: list[Row] = []
    for name, offers, instances in (("large", OFFERS, INSTANCES), ("small", SMALL, 9)):
        ours, peers, ratios = [], [], []
        for seed in SEEDS:
            some, wanted = drawn(np.random.default_rng([seed, offers]), offers, instances)
            began = cpu_seconds()
            chosen = choose(wanted, some, LIMITS)
            ours.append(cpu_seconds() - began)
            problem = _problem(wanted, some, LIMITS, costs_of(some, wanted))
            began = cpu_seconds()
            order = np.argsort(problem.cost / problem.replicas, kind="stable").tolist()
            counts = filled(problem, order)
            peers.append(cpu_seconds() - began)
            ratios.append(value(problem, counts) / value(problem, np.array(chosen.counts, dtype=np.int64)))
            assert chosen.short == 0
        what = f"{offers} offers, about {instances} instances"
        target = TARGET_S * 1e3 if name == "large" else None
        rows += [
            Row(f"{what}, median", 1e3 * float(np.median(ours)), "ms", target, 1e3 * float(np.median(peers)), True),
            Row(f"{what}, slowest of {len(SEEDS)}", 1e3 * max(ours), "ms", target, 1e3 * max(peers), True),
            Row(f"{what}: peer's cost over ours, mean", float(np.mean(ratios)), "x", 1.0),
            Row(f"{what}: peer's cost over ours, least", min(ratios), "x", 1.0 - 2e-6),
        ]
    return rows


def drawn(chance: np.random.Generator, offers: int, instances: int) -> tuple[list[Candidate], Wanted]:
    """Offers, and a need that takes about so many of their instances."""
    replicas = chance.choice([1, 2, 4, 8], offers)
    price = replicas * chance.uniform(2.0, 5.0, offers)
    units = chance.integers(1, max(2, 4 * instances // offers), offers)
    spot = chance.random(offers) < 0.4
    lead_s = chance.uniform(120.0, 900.0, offers)
    some = [
        Candidate(
            key=f"cloud/type{n}/zone{n % 6}/{'spot' if spot[n] else 'on_demand'}",
            replicas=int(replicas[n]),
            usd_per_hour=float(price[n] * (0.5 if spot[n] else 1.0)),
            p90_s=float(lead_s[n]),
            units=int(units[n]),
            gpus=int(replicas[n]),
            interruptions_per_hour=0.05 if spot[n] else 0.0,
            place=f"zone{n % 6}",
        )
        for n in range(offers)
    ]
    need = int(instances * float(np.mean(replicas))) - 1
    return some, Wanted(min(need, int(replicas @ units)))


if __name__ == "__main__":
    show(run(), "choice")
