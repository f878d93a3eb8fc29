"""The life of machines: serving, draining, warm and evicted ones, what people do, and what outlives a restart."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Literal

import pytest

from providers.shadow import ShadowProvider
from tests.azureworld import AzureWorld
from tests.peers.pages import until


@pytest.fixture
def make(tmp_path: Path) -> Iterator[Callable[..., AzureWorld]]:
    made: list[AzureWorld] = []

    def one(**more: Any) -> AzureWorld:
        made.append(AzureWorld(tmp_path / f"state-{len(made)}", **more))
        return made[-1]

    yield one
    for world in made:
        world.close()


@pytest.fixture
def world(make: Callable[..., AzureWorld]) -> AzureWorld:
    return make()


# --- serving, draining, warm ------------------------------------------------------------------------------------


def test_what_serves_is_protected_from_scale_in_by_others_and_deleted_by_its_own_id(world: AzureWorld) -> None:
    first, second, third = world.serving(3)
    assert all(m.protected for m in world.set.machines.values())
    with world.cloud.lock:
        world.cloud.update(world.set, {"sku": {"capacity": 1}}, None)
    world.pass_s(10.0)
    assert len(world.instances()) == 3, "somebody lowered the capacity: nothing that serves was chosen"
    world.provider.apply(world.operate("terminate", second.id))
    world.pass_s(10.0)
    assert {i.id for i in world.instances()} == {first.id, third.id}


def test_a_drain_outlives_a_restart_and_a_lost_folder(world: AzureWorld, tmp_path: Path) -> None:
    (instance,) = world.serving()
    drain = world.operate("drain", instance.id)
    assert world.provider.apply(drain).status == "done"
    since = world.instances()[0].since
    world.directory = tmp_path / "new"
    world.restart()
    (after,) = world.instances()
    assert (after.state, after.since, after.address) == ("draining", since, instance.address)
    assert world.provider.apply(drain).text == "carried out before"


def test_a_machine_for_the_warm_pool_boots_once_rests_and_starts(world: AzureWorld) -> None:
    launch = world.launch(into="warm")
    world.provider.apply(launch)
    assert world.states() == ["stopping"], "neither capacity nor ready to be started"
    for _ in range(4):
        world.pass_s(20.0)
        world.provider.observe()
    (resting,) = world.instances()
    assert (resting.state, resting.action, world.set.machines["0"].power) == ("warm", launch.id, "deallocated")
    assert not world.set.machines["0"].protected
    world.provider.apply(world.operate("start", resting.id))
    assert world.states() == ["pending"]
    world.pass_s(40.0)
    assert world.states() == ["ready"]
    world.provider.apply(world.operate("stop", resting.id))
    world.pass_s(40.0)
    assert world.states() == ["warm"]


@pytest.mark.parametrize("scarce", ["at once", "later"])
def test_a_start_for_which_there_is_no_capacity_leaves_the_machine_warm_and_says_so(
    world: AzureWorld, scarce: Literal["at once", "later"]
) -> None:
    (instance,) = world.serving()
    world.cloud.free[world.set.size, "Regular"] = 1
    world.provider.apply(world.operate("stop", instance.id))
    world.pass_s(10.0)
    assert world.states() == ["warm"]
    world.cloud.free[world.set.size, "Regular"] = 0
    world.cloud.scarce = scarce
    told = world.provider.apply(world.operate("start", instance.id))
    if scarce == "later":
        assert told.status == "accepted"
        world.pass_s(40.0)
        assert "AllocationFailed" in world.instances()[0].detail
        told = world.provider.apply(world.operate("start", instance.id))
    assert (told.status, told.error) == ("failed", "capacity")
    assert world.states() == ["warm"]
    world.cloud.free[world.set.size, "Regular"] = 1
    world.pass_s(200.0)
    assert world.provider.apply(world.operate("start", instance.id)).status == "accepted"
    world.pass_s(40.0)
    assert world.states() == ["ready"]


@pytest.mark.parametrize("policy", ["Deallocate", "Delete"])
def test_an_evicted_spot_machine_counts_for_nothing_any_more(
    make: Callable[..., AzureWorld], policy: Literal["Deallocate", "Delete"]
) -> None:
    world = make(spot=True)
    world.set.eviction = policy
    kept, taken = world.serving(2)
    with world.cloud.lock:
        world.cloud.evict(world.set, taken.id.rsplit("/", 1)[1])
    states = {i.id: (i.state, i.detail) for i in world.instances()}
    assert states[kept.id][0] == "ready"
    if policy == "Delete":
        assert taken.id not in states
    else:
        assert states[taken.id][0] == "failed"
        assert states[taken.id][1].startswith("evicted")
        world.provider.apply(world.operate("terminate", taken.id))
        world.pass_s(10.0)
        assert world.states() == ["ready"]


def test_a_machine_serves_when_the_health_extension_says_so(world: AzureWorld) -> None:
    world.cloud.health = "unhealthy"
    launch = world.launch(offer=world.offer(settings={"ready": "health"}))
    world.provider.apply(launch)
    world.provider.observe()
    world.pass_s(60.0)
    assert world.states() == ["pending"]
    assert world.instances()[0].detail == "runs, waits for health"
    world.set.machines["0"].health = "healthy"
    assert world.states() == ["ready"]


def test_a_machine_serves_when_its_own_path_answers_and_stays_so_over_a_restart(world: AzureWorld) -> None:
    world.cloud.host = "127.0.0.1"
    port = world.arm.url.rsplit(":", 1)[1]
    world.provider.apply(world.launch(offer=world.offer(settings={"ready": "/health", "port": port})))
    world.provider.observe()
    world.pass_s(60.0)
    for _ in range(3):
        assert world.states() == ["pending"]
    world.cloud.serves = True
    until(lambda: world.states() == ["ready"], "ready")
    world.provider.observe()
    world.pass_s(10.0)
    (before,) = world.instances()
    world.cloud.serves = False
    world.restart()
    (after,) = world.instances()
    assert (after.state, after.since) == ("ready", before.since)
    assert after.address == f"127.0.0.1:{port}"


def test_a_shadow_looks_and_changes_nothing(world: AzureWorld) -> None:
    launch = world.launch(into="warm")
    world.provider.apply(launch)
    world.pass_s(60.0)
    before = (dict(world.set.tags), world.set.version, len(world.arm.calls))
    (seen,) = ShadowProvider(world.provider).observe().instances
    assert (seen.action, seen.state) == (launch.id, "stopping")
    assert (dict(world.set.tags), world.set.version) == before[:2]
    assert set(world.arm.calls[before[2] :]) <= {"set.list", "vm.list", "op.get"}


# --- people -----------------------------------------------------------------------------------------------------


def test_machines_that_a_person_added_are_left_alone_unless_they_shall_be_adopted(
    make: Callable[..., AzureWorld],
) -> None:
    for adopt, states in ((False, ["ready"]), (True, ["ready", "ready"])):
        world = make(adopt=adopt)
        world.serving()
        with world.cloud.lock:
            world.cloud.update(world.set, {"sku": {"capacity": 2}}, None)
        world.pass_s(60.0)
        assert world.states() == states
        assert world.set.machines["1"].tags == {}
        told = world.provider.apply(world.operate("terminate", "gpus/chat/1"))
        assert told.status == ("accepted" if adopt else "failed")


def test_tags_that_somebody_removed_are_no_reason_to_lose_a_machine(world: AzureWorld) -> None:
    (instance,) = world.serving()
    world.set.tags.clear()
    world.set.machines["0"].tags.clear()
    (seen,) = world.instances()
    assert (seen.id, seen.state, seen.pool, seen.offer) == (instance.id, "ready", "chat", instance.offer)
    world.restart()
    assert world.states() == ["ready"], "known from the data folder"


def test_a_machine_that_somebody_stopped_can_be_started(world: AzureWorld) -> None:
    (instance,) = world.serving()
    with world.cloud.lock:
        world.cloud.deallocate(world.set, ["0"])
    world.pass_s(10.0)
    (seen,) = world.instances()
    assert seen.state == "warm"
    assert "somebody else stopped it" in seen.detail
    world.provider.apply(world.operate("start", instance.id))
    world.pass_s(40.0)
    assert world.states() == ["ready"]


def test_a_machine_that_is_deleted_behind_our_back_is_gone_and_its_end_is_done(world: AzureWorld) -> None:
    kept, lost = world.serving(2)
    with world.cloud.lock:
        world.cloud.delete(world.set, ["1"])
    world.pass_s(10.0)
    assert [i.id for i in world.instances()] == [kept.id]
    assert world.provider.apply(world.operate("terminate", lost.id)).status == "done"
    assert world.provider.apply(world.operate("drain", lost.id)).status == "failed"


def test_a_data_file_that_cannot_be_understood_is_put_aside(world: AzureWorld) -> None:
    world.serving()
    (world.directory / "scale-sets.json").write_text('[{"ref": 1}]')
    world.restart()
    assert world.states() == ["ready"], "Azure's tags tell the rest"
    assert (world.directory / "scale-sets.unreadable").exists()
