"""Who leaves the warm pool, and who is on the way into it."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest

from autoscaler.intents import settle, unite
from autoscaler.journal import MEMORY, PLAN
from autoscaler.memory import learn, remember
from autoscaler.movement import WarmPool
from autoscaler.ruleset import RuleSet
from autoscaler.types import (
    Fleet,
    Instance,
    Launch,
    Memory,
    Operate,
    Override,
    Plan,
)
from tests.test_warmsize import MEAN, PEAK, decided, ruled
from tests.warmworld import FILL, planned, said, serving, warm
from tests.worlds import NOW, OFFER, instance, settled

# --- emptying -------------------------------------------------------------------------------------------------------


def test_too_many_leave_one_at_a_time_the_oldest_first() -> None:
    some = [warm(n, requested_at=NOW - 9000 + n) for n in (7, 6, 8)]
    made = planned(ruled(WarmPool(min=1)), serving(4, *some))
    assert said(made) == ["terminate chat-6"]
    assert "3 replicas are warm, no more than 1 were wanted for 1h" in made.reasons[-1].text
    leaving = instance(6, "stopping", since=NOW - 3)
    assert said(planned(ruled(WarmPool(min=1)), serving(4, some[0], some[2], leaving))) == []


@pytest.mark.parametrize(
    ("r", "memory", "more"),
    [
        pytest.param(
            ruled(WarmPool(min=1)),
            replace(settled(4), warm_highs=((NOW - 3500, 2),)),
            {},
            id="more were wanted less than an hour ago",
        ),
        pytest.param(ruled(WarmPool(min=1)), settled(4, watched_s=3500.0), {}, id="nobody watched for an hour"),
        pytest.param(ruled(WarmPool(size="forecast", min=1)), settled(4), {}, id="the size is not known"),
        pytest.param(
            ruled(WarmPool(min=1)),
            settled(4),
            {"overrides": (Override("o", "chat", "pause", NOW + 60, "me", "why", direction="in"),)},
            id="a person paused shrinking",
        ),
        pytest.param(ruled(WarmPool()), settled(4), {}, id="nobody asked for a warm pool"),
    ],
)
def test_nothing_leaves_while(r: RuleSet, memory: Memory, more: dict[str, Any]) -> None:
    assert said(planned(r, serving(4, warm(7), warm(8)), memory=memory, **more)) == []


def test_what_somebody_else_stopped_is_not_ours_to_end() -> None:
    assert said(planned(ruled(WarmPool(max=0)), serving(4, instance(7, "warm")))) == []


def test_the_highest_size_of_the_window_is_remembered_and_a_gap_forgets_it() -> None:
    r = ruled(WarmPool(min=1))
    memory = remember(r, replace(settled(4), warm_highs=((NOW - 100, 5),)), decided(4), Plan("chat", 8, warm=1))
    assert memory.warm_highs == ((NOW - 100, 5), (NOW, 1))
    assert learn(r, memory, (), None, NOW + 900).warm_highs == ()


def test_a_machine_that_is_too_old_is_renewed_in_a_quiet_hour() -> None:
    r = ruled(WarmPool(min=2, max_age_s=86400.0))
    there = serving(4, warm(7, requested_at=NOW - 90000), warm(8, requested_at=NOW - 95000))
    made = planned(r, there)
    assert said(made) == ["terminate chat-8"]
    assert "ordered 1d2h23m20s ago, the warm pool renews what is older than 1d" in made.reasons[-1].text
    assert said(planned(r, there, outlooks={"ahead": PEAK, "ahead:mean": MEAN})) == [], "demand is about to rise"
    assert said(planned(r, serving(4, there.instances[-1]))) == [FILL], "an old one is better than none"


def test_what_never_comes_to_rest_is_given_up_and_replaced_later() -> None:
    stuck = instance(9, "stopping", rests=True, since=NOW - 1201)
    assert said(planned(ruled(WarmPool(min=1)), serving(4, stuck))) == ["terminate chat-9"]
    assert said(planned(ruled(WarmPool(min=1)), serving(4, replace(stuck, since=NOW - 1199)))) == []


def test_a_warm_machine_that_failed_is_replaced() -> None:
    failed = instance(9, "failed", requested_at=NOW - 90000)
    assert said(planned(ruled(WarmPool(min=1)), serving(4, failed)))[0] == "terminate chat-9"
    assert said(planned(ruled(WarmPool(min=1)), serving(4))) == [FILL]


# --- what is on its way ---------------------------------------------------------------------------------------------


def operation(kind: str, at: float = NOW - 5) -> Operate:
    return Operate("op", "chat", at, at + 60, kind, "chat-9", "sim")  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("intent", "there", "expected"),
    [
        pytest.param(operation("stop"), instance(9, "draining"), ("stopping", True), id="told to stop"),
        pytest.param(operation("terminate"), warm(9), ("stopping", False), id="ended while it rests"),
        pytest.param(
            operation("terminate"),
            instance(9, "stopping", rests=True),
            ("stopping", False),
            id="ended on its way to rest",
        ),
        pytest.param(operation("start"), warm(9), ("pending", False), id="started"),
        pytest.param(operation("drain"), instance(9), ("draining", False), id="drained"),
    ],
)
def test_an_open_intent_tells_who_will_rest(intent: Operate, there: Instance, expected: tuple[str, bool]) -> None:
    (seen,) = unite(Fleet(NOW, (there,)), [intent]).instances
    assert (seen.state, seen.rests) == expected


def test_an_ordered_machine_of_the_warm_pool_will_rest() -> None:
    order = Launch("a", "chat", NOW, NOW + 60, OFFER, into="warm")
    (seen,) = unite(Fleet(NOW), [order]).instances
    assert (seen.state, seen.rests) == ("warm", True)


@pytest.mark.parametrize(
    ("there", "ended"),
    [
        pytest.param(warm(9), True, id="it rests"),
        pytest.param(instance(9, "stopping", rests=True), True, id="its provider stops it, which may take minutes"),
        pytest.param(instance(9, "stopping"), False, id="it stops for another reason"),
        pytest.param(instance(9, "draining"), False, id="nothing happened yet"),
    ],
)
def test_a_stop_has_ended_when(there: Instance, ended: bool) -> None:
    assert bool(settle([operation("stop")], Fleet(NOW, (there,)), NOW)) is ended


def test_what_is_remembered_survives_the_journal_and_rows_from_before_it_are_read() -> None:
    memory = replace(settled(4), warm_highs=((NOW, 3),))
    body = MEMORY.dump_json(memory)
    assert MEMORY.validate_json(body) == memory
    old = {k: v for k, v in json.loads(body).items() if k != "warm_highs"}
    assert MEMORY.validate_json(json.dumps(old)).warm_highs == ()
    assert PLAN.validate_json('{"pool": "chat", "decision": 1}').warm is None
