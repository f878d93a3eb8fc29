"""What the AWS provider lists and leaves alone: other people, other people's instances, pages without end."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import Literal

import pytest

from autoscaler.clock import monotonic
from autoscaler.errors import ProviderError, UnreachableError
from autoscaler.types import Launch
from providers.aws import AwsProvider
from tests.awsworld import account, launch, one, operate, ordered, provider, tell
from tests.peers.strict_moto import StrictMoto

OWNED = {"sigmascale:owner": "sigmascale", "sigmascale:pool": "chat", "sigmascale:probe": "running"}


@pytest.fixture
def world() -> Iterator[StrictMoto]:
    with account() as made:
        yield made


@pytest.fixture
def aws(world: StrictMoto) -> Iterator[AwsProvider]:
    made = provider(world)
    yield made
    made.close()


def test_what_somebody_stopped_by_hand_is_warm_and_says_so(world: StrictMoto, aws: AwsProvider) -> None:
    name = ordered(world, aws)
    aws._regions["us-east-1"].client.stop_instances(InstanceIds=[name])
    seen = one(aws.observe())
    assert (seen.state, "though it was to serve" in seen.detail) == ("warm", True)


def test_a_warm_instance_that_somebody_started_by_hand_serves_and_is_not_stopped(
    world: StrictMoto, aws: AwsProvider
) -> None:
    name = ordered(world, aws)
    tell(world, aws, operate(world, "stop", name))
    world.clock.at += 3600.0
    aws._regions["us-east-1"].client.start_instances(InstanceIds=[name])
    aws.observe()
    assert one(aws.observe()).state == "ready"
    assert world.instance(name).state == "running"


def test_what_does_not_carry_our_tag_is_neither_listed_nor_touched(world: StrictMoto, aws: AwsProvider) -> None:
    others = provider(world, owner="somebody-else")
    name = ordered(world, others)
    world.many(1, {"Name": "pet"})
    assert aws.observe().instances == ()
    for kind in ("terminate", "stop", "drain"):
        told = tell(world, aws, operate(world, kind, name))
        assert (told.status, "does not carry our tag" in told.text) == ("failed", True)
    assert len(world.alive()) == 2
    others.close()


def test_an_orphan_is_listed_with_the_launch_that_made_it(world: StrictMoto) -> None:
    """Whoever sweeps compares these ids with the journal's; untagged instances are never among them."""
    known, orphan = launch(world), launch(world)
    lost = provider(world)
    for action in (known, orphan):
        tell(world, lost, action)
    world.many(1, {})
    after = provider(world)
    unknown = [i for i in after.observe().instances if i.action not in {known.id}]
    assert [(i.action, i.pool, i.requested_at) for i in unknown] == [(orphan.id, "chat", orphan.at)]


def test_instances_that_people_tagged_join_the_pool_without_a_launch(world: StrictMoto, aws: AwsProvider) -> None:
    world.many(1, OWNED)
    seen = one(aws.observe())
    assert (seen.pool, seen.action, seen.state) == ("chat", None, "ready")
    assert seen.offer == "aws/g5.xlarge/us-east-1/us-east-1a/on_demand"
    assert seen.requested_at == world.clock.at


@pytest.mark.parametrize("tag", ["replicas", "port", "since", "ready", "requested", "usd_per_hour", "role"])
def test_a_tag_that_makes_no_sense_counts_as_never_written(world: StrictMoto, aws: AwsProvider, tag: str) -> None:
    world.many(1, OWNED | {f"sigmascale:{tag}": "nonsense-1e999"})
    assert one(aws.observe()).state == "ready"


def test_more_than_a_thousand_instances_are_listed_in_pages(world: StrictMoto, aws: AwsProvider) -> None:
    world.many(1100, OWNED)
    began = monotonic()
    fleet = aws.look()
    assert len({i.id for i in fleet.instances}) == 1100
    assert world.wire.count("DescribeInstances") == 2
    assert monotonic() - began < 60.0


@pytest.mark.parametrize("kind", ["error", "cut"])
def test_half_a_list_is_no_list(
    world: StrictMoto, aws: AwsProvider, kind: Literal["error", "cut"], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Shown as a fleet, the missing instances would be ordered again."""
    monkeypatch.setattr("providers.aws.region.PAGE", 2)
    world.many(3, OWNED)
    assert len(aws.look().instances) == 3
    world.fault("DescribeInstances", kind, skip=1, code="RequestLimitExceeded", status=503)
    with pytest.raises(ProviderError):
        aws.look()


def test_a_list_of_more_than_may_be_is_an_error(world: StrictMoto) -> None:
    world.many(3, OWNED)
    with pytest.raises(ProviderError, match="more than 2 instances carry our tag; raise max_instances"):
        provider(world, max_instances=2).observe()


def test_a_list_that_takes_too_long_is_given_up(world: StrictMoto, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("providers.aws.region.PAGE", 1)
    world.many(20, OWNED)
    aws = provider(world, list_limit_s=0.001)
    with pytest.raises(UnreachableError, match="the list took over"):
        aws.look()
    assert world.wire.count("DescribeInstances") < 20
    aws.close()


def test_a_list_has_only_so_many_pages(world: StrictMoto, aws: AwsProvider, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("providers.aws.region.PAGE", 1)
    monkeypatch.setattr("providers.aws.region.MAX_PAGES", 3)
    world.many(5, OWNED)
    with pytest.raises(UnreachableError, match="more than 3 pages"):
        aws.look()
    assert world.wire.count("DescribeInstances") == 3


def test_an_observation_that_fails_says_nothing_about_the_fleet(world: StrictMoto, aws: AwsProvider) -> None:
    ordered(world, aws)
    world.fault("DescribeInstances", "cut")
    with pytest.raises(UnreachableError):
        aws.observe()
    assert one(aws.observe()).state == "ready"


def test_an_action_of_yesterday_is_not_started(world: StrictMoto, aws: AwsProvider) -> None:
    late: Launch = replace(launch(world), valid_until=world.clock.at - 1.0)
    assert tell(world, aws, late).error == "expired"
    assert world.made == []


def test_an_instance_that_blinks_out_of_a_list_is_still_there(world: StrictMoto, aws: AwsProvider) -> None:
    name = ordered(world, aws)
    before = one(aws.observe())
    world.hidden = {name}
    for _ in range(2):
        world.clock.at += 30.0
        assert one(aws.observe()) == before
    world.clock.at += 1.0
    assert aws.observe().instances == (), "but not for ever"
    world.hidden = set()
    assert one(aws.observe()) == before


def test_an_instance_that_ended_is_not_held(world: StrictMoto, aws: AwsProvider) -> None:
    name = ordered(world, aws)
    aws.observe()
    tell(world, aws, operate(world, "terminate", name))
    aws.observe()
    world.hidden = {name}
    assert aws.observe().instances == ()


def test_an_instance_that_lost_our_tag_is_not_ours_any_more(world: StrictMoto, aws: AwsProvider) -> None:
    name = ordered(world, aws)
    aws.observe()
    ec2 = aws._regions["us-east-1"].client
    ec2.delete_tags(Resources=[name], Tags=[{"Key": "sigmascale:owner"}])
    assert aws.observe().instances == ()
    assert tell(world, aws, operate(world, "terminate", name)).status == "failed"
    assert world.instance(name).state == "running"


def test_who_asks_at_once_shares_lists_that_began_afterwards(world: StrictMoto, aws: AwsProvider) -> None:
    """Forty questions at once are a few lists, and nobody is told of a time before the question."""
    ordered(world, aws)
    aws.observe()
    world.wire.calls.clear()
    began = threading.Barrier(40)

    def ask(_: int) -> bool:
        began.wait(10.0)
        asked_at = world.clock.now()
        return aws.observe().observed_at >= asked_at

    with ThreadPoolExecutor(40) as many:
        assert all(many.map(ask, range(40)))
    assert 1 <= world.wire.count("DescribeInstances") < 20


def test_who_asks_at_once_shares_the_error_of_a_list(world: StrictMoto) -> None:
    aws = provider(world, endpoint_url="http://127.0.0.1:9")
    with ThreadPoolExecutor(8) as many:
        told = [many.submit(aws.observe) for _ in range(8)]
        assert all(isinstance(one.exception(30.0), UnreachableError) for one in told)
    aws.close()
