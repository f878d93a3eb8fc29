"""What Azure refuses, over the wire, and what the loop is told."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any, get_args

import pytest

from autoscaler.clock import monotonic
from autoscaler.errors import CredentialsError, ProviderError, UnreachableError
from providers.azure.client import Identity, make_credential
from tests.azureworld import AzureWorld


@pytest.fixture
def world(tmp_path: Path) -> Iterator[AzureWorld]:
    made = AzureWorld(tmp_path / "state")
    yield made
    made.close()


QUOTA_TEXT = "Operation could not be completed as it results in exceeding approved quota"


@pytest.mark.parametrize(
    ("status", "code", "message", "outcome", "error"),
    [
        (409, "AllocationFailed", "no capacity", "failed", "capacity"),
        (409, "ZonalAllocationFailed", "no capacity in the zone", "failed", "capacity"),
        (409, "OverconstrainedAllocationRequest", "cannot be met", "failed", "capacity"),
        (400, "SkuNotAvailable", "not available in eastus", "failed", "capacity"),
        (409, "QuotaExceeded", "cores", "failed", "quota"),
        (409, "OperationNotAllowed", QUOTA_TEXT, "failed", "quota"),
        (409, "OperationNotAllowed", "the scale set is locked", "failed", "provider"),
        (400, "InvalidParameter", "no such thing", "failed", "provider"),
        (401, "ExpiredAuthenticationToken", "expired", "failed", "credentials"),
        (403, "AuthorizationFailed", "no permission", "failed", "credentials"),
        (404, "ResourceNotFound", "chat was not found", "failed", "provider"),
        (409, "Conflict", "busy", "unknown", "throttled"),
        (500, "InternalServerError", "broke", "unknown", "unreachable"),
        (503, "ServerBusy", "later", "unknown", "unreachable"),
        (503, "AllocationFailed", "no capacity", "failed", "capacity"),
    ],
)
def test_a_refusal_becomes_the_error_that_says_what_to_do(
    world: AzureWorld, status: int, code: str, message: str, outcome: str, error: str
) -> None:
    fault = world.arm.fault("set.update", "refuse", status=status, code=code, message=message)
    launch = world.launch()
    told = world.provider.apply(launch)
    assert fault.fired == 1
    assert (told.action, told.status, told.error) == (launch.id, outcome, error)
    assert world.set.capacity == 0
    assert "static-token" not in told.text


def test_429_is_handed_on_at_once_with_the_time_that_azure_asks_for(world: AzureWorld) -> None:
    world.arm.fault("set.update", "refuse", status=429, code="OperationNotAllowed", headers={"Retry-After": "120"})
    began = monotonic()
    told = world.provider.apply(world.launch())
    assert (told.status, told.error, told.retry_after_s) == ("unknown", "throttled", 120.0)
    assert monotonic() - began < 60, "nobody sleeps through it"


def test_429_on_a_report_is_a_provider_that_cannot_be_asked(world: AzureWorld) -> None:
    world.serving()
    world.arm.fault("vm.list", "refuse", status=429, code="TooManyRequests", headers={"Retry-After": "60"})
    with pytest.raises(ProviderError, match="asks to wait"):
        world.provider.observe()
    assert world.states() == ["ready"]


@pytest.mark.parametrize("call", ["set.list", "vm.list"])
@pytest.mark.parametrize("fault", ["hang", "cut", "nonsense"])
def test_a_report_that_cannot_be_had_is_an_error_and_never_an_empty_fleet(
    tmp_path: Path, call: str, fault: Any
) -> None:
    world = AzureWorld(tmp_path, timeout_s=0.5)
    try:
        world.serving()
        # The SDK reads once more when the connection fails.
        world.arm.fault(call, fault, times=1 if fault == "nonsense" else 2)
        with pytest.raises(UnreachableError):
            world.provider.observe()
        assert world.states() == ["ready"]
    finally:
        world.close()


def test_a_call_that_hangs_ends_by_our_time_out_and_its_outcome_is_unknown(tmp_path: Path) -> None:
    world = AzureWorld(tmp_path, timeout_s=0.5)
    try:
        fault = world.arm.fault("set.update", "hang")
        began = monotonic()
        told = world.provider.apply(world.launch())
        assert (told.status, told.error, fault.fired) == ("unknown", "unreachable", 1)
        assert monotonic() - began < 30
    finally:
        world.close()


def test_nobody_at_the_endpoint_is_unknown(world: AzureWorld) -> None:
    world.arm.close()
    told = world.provider.apply(world.launch())
    assert (told.status, told.error) == ("unknown", "unreachable")
    with pytest.raises(UnreachableError):
        world.provider.observe()


def test_a_wrong_token_stops_and_says_so_without_showing_it(world: AzureWorld) -> None:
    world.provider.observe()
    world.arm.token = "another"
    told = world.provider.apply(world.launch())
    assert (told.status, told.error) == ("failed", "credentials")
    assert "renew the credentials" in told.text
    with pytest.raises(CredentialsError) as refused:
        world.provider.observe()
    assert "static-token" not in str(refused.value)


def test_no_identity_at_all_stops_and_says_what_to_check(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The real azure-identity, in an environment without credentials."""
    for name in ("AZURE_CLIENT_ID", "AZURE_TENANT_ID", "AZURE_CLIENT_SECRET"):
        monkeypatch.delenv(name, raising=False)
    world = AzureWorld(tmp_path)
    try:
        provider = type(world.provider)(
            tmp_path, world.clock, "sub-1", "gpus", identity="environment", endpoint=world.arm.url
        )
        told = provider.apply(world.launch())
        assert (told.status, told.error) == ("failed", "credentials")
        assert "check the identity of this service" in told.text
        provider.close()
    finally:
        world.close()


@pytest.mark.parametrize("identity", get_args(Identity))
def test_every_identity_can_be_made_with_our_time_outs_or_says_what_it_lacks(
    identity: Identity, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("AZURE_CLIENT_ID", "AZURE_TENANT_ID", "AZURE_FEDERATED_TOKEN_FILE"):
        monkeypatch.delenv(name, raising=False)
    if identity == "workload":
        with pytest.raises(CredentialsError, match=r"azure.identity workload: .*tenant_id"):
            make_credential(identity, 5.0)
    else:
        assert hasattr(make_credential(identity, 5.0), "get_token")


def test_a_resource_group_that_does_not_exist_is_an_error_and_never_an_empty_fleet(tmp_path: Path) -> None:
    world = AzureWorld(tmp_path)
    try:
        world.cloud.sets.clear()
        with pytest.raises(ProviderError, match="Resource group 'gpus' could not be found"):
            world.provider.observe()
    finally:
        world.close()


@pytest.mark.parametrize(
    ("settings", "offer", "text"),
    [
        ({"scale_set": "nobody"}, {}, "correct scale_set or resource_group, or write create: true"),
        ({}, {"type": "NC6s_v3"}, "its machines are Standard_NC24ads_A100_v4, the offer says NC6s_v3"),
        ({}, {"region": "westeurope"}, "it is in eastus, the offer says westeurope"),
        ({}, {"zone": "2"}, "its zones are none, the offer says 2"),
        ({}, {"purchase": "spot"}, "its machines are on demand, the offer says spot"),
    ],
)
def test_a_scale_set_that_is_not_what_the_offer_says_is_not_touched(
    world: AzureWorld, settings: dict[str, str], offer: dict[str, Any], text: str
) -> None:
    told = world.provider.apply(world.launch(offer=world.offer(settings=settings, **offer)))
    assert told.status == "failed"
    assert text in told.text
    assert (world.set.capacity, world.set.tags) == (0, {})


def test_a_scale_set_serves_one_pool_and_one_offer(world: AzureWorld) -> None:
    world.serving()
    dearer = world.launch(offer=world.offer(region="eastus"))
    told = world.provider.apply(dearer)
    assert (told.status, world.set.capacity) == ("failed", 1)
    assert "a scale set of its own" in told.text
