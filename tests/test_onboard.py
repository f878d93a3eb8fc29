"""What machines tell of themselves: a coming loss counts for nothing from now; advice counts where rules follow it."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from autoscaler.movement import Bounds, Disruption
from autoscaler.onboard import FORGET_S, LOSSES, Notices, advised, with_notices
from autoscaler.planner import plan
from autoscaler.ruleset import RuleSet
from autoscaler.store import Store
from autoscaler.types import (
    Announced,
    Batch,
    Decision,
    Fleet,
    Instance,
    InstanceState,
    Launch,
    Memory,
    Offer,
    SeriesKey,
    World,
)

NOW = 1_795_341_600.0
INSTANCE = Instance("i-1", "chat", "aws/p4d", "ready", NOW - 500, requested_at=NOW - 900, address="10.0.0.5:8000")
RULES = RuleSet("chat", Bounds(1, 4))
FOLLOWED = replace(RULES, disruption=Disruption(rebalance="replace"))


def seen(notices: Notices, instance: Instance = INSTANCE) -> Instance:
    return with_notices(Fleet(NOW, (instance,)), notices, NOW).instances[0]


def notice(kind: str = "terminate", at: float = NOW + 120.0, told_at: float = NOW - 1.0) -> Announced:
    return Announced(kind, at, told_at)


@pytest.mark.parametrize("kind", LOSSES)
@pytest.mark.parametrize("name", ["10.0.0.5:8000", "i-1"])
def test_a_coming_loss_counts_for_nothing_from_now(kind: str, name: str) -> None:
    found = seen({name: [notice(kind)]})
    assert found.state == "stopping"
    assert found.detail == f"its cloud announces {kind} at 2026-11-22 10:02 UTC"
    assert with_notices(Fleet(NOW, (INSTANCE,)), {name: [notice(kind)]}, NOW).size == 0


def test_a_machine_of_a_scale_set_is_found_by_the_name_that_azure_gives_it() -> None:
    found = seen({"gpu_3": [notice("preempt")]}, replace(INSTANCE, id="group/gpu/3", address="gpu000003:8000"))
    assert found.state == "stopping"


@pytest.mark.parametrize("kind", ["freeze", "rebalance"])
def test_what_is_no_loss_is_only_told(kind: str) -> None:
    found = seen({"i-1": [notice(kind)]})
    assert found.state == "ready"
    assert found.detail == f"its cloud announces {kind}, 2026-11-22 10:02 UTC"


@pytest.mark.parametrize(
    ("state", "then"), [("pending", "stopping"), ("draining", "draining"), ("warm", "warm"), ("failed", "failed")]
)
def test_only_what_counts_stops_counting(state: InstanceState, then: str) -> None:
    assert seen({"i-1": [notice()]}, replace(INSTANCE, state=state)).state == then


@pytest.mark.parametrize(
    ("told", "why"),
    [
        pytest.param(
            notice(told_at=INSTANCE.requested_at - 60.0), "older", id="the machine that had the address before"
        ),
        pytest.param(notice(told_at=NOW - FORGET_S - 1.0), "over", id="a machine that came through"),
    ],
)
def test_a_notice_that_cannot_be_about_it_counts_nothing(told: Announced, why: str) -> None:
    assert seen({"10.0.0.5:8000": [told]}) == INSTANCE, why


def test_other_instances_are_left_alone_and_the_earliest_loss_is_told() -> None:
    other = replace(INSTANCE, id="i-2", address="10.0.0.6:8000")
    told = [notice("stop", NOW + 300.0), notice("preempt", NOW + 60.0), notice("rebalance", NOW - 60.0)]
    fleet = with_notices(Fleet(NOW, (INSTANCE, other)), {"i-1": told}, NOW)
    assert fleet.instances[1] is other
    assert fleet.instances[0].detail == "its cloud announces preempt at 2026-11-22 10:01 UTC"


def test_without_notices_the_fleet_is_the_same_value() -> None:
    fleet = Fleet(NOW, (INSTANCE,))
    assert with_notices(fleet, {}, NOW) is fleet


def test_advice_is_followed_where_the_rules_say_so() -> None:
    told = {"i-1": [notice("rebalance", NOW - 60.0)]}
    fleet = Fleet(NOW, (INSTANCE, replace(INSTANCE, id="i-2", address="10.0.0.6:8000")))
    assert advised(RULES, fleet, told, NOW) == {}
    assert advised(FOLLOWED, None, told, NOW) == {}
    (mark,) = advised(FOLLOWED, fleet, told, NOW).values()
    assert (mark.instance, mark.kind, mark.author, mark.until > NOW) == ("i-1", "replace", "the cloud", True)


def test_advice_to_one_that_leaves_already_asks_for_nothing() -> None:
    told = {"i-1": [notice("rebalance", NOW - 60.0)]}
    assert advised(FOLLOWED, Fleet(NOW, (replace(INSTANCE, state="draining"),)), told, NOW) == {}


# --- from samples -------------------------------------------------------------------------------------------------


def told(store: Store, at: float, *values: tuple[str, str, float], **labels: str) -> None:
    """One round of an agent: (metric, kind, value)."""
    names = {"pool": "chat", "instance": "10.0.0.5:8000", "instance_id": "i-1", **labels}
    keys = tuple(
        SeriesKey(metric, tuple(sorted({**names, **({"kind": kind} if kind else {})}.items())))
        for metric, kind, _ in values
    )
    store.add(Batch("push:node", at, 5.0, keys, np.array([v for *_, v in values])))


LOSS, ADVICE = "instance_interruption_timestamp_seconds", "instance_rebalance_timestamp_seconds"


def test_a_sample_is_a_notice_under_both_names_and_zero_is_none() -> None:
    store = Store(None)
    told(store, NOW, (LOSS, "terminate", NOW + 120.0), (LOSS, "stop", 0.0), (ADVICE, "", NOW - 9.0))
    found = store.announced("chat")
    assert found.keys() == {"10.0.0.5:8000", "i-1"}
    assert found["i-1"] == [Announced("terminate", NOW + 120.0, NOW), Announced("rebalance", NOW - 9.0, NOW)]
    assert store.announced("other") == {}


def test_a_notice_that_is_taken_back_is_over_and_one_that_is_not_repeated_is_not() -> None:
    store = Store(None)
    told(store, NOW, (LOSS, "preempt", NOW + 30.0))
    told(store, NOW + 5.0, (LOSS, "preempt", np.nan))
    assert store.announced("chat")["i-1"] == [Announced("preempt", NOW + 30.0, NOW)]
    told(store, NOW + 10.0, (LOSS, "preempt", 0.0))
    assert store.announced("chat") == {}


# --- what the planner makes of it ---------------------------------------------------------------------------------

OFFER = Offer("aws", "p4d")
POOL = replace(FOLLOWED, offers=(OFFER,))
SUCCESSOR = replace(INSTANCE, id="i-2", address="10.0.0.6:8000", requested_at=NOW - 300.0)


def deeds(notices: Notices, *instances: Instance) -> list[tuple[str, str]]:
    """What one tick does that wants one replica: (kind, instance)."""
    fleet = with_notices(Fleet(NOW, instances), notices, NOW)
    world = World(NOW, {}, fleet, marks=advised(POOL, fleet, notices, NOW))
    decision = Decision("chat", 7, NOW, 1, 1, 1, 0, ())
    planned = plan(POOL, decision, world, Memory(watched_since=NOW - 3600.0))
    return [(a.kind, "" if isinstance(a, Launch) else a.instance) for a in planned.actions]


def test_the_replacement_of_a_coming_loss_is_ordered_at_once() -> None:
    assert deeds({}, INSTANCE) == []
    assert deeds({"i-1": [notice()]}, INSTANCE) == [("launch", "")]
    assert deeds({"i-1": [notice()]}, INSTANCE, SUCCESSOR) == []


def test_one_that_had_better_be_left_serves_until_its_successor_does() -> None:
    advice = {"i-1": [notice("rebalance", NOW - 60.0)]}
    assert deeds(advice, INSTANCE) == [("launch", "")]
    assert deeds(advice, INSTANCE, replace(SUCCESSOR, state="pending")) == []
    assert deeds(advice, INSTANCE, SUCCESSOR) == [("drain", "i-1")]
