"""Moves to cheaper machines: only when the savings are worth the disruption, and never below the need."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from autoscaler import sim_demand as shape
from autoscaler.errors import InputError
from autoscaler.memory import remember
from autoscaler.movement import Bounds, Consolidation, ScaleIn
from autoscaler.planner import plan
from autoscaler.planner.consolidating import worth_moving
from autoscaler.rulefile.reader import read_rules
from autoscaler.ruleset import RuleSet
from autoscaler.sim import Fault
from autoscaler.types import (
    Decision,
    Fleet,
    Instance,
    Launch,
    Memory,
    Offer,
    Operate,
    Override,
    Plan,
    Proposal,
    Reading,
    Reason,
    Shortage,
)
from autoscaler.types.moving import Moving
from tests.scenarios.pools import pool, simulate
from tests.worlds import NOW, OFFER, instance, rules, settled, world

DEAR = Offer("sim", "dear", usd_per_hour=10.0)
CHEAP = replace(OFFER, lead_time_s=120.0)
RULED = rules(offers=(DEAR, CHEAP), consolidate=Consolidation())
WATCHED = settled(3)


def dear(count: int = 3, **changes: Any) -> Fleet:
    some = [instance(n, offer=DEAR.key, usd_per_hour=10.0, **changes) for n in range(count)]
    return Fleet(NOW, tuple(some))


def planned(
    there: Fleet, r: RuleSet = RULED, memory: Memory = WATCHED, want: int = 3, decision: Any = None, **more: Any
) -> Plan:
    said = (Reason("test", want, "as the test says"),)
    decided = Decision("chat", 8, NOW, there.size, want, there.ready, there.pending, said, recommended=want)
    return plan(r, replace(decided, **(decision or {})), world(0.0, there=there, **more), memory)


def reason(made: Plan) -> str:
    return next((r.text for r in made.reasons if r.source == "consolidate"), "")


@pytest.mark.parametrize(
    ("saving", "disruption", "moves", "ratio"),
    [
        pytest.param(8.0, 10.0, True, 3.2, id="saves three times what it costs"),
        pytest.param(4.0, 10.0, False, 1.6, id="saves less than twice"),
        pytest.param(5.0, 10.0, True, 2.0, id="saves exactly twice"),
        pytest.param(-1.0, 10.0, False, -0.4, id="costs more"),
        pytest.param(1.0, 0.0, True, math.inf, id="costs nothing to do"),
        pytest.param(-1.0, 0.0, False, -math.inf, id="costs nothing to do and loses"),
        pytest.param(0.0, 0.0, False, 0.0, id="changes nothing"),
    ],
)
def test_a_move_is_worth_it_by_savings_over_disruption(
    saving: float, disruption: float, moves: bool, ratio: float
) -> None:
    found = worth_moving(saving, 4 * 3600.0, disruption, 2.0)
    assert found.moves == moves
    assert found.ratio == pytest.approx(ratio)


@settings(max_examples=100, deadline=None, derandomize=True)
@given(st.floats(-50, 50), st.floats(0, 1e6), st.floats(0, 1e4), st.floats(1, 10))
def test_what_loses_money_never_moves_and_more_savings_never_stop_a_move(
    saving: float, kept_s: float, disruption: float, least: float
) -> None:
    found = worth_moving(saving, kept_s, disruption, least)
    assert not found.moves or saving > 0
    assert not found.moves or worth_moving(saving + 1, kept_s, disruption, least).moves


def test_dear_machines_are_replaced_and_their_successors_are_ordered_first() -> None:
    made = planned(dear())
    assert [a.kind for a in made.actions] == ["launch"] * 3
    assert {a.offer.key for a in made.actions if isinstance(a, Launch)} == {CHEAP.key}
    assert made.moving is not None
    assert made.moving.leaving == ("chat-0", "chat-1", "chat-2")
    assert reason(made) == (
        "begins: 3 x sim/small/on_demand (6.00 USD/h, 2.00 USD per replica-hour) instead of chat-0, chat-1, chat-2 "
        "saves 24.00 USD/h for 0.39 USD of disruption, 248.1 times as much while the machines stay"
    )
    assert remember(RULED, WATCHED, Decision("chat", 8, NOW, 3, 3, 3, 0, made.reasons), made).moving == made.moving


def test_a_capacity_that_nobody_needs_stops_no_move() -> None:
    unknown = {"readings": {"capacity": Reading(NOW, None, "missing"), "load": Reading(NOW, 30.0, "fresh")}}
    assert planned(dear(), decision=unknown).moving is not None


def test_they_drain_when_their_successors_serve_and_not_before() -> None:
    moving = Moving(("chat-0", "chat-1", "chat-2"), NOW - 100, (NOW - 100,) * 3, "x")
    memory = replace(WATCHED, moving=moving)
    coming = [instance(10 + n, "pending", requested_at=NOW - 60) for n in range(3)]
    waiting = planned(Fleet(NOW, (*dear().instances, *coming)), memory=memory)
    assert waiting.actions == ()
    assert waiting.moving is not None
    assert waiting.moving.leaving == moving.leaving
    two = [replace(i, state="ready") for i in coming[:2]]
    served = planned(Fleet(NOW, (*dear().instances, *two, coming[2])), memory=memory)
    drained = [a.instance for a in served.actions if isinstance(a, Operate) and a.kind == "drain"]
    assert len(drained) == 2, "of five that serve three are needed"
    gone = planned(Fleet(NOW, tuple(replace(i, state="ready") for i in coming)), memory=memory)
    assert gone.actions == ()
    assert gone.moving == Moving(begun=moving.begun), "over; the pace remembers it"


def test_a_big_machine_for_a_small_need_gives_way_to_small_ones() -> None:
    big = Offer("sim", "big", replicas=8, usd_per_hour=20.0, gpus=8)
    there = Fleet(NOW, (instance(0, offer=big.key, replicas=8, usd_per_hour=20.0),))
    made = planned(there, rules(offers=(big, CHEAP), consolidate=Consolidation()), want=3)
    assert [a.offer.key for a in made.actions if isinstance(a, Launch)] == [CHEAP.key] * 3
    whole = planned(there, rules(offers=(big, CHEAP), consolidate=Consolidation()), want=8)
    assert [a.offer.key for a in whole.actions if isinstance(a, Launch)] == [CHEAP.key] * 8, "16 USD/h against 20"
    dearer = replace(CHEAP, usd_per_hour=2.6)
    assert planned(there, rules(offers=(big, dearer), consolidate=Consolidation()), want=8).actions == ()


def test_the_section_is_off_by_default_and_no_move_may_cost_more_than_it_saves() -> None:
    text = "pool: chat\nlimits: {max: 9}\n"
    assert read_rules(text).consolidate is None
    assert read_rules(text + "consolidate: {}\n").consolidate == Consolidation(2.0, 8, 4 * 3600.0)
    ruled = read_rules(text + "consolidate: {min_ratio: 3, per_hour: 2, kept: 90m}\n").consolidate
    assert ruled == Consolidation(3.0, 2, 5400.0)
    with pytest.raises(InputError, match=r"min_ratio: 0\.5 lets a move cost more than it saves; write 1 or more"):
        read_rules(text + "consolidate: {min_ratio: 0.5}\n")


STILL = [
    pytest.param({"r": replace(RULED, consolidate=None)}, id="nobody asked for it"),
    pytest.param({"r": replace(RULED, choose="listed")}, id="the order of the file decides"),
    pytest.param(
        {"there": Fleet(NOW, (*dear(2).instances, instance(9, "pending", requested_at=NOW - 60)))},
        id="something is pending",
    ),
    pytest.param(
        {"there": Fleet(NOW, (*dear().instances, instance(9, "draining", since=NOW - 2, in_flight=1)))},
        id="something drains",
    ),
    pytest.param({"decision": {"readings": {"load": Reading(NOW, 1.0, "stale")}}}, id="a reading is not fresh"),
    pytest.param({"decision": {"proposals": (Proposal("x", "hold", 3, "?"),)}}, id="a rule cannot judge"),
    pytest.param({"decision": {"recommended": 2}}, id="less is recommended than is there"),
    pytest.param({"memory": settled(3, watched_s=10.0)}, id="nobody watched for long enough"),
    pytest.param({"memory": replace(WATCHED, changes=((NOW - 30, 2, 3),))}, id="the size changed a moment ago"),
    pytest.param({"memory": replace(WATCHED, halted_since=NOW - 5)}, id="too many are sick"),
    pytest.param(
        {"memory": replace(WATCHED, shortages={CHEAP.key: Shortage(CHEAP.key, NOW + 60, 1, NOW - 60)})},
        id="the cheap one cannot be had",
    ),
    pytest.param({"memory": replace(WATCHED, launches=((NOW - 60, 120),))}, id="the hour's launches are used up"),
    pytest.param(
        {"memory": replace(WATCHED, moving=Moving(begun=(NOW - 60,) * 8))}, id="the hour's replacements are used up"
    ),
    pytest.param(
        {"overrides": (Override("o", "chat", "pause", NOW + 60, "ada", "night"),)}, id="a person paused the pool"
    ),
    pytest.param({"r": replace(RULED, bounds=Bounds(0, 20, usd_per_hour=31.0))}, id="the budget does not pay for both"),
]


@pytest.mark.parametrize("case", STILL)
def test_nothing_moves_when(case: dict[str, Any]) -> None:
    made = planned(**({"there": dear()} | case))
    assert [a for a in made.actions if isinstance(a, Launch)] == []
    assert made.moving is None or made.moving.leaving == ()


def test_what_saves_little_stays_and_the_reason_has_the_sums() -> None:
    near = rules(offers=(DEAR, replace(CHEAP, usd_per_hour=9.9)), consolidate=Consolidation())
    made = planned(dear(1), near, settled(1), want=1)
    assert made.actions == ()
    assert reason(made).startswith("not worth it: 1 x sim/small/on_demand (9.90 USD/h")
    assert reason(made).endswith("0.6 times as much while the machines stay, less than 2")


def test_requests_in_flight_make_a_move_dearer() -> None:
    near = rules(
        offers=(DEAR, replace(CHEAP, usd_per_hour=9.5)),
        consolidate=Consolidation(),
        scale_in=ScaleIn(stabilization_s=60, drain_s=3600),
    )
    assert planned(dear(1), near, settled(1), want=1).moving is not None
    for flight in (3, None):
        made = planned(dear(1, in_flight=flight), near, settled(1), want=1)
        assert made.actions == ()
        assert "not worth it" in reason(made)


def test_a_move_whose_successors_cannot_be_had_is_given_up() -> None:
    moving = Moving(("chat-0", "chat-1", "chat-2"), NOW - 100, (NOW - 100,) * 3, "x")
    short = {CHEAP.key: Shortage(CHEAP.key, NOW + 60, 1, NOW - 60)}
    made = planned(dear(), memory=replace(WATCHED, moving=moving, shortages=short))
    assert made.actions == ()
    assert reason(made) == "given up: no cheaper machine can be had now"
    old = replace(moving, since=NOW - 3500)
    late = planned(dear(), memory=replace(WATCHED, moving=old))
    assert reason(late) == "given up: the successors do not serve after 2700 s"
    frozen = Override("o", "chat", "freeze", NOW + 60, "ada", "incident")
    held = planned(dear(), memory=replace(WATCHED, moving=moving), overrides=(frozen,))
    assert reason(held) == "given up: ada holds the pool"
    assert held.actions == ()


def moved(faults: list[Fault], consolidate: Consolidation | None) -> tuple[list[Instance], Any, list[int]]:
    """A pool that had to buy dear machines while the cheap ones were short, some time after that is over."""
    here = (Offer("aux", "small", usd_per_hour=1.0), Offer("sim", "small", usd_per_hour=10.0))
    ruled = pool(offers=here, consolidate=consolidate, bounds=Bounds(4, 40), rules=pool().rules[:1])
    sim = simulate(shape.constant(8.0), faults, ruled=ruled)
    least = []
    for _ in range(240):
        sim.run(60)
        least.append(sim.cluster.report().ready)
    return list(sim.cluster.report().instances), sim.score("chat"), least


def test_after_a_shortage_the_pool_moves_to_what_it_wanted_and_loses_no_request() -> None:
    some, score, ready = moved([Fault("shortage", 0, 3600, provider="aux")], Consolidation())
    assert {i.offer.split("/")[0] for i in some} == {"aux"}
    assert min(ready[10:]) >= 4, "never below the need"
    assert score.requests_aborted == 0
    stayed, _, _ = moved([Fault("shortage", 0, 3600, provider="aux")], None)
    assert "sim" in {i.offer.split("/")[0] for i in stayed}, "without the section nothing moves"
