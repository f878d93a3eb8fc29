"""Cordons and replacements in the plan: out of all counts, or gone when a successor serves."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from autoscaler.planner import plan
from autoscaler.ruleset import RuleSet
from autoscaler.types import Decision, Fleet, Instance, Launch, Mark, MarkKind, Memory, Override, Plan, Reason
from tests.worlds import NOW, instance, rules, settled, world


def mark(number: int, kind: MarkKind = "cordon", until: float = NOW + 600) -> Mark:
    return Mark(f"chat-{number}", "chat", kind, until, "ada", "vendor looks at it", NOW - 60)


def planned(
    want: int,
    there: list[Instance],
    *marks: Mark,
    r: RuleSet | None = None,
    memory: Memory | None = None,
    **more: Any,
) -> Plan:
    decision = Decision("chat", 8, NOW, want, want, want, 0, (Reason("test", want, "as the test says"),))
    w = world(0.0, there=Fleet(NOW, tuple(there)), marks={m.instance: m for m in marks}, **more)
    return plan(r or rules(), decision, w, memory or settled(want))


def kinds(made: Plan) -> list[str]:
    return ["launch" if isinstance(a, Launch) else f"{a.kind} {a.instance}" for a in made.actions]


def ready(*numbers: int, **changes: Any) -> list[Instance]:
    return [instance(n, **changes) for n in numbers]


OVERDUE = instance(3, "pending", requested_at=NOW - 2000)


@pytest.mark.parametrize(
    ("want", "there", "cordon", "expected"),
    [
        pytest.param(3, ready(1, 2, 3), mark(3), ["drain chat-3", "launch"], id="leaves routing and is replaced"),
        pytest.param(
            2, [*ready(1, 2), instance(3, "draining")], mark(3), [], id="stays when it is empty and past its deadline"
        ),
        pytest.param(3, [*ready(1, 2), instance(3, "draining")], mark(3), ["launch"], id="is not brought back"),
        pytest.param(
            3, [*ready(1, 2), instance(3, "warm")], mark(3), ["launch"], id="is not started from the warm pool"
        ),
        pytest.param(2, [*ready(1, 2), instance(3, "failed")], mark(3), [], id="is kept though it failed"),
        pytest.param(2, [*ready(1, 2), OVERDUE], mark(3), [], id="is kept though it never served"),
        pytest.param(1, ready(1, 2, 3), mark(3), ["drain chat-3", "drain chat-2"], id="is nobody's surplus"),
        pytest.param(
            2,
            [*ready(1, 2), instance(3, "draining", since=NOW - 30)],
            mark(3, until=NOW - 5),
            ["resume chat-3", "drain chat-2"],
            id="comes back at its end, and of one too many another leaves",
        ),
        pytest.param(
            2,
            [*ready(1, 2), instance(3, "draining", since=NOW - 3)],
            mark(3, until=NOW - 5),
            [],
            id="drained after its end, it leaves like any other",
        ),
    ],
)
def test_one_that_is_cordoned(want: int, there: list[Instance], cordon: Mark, expected: list[str]) -> None:
    assert kinds(planned(want, there, cordon)) == expected


def test_a_cordon_says_in_every_plan_who_why_and_until_when() -> None:
    told = [r.text for r in planned(2, [*ready(1, 2), instance(3, "draining")], mark(3)).reasons]
    assert told == ["chat-3 counts for nothing: cordoned until 2026-09-21 14:23 UTC by ada: vendor looks at it"]


def test_money_counts_what_is_cordoned() -> None:
    r = rules()
    tight = replace(r, bounds=replace(r.bounds, usd_per_hour=6.0))
    made = planned(3, [*ready(1, 2), instance(3, "draining")], mark(3), r=tight)
    assert kinds(made) == [], "two that serve and the cordoned one cost the 6 USD/h that there are"


@pytest.mark.parametrize(
    ("want", "there", "expected"),
    [
        pytest.param(2, ready(1, 2), ["launch"], id="the successor is ordered first"),
        pytest.param(2, [*ready(1, 2), instance(3, "pending", requested_at=NOW - 9)], [], id="and waited for"),
        pytest.param(2, ready(1, 2, 3), ["drain chat-1"], id="when it serves the old one drains"),
        pytest.param(3, ready(1, 2, 3), ["launch"], id="not when the pool needs both"),
        pytest.param(
            2, [instance(1, "draining", since=NOW - 9), *ready(2, 3)], ["terminate chat-1"], id="and goes for good"
        ),
        pytest.param(
            3,
            [instance(1, "draining", in_flight=2, since=NOW - 9), *ready(2, 3)],
            ["launch"],
            id="it is not brought back",
        ),
        pytest.param(1, ready(1, 2), ["drain chat-1"], id="a surplus is gone without a successor"),
        pytest.param(
            2, [instance(1, "pending", requested_at=NOW - 9), *ready(2, 3)], ["terminate chat-1"], id="not serving yet"
        ),
    ],
)
def test_one_that_is_to_be_replaced(want: int, there: list[Instance], expected: list[str]) -> None:
    assert kinds(planned(want, there, mark(1, "replace"))) == expected


def test_a_replacement_whose_end_has_passed_changes_nothing() -> None:
    assert kinds(planned(2, ready(1, 2), mark(1, "replace", NOW - 1))) == []


def test_a_machine_of_many_replicas_leaves_when_successors_cover_all_of_them() -> None:
    big = [instance(1, replicas=4), instance(2, replicas=4)]
    small = ready(3, 4, 5)
    assert kinds(planned(8, [*big, *small], mark(1, "replace"))) == ["launch"], "one replica is still missing"
    assert kinds(planned(8, [*big, *small, instance(6)], mark(1, "replace"))) == ["drain chat-1"]


def test_nothing_is_replaced_while_the_pool_is_frozen_and_a_cordon_still_leaves_routing() -> None:
    freeze = Override("o", "chat", "freeze", NOW + 60, "ada", "audit")
    assert kinds(planned(2, ready(1, 2), mark(1, "replace"), overrides=(freeze,))) == []
    assert kinds(planned(2, ready(1, 2), mark(1), overrides=(freeze,))) == ["drain chat-1"]


def test_what_a_silent_provider_hosts_is_left_alone() -> None:
    there = Fleet(NOW, tuple(ready(1, 2)), (("sim", NOW - 3600), ("other", NOW)))
    decision = Decision("chat", 8, NOW, 2, 2, 2, 0, (Reason("test", 2, "as the test says"),))
    w = world(0.0, there=there, marks={"chat-1": mark(1)})
    assert not [a for a in plan(rules(), decision, w, settled(2)).actions if a.kind == "drain"]
