"""People at Azure's portal beside the loop: capacity changed by hand, machines ended, stopped or without tags."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from autoscaler.dispatch import Inline
from autoscaler.errors import ProviderError
from autoscaler.journal import Journal
from autoscaler.loop import Loop
from autoscaler.movement import Bounds
from autoscaler.ownership import OVERRIDE
from autoscaler.ruleset import RuleSet
from autoscaler.store import Store
from autoscaler.types import Alert, Override
from tests.azureworld import AzureWorld
from tests.worlds import rules

SIZE = 2


@dataclass
class Pool:
    """A pool of two under the loop, and Azure, where somebody else may have a hand in it too."""

    world: AzureWorld
    journal: Journal = field(default_factory=Journal)
    alerts: list[Alert] = field(default_factory=list)
    ruled: dict[str, RuleSet] = field(default_factory=dict)
    loop: Loop = field(init=False)

    def __post_init__(self) -> None:
        offers = (self.world.offer(usd_per_hour=3.67),)
        self.ruled["chat"] = rules(offers=offers, bounds=Bounds(SIZE, 10), signals=(), rules=(), tick_s=30.0)
        self.start()
        self.run(240)
        assert len(self.serving) == SIZE

    def start(self) -> None:
        """A new process."""
        clock = self.world.clock
        hands = {"azure": Inline(self.world.provider, clock)}
        self.loop = Loop(clock, lambda: self.ruled, (), Store(None), self.journal, hands, notify=self.alerts.extend)

    def run(self, seconds: float) -> None:
        self.loop.run(until=self.world.clock.now() + seconds)

    def capacity(self, count: int) -> None:
        """Somebody writes another capacity."""
        self.world.cloud.update(self.world.set, {"sku": {"capacity": count}}, None)

    @property
    def serving(self) -> list[str]:
        return sorted(i.id for i in self.world.provider.look().instances if i.state == "ready")

    @property
    def told(self) -> list[str]:
        found = reversed(self.journal.decisions("chat", limit=1000))
        return [r.text for d in found for r in d.reasons if r.source.startswith("manual:")]

    @property
    def override(self) -> Override | None:
        found = self.journal.overrides(self.world.clock.now())
        return next((o for o in found if o.id == OVERRIDE), None)


@pytest.fixture
def azure(tmp_path: Path) -> Iterator[Callable[..., Pool]]:
    made: list[AzureWorld] = []

    def world(**settings: bool) -> Pool:
        made.append(AzureWorld(tmp_path / "state", boot_s=30.0, **settings))  # type: ignore[arg-type]
        return Pool(made[-1])

    yield world
    for one in made:
        one.close()


def test_a_capacity_that_somebody_raised_becomes_a_floor_where_such_machines_are_listed(
    azure: Callable[..., Pool],
) -> None:
    pool = azure(adopt=True)
    pool.capacity(SIZE + 2)
    pool.run(180)
    assert len(pool.serving) == SIZE + 2
    found = pool.override
    assert found is not None
    assert (found.kind, found.replicas) == ("floor", SIZE + 2)
    assert any("tagged by hand" in text for text in pool.told)


def test_without_adoption_machines_that_somebody_added_are_left_alone(azure: Callable[..., Pool]) -> None:
    pool = azure()
    pool.capacity(SIZE + 2)
    pool.run(1200)
    assert len(pool.serving) == SIZE
    assert len(pool.world.set.machines) == SIZE + 2
    assert pool.told == []


def test_a_capacity_that_somebody_lowered_takes_no_machine_that_serves_and_growth_goes_on(
    azure: Callable[..., Pool],
) -> None:
    pool = azure()
    pool.capacity(0)
    pool.run(120)
    assert len(pool.serving) == SIZE, "they are protected from it"
    override = Override("more", "chat", "floor", pool.world.clock.now() + 3600, "ada", "launch", SIZE + 1)
    pool.journal.put_override(override)
    pool.run(600)
    assert len(pool.serving) == SIZE + 1
    assert len(pool.world.cloud.bought) == SIZE + 1


def test_a_machine_that_somebody_deleted_is_replaced_and_told_once(azure: Callable[..., Pool]) -> None:
    pool = azure()
    gone = pool.serving[0]
    pool.world.cloud.delete(pool.world.set, [gone.rpartition("/")[2]])
    pool.run(240)
    assert len(pool.serving) == SIZE
    assert gone not in pool.serving
    assert [dict(a.labels)["change"] for a in pool.alerts] == ["removed"]
    assert pool.override is None, "the pool may not be smaller"


def test_a_machine_that_somebody_deallocated_is_left_alone(azure: Callable[..., Pool]) -> None:
    pool = azure()
    stopped = pool.serving[0]
    pool.world.cloud.deallocate(pool.world.set, [stopped.rpartition("/")[2]])
    pool.run(400)
    machine = pool.world.set.machines[stopped.rpartition("/")[2]]
    assert machine.power == "deallocated"
    assert len(pool.serving) == SIZE
    assert any(text.startswith(f"{stopped}: stopped by hand") for text in pool.told)


def test_a_machine_whose_tags_somebody_removed_goes_on_serving(azure: Callable[..., Pool]) -> None:
    pool = azure()
    before = pool.serving
    for machine in pool.world.set.machines.values():
        machine.tags.clear()
    pool.run(300)
    assert pool.serving == before
    assert len(pool.world.cloud.bought) == SIZE
    assert not pool.world.cloud.gone


def test_a_machine_of_an_unknown_launch_is_ended_after_the_grace_and_not_before(azure: Callable[..., Pool]) -> None:
    pool = azure()
    before = pool.serving
    assert pool.world.provider.apply(pool.world.launch(offer=pool.ruled["chat"].offers[0])).status == "accepted"
    pool.run(880)
    assert len(pool.serving) == SIZE + 1
    pool.run(600)
    assert pool.serving == before
    assert any("an orphan" in text for text in pool.told)


def test_after_the_journal_was_lost_nothing_ends(azure: Callable[..., Pool]) -> None:
    pool = azure()
    before = pool.serving
    pool.journal = Journal()
    pool.world.restart()
    pool.start()
    pool.run(1800)
    assert pool.serving == before
    assert len(pool.world.cloud.bought) == SIZE


def test_a_fleet_stays_when_its_rule_file_goes(azure: Callable[..., Pool]) -> None:
    pool = azure()
    before = pool.serving
    pool.ruled.clear()
    pool.run(120)
    assert pool.serving == before
    assert [a.name for a in pool.alerts] == ["instances without rules"]


# --- adoption by the provider ---------------------------------------------------------------------------------------


def test_machines_that_nobody_ordered_join_the_pool_of_their_scale_set(azure: Callable[..., Pool]) -> None:
    pool = azure()
    offers = pool.ruled["chat"].offers
    pool.capacity(SIZE + 1)
    pool.world.pass_s(60)
    adopter = pool.world.provider.adopter()
    (found,) = adopter.adoptable("chat", offers)
    for _ in range(2):  # said twice it is done once
        adopter.take_over("chat", offers, [found.id])
    pool.run(120)
    assert found.id in pool.serving
    assert pool.told[0] == f"adopted {found.id}, tagged by hand"
    assert adopter.adoptable("chat", offers) == ()


def test_a_scale_set_that_nobody_ordered_from_joins_with_its_machines(tmp_path: Path) -> None:
    world = AzureWorld(tmp_path / "state")
    try:
        world.cloud.update(world.set, {"sku": {"capacity": 2}}, None)
        world.pass_s(60)
        adopter, offer = world.provider.adopter(), world.offer(usd_per_hour=3.67)
        found = [i.id for i in adopter.adoptable("chat", [offer])]
        assert len(found) == 2
        assert world.instances() == ()
        adopter.take_over("chat", [offer], found)
        assert sorted(i.id for i in world.instances()) == sorted(found)
        assert {i.pool for i in world.instances()} == {"chat"}
        assert world.set.capacity == 2
    finally:
        world.close()


def test_what_is_not_nobodys_cannot_be_adopted(azure: Callable[..., Pool]) -> None:
    pool = azure()
    with pytest.raises(ProviderError, match="Nothing was labelled"):
        pool.world.provider.adopter().take_over("code", pool.ruled["chat"].offers, pool.serving)
