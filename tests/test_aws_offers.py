"""What an offer of a rule file becomes: the parameters of one RunInstances call, or words about what is wrong."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import pytest

from autoscaler.errors import ProviderError
from autoscaler.rulefile.reader import Defaults, check_text
from autoscaler.types import Launch, Offer, Purchase
from providers.aws import marks, order
from providers.catalog import read_catalog

OFFER = Offer("aws", "p4d.24xlarge", "us-east-1", "us-east-1a", settings=(("launch_template", "gpu-serving"),))
KNOWN = [
    *("p4d.24xlarge", "p4de.24xlarge", "p5.48xlarge", "p5.4xlarge", "p5e.48xlarge", "p5en.48xlarge"),
    *("p3.2xlarge", "p3.8xlarge", "p3.16xlarge", "p3dn.24xlarge"),
    *("g4dn.xlarge", "g5.xlarge", "g6.xlarge", "g6e.12xlarge"),
]


def launch(offer: Offer = OFFER, **changes: Any) -> Launch:
    return replace(Launch("f00d", "chat", 100.0, 400.0, offer), **changes)


def with_settings(purchase: Purchase = "on_demand", named: Mapping[str, str] | None = None, **settings: str) -> Offer:
    return replace(OFFER, purchase=purchase, settings=(*OFFER.settings, *settings.items(), *(named or {}).items()))


def asked(offer: Offer) -> dict[str, Any]:
    return order.parameters(launch(offer), "ours")


def refusal(offer: Offer, **changes: Any) -> str:
    with pytest.raises(ProviderError) as raised:
        order.parameters(launch(offer, **changes), "ours")
    return str(raised.value)


def test_a_launch_asks_for_one_instance_under_its_own_token() -> None:
    made = asked(OFFER)
    assert {k: made[k] for k in ("ClientToken", "InstanceType", "MinCount", "MaxCount", "Placement")} == {
        "ClientToken": "f00d",
        "InstanceType": "p4d.24xlarge",
        "MinCount": 1,
        "MaxCount": 1,
        "Placement": {"AvailabilityZone": "us-east-1a"},
    }


def test_a_call_holds_nothing_that_changes_between_two_tries() -> None:
    assert asked(OFFER) == asked(OFFER)
    (tags, _) = asked(OFFER)["TagSpecifications"]
    read = marks.read(tags["Tags"], launched_at=999.0)
    assert (read.owner, read.pool, read.action, read.offer) == ("ours", "chat", "f00d", OFFER.key)
    assert (read.requested_at, read.since, read.role, read.replicas) == (100.0, 100.0, "serving", 1)


@pytest.mark.parametrize("id_", ["x" * 65, "ä"])
def test_an_id_that_is_no_token_has_one_that_stands_for_it(id_: str) -> None:
    assert len(order.token(id_)) == 64
    assert order.token(id_) == order.token(id_) != order.token(id_ + "1")


@pytest.mark.parametrize(
    ("offer", "expected"),
    [
        pytest.param(
            with_settings(launch_template="lt-0a1b"),
            {"LaunchTemplate": {"LaunchTemplateId": "lt-0a1b", "Version": "$Default"}},
            id="a launch template by id",
        ),
        pytest.param(
            with_settings(launch_template_version="7", image="ami-1"),
            {"LaunchTemplate": {"LaunchTemplateName": "gpu-serving", "Version": "7"}, "ImageId": "ami-1"},
            id="a launch template by name, a version, another image",
        ),
        pytest.param(
            with_settings(subnet="subnet-1", security_groups="sg-1 sg-2", key="ops"),
            {"SubnetId": "subnet-1", "SecurityGroupIds": ["sg-1", "sg-2"], "KeyName": "ops"},
            id="network and key",
        ),
        pytest.param(
            with_settings(named={"subnet.us-east-1a": "subnet-a", "subnet.us-east-1b": "subnet-b"}),
            {"SubnetId": "subnet-a"},
            id="the subnet of the offer's zone",
        ),
        pytest.param(with_settings(iam_profile="gpu"), {"IamInstanceProfile": {"Name": "gpu"}}, id="a profile by name"),
        pytest.param(
            with_settings(iam_profile="arn:aws:iam::1:instance-profile/gpu"),
            {"IamInstanceProfile": {"Arn": "arn:aws:iam::1:instance-profile/gpu"}},
            id="a profile by ARN",
        ),
        pytest.param(
            with_settings(placement_group="close"),
            {"Placement": {"AvailabilityZone": "us-east-1a", "GroupName": "close"}},
            id="a placement group",
        ),
        pytest.param(
            with_settings("spot", max_price="9.5 USD/h"),
            {
                "InstanceMarketOptions": {
                    "MarketType": "spot",
                    "SpotOptions": {
                        "SpotInstanceType": "one-time",
                        "InstanceInterruptionBehavior": "terminate",
                        "MaxPrice": "9.5",
                    },
                }
            },
            id="spot with a limit",
        ),
        pytest.param(
            with_settings("reserved", reservation="cr-1"),
            {
                "CapacityReservationSpecification": {
                    "CapacityReservationTarget": {"CapacityReservationId": "cr-1"},
                }
            },
            id="a capacity reservation",
        ),
        pytest.param(
            with_settings("reserved", reservation="cr-1", capacity_block="true"),
            {"InstanceMarketOptions": {"MarketType": "capacity-block"}},
            id="a capacity block",
        ),
        pytest.param(with_settings(hibernate="true"), {"HibernationOptions": {"Configured": True}}, id="hibernation"),
    ],
)
def test_settings_become_parameters(offer: Offer, expected: dict[str, Any]) -> None:
    made = asked(offer)
    assert {name: made[name] for name in expected} == expected


def test_only_spot_carries_market_options_and_tags_its_request() -> None:
    assert "InstanceMarketOptions" not in asked(OFFER)
    kinds = [t["ResourceType"] for t in asked(with_settings("spot"))["TagSpecifications"]]
    assert kinds == ["instance", "volume", "spot-instances-request"]


@pytest.mark.parametrize(
    ("offer", "words"),
    [
        pytest.param(
            with_settings(subnett="s"), "'subnett' is not a setting of an aws offer; did you mean subnet?", id="slip"
        ),
        pytest.param(with_settings(zzz="s"), "known are launch_template, ", id="unknown"),
        pytest.param(
            with_settings(named={"image.x": "s"}), "'image.x' is not a setting", id="a mapping where none belongs"
        ),
        pytest.param(with_settings(named={"tags.sigmascale:owner": "me"}), "is a tag of ours", id="our own tag"),
        pytest.param(replace(OFFER, settings=()), "write launch_template or image", id="nothing to start"),
        pytest.param(replace(OFFER, type="p4d.24xlrge"), "did you mean p4d.24xlarge?", id="a type with a slip"),
        pytest.param(replace(OFFER, type="m5.large"), "write `gpus` beside it", id="a type without GPUs"),
        pytest.param(with_settings("reserved"), "needs reservation", id="reserved without a reservation"),
        pytest.param(with_settings(port="0"), "'0' is not a port", id="port"),
        pytest.param(with_settings(ready="health"), "neither a path such as /health", id="readiness"),
        pytest.param(with_settings(hibernate="yes"), "write true or false", id="flag"),
        pytest.param(with_settings("spot", max_price="9"), "write 9 USD/h", id="price without a unit"),
        pytest.param(
            with_settings(named={"subnet.us-east-1b": "s"}), "none for zone 'us-east-1a'", id="no subnet in the zone"
        ),
    ],
)
def test_a_wrong_offer_is_refused_with_the_next_step(offer: Offer, words: str) -> None:
    said = refusal(offer)
    assert words in said
    assert said.startswith(f"launch f00d of {offer.key}: ")


def test_every_fault_is_named_at_once() -> None:
    said = refusal(replace(with_settings(port="x", subnett="s"), type="p9.large"))
    assert [word in said for word in ("port", "subnett", "p9.large")] == [True] * 3


def test_a_spot_instance_cannot_wait_in_the_warm_pool() -> None:
    assert "cannot be stopped" in refusal(with_settings("spot"), into="warm")


def test_a_type_that_the_catalogue_does_not_list_is_taken_when_its_gpus_are_given() -> None:
    assert asked(replace(with_settings(gpus="8"), type="p9.48xlarge"))["InstanceType"] == "p9.48xlarge"


@pytest.mark.parametrize("kind", KNOWN)
def test_the_catalogue_knows_the_gpu_families(kind: str) -> None:
    assert any(m.type == kind and m.gpus >= 1 for m in read_catalog() if m.provider == "aws")
    assert asked(replace(OFFER, type=kind))["InstanceType"] == kind


def test_an_offer_of_a_rule_file_arrives_with_its_settings() -> None:
    text = """
pool: chat
replica: {gpus: 8, capacity: 5 requests/s}
limits: {min: 1, max: 4}
offers:
  from:
    - aws: {types: [p4d.24xlarge], regions: us-east-1, zones: [us-east-1a, us-east-1b], purchase: [spot, on_demand],
            launch_template: gpu-serving, subnet: {us-east-1a: subnet-a, us-east-1b: subnet-b},
            security_groups: [sg-1, sg-2], hibernate: true, port: 9000, tags: {team: search}, price: 20 USD/h}
signals:
  load: {metric: requests_arrived_total, rate: 1m}
rules:
  - {name: demand, target: {signal: load}}
"""
    checked = check_text(text, file="chat.yaml", defaults=Defaults(10, "us-east-1", False))
    assert checked.rules is not None, checked.faults
    made = [asked(offer) for offer in checked.rules.offers]
    assert {m["SubnetId"] for m in made} == {"subnet-a", "subnet-b"}
    assert sum("InstanceMarketOptions" in m for m in made) == 2
    assert made[0]["SecurityGroupIds"] == ["sg-1", "sg-2"]
    tags = {t["Key"]: t["Value"] for t in made[0]["TagSpecifications"][0]["Tags"]}
    assert (tags["team"], tags["sigmascale:port"]) == ("search", "9000")
