"""Scale sets that an order makes: once, empty, as the offer says; and none that somebody else made is changed."""

from __future__ import annotations

from base64 import b64decode
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from threading import Thread
from typing import Any

import pytest

from autoscaler.rulefile.reader import check_text
from autoscaler.types import Launch, Offer, Outcome
from providers.azure.settings import offer_faults
from tests.azureworld import SIZE, AzureWorld

SUBNET = "/subscriptions/sub-1/resourceGroups/net/providers/Microsoft.Network/virtualNetworks/v/subnets/gpus"
URN = "microsoft-dsvm:ubuntu-hpc:2204:latest"
CREATE = {"scale_set": "new", "create": "true", "image": URN, "subnet": SUBNET}
KEY = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIJQ7Zx1t8w4h2t2vWnXgqk2w0n9m3b6v5c4x3z2a1s0d ops"


@pytest.fixture
def world(tmp_path: Path) -> Iterator[AzureWorld]:
    made = AzureWorld(tmp_path / "azure")
    yield made
    made.close()


def offer(world: AzureWorld, **settings: str) -> Offer:
    return world.offer(region="eastus", settings={**CREATE, **settings})


def until_it_serves(world: AzureWorld, launch: Launch, tries: int = 6) -> Outcome:
    """The same order again as often as it asks for it."""
    for _ in range(tries):
        told = world.provider.apply(launch)
        if told.status != "accepted" or told.retry_after_s is None or told.instance is not None:
            return told
        world.pass_s(told.retry_after_s)
    return told


def test_the_first_order_makes_the_scale_set_and_then_one_machine(world: AzureWorld) -> None:
    launch = world.launch(offer=offer(world))
    told = world.provider.apply(launch)
    assert (told.status, told.text) == ("accepted", "scale set gpus/new is being made")
    assert told.continuation is not None
    assert "/operations/" in told.continuation
    until_it_serves(world, launch)
    made = world.cloud.of("new")
    assert (made.capacity, len(made.machines), made.size) == (1, 1, f"Standard_{SIZE}")
    world.pass_s(60.0)
    world.provider.observe()
    assert [i.action for i in world.instances()] == [launch.id]


def test_what_is_made_is_what_the_offer_says(world: AzureWorld, tmp_path: Path) -> None:
    key = tmp_path / "ops.pub"
    key.write_text(KEY)
    wants = offer(
        world, ssh_key=str(key), admin_user="ops", identity="system", disk="256GiB", spread="1 2 3", eviction="Delete"
    )
    spot = world.offer(region="eastus", purchase="spot", settings=dict(wants.settings) | {"max_price": "1.9 USD/h"})
    until_it_serves(world, world.launch(offer=spot))
    given: Any = world.cloud.of("new").given
    profile = given["properties"]["virtualMachineProfile"]
    assert (given["properties"]["overprovision"], given["properties"]["singlePlacementGroup"]) == (False, True)
    assert given["properties"]["upgradePolicy"] == {"mode": "Manual"}
    assert (given["zones"], given["identity"]["type"]) == (["1", "2", "3"], "SystemAssigned")
    assert (profile["priority"], profile["evictionPolicy"]) == ("Spot", "Delete")
    assert profile["billingProfile"] == {"maxPrice": 1.9}
    assert profile["storageProfile"]["osDisk"]["diskSizeGB"] == 256
    assert profile["storageProfile"]["imageReference"]["sku"] == "2204"
    assert profile["osProfile"]["adminUsername"] == "ops"
    assert profile["osProfile"]["linuxConfiguration"]["ssh"]["publicKeys"][0]["keyData"] == KEY
    assert given["tags"]["sigmascale-pool"] == "chat"


def test_without_a_key_nobody_can_log_in(world: AzureWorld) -> None:
    until_it_serves(world, world.launch(offer=offer(world)))
    given: Any = world.cloud.of("new").given
    linux = given["properties"]["virtualMachineProfile"]["osProfile"]["linuxConfiguration"]
    assert linux["disablePasswordAuthentication"] is True
    assert linux["ssh"]["publicKeys"][0]["keyData"].startswith("ssh-rsa ")


def test_its_machines_are_told_at_their_first_boot_what_to_start(world: AzureWorld) -> None:
    serve = {"serve.command": "vllm serve model", "serve.user": "root"}
    until_it_serves(world, world.launch(offer=offer(world, **serve)))
    given: Any = world.cloud.of("new").given
    document = b64decode(given["properties"]["virtualMachineProfile"]["osProfile"]["customData"]).decode()
    assert document.startswith("#cloud-config")
    assert "vllm serve model" in document


@pytest.mark.parametrize("kind", ["cut", "nonsense"])
def test_an_answer_that_is_lost_makes_no_second_one(world: AzureWorld, kind: Any) -> None:
    fault = world.arm.fault("set.create", kind)
    launch = world.launch(offer=offer(world))
    assert world.provider.apply(launch).status in ("unknown", "accepted")
    until_it_serves(world, launch)
    assert fault.fired == 1
    assert (world.arm.calls.count("set.create"), world.cloud.of("new").capacity) == (1, 1)


def test_a_crash_while_it_is_made_carries_on_where_it_was(world: AzureWorld) -> None:
    launch = world.launch(offer=offer(world))
    world.provider.apply(launch)
    world.restart()
    until_it_serves(world, launch)
    assert (world.arm.calls.count("set.create"), len(world.cloud.bought)) == (1, 1)


def test_two_orders_at_once_make_one(world: AzureWorld) -> None:
    launches = [world.launch(offer=offer(world)) for _ in range(2)]
    threads = [Thread(target=until_it_serves, args=(world, launch)) for launch in launches]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(20)
    for launch in launches:
        until_it_serves(world, launch)
    assert world.cloud.of("new").capacity == 2


def test_one_that_somebody_else_makes_first_is_used_as_it_is(world: AzureWorld) -> None:
    world.arm.fault("set.create", "before", run=lambda: world.cloud.add_set("new", eviction="Delete"))
    until_it_serves(world, world.launch(offer=offer(world)))
    theirs = world.cloud.of("new")
    assert (theirs.capacity, theirs.given, theirs.eviction) == (1, {}, "Delete")


def test_one_that_is_there_is_not_made_again_though_the_offer_would(world: AzureWorld) -> None:
    assert world.provider.apply(world.launch(offer=offer(world, scale_set="chat"))).status == "accepted"
    assert "set.create" not in world.arm.calls


@pytest.mark.parametrize("restart", [False, True])
@pytest.mark.parametrize(
    ("code", "error"), [("ImageNotFound", "provider"), ("SkuNotAvailable", "capacity"), ("QuotaExceeded", "quota")]
)
def test_one_that_cannot_be_made_says_why_and_is_no_empty_promise(
    world: AzureWorld, code: str, error: str, restart: bool
) -> None:
    world.cloud.unmade = (code, "because of something")
    launch = world.launch(offer=offer(world))
    world.provider.apply(launch)
    if restart:
        world.restart()
    told = until_it_serves(world, launch)
    assert (told.status, told.error) == ("failed", error)
    assert code in told.text
    assert "delete the scale set" in told.text
    assert world.cloud.bought == []


def test_a_growth_that_fails_later_is_not_taken_for_a_birth_that_failed(world: AzureWorld) -> None:
    until_it_serves(world, world.launch(offer=offer(world)))
    world.cloud.of("new").state, world.cloud.of("new").error = "Failed", ("AllocationFailed", "none left")
    assert world.provider.apply(world.launch(offer=offer(world))).status == "accepted"


def test_without_create_a_scale_set_that_is_missing_is_an_error_with_the_next_step(world: AzureWorld) -> None:
    told = world.provider.apply(world.launch(offer=world.offer(settings={"scale_set": "new"})))
    assert (told.status, told.error) == ("failed", "provider")
    assert "create: true" in told.text
    assert "set.create" not in world.arm.calls


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        pytest.param({"image": "ubuntu"}, "publisher:offer:sku:version", id="an image that is none"),
        pytest.param({"subnet": "gpus"}, "/subscriptions/ID", id="a subnet that is no resource"),
        pytest.param({"eviction": "Keep"}, "Deallocate, Delete", id="a policy that is none"),
        pytest.param({"disk": "big"}, "disk", id="a disk without a size"),
        pytest.param({"admin_user": "root"}, "Azure takes", id="a user that Azure refuses"),
        pytest.param({"identity": "me"}, "/subscriptions/ID", id="an identity that is no resource"),
        pytest.param({"create": "perhaps"}, "create", id="neither yes nor no"),
        pytest.param({"create": "false"}, "write create: true", id="a description of nothing that is made"),
    ],
)
def test_what_cannot_be_made_is_told_when_the_file_is_read(
    world: AzureWorld, settings: dict[str, str], words: str
) -> None:
    assert any(words in fault.text for fault in offer_faults(offer(world, **settings)))


@pytest.mark.parametrize("left", ["image", "subnet", "region"])
def test_what_is_needed_and_left_out_is_told_too(world: AzureWorld, left: str) -> None:
    settings = {name: text for name, text in CREATE.items() if name != left}
    given = world.offer(region="" if left == "region" else "eastus", settings=settings)
    assert any(f"create needs {left}" in fault.text for fault in offer_faults(given))


def test_a_key_file_that_cannot_be_used_is_an_error_at_the_launch(world: AzureWorld, tmp_path: Path) -> None:
    (tmp_path / "private").write_text("-----BEGIN OPENSSH PRIVATE KEY-----")
    for file, words in ((tmp_path / "private", "holds no public key"), (tmp_path / "none", "cannot be read")):
        told = world.provider.apply(world.launch(offer=offer(world, ssh_key=str(file))))
        assert (told.status, words in told.text) == ("failed", True)
        assert "BEGIN" not in told.text


def test_the_offer_that_the_documentation_shows_makes_its_scale_set(world: AzureWorld, tmp_path: Path) -> None:
    text = (Path(__file__).parent.parent / "docs" / "azure.md").read_text(encoding="utf-8")
    part = text.split("## Scale sets that we make\n", 1)[1].split("```yaml\n", 1)[1].split("```", 1)[0]
    checked = check_text(f"pool: chat\nlimits: {{max: 2}}\nreplica: {{gpus: 1}}\n{part}", file="azure.md")
    assert checked.rules is not None, checked.errors
    (shown,) = checked.rules.offers
    key = tmp_path / "ops.pub"
    key.write_text(KEY)
    settings = tuple((name, str(key) if name == "ssh_key" else text) for name, text in shown.settings)
    until_it_serves(world, world.launch(offer=replace(shown, settings=settings)))
    assert world.cloud.of("chat-a100").zones == ("1", "2", "3")
