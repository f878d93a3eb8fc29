"""Seeded weeks of bad luck: faults on the wire, shortages, dying instances, late lists and kills, all at once.

Once it stops the pool has what was wanted, no launch was carried out twice, and nothing is left over.
Run more seeds by hand with `SIGMASCALE_AWS_SEEDS=200 pytest tests/test_aws_campaign.py`.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest

from autoscaler.movement import Bounds, LaunchLimits, ScaleIn
from autoscaler.ruleset import RuleSet
from tests.awsworld import account
from tests.peers.strict_moto import StrictMoto
from tests.test_aws_loop import HERE, NEXT, Killed, Service
from tests.worlds import rules

SEEDS = int(os.environ.get("SIGMASCALE_AWS_SEEDS", "3"))
OPERATIONS = ("RunInstances", "DescribeInstances", "TerminateInstances", "CreateTags")
KINDS = ("cut", "refuse", "error", "garbage")
CODES = ("RequestLimitExceeded", "InternalError", "InsufficientInstanceCapacity")
LIMITS = LaunchLimits(limit_s=120.0, register_s=300.0, shortage_s=30.0, shortage_max_s=120.0)
AT_ONCE = ScaleIn(stabilization_s=0, cool_off_s=0, drain_s=60, rate_per_s=15)


@dataclass
class Pinned(Service):
    """A pool whose size is given."""

    def _rules(self) -> RuleSet:
        bounds = Bounds(self.size, self.size)
        return rules(
            offers=self.offers, choose="listed", launch=LIMITS, bounds=bounds, signals=(), rules=(), scale_in=AT_ONCE
        )


def mishaps(world: StrictMoto, rng: np.random.Generator) -> None:
    """What goes wrong in the next stretch of time."""
    for _ in range(int(rng.integers(0, 4))):
        world.fault(
            OPERATIONS[rng.integers(len(OPERATIONS))],
            KINDS[rng.integers(len(KINDS))],
            times=int(rng.integers(1, 4)),
            skip=int(rng.integers(0, 4)),
            code=CODES[rng.integers(len(CODES))],
            status=503,
        )
    if rng.random() < 0.3:
        world.capacity["us-east-1a", "p4d.24xlarge", "on_demand"] = int(rng.integers(0, 3))
    alive = [i.id for i in world.alive()]
    if alive and rng.random() < 0.3:
        world.loses(alive[rng.integers(len(alive))])


@pytest.mark.parametrize("seed", range(SEEDS))
def test_after_any_bad_luck_the_pool_has_what_was_wanted(seed: int, tmp_path: Path) -> None:
    rng = np.random.default_rng(seed)
    with account() as world:
        world.boot_s, world.stop_s = 20.0, 5.0
        world.visible_after_s = float(rng.choice([0.0, 10.0, 40.0]))
        service = Pinned(world, tmp_path, offers=(HERE, NEXT))
        for _ in range(5):
            service.size = int(rng.integers(1, 6))
            mishaps(world, rng)
            killed_at = int(rng.integers(1, 6)) if rng.random() < 0.6 else 0
            try:
                service.run(float(rng.integers(30, 150)), killed_at, "before" if rng.random() < 0.5 else "after")
            except Killed:
                continue
        world.wire.faults.clear()
        world.capacity.clear()
        service.run(900.0)
        service.settled()
        tokens = [made.token for made in world.made]
        assert len(tokens) == len(set(tokens)), "a launch was carried out twice"
