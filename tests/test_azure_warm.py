"""The warm pool of the ordinary loop on scale sets: deallocated machines are filled, started and refilled."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

from autoscaler import sim_demand as shape
from autoscaler.movement import Refill, WarmPool
from autoscaler.windows import window
from tests.azureworld import START, AzureWorld
from tests.test_azure_loop import Controlled, nothing_twice, ruled

WARM = WarmPool(min=2, refill=Refill(1, 300.0))


@pytest.fixture
def world(tmp_path: Path) -> Iterator[AzureWorld]:
    made = AzureWorld(tmp_path / "state", boot_s=60.0)
    yield made
    made.close()


def powers(world: AzureWorld) -> Counter[str]:
    return Counter(m.power for m in world.set.machines.values())


def test_deallocated_machines_are_filled_started_in_a_step_and_refilled(world: AzureWorld) -> None:
    controlled = Controlled(world, shape.step(6.0, 10.5, START + 1200), ruled(world, warm_pool=WARM))
    controlled.run(1200)
    assert Counter(world.states()) == {"ready": 2, "warm": 2}
    assert powers(world) == {"running": 2, "deallocated": 2}
    warm = {i.id for i in world.instances() if i.state == "warm"}
    bought = len(world.cloud.bought)
    controlled.run(150)
    assert warm <= {i.id for i in world.instances() if i.state == "ready"}
    assert len(world.cloud.bought) == bought, "nothing is bought while a warm one can be started"
    controlled.run(900)
    assert Counter(world.states()) == {"ready": controlled.want, "warm": 2}
    nothing_twice(world)


def test_a_crash_in_the_middle_of_the_filling_orders_nothing_twice(world: AzureWorld) -> None:
    controlled = Controlled(world, shape.constant(6.0), ruled(world, warm_pool=WARM))
    for seconds in (315, 60, 125, 600):
        controlled.run(seconds)
        controlled.crash()
    controlled.run(60)
    assert Counter(world.states()) == {"ready": 2, "warm": 2}
    nothing_twice(world)


def test_what_drained_is_deallocated_instead_of_deleted(world: AzureWorld) -> None:
    """Nothing tells here how many requests are in flight, so a drain ends at its deadline."""
    never = WarmPool(min=3, refill=Refill(between=(window("00:00-00:01"),)))
    controlled = Controlled(world, shape.step(12.0, 2.0, START + 600), ruled(world, warm_pool=never))
    controlled.run(3600)
    assert Counter(world.states()) == {"ready": 1, "warm": 3}
    assert powers(world)["deallocated"] == 3
    nothing_twice(world)
