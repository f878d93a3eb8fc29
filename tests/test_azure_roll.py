"""A new image on Azure: another scale set in the offer, and a roll that moves the pool into it, the successor first."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from autoscaler import sim_demand as shape
from autoscaler.movement import Bounds, ScaleIn
from autoscaler.ruleset import RuleSet
from autoscaler.types import Roll
from tests.azureworld import AzureWorld
from tests.test_azure_loop import Controlled, nothing_twice, ruled

SIZE = 2


def fixed(world: AzureWorld, scale_set: str) -> RuleSet:
    """Two replicas, from one scale set."""
    offer = world.offer(usd_per_hour=3.67, settings={"scale_set": scale_set})
    quick = ScaleIn(stabilization_s=60, cool_off_s=0, drain_s=30.0)
    return ruled(world, offers=(offer,), bounds=Bounds(SIZE, SIZE), signals=(), rules=(), scale_in=quick)


@pytest.fixture
def world(tmp_path: Path) -> Iterator[AzureWorld]:
    made = AzureWorld(tmp_path / "state", boot_s=30.0)
    yield made
    made.close()


def sets_of(world: AzureWorld) -> Counter[str]:
    """Machines that serve, by scale set."""
    return Counter(i.id.split("/")[1] for i in world.instances() if i.state == "ready")


def test_a_pool_moves_into_the_scale_set_of_its_new_image(world: AzureWorld) -> None:
    controlled = Controlled(world, shape.constant(1.0), fixed(world, "chat"))
    controlled.run(120)
    assert sets_of(world) == {"chat": SIZE}
    world.cloud.add_set("chat-v2", size=world.set.size)
    controlled.rules = replace(fixed(world, "chat-v2"), hash="v2")
    controlled.plug()
    controlled.run(120)
    assert sets_of(world) == {"chat": SIZE}, "another scale set in the file moves nobody by itself"
    now = world.clock.now()
    roll = Roll("r", "chat", now, now + 86400, "ada", "driver 570", canary_s=30.0, created_at=now)
    controlled.journal.operations.put_roll(roll)
    least = SIZE
    for _ in range(40):
        controlled.run(15)
        least = min(least, sets_of(world).total())
    controlled.crash()
    controlled.run(300)
    assert sets_of(world) == {"chat-v2": SIZE}
    assert least == SIZE, "a successor served before each of the old ones left"
    rolling = controlled.journal.load()["chat"].rolling
    assert rolling is not None
    assert (rolling.state, rolling.gone) == ("done", SIZE)
    nothing_twice(world)
