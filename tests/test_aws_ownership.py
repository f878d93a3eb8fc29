"""People at the EC2 console beside the loop: orphans, lost tags, ends and stops by hand, and machines that join."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

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
from providers.aws import AwsProvider
from tests.awsworld import IMAGE, OFFER, RUNNING, account, launch, provider, tell
from tests.peers.strict_moto import StrictMoto
from tests.worlds import rules

HERE = replace(OFFER, type="g5.xlarge", replicas=1, settings=(IMAGE, RUNNING))
SIZE = 2
RULES = rules(offers=(HERE,), bounds=Bounds(SIZE, 10), signals=(), rules=(), tick_s=60.0)
"""A tick of a minute: every one of them asks the account twice."""


@dataclass
class Pool:
    """A pool of two under the loop, the account that it lives in, and somebody else who may use the account."""

    world: StrictMoto
    folder: Path
    rules: RuleSet = RULES
    alerts: list[Alert] = field(default_factory=list)
    aws: AwsProvider = field(init=False)
    journal: Journal = field(init=False)
    loop: Loop = field(init=False)

    def __post_init__(self) -> None:
        self.aws = provider(self.world)
        self.start()
        self.run(120)
        assert len(self.serving) == SIZE

    def start(self, journal: str = "journal") -> None:
        """A new process."""
        self.journal = Journal(f"sqlite:///{self.folder / journal}.db")
        clock = self.world.clock
        hands = {"aws": Inline(self.aws, clock)}
        ruled = {"chat": self.rules}
        self.loop = Loop(clock, lambda: ruled, (), Store(None), self.journal, hands, notify=self.alerts.extend)
        self.ruled = ruled

    def run(self, seconds: float) -> None:
        self.loop.run(until=self.world.clock.now() + seconds)

    @property
    def hand(self) -> Any:
        """The SDK, as a person's script uses it."""
        import boto3

        return boto3.client("ec2", region_name="us-east-1", endpoint_url=self.world.wire.url)

    @property
    def serving(self) -> list[str]:
        return sorted(i.id for i in self.aws.look().instances if i.state == "ready")

    @property
    def alive(self) -> list[str]:
        return sorted(i.id for i in self.world.alive())

    @property
    def told(self) -> list[str]:
        found = reversed(self.journal.decisions("chat", limit=1000))
        return [r.text for d in found for r in d.reasons if r.source.startswith("manual:")]

    @property
    def override(self) -> Override | None:
        found = self.journal.overrides(self.world.clock.now())
        return next((o for o in found if o.id == OVERRIDE), None)


@pytest.fixture
def pool(tmp_path: Path) -> Iterator[Pool]:
    with account() as world:
        made = Pool(world, tmp_path)
        yield made
        made.journal.close()
        made.aws.close()


def test_an_instance_of_an_unknown_launch_is_ended_after_the_grace_and_not_before(pool: Pool) -> None:
    before = pool.serving
    made = tell(pool.world, pool.aws, launch(pool.world, HERE)).instance
    pool.run(880)
    assert pool.alive == sorted([*before, str(made)])
    pool.run(180)
    assert [i.id for i in pool.aws.look().instances if i.state == "draining"] == [made], "it may have work in flight"
    pool.run(360)
    assert pool.alive == before
    assert any(str(made) in text and "orphan" in text for text in pool.told)


def test_instances_without_our_tags_are_never_touched(pool: Pool) -> None:
    pool.world.many(2, {"team": "others"})
    pool.world.many(1, {"sigmascale:owner": "another-service", "sigmascale:pool": "chat"})
    pool.run(3600)
    assert len(pool.alive) == SIZE + 3
    assert pool.told == []


def test_after_the_journal_was_lost_nothing_ends(pool: Pool) -> None:
    before = pool.serving
    pool.start("another")
    pool.run(3600)
    assert pool.serving == before
    assert len(pool.world.made) == SIZE
    assert pool.told == [f"adopted {', '.join(before)}: they carry our tags, and the journal knows nothing of them"]


def test_a_fleet_stays_when_its_rule_file_goes(pool: Pool) -> None:
    before = pool.serving
    pool.ruled.clear()
    pool.run(120)
    assert pool.serving == before
    assert "sigmascale release chat" in pool.loop.board.ownerless["chat"].text


def test_an_instance_that_somebody_terminated_is_replaced_and_told_once(pool: Pool) -> None:
    gone = pool.serving[0]
    pool.hand.terminate_instances(InstanceIds=[gone])
    pool.run(120)
    assert len(pool.serving) == SIZE
    assert gone not in pool.serving
    assert len(pool.told) == 1
    assert pool.told[0].startswith(f"{gone}: gone, and nobody here ended it")
    assert [dict(a.labels)["change"] for a in pool.alerts] == ["removed"]


def test_an_instance_that_failed_by_itself_is_replaced_and_is_nobodys_hand(pool: Pool) -> None:
    pool.world.loses(pool.serving[0])
    pool.run(180)
    assert len(pool.serving) == SIZE
    assert pool.told == []


def test_an_instance_that_somebody_stopped_is_left_alone_until_its_time_is_over(pool: Pool) -> None:
    stopped = pool.serving[0]
    pool.hand.stop_instances(InstanceIds=[stopped])
    pool.run(600)
    assert stopped not in pool.serving
    assert pool.world.instance(stopped).state == "stopped", "it is not fought over"
    assert len(pool.serving) == SIZE, "another one took its place"
    assert any(text.startswith(f"{stopped}: stopped by hand") for text in pool.told)


def test_an_instance_that_lost_its_tags_is_replaced_and_people_learn_that_it_runs_on(pool: Pool) -> None:
    lost = pool.serving[0]
    pool.hand.delete_tags(Resources=[lost], Tags=[{"Key": "sigmascale:owner"}])
    pool.run(300)
    assert len(pool.serving) == SIZE
    assert lost in pool.alive, "what does not carry our tag is not ours to end"
    assert any(lost in text and "still runs and costs" in text for text in pool.told)


def test_an_instance_that_is_tagged_by_hand_joins_and_stays_for_a_while(pool: Pool) -> None:
    pool.world.many(1, {"team": "others"})
    (other,) = set(pool.alive) - set(pool.serving)
    tags = {"owner": "sigmascale", "pool": "chat", "probe": "running"}
    pool.hand.create_tags(Resources=[other], Tags=[{"Key": f"sigmascale:{k}", "Value": v} for k, v in tags.items()])
    pool.run(60)
    assert other in pool.serving
    assert pool.told[0] == f"adopted {other}, tagged by hand"
    found = pool.override
    assert found is not None
    assert (found.kind, found.replicas) == ("floor", SIZE + 1)


# --- adoption by the provider ---------------------------------------------------------------------------------------


def test_what_could_join_is_what_the_offers_would_launch_and_nobody_owns(pool: Pool) -> None:
    pool.world.many(1, {"team": "others", "Name": "old-1"})
    pool.world.many(1, {"sigmascale:owner": "another-service"})
    (found,) = pool.aws.adopter().adoptable("chat", [HERE])
    assert (found.offer, found.state, found.replicas) == (HERE.key, "ready", 1)
    assert "old-1" in found.detail
    assert pool.aws.adopter().adoptable("chat", [OFFER]) == (), "of another type"


def test_an_adopted_instance_is_one_of_the_offer_that_would_have_launched_it(pool: Pool) -> None:
    pool.world.many(1, {})
    (other,) = set(pool.alive) - set(pool.serving)
    for _ in range(2):  # said twice it is done once
        pool.aws.adopter().take_over("chat", [HERE], [other])
    (seen,) = [i for i in pool.aws.observe().instances if i.id == other]
    assert (seen.pool, seen.offer, seen.action, seen.usd_per_hour) == ("chat", HERE.key, None, HERE.usd_per_hour)
    pool.run(60)
    assert other in pool.serving


@pytest.mark.parametrize(
    ("tags", "offer", "words"),
    [
        pytest.param({"sigmascale:owner": "x"}, HERE, "belongs to x", id="one of another service stays there"),
        pytest.param({}, OFFER, "which no offer of pool chat is", id="one of another type is not taken"),
    ],
)
def test_what_cannot_be_adopted_is_told_and_nothing_is_tagged(
    pool: Pool, tags: dict[str, str], offer: Any, words: str
) -> None:
    pool.world.many(1, tags)
    pool.world.many(1, {})
    others = sorted(set(pool.alive) - set(pool.serving))
    with pytest.raises(ProviderError, match=words):
        pool.aws.adopter().take_over("chat", [offer], others)
    assert len(pool.aws.observe().instances) == SIZE
