"""Exactly one machine for each action, whatever becomes of the answers."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from threading import Barrier
from typing import Any

import pytest

from autoscaler.types import Launch, Outcome
from providers.azure.settings import SetRef
from tests.azureworld import AzureWorld
from tests.peers.pages import until


@pytest.fixture
def world(tmp_path: Path) -> Iterator[AzureWorld]:
    made = AzureWorld(tmp_path / "state", timeout_s=1.0)
    yield made
    made.close()


def to_rest(world: AzureWorld, launch: Launch) -> Outcome:
    """Asks again as the loop does, until the answer is no longer unknown; then lets everything come to rest."""
    for _ in range(10):
        outcome = world.provider.apply(launch)
        if outcome.status != "unknown":
            break
        world.pass_s(outcome.retry_after_s or 15.0)
    for _ in range(8):
        world.provider.observe()
        world.pass_s(30.0)
    return outcome


@pytest.mark.parametrize("times", [1, 3], ids=["once", "three times"])
def test_an_answer_that_is_cut_after_the_write_ends_with_exactly_one_machine(world: AzureWorld, times: int) -> None:
    fault = world.arm.fault("set.update", "cut", times=times)
    launch = world.launch()
    first = world.provider.apply(launch)
    assert (first.status, first.error) == ("unknown", "unreachable")
    to_rest(world, launch)
    last = world.provider.apply(launch)
    assert fault.fired >= 1
    assert (world.cloud.bought, world.set.capacity) == (["chat/0"], 1)
    assert (last.status, last.instance) == ("accepted", "gpus/chat/0")
    assert [(i.action, i.state) for i in world.instances()] == [(launch.id, "ready")]


def naive_growth(world: AzureWorld) -> None:
    """What everybody writes first: read the capacity, ask for one more."""
    from azure.core.exceptions import AzureError
    from azure.core.pipeline.policies import SansIOHTTPPolicy
    from azure.mgmt.compute import ComputeManagementClient

    class Loopback(SansIOHTTPPolicy[Any, Any]):
        def on_request(self, request: Any) -> None:
            request.context.options["enforce_https"] = False

    credential: Any = world.credential
    with ComputeManagementClient(
        credential, "sub-1", base_url=world.arm.url, retry_total=0, per_call_policies=[Loopback()]
    ) as client:
        for _ in range(2):
            seen = client.virtual_machine_scale_sets.get("gpus", "chat")
            assert seen.sku is not None
            more = {"sku": {"name": seen.sku.name, "capacity": (seen.sku.capacity or 0) + 1}}
            try:
                client.virtual_machine_scale_sets.begin_update("gpus", "chat", more, polling=False)  # type: ignore[call-overload]
                return
            except AzureError:
                continue


def test_a_naive_one_more_under_the_same_fault_buys_two(world: AzureWorld) -> None:
    """The proof that the test above can fail."""
    world.arm.fault("set.update", "cut")
    naive_growth(world)
    assert len(world.cloud.bought) == 2


def test_a_crash_between_the_write_and_its_answer_is_found_again_after_the_restart(world: AzureWorld) -> None:
    world.arm.fault("set.update", "cut")
    launch = world.launch()
    world.provider.apply(launch)
    world.restart()
    assert [i.action for i in world.instances()] == [launch.id], "seen before anybody asks again"
    to_rest(world, launch)
    assert world.cloud.bought == ["chat/0"]


def test_a_lost_data_folder_buys_nothing_again(world: AzureWorld, tmp_path: Path) -> None:
    launch = world.launch()
    world.provider.apply(launch)
    world.directory = tmp_path / "new"
    world.restart()
    to_rest(world, launch)
    assert world.cloud.bought == ["chat/0"]
    assert [i.action for i in world.instances()] == [launch.id]


def test_an_action_that_comes_back_after_its_machine_ended_buys_nothing(world: AzureWorld) -> None:
    launch = world.launch()
    world.provider.apply(launch)
    (instance,) = world.instances()
    assert world.provider.apply(world.operate("terminate", instance.id)).status == "accepted"
    world.pass_s(10.0)
    assert world.instances() == ()
    world.provider.apply(launch)
    other = world.launch()
    world.provider.apply(other)
    assert [(i.id, i.action) for i in world.instances()] == [("gpus/chat/1", other.id)]


def test_a_machine_is_never_mistaken_for_that_of_an_older_order(world: AzureWorld) -> None:
    """The older order's machine was deleted behind our back while its order is still remembered."""
    world.serving()
    with world.cloud.lock:
        world.cloud.delete(world.set, ["0"])
    world.pass_s(10.0)
    other = world.launch()
    world.provider.apply(other)
    assert [(i.id, i.action) for i in world.instances()] == [("gpus/chat/1", other.id)]


def test_a_write_of_somebody_else_in_between_is_read_and_kept(world: AzureWorld) -> None:
    """412: a person raises the capacity by two and tags the scale set just before our write arrives."""

    def person() -> None:
        body = {"sku": {"capacity": world.set.capacity + 2}, "tags": {"owner": "ada"}}
        world.cloud.update(world.set, body, None)

    fault = world.arm.fault("set.update", "before", run=person)
    launch = world.launch()
    assert world.provider.apply(launch).status == "accepted"
    assert fault.fired == 1
    assert world.set.capacity == 3, "theirs and ours"
    assert world.set.tags["owner"] == "ada"
    assert [i.action for i in world.instances()] == [launch.id], "what others ordered is left alone"


def test_writes_that_are_always_spoilt_find_it_busy_and_buy_nothing(world: AzureWorld) -> None:
    def somebody() -> None:
        world.cloud.update(world.set, {}, None)

    world.arm.fault("set.update", "before", times=99, run=somebody)
    told = world.provider.apply(world.launch())
    assert (told.status, told.error) == ("unknown", "busy")
    assert world.arm.calls.count("set.update") == 5
    assert world.cloud.bought == []


def test_without_an_etag_nothing_is_written(world: AzureWorld) -> None:
    world.cloud.etags = False
    told = world.provider.apply(world.launch())
    assert (told.status, world.set.capacity) == ("failed", 0)
    assert "Azure gave no etag" in told.text


def test_two_controllers_with_the_same_action_buy_one_machine(world: AzureWorld, tmp_path: Path) -> None:
    other = world.made(tmp_path / "other")
    launch = world.launch()
    together = Barrier(2)

    def order(provider: Any) -> str:
        together.wait(20)
        return str(provider.apply(launch).status)

    with ThreadPoolExecutor(2) as pool:
        told = list(pool.map(order, [world.provider, other]))
    other.close()
    assert told == ["accepted", "accepted"]
    assert world.cloud.bought == ["chat/0"]


def test_fifty_launches_of_one_tick_are_fifty_machines_in_few_writes(world: AzureWorld) -> None:
    launches = [world.launch() for _ in range(50)]
    with ThreadPoolExecutor(8) as pool:
        told = list(pool.map(world.provider.apply, launches))
    assert {o.status for o in told} == {"accepted"}
    assert len(world.cloud.bought) == world.set.capacity == 50
    assert world.arm.calls.count("set.update") < 40, "orders that wait for one another go together"
    listed = world.instances()
    assert {i.action for i in listed} == {launch.id for launch in launches}
    assert len({i.id for i in listed}) == 50, "over many pages"


def test_of_five_orders_with_a_quota_for_three_three_are_carried_out(world: AzureWorld) -> None:
    world.cloud.quota["eastus", world.set.size] = 3
    launches = [world.launch() for _ in range(5)]
    with ThreadPoolExecutor(5) as pool:
        told = list(pool.map(world.provider.apply, launches))
    assert sorted((o.status, o.error) for o in told) == [("accepted", "")] * 3 + [("failed", "quota")] * 2
    assert world.set.capacity == 3


def test_an_id_that_could_not_be_found_again_in_a_tag_is_refused(world: AzureWorld) -> None:
    for name in ("a,b", "a b", "x" * 200, ""):
        assert world.provider.apply(replace(world.launch(), id=name)).status == "failed"
    assert world.set.capacity == 0


def together(world: AzureWorld, launches: list[Launch]) -> list[Outcome]:
    """Applies all of them in one write: the scale set is held until everybody waits."""
    keeper = world.provider._keeper(SetRef("sub-1", "gpus", "chat"))
    with ThreadPoolExecutor(len(launches)) as pool:
        with keeper.lock:
            told = [pool.submit(world.provider.apply, launch) for launch in launches]
            until(lambda: len(keeper._queue) == len(launches), "all of them wait")
        outcomes = [one.result(30) for one in told]
    assert world.arm.calls.count("set.update") == 1
    return outcomes


def test_one_action_that_comes_twice_at_once_is_one_machine(world: AzureWorld) -> None:
    launch = world.launch()
    assert {o.status for o in together(world, [launch, launch])} == {"accepted"}
    assert world.cloud.bought == ["chat/0"]


def test_two_pools_that_want_the_same_scale_set_at_once_do_not_share_it(world: AzureWorld) -> None:
    one = world.launch()
    told = together(world, [one, replace(world.launch(), pool="other")])
    assert sorted(o.status for o in told) == ["accepted", "failed"]
    assert len(world.cloud.bought) == 1


def test_a_disk_that_is_full_after_the_write_leaves_the_outcomes_open(world: AzureWorld) -> None:
    """What cannot be written down here is found again in Azure's tags."""
    in_the_way = world.directory / "scale-sets.new"
    world.arm.fault("set.update", "before", run=in_the_way.mkdir)
    launches = [world.launch(), world.launch()]
    assert {o.status for o in together(world, launches)} == {"unknown"}
    in_the_way.rmdir()
    assert {world.provider.apply(launch).status for launch in launches} == {"accepted"}
    assert len(world.cloud.bought) == 2
