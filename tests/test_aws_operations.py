"""Replacing and rolling on EC2, over the wire: the successor first, its tags tell what it is made of, nobody twice."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from autoscaler.dispatch import Inline
from autoscaler.journal import Journal
from autoscaler.loop import Loop
from autoscaler.movement import Bounds, ScaleIn
from autoscaler.ruleset import RuleSet
from autoscaler.store import Store
from autoscaler.types import Instance, Mark, Offer, Roll, Rolling
from tests.awsworld import OFFER, RUNNING, account, provider
from tests.peers.strict_moto import StrictMoto
from tests.worlds import rules

HERE = replace(OFFER, replicas=1)
NEW = replace(HERE, settings=(("image", "ami-760aaa0f"), RUNNING))
SIZE = 2
STEP_S = 15.0


@dataclass
class Service:
    """The account and the journal's file; every `run` is a new process on them."""

    world: StrictMoto
    folder: Path
    offer: Offer = HERE
    least: int = SIZE

    def rules(self) -> RuleSet:
        quick = ScaleIn(stabilization_s=60, cool_off_s=0, drain_s=30.0)
        return rules(bounds=Bounds(SIZE, SIZE), offers=(self.offer,), signals=(), rules=(), scale_in=quick)

    def run(self, seconds: float) -> None:
        aws, journal, clock = provider(self.world), Journal(f"sqlite:///{self.folder / 'journal.db'}"), self.world.clock
        loop = Loop(clock, lambda: {"chat": self.rules()}, (), Store(None), journal, {"aws": Inline(aws, clock)})
        try:
            until = clock.now() + seconds
            while clock.now() < until:
                loop.run(until=clock.now() + STEP_S)
                self.least = min(self.least, sum(i.state == "ready" for i in aws.observe().instances))
        finally:
            journal.close()
            aws.close()

    def seen(self) -> list[Instance]:
        aws = provider(self.world)
        found = [i for i in aws.observe().instances if i.state != "stopping"]
        aws.close()
        return sorted(found, key=lambda i: i.requested_at)

    def journal(self) -> Journal:
        return Journal(f"sqlite:///{self.folder / 'journal.db'}")


@pytest.fixture
def service(tmp_path: Path) -> Iterator[Service]:
    with account() as world:
        world.boot_s = 20.0
        found = Service(world, tmp_path)
        found.run(75)
        assert [i.state for i in found.seen()] == ["ready"] * SIZE
        found.least = SIZE
        yield found


def test_a_replacement_ends_with_one_instance_for_one(service: Service) -> None:
    old, kept = service.seen()
    journal, now = service.journal(), service.world.clock.now()
    journal.operations.put_mark(Mark(old.id, "chat", "replace", now + 3600, "ada", "ECC errors", now))
    journal.close()
    for _ in range(3):  # a new process in the middle of it
        service.run(45)
    left = service.seen()
    assert [i.state for i in left] == ["ready", "ready"]
    assert kept.id in {i.id for i in left}
    assert old.id not in {i.id for i in left}
    assert service.least == SIZE, "it served until its successor did"


def test_an_image_goes_through_the_pool_and_the_tags_tell_which_is_which(service: Service) -> None:
    assert {i.made_of for i in service.seen()} == {HERE.made_of}
    service.offer = NEW
    journal, now = service.journal(), service.world.clock.now()
    journal.operations.put_roll(Roll("r", "chat", now, now + 86400, "ada", "driver", canary_s=30.0, created_at=now))
    journal.close()
    for _ in range(4):
        service.run(75)
    assert {i.made_of for i in service.seen()} == {NEW.made_of}
    assert len(service.seen()) == SIZE
    assert service.least == SIZE
    journal = service.journal()
    rolling = journal.load()["chat"].rolling
    journal.close()
    assert isinstance(rolling, Rolling)
    assert (rolling.state, rolling.gone) == ("done", SIZE)


def test_an_instance_that_is_cordoned_runs_on_in_ec2(service: Service) -> None:
    held, _ = service.seen()
    journal, now = service.journal(), service.world.clock.now()
    journal.operations.put_mark(Mark(held.id, "chat", "cordon", now + 3600, "ada", "evidence", now))
    journal.close()
    service.run(105)
    states = {i.id: i.state for i in service.seen()}
    assert states.pop(held.id) == "draining"
    assert list(states.values()) == ["ready", "ready"]
