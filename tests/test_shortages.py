"""What launches teach about offers, and the room that what was learned leaves."""

from __future__ import annotations

from dataclasses import replace

import pytest

from autoscaler.alerts import QUOTA, due, follow
from autoscaler.guards import guarded
from autoscaler.journal import MEMORY
from autoscaler.memory import awake, learn
from autoscaler.movement import LaunchLimits
from autoscaler.planner import plan
from autoscaler.planner.room import FREE, Room, family, launches_left, room
from autoscaler.types import (
    Action,
    Decision,
    Fleet,
    Instance,
    Launch,
    Memory,
    Offer,
    Outcome,
    Quota,
    Reason,
    Shortage,
    Spending,
    Standing,
)
from tests.worlds import NOW, OFFER, instance, rules, settled, world

RULES = rules(launch=LaunchLimits())
KEY = OFFER.key
FAMILY = family(KEY)


def ended(
    status: str, number: int = 1, at: float = NOW - 15, error: str = "", text: str = ""
) -> tuple[Action, Outcome]:
    launch = Launch(f"a{number}", "chat", at, at + 300, OFFER)
    return launch, Outcome(launch.id, "chat", status, NOW, error=error, text=text)  # type: ignore[arg-type]


def ordered(number: int) -> Instance:
    return instance(number, "pending", id=f"ordered:a{number}", requested_at=NOW - 15, since=NOW - 15)


def short(until: float = NOW - 1, last_at: float = NOW - 200, **changes: object) -> Memory:
    found = replace(Shortage(KEY, until, 1, last_at), **changes)  # type: ignore[arg-type]
    return replace(settled(8), shortages={KEY: found})


# --- shortages --------------------------------------------------------------------------------------------------


def test_orders_after_a_shortage_double_until_as_many_came_as_were_asked_for_at_once() -> None:
    memory = replace(settled(8), launches=((NOW - 15, 8),))
    memory = learn(RULES, memory, [ended("failed", n, error="capacity") for n in range(8)], Fleet(NOW), NOW)
    assert (memory.shortages[KEY].until, memory.shortages[KEY].asked) == (NOW + 180, 8)
    asked, there, now = [], 0, NOW + 180
    while KEY in memory.shortages:
        units = room(RULES, memory, Fleet(now), OFFER, now).units
        assert units is not None
        asked.append(units)
        there += units
        memory = replace(memory, last_at=now)
        memory = learn(RULES, memory, [ended("done", n, at=now) for n in range(units)], Fleet(now + 15), now + 15)
        now += 15
    assert asked == [1, 2, 4, 8]
    assert room(RULES, memory, Fleet(now), OFFER, now) == FREE


@pytest.mark.parametrize(
    ("known", "on_order", "units"),
    [
        pytest.param(short(), 0, 1, id="one probes"),
        pytest.param(short(), 1, 0, id="and no other while it has no end"),
        pytest.param(short(had=3), 2, 2, id="what is on order counts"),
        pytest.param(short(until=NOW + 60), 0, 0, id="nothing while it rests"),
    ],
)
def test_room_after_a_shortage(known: Memory, on_order: int, units: int) -> None:
    there = Fleet(NOW, tuple(ordered(n) for n in range(on_order)))
    assert room(RULES, known, there, OFFER, NOW).units == units


def test_a_machine_that_is_listed_is_no_probe_any_more_unless_it_has_to_serve_first() -> None:
    boots = Fleet(NOW, (instance(1, "pending", requested_at=NOW - 60),))
    assert room(RULES, short(), boots, OFFER, NOW).units == 1
    assert room(RULES, short(never_served=True), boots, OFFER, NOW).units == 0


@pytest.mark.parametrize(
    ("finished", "expected"),
    [
        pytest.param([ended("done")], None, id="one that came ends the shortage of one"),
        pytest.param([ended("done", at=NOW - 300)], 0, id="one ordered before the miss proves nothing"),
        pytest.param([ended("done"), ended("failed", 2, error="capacity")], 0, id="a miss beside it begins anew"),
        pytest.param([ended("failed", 2, error="capacity"), ended("done")], 0, id="in whichever order they are told"),
        pytest.param([ended("withheld")], 0, id="what a shadow withheld teaches nothing"),
    ],
)
def test_what_an_outcome_teaches(finished: list[tuple[Action, Outcome]], expected: int | None) -> None:
    known = learn(RULES, short(), finished, Fleet(NOW), NOW).shortages.get(KEY)
    assert (None if known is None else known.had) == expected


def test_a_pool_that_never_asked_for_many_at_once_is_free_after_as_many() -> None:
    some = learn(RULES, short(asked=2), [ended("done", 1)], Fleet(NOW), NOW)
    assert some.shortages[KEY].had == 1
    assert learn(RULES, some, [ended("done", 2)], Fleet(NOW), NOW).shortages == {}
    most = replace(RULES, launch=LaunchLimits(shortage_most=1))
    assert learn(most, short(asked=50), [ended("done", 1)], Fleet(NOW), NOW).shortages == {}


def test_a_failed_machine_that_is_still_listed_teaches_once() -> None:
    dead = instance(1, "failed", since=NOW, requested_at=NOW - 30)
    memory = learn(RULES, settled(2), [], Fleet(NOW, (dead,)), NOW)
    for later in (15.0, 30.0, 600.0):
        memory = replace(memory, last_at=NOW + later)
        memory = learn(RULES, memory, [], Fleet(NOW + later, (dead,)), NOW + later)
    assert memory.shortages[KEY].last_at == NOW
    assert memory.taught == (dead.id,)


def test_after_machines_that_never_served_only_those_that_do_count_as_had() -> None:
    known = short(never_served=True, asked=2)
    came = [instance(n, "pending", requested_at=NOW - 100) for n in range(3)]
    assert learn(RULES, known, [ended("done")], Fleet(NOW, tuple(came)), NOW).shortages[KEY].had == 0
    serving = [replace(came[0], state="ready"), *came[1:]]
    one = learn(RULES, known, [], Fleet(NOW, tuple(serving)), NOW)
    assert one.shortages[KEY].had == 1
    again = learn(RULES, one, [], Fleet(NOW, tuple(serving)), NOW)
    assert again.shortages[KEY].had == 1, "the same one is not counted at every tick"


# --- quotas -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("offer", "expected"),
    [
        ("aws/p4d.24xlarge/us-east-1/us-east-1a/on_demand", "aws/p4d/us-east-1/on_demand"),
        ("aws/g5.xlarge/us-east-1/spot", "aws/g5/us-east-1/spot"),
        ("azure/Standard_NC24ads_A100_v4/eastus/1/on_demand", "azure/Standard_NCads_A100_v4/eastus/on_demand"),
        ("azure/Standard_NC6s_v3/eastus/spot", "azure/Standard_NCs_v3/eastus/spot"),
        ("azure/Standard_ND96isr_H100_v5/eastus/on_demand", "azure/Standard_NDisr_H100_v5/eastus/on_demand"),
        ("sim/small/on_demand", "sim/small/on_demand"),
    ],
)
def test_a_quota_is_for_all_sizes_and_zones_of_a_type(offer: str, expected: str) -> None:
    assert family(offer) == expected


def refused(there: int, now: float = NOW) -> Memory:
    found = [ended("failed", n, at=now - 15, error="quota", text="you have 32 vCPUs of 32") for n in range(8)]
    return learn(RULES, replace(settled(8), last_at=now), found, serving(there, now), now)


def serving(count: int, at: float = NOW) -> Fleet:
    return Fleet(at, tuple(instance(n) for n in range(count)))


def test_a_quota_is_no_shortage_and_bounds_the_pool_at_what_it_has() -> None:
    memory = refused(4)
    assert memory.shortages == {}
    assert memory.quotas[FAMILY] == Quota(FAMILY, KEY, 4, 4, NOW + 3600, NOW, "you have 32 vCPUs of 32")
    space = room(RULES, memory, serving(4), OFFER, NOW)
    assert (space.units, space.until, space.source) == (0, NOW + 3600, "quota")
    assert space.why == f"quota of {FAMILY} reached with 4 machines, ask for more; next try in 3600 s"


def test_what_was_had_may_be_had_again() -> None:
    assert room(RULES, refused(4), serving(3), OFFER, NOW).units == 1


def test_another_zone_of_the_family_is_bounded_too_and_another_family_is_not() -> None:
    here = Offer("aws", "p4d.24xlarge", "us-east-1", "us-east-1a")
    launch = Launch("a1", "chat", NOW - 15, NOW + 300, here)
    told = Outcome("a1", "chat", "failed", NOW, error="quota")
    memory = learn(RULES, settled(2), [(launch, told)], Fleet(NOW), NOW)
    there = Fleet(NOW)
    assert room(RULES, memory, there, replace(here, zone="us-east-1b"), NOW).units == 0
    assert room(RULES, memory, there, replace(here, type="g5.xlarge"), NOW) == FREE
    assert room(RULES, memory, there, replace(here, purchase="spot"), NOW) == FREE
    assert room(RULES, memory, there, replace(here, region="us-west-2"), NOW) == FREE


def test_a_quota_is_tried_again_with_one_after_an_hour_and_doubling_when_somebody_helped() -> None:
    memory, now, count, asked = refused(4), NOW + 3600, 4, []
    for _ in range(5):
        units = room(RULES, memory, serving(count, now), OFFER, now).units
        assert units is not None
        asked.append(units)
        count += units
        now += 15
        memory = learn(RULES, replace(memory, last_at=now), [], serving(count, now), now)
    assert asked == [1, 1, 2, 4, 8]
    assert FAMILY not in memory.quotas, "sixteen more than were refused"


def test_a_probe_that_is_refused_waits_for_another_hour() -> None:
    later = NOW + 3600
    probe = [ended("failed", 9, at=later, error="quota")]
    memory = learn(RULES, replace(refused(4), last_at=later), probe, serving(4, later + 15), later + 15)
    assert memory.quotas[FAMILY].until == later + 15 + 3600


def test_a_quota_is_told_once_with_what_to_ask_for_and_its_end_too() -> None:
    memory = refused(4)
    told = guarded(RULES, memory, serving(4), NOW)
    firing = follow(RULES, (), {}, {}, NOW, guards=told)
    (alert,) = due({}, firing)
    assert (alert.name, alert.state, dict(alert.labels)) == (QUOTA, "firing", {"of": FAMILY})
    assert alert.text == (
        f"{KEY} was refused with 4 machines of {FAMILY} in the pool; ask for more quota: you have 32 vCPUs of 32"
    )
    again = follow(RULES, (), {}, firing, NOW + 60, guards=told)
    assert due(firing, again) == ()
    lifted = learn(RULES, replace(memory, last_at=NOW + 90), [], serving(5, NOW + 90), NOW + 90)
    over = follow(RULES, (), {}, again, NOW + 90, guards=guarded(RULES, lifted, serving(5), NOW + 90))
    assert [a.state for a in due(again, over)] == ["resolved"]


def test_the_decision_speaks_of_a_quota_and_not_of_a_shortage() -> None:
    decision = Decision("chat", 8, NOW, 4, 9, 4, 0, (Reason("test", 9, "as the test says"),))
    made = plan(RULES, decision, world(0.0, there=serving(4)), refused(4))
    assert made.actions == ()
    assert made.reasons[-1].source == "quota"
    assert "ask for more" in made.reasons[-1].text


@pytest.mark.parametrize(
    ("told", "memory", "units"),
    [
        pytest.param(Standing("chat", KEY, NOW - 60, units=3), settled(4), 3, id="the cloud says for how many"),
        pytest.param(Standing("chat", KEY, NOW - 60), settled(4), None, id="or that it does not know"),
        pytest.param(Standing("chat", KEY, NOW - 9000, units=0), settled(4), None, id="what it said long ago is old"),
        pytest.param(Standing("chat", KEY, NOW + 1, units=3), refused(4), 3, id="what it said since a refusal counts"),
        pytest.param(Standing("chat", KEY, NOW - 60, units=3), refused(4), 0, id="what it said before does not"),
        pytest.param(Standing("chat", KEY, NOW + 1), refused(4), 0, id="nor does that it does not know"),
        pytest.param(Standing("chat", KEY, NOW - 60, problem="no such type"), settled(4), 0, id="or why there is none"),
    ],
)
def test_what_the_cloud_says_of_an_offer_counts(told: Standing, memory: Memory, units: int | None) -> None:
    there = replace(serving(4), standings=(told,))
    assert room(RULES, memory, there, OFFER, NOW).units == units


def test_what_was_ordered_since_the_cloud_spoke_takes_of_its_room() -> None:
    told = Standing("chat", KEY, NOW - 60, units=3, quota="48 of 64 vCPUs")
    there = Fleet(NOW, (instance(1), ordered(2), ordered(3)), standings=(told,))
    space = room(RULES, settled(4), there, OFFER, NOW)
    assert (space.units, space.why) == (1, f"quota of {FAMILY} reached, 48 of 64 vCPUs, ask for more")


# --- the pool, the journal, the clock ---------------------------------------------------------------------------


def test_the_launches_of_an_hour_are_counted_over_all_offers() -> None:
    ruled = rules(launch=LaunchLimits(per_hour=5))
    memory = replace(settled(4), launches=((NOW - 4000, 90), (NOW - 3000, 3), (NOW - 10, 1)))
    text = "5 launches in the last hour are the limit"
    assert launches_left(ruled, memory, serving(4), NOW) == Room(1, NOW + 600, text, "launch_rate")


def test_memory_survives_the_journal_and_rows_from_before_are_read() -> None:
    memory = replace(
        refused(4),
        shortages={KEY: Shortage(KEY, NOW, 2, NOW - 60, never_served=True, had=3, asked=8)},
        spending=Spending(20_000, 12.5, NOW, 8.0),
        halted_since=NOW - 90,
        taught=("i-1",),
    )
    assert MEMORY.validate_json(MEMORY.dump_json(memory)) == memory
    row = f'{{"number": 3, "shortages": {{"{KEY}": {{"offer": "{KEY}", "until": 5.0, "misses": 2, "last_at": 1.0}}}}}}'
    old = MEMORY.validate_json(row)
    assert old.shortages[KEY] == Shortage(KEY, 5.0, 2, 1.0)
    assert (old.quotas, old.spending, old.halted_since, old.taught) == ({}, None, None, ())


def test_after_a_clock_that_went_back_no_quota_is_waited_for_longer_than_its_time() -> None:
    back = awake(RULES, NOW - 86_400, refused(4))
    assert back.quotas[FAMILY].until == NOW - 86_400 + 3600


def test_an_unknown_fleet_teaches_nothing_about_what_is_there() -> None:
    before = refused(4)
    memory = learn(RULES, replace(before, last_at=NOW + 15), [], None, NOW + 15)
    assert (memory.quotas, memory.shortages, memory.spending) == (before.quotas, before.shortages, before.spending)
