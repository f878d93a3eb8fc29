"""When many machines of a pool are sick: what is replaced, what is left alone, and what is said."""

from __future__ import annotations

from dataclasses import replace

import pytest

from autoscaler.alerts import SICK, follow
from autoscaler.guards import guarded
from autoscaler.memory import learn
from autoscaler.movement import LaunchLimits, WarmPool
from autoscaler.planner import plan, sickness
from autoscaler.planner.room import launches_left
from autoscaler.types import Decision, Fleet, Instance, Launch, Memory, Operate, Plan, Reason
from tests.worlds import NOW, instance, rules, settled, sources, world

RULES = rules(launch=LaunchLimits(register_s=900))


def well(count: int) -> list[Instance]:
    return [instance(n) for n in range(count)]


def failed(count: int) -> list[Instance]:
    return [instance(100 + n, "failed", since=NOW - 60) for n in range(count)]


def late(count: int) -> list[Instance]:
    return [instance(200 + n, "pending", requested_at=NOW - 1000 + n, since=NOW - 1000 + n) for n in range(count)]


def fleet_of(*some: list[Instance]) -> Fleet:
    return Fleet(NOW, tuple(i for part in some for i in part))


def planned(want: int, there: Fleet, memory: Memory | None = None) -> Plan:
    decision = Decision("chat", 8, NOW, 4, want, 4, 0, (Reason("test", want, "as the test says"),))
    return plan(RULES, decision, world(0.0, there=there), memory or settled(max(want, 9)))


def counted(made: Plan) -> tuple[int, int]:
    """How many are terminated and how many are launched."""
    ends = sum(isinstance(a, Operate) and a.kind in ("terminate", "drain") for a in made.actions)
    return ends, sum(isinstance(a, Launch) for a in made.actions)


@pytest.mark.parametrize(
    ("there", "halted", "slowed"),
    [
        pytest.param(fleet_of(well(10)), False, False, id="all are well"),
        pytest.param(fleet_of(well(1), failed(1)), False, False, id="one sick machine stops nothing"),
        pytest.param(fleet_of(well(9), failed(1), late(1)), False, False, id="two of eleven are few"),
        pytest.param(fleet_of(well(7), failed(3)), False, True, id="three of ten are replaced one at a time"),
        pytest.param(fleet_of(failed(3)), False, True, id="three of three are not more than three"),
        pytest.param(fleet_of(well(5), failed(4)), False, True, id="four of nine are not more than 45 percent"),
        pytest.param(fleet_of(well(4), failed(4)), True, False, id="four of eight are too many"),
        pytest.param(fleet_of(well(4), late(4)), True, False, id="so are those that never became ready"),
        pytest.param(
            fleet_of(well(4), [replace(i, state="warm") for i in failed(4)]), False, False, id="who rests is not sick"
        ),
        pytest.param(
            fleet_of(well(4), [replace(i, offer="aws/p5/spot") for i in failed(6)]),
            False,
            False,
            id="what a cloud takes back of spot is no sickness",
        ),
        pytest.param(
            fleet_of(well(4), [replace(i, offer="aws/p5/spot", requested_at=NOW - 300) for i in failed(6)]),
            True,
            False,
            id="spot machines that die as soon as they come are",
        ),
    ],
)
def test_how_a_pool_is(there: Fleet, halted: bool, slowed: bool) -> None:
    health = sickness(RULES, settled(8), there, NOW)
    assert (health.halted, health.slowed) == (halted, slowed)


@pytest.mark.parametrize(
    ("want", "there", "expected"),
    [
        pytest.param(10, fleet_of(well(9), failed(1)), (1, 1), id="one is replaced"),
        pytest.param(10, fleet_of(well(7), failed(3)), (1, 1), id="of three in ten one at a time"),
        pytest.param(2, fleet_of(failed(2)), (1, 1), id="a pool of nothing but sick ones orders one"),
        pytest.param(14, fleet_of(well(7), failed(3)), (1, 5), id="demand that grew is served beside it"),
        pytest.param(10, fleet_of(well(5), failed(5)), (0, 1), id="half of them stay, and one launch probes"),
        pytest.param(10, fleet_of(well(5), late(5)), (0, 1), id="also those that came too late"),
        pytest.param(2, fleet_of(well(5), failed(5)), (0, 0), id="nothing shrinks meanwhile"),
    ],
)
def test_what_is_replaced(want: int, there: Fleet, expected: tuple[int, int]) -> None:
    made = planned(want, there)
    assert counted(made) == expected
    if "failed" in {i.state for i in there.instances} and expected != (1, 1):
        assert "sick" in sources(made.reasons)


def test_while_a_replacement_is_on_its_way_no_other_is_ordered_and_none_leaves() -> None:
    coming = [instance(300, "pending", requested_at=NOW - 60, since=NOW - 60)]
    assert counted(planned(10, fleet_of(well(7), failed(3), coming))) == (0, 0)


def test_while_one_launch_probes_no_other_does() -> None:
    probe = [instance(300, "pending", requested_at=NOW - 60, since=NOW - 60)]
    there = fleet_of(well(4), failed(5), probe)
    assert counted(planned(10, there)) == (0, 0)
    space = launches_left(RULES, settled(10), there, NOW)
    assert (space.units, space.source) == (0, "sick")
    assert "5 of 10 machines are sick" in space.why


def test_drains_wait_too_and_may_be_taken_back() -> None:
    leaving = [instance(300, "draining", since=NOW - 1000)]
    there = fleet_of(well(4), failed(5), leaving)
    assert counted(planned(4, there)) == (0, 0)
    assert [a.kind for a in planned(5, there).actions] == ["resume"]


def test_a_probe_that_came_to_nothing_goes_and_those_from_before_stay() -> None:
    memory = replace(settled(10), halted_since=NOW - 2000)
    before = [replace(i, requested_at=NOW - 4000) for i in failed(5)]
    made = planned(10, fleet_of(well(4), before, late(1)), memory)
    gone = [a.instance for a in made.actions if isinstance(a, Operate)]
    assert gone == ["chat-200"]


def test_the_halt_is_remembered_from_its_begin_to_its_end_and_told() -> None:
    sick, calm = fleet_of(well(4), failed(5)), fleet_of(well(9), failed(5))
    first = learn(RULES, settled(9), [], sick, NOW)
    assert first.halted_since == NOW
    later = learn(RULES, replace(first, last_at=NOW + 15), [], sick, NOW + 15)
    assert later.halted_since == NOW
    unknown = learn(RULES, replace(later, last_at=NOW + 30), [], None, NOW + 30)
    assert unknown.halted_since == NOW, "an unknown fleet is not well again"
    assert learn(RULES, replace(later, last_at=NOW + 30), [], calm, NOW + 30).halted_since is None
    firing = follow(RULES, (), {}, {}, NOW, guards=guarded(RULES, first, sick, NOW))
    (alert,) = firing.values()
    assert (alert.name, alert.severity, alert.state) == (SICK, "critical", "firing")
    assert "5 of 9 machines are sick" in alert.text
    kept = follow(RULES, (), {}, firing, NOW + 15, guards=guarded(RULES, later, None, NOW + 15))
    assert [a.state for a in kept.values()] == ["firing"]
    over = follow(RULES, (), {}, kept, NOW + 30, guards=guarded(RULES, later, calm, NOW + 30))
    assert [a.state for a in over.values()] == ["resolved"]


def test_the_marks_are_the_rule_files() -> None:
    there = fleet_of(well(4), failed(5))
    calm = replace(RULES, launch=LaunchLimits(sick_ratio=0.6, repair_ratio=0.6))
    assert not sickness(calm, settled(9), there, NOW).halted
    many = replace(RULES, launch=LaunchLimits(sick_count=5))
    assert sickness(many, settled(9), there, NOW).slowed


# --- deadlines --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("requested_s", "since_s", "text"),
    [
        pytest.param(1000, 1000, "not ready 1000 s after it was ordered", id="an order has its time"),
        pytest.param(800, 800, None, id="and is not given up before"),
        pytest.param(90_000, 800, None, id="a start from the warm pool counts from the start"),
        pytest.param(
            90_000, 1000, "not ready 1000 s after it was started from the warm pool", id="and has its time too"
        ),
    ],
)
def test_what_comes_too_late_is_given_up(requested_s: float, since_s: float, text: str | None) -> None:
    slow = instance(9, "pending", requested_at=NOW - requested_s, since=NOW - since_s)
    memory = replace(settled(5, watched_s=100_000))
    made = planned(5, fleet_of(well(4), [slow]), memory)
    ends = [r.text for r in made.reasons if r.source == "terminate"]
    assert ends == ([] if text is None else [f"terminate chat-9: {text}"])


def test_what_its_provider_says_of_a_late_machine_is_told_with_it() -> None:
    slow = instance(9, "pending", requested_at=NOW - 1000, since=NOW - 1000, detail="runs, waits for /health")
    made = planned(5, fleet_of(well(4), [slow]), settled(5, watched_s=100_000))
    assert [r.text for r in made.reasons if r.source == "terminate"] == [
        "terminate chat-9: not ready 1000 s after it was ordered; runs, waits for /health"
    ]


def test_a_pool_with_a_warm_pool_tends_it_only_when_it_is_well() -> None:
    ruled = replace(RULES, warm_pool=WarmPool(min=3))
    decision = Decision("chat", 8, NOW, 4, 4, 4, 0, (Reason("test", 4, "as the test says"),))
    made = plan(ruled, decision, world(0.0, there=fleet_of(well(4), failed(5))), settled(9))
    assert counted(made) == (0, 0)


def test_a_pool_that_serves_all_that_is_wanted_is_not_halted_and_the_rest_goes_one_at_a_time() -> None:
    there = fleet_of(well(9), failed(9))
    assert not sickness(RULES, settled(9), there, NOW).halted
    assert counted(planned(9, there, settled(9))) == (1, 0)
    assert sickness(RULES, settled(10), there, NOW).halted
