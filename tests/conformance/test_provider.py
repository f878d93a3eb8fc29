"""What every provider must do, tried on each rig of `provider_rigs.py`."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Literal
from uuid import uuid4

import pytest

from autoscaler import plugins
from autoscaler.clock import monotonic
from autoscaler.types import Fleet, Instance, Launch, Operate
from tests.conformance.provider_rigs import ACTS_FOR_NOBODY, POOL, RIGS, Rig


@pytest.fixture(params=sorted(RIGS))
def rig(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Rig]:
    made = RIGS[str(request.param)](tmp_path / "state")
    try:
        yield made
    finally:
        made.close()


def needs(rig: Rig, *what: str) -> None:
    """Skip a test of something that this provider does not claim to do."""
    for one in what:
        if one in rig.lacks:
            pytest.skip(rig.lacks[one])


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


def test_every_installed_provider_is_tried_here() -> None:
    assert set(plugins.names("providers")) == RIGS.keys() | ACTS_FOR_NOBODY


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


def test_what_does_not_apply_to_an_instance_as_it_is_now_is_refused_and_changes_nothing(rig: Rig) -> None:
    needs(rig, "refusal", "warm")
    launch = order(rig, into="warm")
    rig.provider.apply(launch)
    seen = mine(until(rig, in_state(launch, "warm"), "warm"), launch)
    assert seen is not None
    for kind in ("drain", "resume"):
        outcome = rig.provider.apply(operate(rig, kind, seen.id))
        assert (outcome.status, outcome.instance) == ("failed", seen.id)
        assert "warm" in outcome.text
    assert in_state(launch, "warm")(rig.provider.observe())


def test_an_instance_of_another_pool_is_left_alone(rig: Rig) -> None:
    needs(rig, "refusal")
    launch, instance = serving(rig)
    for kind in ("drain", "stop", "terminate"):
        foreign = replace(operate(rig, kind, instance), pool="other")
        outcome = rig.provider.apply(foreign)
        assert (outcome.action, outcome.status) == (foreign.id, "failed")
        assert POOL in outcome.text
    rig.pass_time()
    assert in_state(launch, "ready")(rig.provider.observe())


def test_an_id_that_was_another_order_buys_nothing(rig: Rig) -> None:
    needs(rig, "memory")
    launch, _ = serving(rig)
    outcome = rig.provider.apply(replace(launch, offer=replace(launch.offer, type="huge")))
    assert (outcome.status, bool(outcome.error)) == ("failed", True)
    assert launch.id in outcome.text
    assert len(rig.provider.observe().instances) == 1


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
