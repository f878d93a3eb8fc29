"""The warm pool of the ordinary loop on EC2: filled, started before anything is bought, refilled, through a crash."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

import pytest

from autoscaler.movement import Refill, WarmPool
from autoscaler.ruleset import RuleSet
from autoscaler.types import Instance
from tests.awsworld import account, provider
from tests.peers.strict_moto import StrictMoto
from tests.test_aws_loop import HERE, NEXT, Killed, Service

WARM_UP_S = 300.0
"""How long a new warm machine of the provider runs before it is stopped."""


ONE = WarmPool(min=1, refill=Refill(1, 60.0))


@dataclass
class WithWarmPool(Service):
    size: int = 1
    warm: WarmPool = ONE

    def _rules(self) -> RuleSet:
        return replace(super()._rules(), warm_pool=self.warm)

    def states(self) -> dict[str, str]:
        return {i.id: i.state for i in self.seen()}

    def seen(self) -> tuple[Instance, ...]:
        aws = provider(self.world)
        try:
            return aws.look().instances
        finally:
            aws.close()


@pytest.fixture
def world() -> Iterator[StrictMoto]:
    with account() as made:
        made.boot_s = 20.0
        yield made


def filled(world: StrictMoto, folder: Path, **changes: object) -> tuple[WithWarmPool, str, str]:
    """A pool of one replica with one warm machine: (service, who serves, who rests)."""
    service = WithWarmPool(world, folder, **changes)  # type: ignore[arg-type]
    service.run(WARM_UP_S + 240.0)
    first, second = (m.instance for m in world.made)
    assert service.states() == {first: "ready", second: "warm"}
    return service, first, second


def test_a_machine_boots_once_and_rests_and_is_ordered_only_once(world: StrictMoto, tmp_path: Path) -> None:
    service, _, second = filled(world, tmp_path)
    (resting,) = [i for i in service.seen() if i.id == second]
    assert resting.rests
    service.run(1200.0)
    assert len(world.made) == 2, "while it boots it is listed as stopping, and counts all the same"


def test_it_is_started_before_anything_is_bought_and_refilled_when_the_pool_is_quiet(
    world: StrictMoto, tmp_path: Path
) -> None:
    service, first, second = filled(world, tmp_path)
    service.size = 2
    service.run(90.0)
    assert {service.states()[first], service.states()[second]} == {"ready"}
    service.run(WARM_UP_S + 240.0)
    assert Counter(service.states().values()) == {"ready": 2, "warm": 1}
    assert len(world.made) == 3
    third = world.made[-1].instance
    assert service.states()[third] == "warm"


def test_a_start_without_capacity_leads_to_the_next_zone_and_the_machine_stays_warm(
    world: StrictMoto, tmp_path: Path
) -> None:
    service, first, second = filled(world, tmp_path)
    service.offers = (HERE, NEXT)
    world.capacity["us-east-1a", "p4d.24xlarge", "on_demand"] = 0
    service.size = 2
    service.run(120.0)
    bought = world.made[2]
    assert bought.zone == "us-east-1b"
    assert service.states() == {first: "ready", second: "warm", bought.instance: "ready"}


@pytest.mark.parametrize("when", ["before", "after"])
@pytest.mark.parametrize("call", [1, 2])
def test_a_crash_at_any_call_fills_and_starts_exactly_once(
    world: StrictMoto, tmp_path: Path, call: int, when: Literal["before", "after"]
) -> None:
    service = WithWarmPool(world, tmp_path)
    with pytest.raises(Killed):
        service.run(WARM_UP_S + 240.0, at_call=call, when=when)
    service.run(WARM_UP_S + 300.0)
    assert Counter(service.states().values()) == {"ready": 1, "warm": 1}
    assert len(world.made) == 2
    service.size = 2
    with pytest.raises(Killed):
        service.run(90.0, at_call=1, when=when)
    service.run(90.0)
    assert list(service.states().values()).count("ready") == 2
    assert set(service.states()) >= {m.instance for m in world.made[:2]}


def test_a_pool_that_is_told_to_hold_none_is_emptied(world: StrictMoto, tmp_path: Path) -> None:
    service, first, second = filled(world, tmp_path)
    service.warm = WarmPool(max=0, keep_s=60.0)
    service.run(180.0)
    assert {i for i, state in service.states().items() if state == "ready"} == {first}
    assert second not in {i.id for i in world.alive()}
