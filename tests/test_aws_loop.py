"""The ordinary loop over the AWS provider: crashes, lost answers and shortages leave behind what was wanted."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Literal

import pytest

from autoscaler.dispatch import Inline
from autoscaler.journal import Journal
from autoscaler.loop import Loop
from autoscaler.movement import Bounds, LaunchLimits
from autoscaler.ruleset import RuleSet
from autoscaler.store import Store
from autoscaler.types import Action, Fleet, Offer, Outcome
from providers.aws import AwsProvider
from tests.awsworld import OFFER, account, provider
from tests.peers.strict_moto import StrictMoto
from tests.worlds import rules

HERE = replace(OFFER, replicas=1)
NEXT = replace(HERE, zone="us-east-1b")
SIZE = 3


class Killed(BaseException):
    """The process ends without a word: nothing of it may catch this."""


@dataclass
class Killing:
    """A provider whose process is killed at its n-th call (from 1), before or after AWS carried it out."""

    inner: AwsProvider
    at_call: int
    when: Literal["before", "after"]
    calls: int = 0

    def observe(self) -> Fleet:
        return self.inner.observe()

    def apply(self, action: Action) -> Outcome:
        self.calls += 1
        if self.calls == self.at_call and self.when == "before":
            raise Killed
        outcome = self.inner.apply(action)
        if self.calls == self.at_call:
            raise Killed
        return outcome


@dataclass
class Service:
    """What survives a crash: the account and the journal's file. `run` is one process on them."""

    world: StrictMoto
    folder: Path
    offers: tuple[Offer, ...] = (HERE,)
    size: int = SIZE
    aws: list[AwsProvider] = field(default_factory=list)

    @property
    def journal(self) -> Journal:
        return Journal(f"sqlite:///{self.folder / 'journal.db'}")

    def run(self, seconds: float, at_call: int = 0, when: Literal["before", "after"] = "before") -> None:
        """One process for so many seconds of the clock, or until it is killed."""
        self.aws.append(made := provider(self.world))
        clock, journal = self.world.clock, self.journal
        ruled = self._rules()
        hands = {"aws": Inline(Killing(made, at_call, when), clock)}
        loop = Loop(clock, lambda: {"chat": ruled}, (), Store(None), journal, hands)
        try:
            loop.run(until=clock.now() + seconds)
        finally:
            journal.close()
            made.close()

    def _rules(self) -> RuleSet:
        limits = LaunchLimits(limit_s=120.0, register_s=300.0, shortage_s=60.0)
        bounds = Bounds(self.size, 10)
        return rules(offers=self.offers, choose="listed", launch=limits, bounds=bounds, signals=(), rules=())

    def settled(self) -> None:
        """The pool has what was wanted, nobody pays for more, and no intent is left open."""
        assert len(self.world.alive()) == self.size
        with_action = {i.action for i in provider(self.world).look().instances}
        assert len(with_action) == self.size
        journal = self.journal
        try:
            assert journal.open_intents() == ()
        finally:
            journal.close()


@pytest.fixture
def world() -> Iterator[StrictMoto]:
    with account() as made:
        made.boot_s = 20.0
        yield made


def test_a_pool_grows_to_its_minimum_and_buys_nothing_more(world: StrictMoto, tmp_path: Path) -> None:
    service = Service(world, tmp_path)
    service.run(120.0)
    service.settled()
    assert len(world.made) == SIZE


@pytest.mark.parametrize("when", ["before", "after"])
@pytest.mark.parametrize("call", range(1, SIZE + 1))
def test_a_service_killed_at_any_call_goes_on_with_its_open_intents(
    world: StrictMoto, tmp_path: Path, call: int, when: Literal["before", "after"]
) -> None:
    service = Service(world, tmp_path)
    with pytest.raises(Killed):
        service.run(120.0, at_call=call, when=when)
    journal = service.journal
    left = {a.id for a in journal.open_intents()}
    journal.close()
    assert len(left) == SIZE, "all of them were in the journal before the first was carried out"
    assert len(world.made) == call - (when == "before")
    service.run(120.0)
    service.settled()
    assert {m.token for m in world.made} == left
    assert len(world.made) == SIZE, "every launch was carried out once"


def test_a_lost_answer_in_the_loop_ends_with_what_was_wanted(world: StrictMoto, tmp_path: Path) -> None:
    service = Service(world, tmp_path)
    faults = [world.fault("RunInstances", "cut", times=2), world.fault("DescribeInstances", "cut", times=2, skip=1)]
    service.run(240.0)
    assert [f.fired for f in faults] == [2, 2]
    service.settled()
    assert len(world.made) == SIZE


def test_plain_moto_shows_that_a_lost_answer_would_be_paid_twice(world: StrictMoto, tmp_path: Path) -> None:
    """The repetition buys again. A report that lists the lost one in time would save it, so reports lag here."""
    world.plain, world.visible_after_s = True, 40.0
    service = Service(world, tmp_path, size=1)
    world.fault("RunInstances", "cut")
    service.run(30.0)
    assert len(world.made) == 2


def test_the_same_with_tokens_is_paid_once(world: StrictMoto, tmp_path: Path) -> None:
    world.visible_after_s = 40.0
    service = Service(world, tmp_path, size=1)
    world.fault("RunInstances", "cut")
    service.run(120.0)
    service.settled()
    assert len(world.made) == 1


def test_throttled_launches_come_later_and_once(world: StrictMoto, tmp_path: Path) -> None:
    service = Service(world, tmp_path)
    fault = world.fault("RunInstances", "error", times=4, code="RequestLimitExceeded", status=503)
    service.run(240.0)
    assert fault.fired == 4
    service.settled()
    assert len(world.made) == SIZE


def test_a_zone_without_capacity_sends_the_launch_to_the_next(world: StrictMoto, tmp_path: Path) -> None:
    world.capacity["us-east-1a", "p4d.24xlarge", "on_demand"] = 1
    service = Service(world, tmp_path, offers=(HERE, NEXT))
    service.run(240.0)
    service.settled()
    assert sorted(m.zone for m in world.made) == ["us-east-1a", "us-east-1b", "us-east-1b"]


def test_an_interrupted_spot_instance_is_replaced_during_its_notice(world: StrictMoto, tmp_path: Path) -> None:
    spot = replace(HERE, type="g5.xlarge", purchase="spot")
    service = Service(world, tmp_path, offers=(spot,))
    service.run(120.0)
    world.interrupt(world.made[0].instance, notice_s=120.0)
    service.run(60.0)
    assert len(world.made) == SIZE + 1, "ordered before the old one is gone"
    service.run(240.0)
    service.settled()


def test_a_provider_without_credentials_changes_nothing(world: StrictMoto, tmp_path: Path) -> None:
    service = Service(world, tmp_path)
    service.run(120.0)
    world.fault("*", "error", times=1000, code="ExpiredToken", status=400)
    service.run(600.0)
    world.wire.faults.clear()
    service.run(60.0)
    service.settled()
    assert len(world.made) == SIZE
