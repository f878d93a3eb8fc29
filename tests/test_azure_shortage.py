"""Shortages of Azure that show late, or only in part, and operations that tell nothing."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Literal

import pytest

from autoscaler.types import Launch, Outcome
from tests.azureworld import AzureWorld


@pytest.fixture
def world(tmp_path: Path) -> Iterator[AzureWorld]:
    made = AzureWorld(tmp_path / "state")
    yield made
    made.close()


def asked_again(world: AzureWorld, launch: Launch, after_s: float = 10.0) -> Outcome:
    world.pass_s(after_s)
    return world.provider.apply(launch)


@pytest.mark.parametrize("restart", [False, True], ids=["at once", "after a restart in the middle"])
@pytest.mark.parametrize("code", ["AllocationFailed", "ZonalAllocationFailed"])
def test_an_allocation_that_fails_in_the_operation_is_a_shortage(world: AzureWorld, code: str, restart: bool) -> None:
    world.cloud.free[world.set.size, "Regular"] = 0
    world.cloud.scarce, world.cloud.scarce_code = "later", code
    launch = world.launch()
    taken = world.provider.apply(launch)
    assert (taken.status, taken.retry_after_s is not None) == ("accepted", True)
    assert taken.continuation is not None
    if restart:
        world.restart()
    told = asked_again(world, launch)
    assert (told.status, told.error) == ("failed", "capacity")
    assert code in told.text
    assert world.set.capacity == 0, "put back, so that Azure does not make the machine later for nobody"
    assert world.provider.apply(launch).status == "failed", "and it stays failed"
    assert world.instances() == ()


def test_the_reason_is_found_without_the_continuation_token_too(world: AzureWorld, tmp_path: Path) -> None:
    world.cloud.free[world.set.size, "Regular"] = 0
    world.cloud.scarce = "later"
    launch = world.launch()
    world.provider.apply(launch)
    world.directory = tmp_path / "new"
    world.restart()
    told = asked_again(world, launch)
    assert (told.status, told.error) == ("failed", "capacity")


def test_the_continuation_token_is_asked_and_an_operation_that_is_unknown_to_azure_is_no_failure(
    world: AzureWorld,
) -> None:
    launch = world.launch()
    world.provider.apply(launch)
    world.restart()
    world.cloud.list_lag_s = 100.0
    world.pass_s(40.0)
    world.provider.observe()
    assert "op.get" in world.arm.calls
    world.cloud.operations.clear()
    assert world.provider.apply(launch).status == "accepted"


def test_an_older_growth_that_failed_says_nothing_about_a_newer_one(world: AzureWorld) -> None:
    """The newer one's answer was cut, so that only the address of the older operation was ever heard."""
    world.cloud.free[world.set.size, "Regular"] = 0
    world.cloud.scarce = "later"
    world.provider.apply(world.launch())
    world.pass_s(10.0)
    world.cloud.free.clear()
    world.cloud.list_lag_s = 100.0
    newer = world.launch()
    world.arm.fault("set.update", "cut")
    assert world.provider.apply(newer).status == "unknown"
    world.pass_s(50.0)
    assert world.provider.apply(newer).status == "accepted"
    assert world.set.capacity == 2


def test_of_five_that_were_ordered_and_two_that_could_be_had_three_failed(world: AzureWorld) -> None:
    world.cloud.free[world.set.size, "Regular"] = 2
    world.cloud.scarce = "later"
    launches = [world.launch() for _ in range(5)]
    for launch in launches:
        world.provider.apply(launch)
    world.pass_s(40.0)
    world.provider.observe()
    told = [world.provider.apply(launch) for launch in launches]
    assert [o.status for o in told] == ["accepted", "accepted", "failed", "failed", "failed"]
    assert {o.error for o in told[2:]} == {"capacity"}
    assert (world.set.capacity, len(world.cloud.bought)) == (2, 2)


def test_a_machine_that_is_listed_as_failed_is_told_with_azures_words(world: AzureWorld) -> None:
    world.cloud.free[world.set.size, "Regular"] = 0
    world.cloud.scarce = "listed"
    launch = world.launch()
    world.provider.apply(launch)
    world.pass_s(10.0)
    (instance,) = world.instances()
    assert (instance.action, instance.state) == (launch.id, "failed")
    assert "AllocationFailed" in instance.detail
    world.provider.apply(world.operate("terminate", instance.id))
    world.pass_s(10.0)
    assert (world.instances(), world.set.capacity) == ((), 0)


def test_an_operation_that_never_ends_is_given_up_and_its_place_is_put_back(world: AzureWorld) -> None:
    world.cloud.free[world.set.size, "Regular"] = 0
    world.cloud.scarce = "later"
    world.cloud.never_ends = True
    launch = world.launch()
    world.provider.apply(launch)
    assert asked_again(world, launch, 200.0).status == "accepted"
    told = asked_again(world, launch, 200.0)
    assert (told.status, told.error, world.set.capacity) == ("failed", "capacity", 0)


@pytest.mark.parametrize("fault", ["refuse", "cut", "nonsense"])
def test_a_poll_that_fails_says_nothing_about_the_order(
    world: AzureWorld, fault: Literal["refuse", "cut", "nonsense"]
) -> None:
    world.cloud.list_lag_s = 60.0
    launch = world.launch()
    world.provider.apply(launch)
    world.pass_s(40.0)
    world.arm.fault("op.get", fault, times=4)
    assert world.provider.apply(launch).status == "accepted"
    assert world.set.capacity == 1
    world.pass_s(60.0)
    assert [i.action for i in world.instances()] == [launch.id]


def test_a_growth_that_a_later_one_preempts_has_not_failed(world: AzureWorld) -> None:
    first, second = world.launch(), world.launch()
    world.provider.apply(first)
    world.provider.apply(second)
    assert [o.status for o in world.cloud.operations.values()].count("Canceled") == 1
    world.pass_s(40.0)
    assert {i.action for i in world.instances()} == {first.id, second.id}


def test_a_start_up_that_is_slow_to_be_listed_is_neither_failed_nor_ordered_again(world: AzureWorld) -> None:
    world.cloud.list_lag_s = 120.0
    launch = world.launch()
    world.provider.apply(launch)
    for _ in range(5):
        assert asked_again(world, launch, 20.0).status == "accepted"
    world.pass_s(60.0)
    assert [i.action for i in world.instances()] == [launch.id]
    assert world.cloud.bought == ["chat/0"]
