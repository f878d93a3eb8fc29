"""Every failure of EC2 over the wire: the class that says what to do, one call each, and no secret in any word."""

from __future__ import annotations

import sys
import traceback
from collections.abc import Iterator

import pytest

from autoscaler.clock import monotonic
from autoscaler.dispatch import Calls, carry_out
from autoscaler.errors import (
    CapacityError,
    CredentialsError,
    InputError,
    ProviderError,
    QuotaError,
    ThrottledError,
    UnreachableError,
)
from autoscaler.types import Outcome
from providers.aws import AwsProvider, failures
from tests.awsworld import ENVIRONMENT, account, launch, provider
from tests.peers.strict_moto import StrictMoto

SECRETS = (ENVIRONMENT["AWS_SECRET_ACCESS_KEY"], ENVIRONMENT["AWS_SESSION_TOKEN"], ENVIRONMENT["AWS_ACCESS_KEY_ID"])
CODES = [
    *((code, CapacityError, "failed") for code in sorted(failures.SHORTAGE)),
    *((code, QuotaError, "failed") for code in sorted(failures.QUOTA)),
    *((code, CredentialsError, "failed") for code in sorted(failures.CREDENTIALS)),
    *((code, ThrottledError, "unknown") for code in sorted(failures.THROTTLING)),
    *((code, UnreachableError, "unknown") for code in sorted(failures.NOT_ANSWERED)),
    ("InvalidParameterValue", ProviderError, "failed"),
    ("InvalidLaunchTemplateName.NotFoundException", ProviderError, "failed"),
]


@pytest.fixture(scope="module")
def world() -> Iterator[StrictMoto]:
    with account() as made:
        yield made


@pytest.fixture(scope="module")
def aws(world: StrictMoto) -> Iterator[AwsProvider]:
    made = provider(world, read_timeout_s=30.0)
    yield made
    made.close()


@pytest.fixture(autouse=True)
def quiet(world: StrictMoto) -> None:
    world.wire.faults.clear()
    world.wire.calls.clear()


def outcome(world: StrictMoto, aws: AwsProvider) -> Outcome:
    """What the loop hears of a launch."""
    return carry_out(aws, launch(world), world.clock, Calls())


@pytest.mark.parametrize(("code", "kind", "status"), CODES, ids=[c[0] for c in CODES])
def test_a_code_becomes_the_class_that_says_what_to_do(
    world: StrictMoto, aws: AwsProvider, code: str, kind: type[ProviderError], status: str
) -> None:
    injected = world.fault("RunInstances", "error", code=code, message="as AWS says it")
    told = outcome(world, aws)
    assert (injected.fired, told.status, told.error) == (1, status, kind.code)
    assert code in told.text
    assert world.wire.count("RunInstances") == 1, "the SDK repeats nothing by itself"
    assert world.made == []


def test_the_shortage_that_sdks_like_to_repeat_is_asked_for_once(world: StrictMoto, aws: AwsProvider) -> None:
    world.capacity["us-east-1a", "p4d.24xlarge", "on_demand"] = 0
    told = outcome(world, aws)
    assert (told.status, told.error, world.wire.count("RunInstances")) == ("failed", "capacity", 1)
    world.capacity.clear()


def test_a_quota_says_who_can_lift_it(world: StrictMoto, aws: AwsProvider) -> None:
    world.quota["on_demand"] = 95
    told = outcome(world, aws)
    assert (told.status, told.error) == ("failed", "quota")
    assert "Service Quotas" in told.text
    world.quota.clear()


@pytest.mark.parametrize(
    ("headers", "wait_s"),
    [
        pytest.param((), failures.RETRY_AFTER_S, id="no header"),
        pytest.param((("Retry-After", "17"),), 17.0, id="as long as AWS says"),
        pytest.param((("Retry-After", "1e9"),), failures.LONGEST_WAIT_S, id="but not for ever"),
        pytest.param((("Retry-After", "Wed, 21 Oct 2015 07:28:00 GMT"),), failures.RETRY_AFTER_S, id="a date"),
        pytest.param((("Retry-After", "nan"),), failures.RETRY_AFTER_S, id="no number"),
    ],
)
def test_throttling_says_how_long_to_wait(
    world: StrictMoto, aws: AwsProvider, headers: tuple[tuple[str, str], ...], wait_s: float
) -> None:
    world.fault("RunInstances", "error", code="RequestLimitExceeded", status=503, headers=headers)
    told = outcome(world, aws)
    assert (told.status, told.error, told.retry_after_s) == ("unknown", "throttled", wait_s)


@pytest.mark.parametrize("status", [500, 502, 503])
def test_a_server_error_of_no_known_code_leaves_it_open_what_happened(
    world: StrictMoto, aws: AwsProvider, status: int
) -> None:
    world.fault("RunInstances", "error", code="Strange", status=status)
    assert outcome(world, aws).status == "unknown"


@pytest.mark.parametrize("kind", ["cut", "refuse", "garbage", "empty"])
def test_a_lost_answer_is_unknown_and_called_once(world: StrictMoto, aws: AwsProvider, kind: str) -> None:
    injected = world.fault("RunInstances", kind)
    told = outcome(world, aws)
    assert (told.status, told.error, injected.fired) == ("unknown", "unreachable", 1)
    assert world.wire.count("RunInstances") == 1


def test_a_silent_endpoint_is_left_after_the_time_out(world: StrictMoto) -> None:
    aws = provider(world, read_timeout_s=0.3)
    world.fault("RunInstances", "slow", wait_s=5.0)
    began = monotonic()
    assert outcome(world, aws).status == "unknown"
    assert monotonic() - began < 4.0
    aws.close()


def test_an_endpoint_where_nobody_listens_is_unreachable(world: StrictMoto) -> None:
    aws = provider(world, endpoint_url="http://127.0.0.1:9")
    with pytest.raises(UnreachableError, match="us-east-1 describe_instances"):
        aws.observe()
    aws.close()


@pytest.mark.parametrize("code", sorted(failures.CREDENTIALS))
def test_no_word_about_credentials_repeats_what_aws_said(world: StrictMoto, aws: AwsProvider, code: str) -> None:
    """The message of a wrong signature holds the request that was signed, session token included."""
    world.fault("RunInstances", "error", code=code, message=f"canonical string: {' '.join(SECRETS)}")
    told = outcome(world, aws)
    assert not any(secret in told.text for secret in SECRETS)
    assert "docs/aws.md" in told.text


def test_no_traceback_shows_what_was_signed(world: StrictMoto, aws: AwsProvider) -> None:
    world.fault("DescribeInstances", "error", code="SignatureDoesNotMatch", message=" ".join(SECRETS))
    with pytest.raises(CredentialsError) as raised:
        aws.observe()
    printed = "".join(traceback.format_exception(raised.value))
    assert not any(secret in printed for secret in SECRETS)


def test_other_messages_lose_key_ids_and_encoded_blocks_and_have_an_end(world: StrictMoto, aws: AwsProvider) -> None:
    message = f"{SECRETS[2]} did it {'again ' * 200} Encoded authorization failure message: abcdef"
    world.fault("RunInstances", "error", code="InvalidParameterValue", message=message)
    text = outcome(world, aws).text
    assert SECRETS[2] not in text
    assert "abcdef" not in text
    assert len(text) < 420


def test_secrets_are_in_no_word_of_the_provider(aws: AwsProvider) -> None:
    assert not any(secret in repr(aws) for secret in SECRETS)


def test_without_credentials_a_person_is_asked(world: StrictMoto, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN"):
        monkeypatch.delenv(name)
    aws = provider(world)
    with pytest.raises(CredentialsError, match="NoCredentialsError"):
        aws.observe()
    told = outcome(world, aws)
    assert (told.status, told.error) == ("failed", "credentials")
    aws.close()


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        pytest.param({"profile": "nobody"}, "profile", id="a profile that is not there"),
        pytest.param({"regions": ()}, "no region is set", id="no region"),
        pytest.param({"regions": ("us east 1",)}, "region", id="a region that cannot be"),
        pytest.param({"endpoint_url": "nowhere"}, "endpoint_url", id="an endpoint that is none"),
        pytest.param({"owner": "a b"}, "no tag value", id="an owner that is no tag value"),
        pytest.param({"read_timeout_s": 0.0}, "time-outs", id="no time at all"),
        pytest.param({"warm_up_s": -1.0}, "0s or more", id="a time below nothing"),
    ],
)
def test_a_wrong_configuration_is_refused_at_the_start(
    world: StrictMoto, settings: dict[str, object], words: str
) -> None:
    with pytest.raises(InputError, match=words):
        provider(world, **settings)


def test_without_boto3_it_says_what_to_install(world: StrictMoto, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "boto3", None)
    with pytest.raises(InputError, match=r"pip install 'sigmascale\[aws\]'"):
        provider(world)
