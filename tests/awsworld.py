"""An AWS account on loopback for tests: strict moto behind a wire, and providers and launches for it."""

from __future__ import annotations

import atexit
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from functools import cache
from itertools import count
from typing import Any, Literal

import pytest
from moto.ec2.models import ec2_backends, instances
from moto.ec2.responses._base_response import EC2BaseResponse

from autoscaler.dispatch import Calls, carry_out
from autoscaler.types import Action, Fleet, Instance, Launch, Offer, Operate, Outcome
from providers.aws import AwsProvider
from tests.peers.moto_wire import Wire
from tests.peers.strict_moto import ACCOUNT, StrictMoto

HOOKS = {
    "run_instances": "run",
    "start_instances": "start",
    "stop_instances": "stop",
    "terminate_instances": "terminate",
    "all_reservations": "listed",
}
"""Methods of moto's InstanceBackend that strict moto wraps, and its own in their place."""
ANSWERED_STATE = "RunInstances.Reservation.Instances.Instance.State"
REGIONS = ("us-east-1", "us-west-2")
IMAGE = ("image", "ami-12c6146b")
RUNNING = ("ready", "running")
OFFER = Offer(
    "aws", "p4d.24xlarge", "us-east-1", "us-east-1a", replicas=2, usd_per_hour=21.96, settings=(IMAGE, RUNNING)
)
SPOT = replace(OFFER, type="g5.xlarge", purchase="spot")
ENVIRONMENT = {
    "AWS_ACCESS_KEY_ID": "AKIATESTTESTTESTTEST",
    "AWS_SECRET_ACCESS_KEY": "very-secret-words",
    "AWS_SESSION_TOKEN": "session-secret",
    "AWS_EC2_METADATA_DISABLED": "true",
    "AWS_CONFIG_FILE": "/nonexistent/config",
    "AWS_SHARED_CREDENTIALS_FILE": "/nonexistent/credentials",
}
_numbers = count(1)


@cache
def wire() -> Wire:
    """moto's server of this process, started when it is first needed; it ends with the process."""
    made = Wire()
    made.start()
    atexit.register(made.stop)
    return made


@contextmanager
def account() -> Iterator[StrictMoto]:
    """An empty account behind the wire, with strict moto's rules in force until the end of the block."""
    world = StrictMoto(wire())
    world.wire.faults, world.wire.calls, world.wire.before = [], [], world.before
    for region in REGIONS:
        ec2_backends[ACCOUNT][region].reservations.clear()
    with pytest.MonkeyPatch.context() as patch:
        for name, value in ENVIRONMENT.items():
            patch.setenv(name, value)
        for name in ("AWS_PROFILE", "AWS_REGION", "AWS_DEFAULT_REGION", "AWS_ENDPOINT_URL"):
            patch.delenv(name, raising=False)
        for name, ours in HOOKS.items():
            patch.setattr(
                instances.InstanceBackend, name, _hook(getattr(world, ours), getattr(instances.InstanceBackend, name))
            )
        for name in ("instance_status", "system_status"):
            patch.setattr(instances.Instance, name, property(world.check))
        # moto answers every RunInstances with `pending`; EC2 with what an instance is by now.
        patch.setitem(EC2BaseResponse.RESPONSE_KEY_PATH_TO_TRANSFORMER, ANSWERED_STATE, lambda state: state)
        yield world
    world.wire.before, world.wire.arrived = (lambda form: None), (lambda operation: None)


def provider(world: StrictMoto, **settings: Any) -> AwsProvider:
    """A provider of the account, which asks for nothing else."""
    given: dict[str, Any] = {"regions": ("us-east-1",), "endpoint_url": world.wire.url, "read_timeout_s": 30.0}
    return AwsProvider(clock=world.clock, **given | settings)


def launch(
    world: StrictMoto,
    offer: Offer = OFFER,
    into: Literal["serving", "warm"] = "serving",
    pool: str = "chat",
    id_: str = "",
) -> Launch:
    """A launch with an id of its own."""
    now = world.clock.now()
    return Launch(id_ or f"launch-{next(_numbers)}", pool, now, now + 300.0, offer, into=into)


def operate(
    world: StrictMoto, kind: Literal["start", "drain", "resume", "stop", "terminate"], instance: str, pool: str = "chat"
) -> Operate:
    """An operation with an id of its own."""
    now = world.clock.now()
    return Operate(f"{kind}-{next(_numbers)}", pool, now, now + 60.0, kind, instance, "aws", OFFER.replicas)


def tell(world: StrictMoto, aws: AwsProvider, action: Action) -> Outcome:
    """What the loop hears of an action."""
    return carry_out(aws, action, world.clock, Calls())


def ordered(world: StrictMoto, aws: AwsProvider, **changes: Any) -> str:
    """An instance that a launch made."""
    made = tell(world, aws, launch(world, **changes))
    assert made.status == "accepted", made.text
    assert made.instance is not None
    return made.instance


def one(fleet: Fleet) -> Instance:
    """The only instance."""
    (instance,) = fleet.instances
    return instance


def _hook(ours: Any, original: Any) -> Any:
    def hooked(backend: Any, *words: Any, **more: Any) -> Any:
        return ours(original, backend, *words, **more)

    return hooked
