"""What AWS is asked about offers, over the wire: regions, types, zones, quotas, templates and prices, as standings."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest

from autoscaler.types import Offer, Purchase, Standing
from providers.aws import AwsProvider
from providers.aws.quotas import quota_of
from providers.catalog import read_catalog
from providers.inquiry import AGAIN_S, HOLDS_S
from tests.awsworld import IMAGE, OFFER, RUNNING, SPOT, account, launch, provider, tell
from tests.peers.strict_moto import StrictMoto

P, G_SPOT = "L-417A185B", "L-3819A6DF"


@pytest.fixture
def world() -> Iterator[StrictMoto]:
    with account() as made:
        yield made


def surveyed(world: StrictMoto, *offers: Offer, **settings: Any) -> AwsProvider:
    """A provider that was asked about offers of the pool chat."""
    rules = [("chat", offer) for offer in offers]
    aws = provider(world, offers=lambda: rules, quotas_endpoint_url=world.wire.url, **settings)
    aws.survey()
    return aws


def stands(world: StrictMoto, offer: Offer, **settings: Any) -> Standing:
    """How one offer stands after everything was asked."""
    aws = surveyed(world, offer, **settings)
    (one,) = aws.observe().standings
    aws.close()
    return one


def test_an_offer_that_can_be_had_says_how_many_the_quota_has_room_for(world: StrictMoto) -> None:
    world.limits[P] = 200.0
    one = stands(world, OFFER)
    assert (one.pool, one.offer, one.problem, one.units, one.unknown) == ("chat", OFFER.key, "", 2, ())
    assert one.quota.startswith(f"quota {P} (Running On-Demand P instances) in us-east-1 is 200 vCPUs")


@pytest.mark.parametrize(
    ("offer", "words"),
    [
        pytest.param({"region": "us-moon-1", "zone": ""}, "AWS has no region us-moon-1", id="a region that is none"),
        pytest.param({"region": "us-east-11", "zone": ""}, "did you mean us-east-1?", id="a region with a slip"),
        pytest.param({"region": "us-west-2", "zone": ""}, "add it to regions", id="a region that nobody watches"),
        pytest.param({"region": "me-central-1", "zone": ""}, "is not enabled", id="a region that is not enabled"),
        pytest.param({"type": "p9.96xlarge", "gpus": "8"}, "there is no such type", id="a type that does not exist"),
        pytest.param(
            {"type": "p5e.48xlarge"}, "region us-east-1 does not offer p5e.48xlarge;", id="a region without the type"
        ),
        pytest.param({"zone": "us-east-1e"}, "us-east-1a", id="a zone without the type"),
        pytest.param({"type": "m5.large", "gpus": "1"}, "m5.large has no GPU", id="a type without GPUs"),
        pytest.param({"launch_template": "nobody"}, "no launch template nobody", id="a template that is not there"),
        pytest.param({"launch_template": "lt-0123456789abcdef0"}, "no launch template lt-", id="no such template's id"),
        pytest.param({"hibernate": "true"}, "cannot hibernate", id="a type that cannot hibernate"),
    ],
)
def test_what_cannot_be_had_says_why_and_what_to_do(world: StrictMoto, offer: dict[str, str], words: str) -> None:
    settings = tuple((k, v) for k, v in offer.items() if k in ("gpus", "launch_template", "hibernate"))
    where = {k: v for k, v in offer.items() if k in ("region", "zone", "type")}
    regions = ("us-east-1", "me-central-1") if "me-central-1" in offer.values() else ("us-east-1",)
    one = stands(world, replace(OFFER, **where, settings=(*OFFER.settings, *settings)), regions=regions)  # type: ignore[arg-type]
    assert words in one.problem
    assert (one.error, one.units) == ("provider", None)


@pytest.mark.parametrize("limit", [0.0, 95.0])
def test_a_quota_that_is_too_small_for_one_asks_a_person_and_says_where(world: StrictMoto, limit: float) -> None:
    world.limits[P] = limit
    one = stands(world, OFFER)
    assert (one.error, one.units) == ("quota", 0)
    assert f"quota {P} (Running On-Demand P instances) in us-east-1 is {limit:.0f} vCPUs" in one.problem
    assert "ask for more in Service Quotas of us-east-1" in one.problem


def test_what_runs_takes_up_the_quota_and_gives_it_back(world: StrictMoto) -> None:
    world.limits[P] = 192.0
    first = provider(world)
    assert tell(world, first, launch(world)).status == "accepted"
    world.clock.wait(world.clock.now() + 5.0)
    aws = surveyed(world, OFFER)
    assert [s.units for s in aws.observe().standings] == [1]
    assert tell(world, aws, launch(world, pool="other")).status == "accepted"
    full = aws.observe().standings[0]
    assert (full.units, full.problem) == (0, ""), "none now, but another pool's may end"
    for instance in world.alive():
        world.loses(instance.id)
    assert [s.units for s in aws.observe().standings] == [2]
    first.close()
    aws.close()


def test_what_its_own_pool_ordered_since_is_left_to_the_planner(world: StrictMoto) -> None:
    world.limits[P] = 192.0
    aws = surveyed(world, OFFER)
    world.clock.wait(world.clock.now() + 5.0)
    assert tell(world, aws, launch(world)).status == "accepted"
    one = aws.observe().standings[0]
    assert (one.units, one.at) == (2, world.clock.now() - 5.0)
    aws.close()


@pytest.mark.parametrize(
    ("kind", "purchase", "code"),
    [
        ("p4d.24xlarge", "on_demand", P),
        ("p4de.24xlarge", "on_demand", P),
        ("p5.48xlarge", "on_demand", P),
        ("p3.8xlarge", "spot", "L-7212CCBC"),
        ("p4d.24xlarge", "spot", "L-7212CCBC"),
        ("p5en.48xlarge", "spot", "L-C4BD4855"),
        ("g4dn.xlarge", "on_demand", "L-DB2E81BA"),
        ("g5.xlarge", "spot", G_SPOT),
        ("g6e.12xlarge", "spot", G_SPOT),
        ("gr6.4xlarge", "on_demand", "L-DB2E81BA"),
        ("p4d.24xlarge", "reserved", None),
    ],
)
def test_each_family_has_its_quota(kind: str, purchase: Purchase, code: str | None) -> None:
    quota = quota_of(kind, purchase)
    assert (quota.code if quota else None) == code


@pytest.mark.parametrize(
    ("family", "types"),
    [
        ("p3", 4),
        ("p4d", 1),
        ("p4de", 1),
        ("p5", 2),
        ("p5e", 1),
        ("p5en", 1),
        ("g4dn", 6),
        ("g5", 8),
        ("g6", 8),
        ("g6e", 8),
    ],
)
def test_the_catalogue_knows_the_gpus_and_vcpus_and_quota_of_every_type(family: str, types: int) -> None:
    known = {
        m.type: m for m in read_catalog() if m.provider == "aws" and m.type.split(".")[0] in (family, f"{family}dn")
    }
    assert len(known) >= types
    for machine in known.values():
        assert machine.gpus >= 1
        assert machine.vcpus is not None
        assert machine.vcpus >= 4
        assert quota_of(machine.type, "on_demand") is not None
        assert quota_of(machine.type, "spot") is not None


def test_spot_prices_are_those_of_now_in_the_zone_and_else_of_the_dearest(world: StrictMoto) -> None:
    world.spot_prices |= {("g5.xlarge", "us-east-1a"): "0.41", ("g5.xlarge", "us-east-1b"): "0.52"}
    aws = surveyed(world, SPOT, replace(SPOT, zone=""), replace(SPOT, purchase="on_demand"))
    found = aws.observe().standings
    assert [s.usd_per_hour for s in found] == [0.41, 0.52, None]
    assert found[0].priced_at == world.clock.now() - 600.0
    aws.close()
    assert stands(world, SPOT, spot_prices=False).usd_per_hour is None


@pytest.mark.parametrize("price", ["", "free", "-1", "nan"])
def test_a_price_that_is_none_leaves_what_was_known(world: StrictMoto, price: str) -> None:
    world.spot_prices["g5.xlarge", "us-east-1a"] = price
    one = stands(world, SPOT)
    assert (one.usd_per_hour, one.problem) == (None, "")


@pytest.mark.parametrize(
    "operation",
    [
        "DescribeRegions",
        "DescribeInstanceTypes",
        "DescribeInstanceTypeOfferings",
        "GetServiceQuota",
        "DescribeSpotPriceHistory",
        "DescribeLaunchTemplates",
    ],
)
def test_a_permission_that_is_missing_is_unknown_and_stops_nothing(world: StrictMoto, operation: str) -> None:
    refused = world.fault(operation, "error", code="UnauthorizedOperation", status=403, times=99)
    templated = replace(SPOT, settings=(("launch_template", "gpu"), RUNNING))
    one = stands(world, templated if operation == "DescribeLaunchTemplates" else SPOT)
    assert refused.fired == 1
    assert one.problem == ""
    if operation not in ("DescribeSpotPriceHistory",):
        assert "docs/aws.md" in one.unknown[0]


def test_questions_are_asked_once_an_hour_and_sooner_where_something_stands_in_the_way(world: StrictMoto) -> None:
    aws = surveyed(world, OFFER)
    asked = world.wire.count("DescribeInstanceTypes")
    aws.survey()
    world.clock.wait(world.clock.now() + AGAIN_S + 1.0)
    aws.survey()
    assert world.wire.count("DescribeInstanceTypes") == asked
    world.limits[P] = 0.0
    world.clock.wait(world.clock.now() + HOLDS_S)
    aws.survey()
    assert world.wire.count("DescribeInstanceTypes") == asked + 1
    assert aws.observe().standings[0].error == "quota"
    world.limits[P] = 500.0
    world.clock.wait(world.clock.now() + AGAIN_S + 1.0)
    aws.survey()
    assert aws.observe().standings[0].units == 5
    aws.close()


def test_an_endpoint_that_never_answers_is_asked_one_thing_and_then_left_for_a_while(world: StrictMoto) -> None:
    silent = world.fault("*", "refuse", times=99)
    aws = surveyed(world, OFFER, SPOT)
    aws.survey()
    assert silent.fired == 1
    world.wire.faults.clear()
    world.clock.wait(world.clock.now() + 61.0)
    aws.survey()
    assert aws.observe().standings[0].units is not None
    aws.close()


def test_no_question_changes_anything_and_a_tick_asks_none(world: StrictMoto) -> None:
    aws = surveyed(world, OFFER)
    asked = len(world.wire.calls)
    aws.observe()
    assert [name for name, _ in world.wire.calls[asked:]] == ["DescribeInstances"]
    assert not any(name.startswith(("Run", "Create", "Terminate", "Stop")) for name, _ in world.wire.calls)
    aws.close()


def test_the_template_of_the_configuration_is_for_offers_that_name_none(world: StrictMoto) -> None:
    bare = replace(OFFER, settings=(RUNNING,))
    one = stands(world, bare, launch_template="gpu-serving")
    assert "no launch template gpu-serving" in one.problem
    aws = provider(world, launch_template="gpu-serving")
    told = tell(world, aws, launch(world, bare))
    assert "gpu-serving" in dict(world.wire.calls)["RunInstances"].values()
    assert (told.status, told.error) == ("failed", "provider")
    assert "make it in this region, or correct its name" in told.text
    assert dict(replace(bare, settings=(IMAGE,)).settings)["image"] not in told.text
    aws.close()


def test_nothing_is_asked_of_service_quotas_where_nobody_says_where_it_is(world: StrictMoto) -> None:
    aws = provider(world, offers=lambda: [("chat", OFFER)])
    aws.survey()
    assert world.wire.count("GetServiceQuota") == 0
    assert aws.observe().standings[0].units is None
    aws.close()


def test_a_shadow_is_told_too(world: StrictMoto, caplog: pytest.LogCaptureFixture) -> None:
    from providers.shadow import ShadowProvider

    caplog.set_level(logging.ERROR)
    aws = provider(world, offers=lambda: [("chat", replace(OFFER, type="m5.large"))])
    shadow = ShadowProvider(aws)
    shadow.survey()
    assert "no GPU" in shadow.observe().standings[0].problem
    aws.close()
