"""What every provider must do. A new provider adds one rig: how it is made, restarted, and how its time passes."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping
from itertools import count
from pathlib import Path
from threading import Event
from typing import Literal, Protocol
from uuid import uuid4

import pytest

from autoscaler.clock import SimClock, SystemClock, monotonic
from autoscaler.ports import Provider
from autoscaler.sim import SimCluster, Workload
from autoscaler.types import Fleet, Instance, Launch, Offer, Operate
from providers.local import LocalProvider
from providers.sim import SimProvider

WORKER = Path(__file__).parents[1] / "peers" / "tiny_worker.py"
POOL = "chat"
_numbers = count()


class Rig(Protocol):
    """A provider under test and the world around it. `lacks` names what it cannot do, with the reason."""

    lacks: Mapping[str, str]

    @property
    def provider(self) -> Provider: ...
    @property
    def offer(self) -> Offer: ...
    def now(self) -> float: ...
    def pass_time(self) -> None:
        """A little of it, enough for the world to move on."""
        ...

    def restart(self) -> None:
        """The service ends without a word and comes back; the world stays."""
        ...

    def close(self) -> None: ...


class LocalRig:
    """Real processes, on a loopback address of their own, so that test runs side by side share no ports."""

    lacks: Mapping[str, str] = {}

    def __init__(self, directory: Path) -> None:
        number = next(_numbers)
        self.directory = directory
        self.host = f"127.{40 + number % 200}.{os.getpid() // 250 % 250}.{1 + os.getpid() % 250}"
        command = f"{{python}} {WORKER} --host {{host}} --port {{port}}"
        self.offer = Offer("local", "tiny", replicas=2, usd_per_hour=0.5, settings=(("command", command),))
        self.clock = SystemClock()
        self.provider = self._make()

    def _make(self) -> LocalProvider:
        return LocalProvider(self.directory, self.clock, host=self.host, grace_s=5.0)

    def now(self) -> float:
        return self.clock.now()

    def pass_time(self) -> None:
        Event().wait(0.02)

    def restart(self) -> None:
        self.provider.close(kill=False)
        self.provider = self._make()

    def close(self) -> None:
        self.provider.close(kill=True)


class SimRig:
    """A simulated cluster, which outlives the provider that looks at it."""

    lacks: Mapping[str, str] = {
        "warm": "simulated machines serve or are gone",
        "memory": "only launches are remembered by their id",
        "refusal": "whatever is done to a machine that is not there is done",
    }

    def __init__(self, directory: Path) -> None:
        del directory
        self.offer = Offer("sim", "tiny", replicas=2, usd_per_hour=0.5)
        self.clock = SimClock(1000.0)
        self.cluster = SimCluster({POOL: Workload(lambda at: 0.0)}, start=1000.0, boot_s=3.0)
        self.provider = SimProvider(self.cluster, self.clock)

    def now(self) -> float:
        return self.clock.now()

    def pass_time(self) -> None:
        self.clock.wait(self.clock.now() + 1.0)

    def restart(self) -> None:
        self.provider = SimProvider(self.cluster, self.clock)

    def close(self) -> None:
        """Nothing to clean up."""


RIGS: dict[str, Callable[[Path], Rig]] = {"local": LocalRig, "sim": SimRig}


@pytest.fixture(params=sorted(RIGS))
def rig(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Rig]:
    made = RIGS[str(request.param)](tmp_path / "state")
    try:
        yield made
    finally:
        made.close()


def needs(rig: Rig, what: str) -> None:
    """Skip a test of something that this provider does not claim to do."""
    if what in rig.lacks:
        pytest.skip(rig.lacks[what])


def until(rig: Rig, holds: Callable[[Fleet], bool], what: str) -> Fleet:
    """The first fleet for which it holds; fails after 30 s of the test's own time."""
    deadline = monotonic() + 30.0
    while monotonic() < deadline:
        fleet = rig.provider.observe()
        if holds(fleet):
            return fleet
        rig.pass_time()
    pytest.fail(f"never seen: {what}; the last fleet was {rig.provider.observe()}")


def order(rig: Rig, into: Literal["serving", "warm"] = "serving") -> Launch:
    return Launch(f"launch-{uuid4().hex}", POOL, rig.now(), rig.now() + 60.0, rig.offer, into=into)


def operate(rig: Rig, kind: Literal["start", "drain", "resume", "stop", "terminate"], instance: str) -> Operate:
    return Operate(
        f"{kind}-{uuid4().hex}",
        POOL,
        rig.now(),
        rig.now() + 60.0,
        kind,
        instance,
        rig.offer.provider,
        rig.offer.replicas,
    )


def mine(fleet: Fleet, launch: Launch) -> Instance | None:
    found = [i for i in fleet.instances if i.action == launch.id]
    assert len(found) <= 1, "one launch, one instance"
    return found[0] if found else None


def in_state(launch: Launch, state: str) -> Callable[[Fleet], bool]:
    return lambda fleet: (seen := mine(fleet, launch)) is not None and seen.state == state


def serving(rig: Rig) -> tuple[Launch, str]:
    """A launch that serves, and its instance."""
    launch = order(rig)
    assert rig.provider.apply(launch).status in ("accepted", "done")
    seen = mine(until(rig, in_state(launch, "ready"), "ready"), launch)
    assert seen is not None
    return launch, seen.id


def test_a_new_provider_has_an_empty_fleet(rig: Rig) -> None:
    assert rig.provider.observe().instances == ()


def test_a_launch_is_listed_with_its_action_and_becomes_ready(rig: Rig) -> None:
    launch = order(rig)
    outcome = rig.provider.apply(launch)
    assert (outcome.action, outcome.pool) == (launch.id, POOL)
    assert outcome.status in ("accepted", "done")
    fleet = until(rig, in_state(launch, "ready"), "ready")
    seen = mine(fleet, launch)
    assert seen is not None
    assert (seen.pool, seen.offer, seen.replicas) == (POOL, rig.offer.key, rig.offer.replicas)
    assert seen.usd_per_hour == rig.offer.usd_per_hour
    assert seen.address is not None
    assert launch.at - 1.0 <= seen.requested_at <= seen.since <= fleet.observed_at
    assert outcome.instance in (None, seen.id)


def test_the_same_launch_twice_is_one_instance(rig: Rig) -> None:
    launch = order(rig)
    first, second = rig.provider.apply(launch), rig.provider.apply(launch)
    assert {first.action, second.action} == {launch.id}
    assert "failed" not in (first.status, second.status)
    fleet = until(rig, in_state(launch, "ready"), "ready")
    assert fleet.ready == rig.offer.replicas
    assert rig.provider.apply(launch).status in ("accepted", "done")
    assert len(rig.provider.observe().instances) == 1


def test_two_launches_are_two_instances_with_addresses_of_their_own(rig: Rig) -> None:
    launches = [order(rig), order(rig)]
    for launch in launches:
        rig.provider.apply(launch)
    fleet = until(rig, lambda f: all(in_state(a, "ready")(f) for a in launches), "both ready")
    assert len({i.id for i in fleet.instances}) == len({i.address for i in fleet.instances}) == 2


def test_drain_leaves_routing_and_stays_until_it_is_resumed(rig: Rig) -> None:
    launch, instance = serving(rig)
    outcome = rig.provider.apply(operate(rig, "drain", instance))
    assert (outcome.status in ("accepted", "done"), outcome.instance) == (True, instance)
    fleet = until(rig, in_state(launch, "draining"), "draining")
    assert fleet.ready == 0
    rig.pass_time()
    assert in_state(launch, "draining")(rig.provider.observe())
    rig.provider.apply(operate(rig, "resume", instance))
    assert until(rig, in_state(launch, "ready"), "ready again").ready == rig.offer.replicas


def test_an_action_that_comes_again_is_not_carried_out_again(rig: Rig) -> None:
    """Drain, resume, and the drain replayed: the instance goes on serving."""
    needs(rig, "memory")
    launch, instance = serving(rig)
    drain = operate(rig, "drain", instance)
    rig.provider.apply(drain)
    until(rig, in_state(launch, "draining"), "draining")
    rig.provider.apply(operate(rig, "resume", instance))
    until(rig, in_state(launch, "ready"), "ready again")
    assert rig.provider.apply(drain).status == "done"
    assert in_state(launch, "ready")(rig.provider.observe())


def test_terminate_ends_an_instance_for_good(rig: Rig) -> None:
    launch, instance = serving(rig)
    end = operate(rig, "terminate", instance)
    outcome = rig.provider.apply(end)
    assert (outcome.action, outcome.status in ("accepted", "done")) == (end.id, True)
    until(rig, lambda fleet: mine(fleet, launch) is None, "gone")
    assert rig.provider.apply(end).status == "done"
    assert rig.provider.apply(launch).action == launch.id
    assert mine(rig.provider.observe(), launch) is None, "an old launch that comes again buys nothing"


def test_terminate_works_on_a_draining_one(rig: Rig) -> None:
    launch, instance = serving(rig)
    rig.provider.apply(operate(rig, "drain", instance))
    rig.provider.apply(operate(rig, "terminate", instance))
    until(rig, lambda fleet: mine(fleet, launch) is None, "gone")


def test_terminate_of_an_unknown_instance_is_done(rig: Rig) -> None:
    assert rig.provider.apply(operate(rig, "terminate", "nobody")).status == "done"


@pytest.mark.parametrize("kind", ["start", "drain", "resume", "stop"])
def test_nothing_else_can_be_done_to_an_unknown_instance(
    rig: Rig, kind: Literal["start", "drain", "resume", "stop"]
) -> None:
    needs(rig, "refusal")
    action = operate(rig, kind, "nobody")
    outcome = rig.provider.apply(action)
    assert (outcome.action, outcome.status) == (action.id, "failed")
    assert outcome.error
    assert "nobody" in outcome.text


def test_a_restart_changes_nothing(rig: Rig) -> None:
    kept, kept_instance = serving(rig)
    drained, drained_instance = serving(rig)
    rig.provider.apply(operate(rig, "drain", drained_instance))
    before = until(rig, in_state(drained, "draining"), "draining")
    rig.restart()
    after = rig.provider.observe()
    assert {(i.id, i.state, i.since, i.address) for i in after.instances} == {
        (i.id, i.state, i.since, i.address) for i in before.instances
    }
    assert rig.provider.apply(kept).status in ("accepted", "done")
    assert len(rig.provider.observe().instances) == 2
    for launch, instance in ((kept, kept_instance), (drained, drained_instance)):
        rig.provider.apply(operate(rig, "terminate", instance))
        until(rig, lambda fleet, launch=launch: mine(fleet, launch) is None, "gone")  # type: ignore[misc]


def test_a_warm_instance_serves_when_it_is_started_and_rests_when_it_is_stopped(rig: Rig) -> None:
    needs(rig, "warm")
    launch = order(rig, into="warm")
    rig.provider.apply(launch)
    fleet = until(rig, in_state(launch, "warm"), "warm")
    assert fleet.size == 0, "warm replicas are not ordered capacity"
    seen = mine(fleet, launch)
    assert seen is not None
    rig.provider.apply(operate(rig, "start", seen.id))
    until(rig, in_state(launch, "ready"), "ready")
    rig.provider.apply(operate(rig, "stop", seen.id))
    until(rig, in_state(launch, "warm"), "warm again")
