"""Strict moto keeps its own rules, its hooks exist, and plain moto still breaks what it is there to hold."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import boto3
import pytest
from botocore.config import Config
from botocore.exceptions import ClientError
from moto.ec2.models.instances import Instance, InstanceBackend
from moto.ec2.responses._base_response import EC2BaseResponse

from tests.awsworld import ANSWERED_STATE, HOOKS, account
from tests.peers.strict_moto import CODES, StrictMoto

RUN = {"ImageId": "ami-12c6146b", "MinCount": 1, "MaxCount": 1, "InstanceType": "g5.xlarge"}
OWNED = [{"ResourceType": "instance", "Tags": [{"Key": "sigmascale:owner", "Value": "me"}]}]
SPOT = {"InstanceMarketOptions": {"MarketType": "spot"}}


@pytest.fixture
def world() -> Iterator[StrictMoto]:
    with account() as made:
        yield made


@pytest.fixture
def ec2(world: StrictMoto) -> Iterator[Any]:
    once = Config(retries={"total_max_attempts": 1, "mode": "standard"}, read_timeout=30)
    client = boto3.client("ec2", region_name="us-east-1", endpoint_url=world.wire.url, config=once)
    yield client
    client.close()


def run(ec2: Any, **changes: Any) -> dict[str, Any]:
    made: dict[str, Any] = ec2.run_instances(**RUN | changes)["Instances"][0]
    return made


def states(ec2: Any) -> list[str]:
    return [i["State"]["Name"] for r in ec2.describe_instances()["Reservations"] for i in r["Instances"]]


def refusal(call: Any, **parameters: Any) -> tuple[str, int]:
    with pytest.raises(ClientError) as raised:
        call(**parameters)
    answer: dict[str, Any] = dict(raised.value.response)
    return answer["Error"]["Code"], answer["ResponseMetadata"]["HTTPStatusCode"]


def test_the_hooks_are_there_in_this_version_of_moto() -> None:
    assert all(callable(getattr(InstanceBackend, name)) for name in HOOKS)
    assert all(isinstance(getattr(Instance, name), property) for name in ("instance_status", "system_status"))
    assert ANSWERED_STATE in EC2BaseResponse.RESPONSE_KEY_PATH_TO_TRANSFORMER


def test_a_token_stands_for_one_instance(world: StrictMoto, ec2: Any) -> None:
    first, second = run(ec2, ClientToken="t"), run(ec2, ClientToken="t")
    assert first["InstanceId"] == second["InstanceId"]
    assert run(ec2, ClientToken="u")["InstanceId"] != first["InstanceId"]
    assert len(world.made) == 2


def test_a_token_with_other_parameters_is_refused(world: StrictMoto, ec2: Any) -> None:
    run(ec2, ClientToken="t")
    told = refusal(ec2.run_instances, **RUN | {"ClientToken": "t", "InstanceType": "g6.xlarge"})
    assert told == ("IdempotentParameterMismatch", 400)
    assert len(world.made) == 1


def test_plain_moto_makes_an_instance_for_each_call_with_the_same_token(world: StrictMoto, ec2: Any) -> None:
    world.plain = True
    run(ec2, ClientToken="t")
    run(ec2, ClientToken="t")
    assert len(world.made) == 2


def test_calls_without_a_token_are_calls_of_their_own(world: StrictMoto, ec2: Any) -> None:
    run(ec2)
    run(ec2)
    assert len(world.alive()) == 2


def test_an_instance_that_ended_comes_back_under_its_token(ec2: Any) -> None:
    made = run(ec2, ClientToken="t")
    ec2.terminate_instances(InstanceIds=[made["InstanceId"]])
    again = run(ec2, ClientToken="t")
    assert (again["InstanceId"], again["State"]["Name"]) == (made["InstanceId"], "terminated")


def test_a_refused_call_leaves_its_token_free(world: StrictMoto, ec2: Any) -> None:
    world.capacity["us-east-1a", "g5.xlarge", "on_demand"] = 0
    assert refusal(ec2.run_instances, **RUN, ClientToken="t") == ("InsufficientInstanceCapacity", 500)
    world.capacity.clear()
    assert run(ec2, ClientToken="t")["InstanceId"]


def test_capacity_is_by_zone_type_and_purchase_option_and_comes_back(world: StrictMoto, ec2: Any) -> None:
    world.capacity["us-east-1a", "g5.xlarge", "on_demand"] = 1
    made = run(ec2)
    assert refusal(ec2.run_instances, **RUN)[0] == "InsufficientInstanceCapacity"
    run(ec2, Placement={"AvailabilityZone": "us-east-1b"})
    run(ec2, InstanceType="g6.xlarge")
    run(ec2, **SPOT)
    ec2.terminate_instances(InstanceIds=[made["InstanceId"]])
    run(ec2)


@pytest.mark.parametrize(
    ("purchase", "more", "code"),
    [
        pytest.param("on_demand", {}, "VcpuLimitExceeded", id="on demand"),
        pytest.param("spot", SPOT, "MaxSpotInstanceCountExceeded", id="spot"),
    ],
)
def test_the_quota_counts_vcpus(world: StrictMoto, ec2: Any, purchase: str, more: dict[str, Any], code: str) -> None:
    world.quota[purchase] = 4
    run(ec2, **more)
    assert refusal(ec2.run_instances, **RUN | more) == (code, 400)


def test_a_type_must_exist_and_be_offered_in_the_zone(ec2: Any) -> None:
    assert refusal(ec2.run_instances, **RUN | {"InstanceType": "g5.tiny"})[0] == "InvalidParameterValue"
    assert refusal(ec2.run_instances, **RUN | {"InstanceType": "p4de.24xlarge"})[0] == "Unsupported"


def test_an_instance_boots_passes_its_checks_stops_and_starts_on_the_clock(world: StrictMoto, ec2: Any) -> None:
    world.boot_s, world.checks_s, world.stop_s = 10.0, 5.0, 3.0
    name = run(ec2)["InstanceId"]
    seen = []
    for step in (0.0, 10.0, 5.0):
        world.clock.at += step
        found = ec2.describe_instance_status()["InstanceStatuses"]
        seen.append((*states(ec2), *(s["InstanceStatus"]["Status"] for s in found)))
    assert seen == [("pending",), ("running", "initializing"), ("running", "ok")]
    ec2.stop_instances(InstanceIds=[name])
    assert states(ec2) == ["stopping"]
    assert refusal(ec2.start_instances, InstanceIds=[name])[0] == "IncorrectInstanceState"
    world.clock.at += 3.0
    assert states(ec2) == ["stopped"]
    world.capacity["us-east-1a", "g5.xlarge", "on_demand"] = 0
    assert refusal(ec2.start_instances, InstanceIds=[name])[0] == "InsufficientInstanceCapacity"
    world.capacity.clear()
    ec2.start_instances(InstanceIds=[name])
    assert states(ec2) == ["pending"]
    ec2.terminate_instances(InstanceIds=[name])
    assert states(ec2) == ["shutting-down"]
    world.clock.at += 3.0
    assert states(ec2) == ["terminated"]


def test_a_spot_instance_has_a_notice_before_it_ends(world: StrictMoto, ec2: Any) -> None:
    name = run(ec2, **SPOT, TagSpecifications=OWNED)["InstanceId"]
    filters = [
        {"Name": "status-code", "Values": ["marked-for-termination"]},
        {"Name": "tag:sigmascale:owner", "Values": ["me"]},
    ]
    assert ec2.describe_spot_instance_requests(Filters=filters)["SpotInstanceRequests"] == []
    world.interrupt(name, 120.0)
    (request,) = ec2.describe_spot_instance_requests(Filters=filters)["SpotInstanceRequests"]
    assert (request["InstanceId"], request["Status"]["Code"]) == (name, "marked-for-termination")
    assert refusal(ec2.stop_instances, InstanceIds=[name])[0] == "UnsupportedOperation"
    world.clock.at += 120.0
    (found,) = ec2.describe_instances()["Reservations"][0]["Instances"]
    assert (found["State"]["Name"], found["StateReason"]["Code"]) == ("terminated", "Server.SpotInstanceTermination")


def test_a_new_instance_may_be_invisible_for_a_while(world: StrictMoto, ec2: Any) -> None:
    world.visible_after_s = 5.0
    name = run(ec2)["InstanceId"]
    assert states(ec2) == []
    assert refusal(ec2.describe_instances, InstanceIds=[name])[0] == "InvalidInstanceID.NotFound"
    world.clock.at += 5.0
    assert states(ec2) == ["running"]


def test_a_fault_of_the_wire_fires_as_often_as_it_says(world: StrictMoto, ec2: Any) -> None:
    fault = world.fault("RunInstances", "error", times=2, skip=1, code="RequestLimitExceeded", status=503)
    run(ec2)
    assert [refusal(ec2.run_instances, **RUN) for _ in range(2)] == [("RequestLimitExceeded", 503)] * 2
    run(ec2)
    assert (fault.fired, len(world.made)) == (2, 2)


def test_every_state_of_ec2_has_its_code() -> None:
    assert sorted(CODES.values()) == [0, 16, 32, 48, 64, 80]
