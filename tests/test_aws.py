"""The AWS provider against strict moto, with the real SDK over the wire: exactly one instance, whatever is lost."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import Any, Literal

import pytest

from autoscaler.types import Outcome
from providers.aws import AwsProvider
from tests.awsworld import IMAGE, OFFER, RUNNING, SPOT, account, launch, one, operate, ordered, provider, tell
from tests.peers.strict_moto import StrictMoto


@pytest.fixture
def world() -> Iterator[StrictMoto]:
    with account() as made:
        yield made


@pytest.fixture
def aws(world: StrictMoto) -> Iterator[AwsProvider]:
    made = provider(world)
    yield made
    made.close()


def lost_answer_and_repetition(world: StrictMoto, aws: AwsProvider, kind: Literal["cut", "slow"]) -> list[Outcome]:
    """A launch whose answer is lost after it was carried out, and the repetition with the same id, as of the loop."""
    action = launch(world)
    injected = world.fault("RunInstances", kind, wait_s=3.0)
    told = [tell(world, aws, action), tell(world, aws, action)]
    assert injected.fired == 1, "the fault was really met"
    assert [o.status for o in told] == ["unknown", "accepted"]
    return told


@pytest.mark.parametrize("kind", ["cut", "slow"])
def test_a_lost_answer_ends_with_exactly_one_instance(world: StrictMoto, kind: Literal["cut", "slow"]) -> None:
    aws = provider(world, read_timeout_s=1.0)
    told = lost_answer_and_repetition(world, aws, kind)
    assert [m.instance for m in world.made] == [told[1].instance]
    seen = one(aws.observe())
    assert (seen.id, seen.action, seen.state) == (told[1].instance, told[1].action, "ready")
    aws.close()


@pytest.mark.parametrize("kind", ["cut", "slow"])
def test_the_same_against_plain_moto_buys_two_so_the_test_can_fail(
    world: StrictMoto, kind: Literal["cut", "slow"]
) -> None:
    world.plain = True
    aws = provider(world, read_timeout_s=1.0)
    lost_answer_and_repetition(world, aws, kind)
    assert len(world.made) == len(world.alive()) == 2
    aws.close()


def test_two_controllers_that_carry_out_one_intent_buy_one(world: StrictMoto, aws: AwsProvider) -> None:
    other = provider(world)
    action = launch(world)
    with ThreadPoolExecutor(2) as both:
        told = list(both.map(lambda p: tell(world, p, action), (aws, other)))
    assert {o.status for o in told} == {"accepted"}
    assert len({o.instance for o in told}) == len(world.made) == 1
    other.close()


def test_fifty_launches_at_once_are_fifty_instances(world: StrictMoto, aws: AwsProvider) -> None:
    actions = [launch(world, replace(OFFER, type="g5.xlarge")) for _ in range(50)]
    with ThreadPoolExecutor(8) as hands:
        told = list(hands.map(lambda a: tell(world, aws, a), actions))
    assert len({o.instance for o in told}) == len(world.made) == 50
    assert {i.action for i in aws.observe().instances} == {a.id for a in actions}


def test_a_repetition_after_the_instance_died_buys_nothing(world: StrictMoto, aws: AwsProvider) -> None:
    action = launch(world)
    name = tell(world, aws, action).instance
    assert name is not None
    world.loses(name)
    told = tell(world, aws, action)
    assert (told.status, told.instance, len(world.made)) == ("failed", name, 1)
    assert "has ended" in told.text


def test_a_repetition_under_changed_offer_settings_finds_what_was_bought(world: StrictMoto, aws: AwsProvider) -> None:
    action = launch(world)
    name = tell(world, aws, action).instance
    changed = replace(action, offer=replace(OFFER, settings=(IMAGE, RUNNING, ("key", "ops"))))
    told = tell(world, aws, changed)
    assert (told.status, told.instance, len(world.made)) == ("accepted", name, 1)


def test_an_id_that_was_another_order_is_refused_with_both(world: StrictMoto, aws: AwsProvider) -> None:
    action = launch(world)
    tell(world, aws, action)
    told = tell(world, aws, replace(action, offer=replace(OFFER, type="g5.xlarge")))
    assert (told.status, len(world.made)) == ("failed", 1)
    assert all(word in told.text for word in (action.id, OFFER.key, "g5.xlarge", "an id of its own"))


def test_a_used_token_of_which_nothing_is_listed_yet_is_unknown_never_failed(
    world: StrictMoto, aws: AwsProvider
) -> None:
    """Told as failed, the loop would order another one beside it."""
    action = launch(world)
    tell(world, aws, action)
    world.visible_after_s = 60.0
    changed = replace(action, offer=replace(OFFER, settings=(IMAGE, RUNNING, ("key", "ops"))))
    assert tell(world, aws, changed).status == "unknown"


def test_an_instance_carries_what_it_was_ordered_as(world: StrictMoto, aws: AwsProvider) -> None:
    name = ordered(
        world, aws, offer=replace(OFFER, settings=(*OFFER.settings, ("port", "9000"), ("tags.team", "search")))
    )
    tags = {t["key"]: t["value"] for t in world.instance(name).get_tags()}
    assert (tags["team"], tags["sigmascale:owner"], tags["sigmascale:pool"]) == ("search", "sigmascale", "chat")
    seen = one(aws.observe())
    assert (seen.offer, seen.replicas, seen.usd_per_hour) == (OFFER.key, 2, 21.96)
    assert seen.address is not None
    assert seen.address.endswith(":9000")


@pytest.mark.parametrize(
    ("offer", "purchase"),
    [
        pytest.param(OFFER, "on_demand", id="on demand"),
        pytest.param(SPOT, "spot", id="spot"),
        pytest.param(
            replace(OFFER, purchase="reserved", settings=(*OFFER.settings, ("reservation", "cr-1"))),
            "reserved",
            id="reserved",
        ),
    ],
)
def test_each_purchase_option_reaches_ec2(world: StrictMoto, aws: AwsProvider, offer: Any, purchase: str) -> None:
    ordered(world, aws, offer=offer)
    assert [m.purchase for m in world.made] == [purchase]
    assert one(aws.observe()).offer == offer.key


def test_instances_spread_over_the_zones_of_their_offers(world: StrictMoto, aws: AwsProvider) -> None:
    for zone in ("us-east-1a", "us-east-1b"):
        ordered(world, aws, offer=replace(OFFER, zone=zone))
    assert [m.zone for m in world.made] == ["us-east-1a", "us-east-1b"]


def test_a_launch_template_says_what_the_offer_leaves_out(world: StrictMoto, aws: AwsProvider) -> None:
    ec2 = aws._regions["us-east-1"].client
    data = {"ImageId": IMAGE[1], "InstanceType": "m5.large"}
    ec2.create_launch_template(LaunchTemplateName="gpu-serving", LaunchTemplateData=data)
    name = ordered(world, aws, offer=replace(OFFER, settings=(("launch_template", "gpu-serving"), RUNNING)))
    assert world.instance(name).image_id == IMAGE[1]
    assert [m.type for m in world.made] == ["p4d.24xlarge"], "the offer's type counts, not the template's"
    ec2.delete_launch_template(LaunchTemplateName="gpu-serving")


def test_regions_are_observed_together_and_others_are_refused(world: StrictMoto) -> None:
    aws = provider(world, regions=("us-east-1", "us-west-2"))
    west = replace(OFFER, region="us-west-2", zone="us-west-2a")
    ordered(world, aws)
    name = ordered(world, aws, offer=west)
    assert {i.offer for i in aws.observe().instances} == {OFFER.key, west.key}
    assert tell(world, aws, operate(world, "terminate", name)).status == "accepted"
    assert one(aws.observe()).offer == OFFER.key
    told = tell(world, aws, launch(world, replace(OFFER, region="eu-west-1", zone="eu-west-1a")))
    assert (told.status, "add it to regions" in told.text) == ("failed", True)
    aws.close()
