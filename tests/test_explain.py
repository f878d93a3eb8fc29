"""A decision explains itself in plain words: what, who, which limits, on which data, and what may happen next."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from autoscaler.engine import decide
from autoscaler.explain import clock_text, explain, headline, number_text
from autoscaler.movement import ScaleIn, ScaleOut
from autoscaler.types import (
    Decision,
    Judged,
    Launch,
    Memory,
    Operate,
    Override,
    Plan,
    Proposal,
    Quality,
    Reading,
    Reason,
    Verdict,
    World,
)
from tests.worlds import NOW, OFFER, fleet, frame, queue_step, rules, settled, world


def lines_of(text: str, title: str) -> list[str]:
    """The lines of one paragraph, without its title."""
    for paragraph in text.split("\n\n"):
        first, *rest = paragraph.split("\n")
        if first == title:
            return [line.strip() for line in rest]
    return []


def test_a_scale_out_names_the_rule_the_numbers_and_the_data() -> None:
    decision = decide(rules(), world(load=60.0, queue=3.0), settled(4))
    text = explain(decision)
    assert text.startswith("chat, decision 8 at 2026-09-21 14:13:20 UTC: scale out from 4 to ")
    assert any(line.startswith("load sizes the pool at ") for line in lines_of(text, "Asked for:"))
    assert lines_of(text, "Data:") == [
        "capacity = unknown, missing: unknown, not zero; " + decision.readings["capacity"].detail,
        "load = 60, 0.0 s old, fresh",
        "queue = 3, 0.0 s old, fresh",
    ]


def test_every_reason_is_a_numbered_step_in_order() -> None:
    decision = decide(rules(scale_out=ScaleOut(rate_replicas=1, rate_ratio=0.0)), world(load=90.0), settled(4))
    steps = lines_of(explain(decision), "Steps, in order:")
    assert len(steps) == len(decision.reasons) > 2
    for number, (step, reason) in enumerate(zip(steps, decision.reasons, strict=True), start=1):
        assert step.startswith(f"{number}. {reason.source}: ")
        assert step.endswith(reason.text)
    assert any("rates: " in step and "-> 5" in step for step in steps)


def test_a_limit_that_holds_says_when_it_lets_go() -> None:
    calm = replace(settled(6, watched_s=10.0), highs=((NOW - 20, 6),))
    decision = decide(rules(scale_in=ScaleIn(stabilization_s=60, cool_off_s=0)), world(load=10.0, there=fleet(6)), calm)
    assert decision.want == 6
    text = explain(decision)
    assert decision.next_change_at == NOW + 50
    assert "stay at 6 replicas" in text
    assert "stabilization: " in headline(decision)
    assert "Next possible change: 2026-09-21 14:14:10 UTC, 50 s after this decision." in text


def test_a_limit_without_an_end_is_not_called_nothing() -> None:
    decision = decide(rules(), world(load=900.0), settled(4))
    assert decision.reasons[-1].source == "bounds"
    assert "What holds the number (bounds) has no known end" in explain(decision)


def test_nothing_to_hold_back_is_said_too() -> None:
    decision = decide(rules(), world(load=30.0), settled(4))
    assert explain(decision).rstrip().split("\n")[-2:] == [
        "Nothing holds the number back: the next tick may change it.",
        "Rules in force: test.",
    ]


def test_missing_data_is_called_unknown_and_not_zero() -> None:
    decision = decide(rules(), world(), settled(4))
    assert decision.want == 4
    data = lines_of(explain(decision), "Data:")
    assert all(" = unknown, missing: unknown, not zero" in line for line in data)
    assert any(line.startswith("load holds at 4: ") for line in lines_of(explain(decision), "Asked for:"))


@pytest.mark.parametrize(
    ("quality", "expected"),
    [
        ("fresh", "load = 40, 0.0 s old, fresh"),
        ("partial", "load = 40, 0.0 s old, partial: may only raise; 1 of 3 replicas is missing"),
        ("stale", "load = 40, 0.0 s old, stale: a lower bound, never lowers the count; 1 of 3 replicas is missing"),
        ("frozen", "load = unknown, 0.0 s old, frozen: looks stuck, not used; 1 of 3 replicas is missing"),
    ],
)
def test_the_quality_of_a_reading_says_what_it_may_do(quality: Quality, expected: str) -> None:
    detail = "" if quality == "fresh" else "1 of 3 replicas is missing"
    decision = decide(rules(), world(load=frame(40.0, quality=quality, detail=detail)), settled(4))
    assert expected in lines_of(explain(decision), "Data:")


def test_an_override_is_explained_with_author_and_reason() -> None:
    pin = Override("o", "chat", "pin", NOW + 600, "ada", "launch event", 9)
    text = explain(decide(rules(), world(load=30.0, overrides=(pin,)), settled(4)))
    assert "override: " in text
    assert "by ada: launch event" in text


@pytest.mark.parametrize(
    ("queue", "for_s", "memory", "expected"),
    [
        pytest.param(10.0, 0.0, settled(4), "queue: not met: ", id="not met"),
        pytest.param(80.0, 60.0, settled(4), "queue: met, but not for long enough yet: ", id="too young"),
        pytest.param(80.0, 0.0, settled(4), "queue: met: ", id="met"),
        pytest.param(None, 0.0, settled(4), "queue: cannot be judged, so nothing shrinks: ", id="no data"),
    ],
)
def test_a_rule_that_did_nothing_says_why(queue: float | None, for_s: float, memory: Memory, expected: str) -> None:
    decision = decide(rules(rules=(queue_step(for_s=for_s),)), world(queue=queue), memory)
    (line,) = lines_of(explain(decision), "Rules with a condition:")
    assert line.startswith(expected)


def test_a_rule_that_cools_down_says_for_how_long() -> None:
    memory = replace(settled(4), cooldown_until={"queue": NOW + 60})
    decision = decide(rules(rules=(queue_step(),)), world(queue=80.0), memory)
    assert "cooling down for " in explain(decision)


def test_a_rule_that_only_alerts_is_not_taken_for_a_silent_one() -> None:
    decision = decide(
        rules(rules=(replace(queue_step(), policy=None, alert="critical"),)), world(queue=80.0), settled(4)
    )
    (line,) = lines_of(explain(decision), "Rules with a condition:")
    assert line.startswith("queue: met, and asks for no replicas: ")


def test_a_condition_shows_value_and_bounds() -> None:
    decision = decide(rules(rules=(queue_step(),)), world(queue=80.0), settled(4))
    (line,) = lines_of(explain(decision), "Conditions:")
    assert line.startswith("queue above 50: holds (value 80")


def test_an_unknown_fleet_explains_that_nobody_was_asked() -> None:
    text = explain(decide(rules(), World(NOW, {}, None), settled(4)))
    assert "No rule was asked: the fleet is unknown, and unknown changes nothing." in text
    assert "the provider has not reported its fleet yet" in text


def test_a_plan_lists_actions_and_what_was_left_undone() -> None:
    plan = Plan(
        "chat",
        8,
        (
            Launch("a", "chat", NOW, NOW + 60, OFFER),
            Launch("a2", "chat", NOW, NOW + 60, OFFER),
            Launch("b", "chat", NOW, NOW + 60, OFFER, attempt=2, into="warm"),
            Operate("c", "chat", NOW, NOW + 60, "drain", "chat-4", "sim"),
        ),
        (
            Reason("launch", 5, "launch sim/small/on_demand"),
            Reason("drain", 5, "drain chat-4: surplus, 0 requests in flight"),
            Reason("budget", 5, "3 more would cost too much"),
        ),
    )
    decision = decide(rules(), world(load=30.0), settled(4))
    assert lines_of(explain(decision, plan), "Plan:") == [
        "2 x launch sim/small/on_demand (1 replica)",
        "launch sim/small/on_demand into the warm pool (1 replica, attempt 2)",
        "drain chat-4: surplus, 0 requests in flight",
        "budget: 3 more would cost too much",
    ]
    assert lines_of(explain(decision, Plan("chat", 8)), "Plan:") == ["nothing to do: the fleet is what was decided"]


@pytest.mark.parametrize(
    ("value", "expected"),
    [(0.0, "0"), (3.0, "3"), (0.12345, "0.1235"), (12345.6, "12346"), (1e9, "1000000000"), (-2.5, "-2.5")],
)
def test_numbers_are_written_as_people_write_them(value: float, expected: str) -> None:
    assert number_text(value) == expected


def test_instants_are_utc() -> None:
    assert clock_text(0.0) == "1970-01-01 00:00:00 UTC"


WORDS = st.text(st.characters(codec="utf-8", exclude_categories=("Cc", "Cs")), max_size=20)
SENSES = ("raise", "size", "lower", "hold", "floor", "ceiling")
COUNTS = st.integers(0, 1000)
NUMBERS = st.none() | st.floats(allow_nan=False, allow_infinity=False)
INSTANTS = st.floats(0, 4e9)
DECISIONS = st.builds(
    Decision,
    pool=WORDS,
    number=COUNTS,
    at=INSTANTS,
    current=COUNTS,
    want=COUNTS,
    ready=COUNTS,
    pending=COUNTS,
    reasons=st.lists(st.builds(Reason, WORDS, COUNTS, WORDS), min_size=1, max_size=4).map(tuple),
    proposals=st.lists(
        st.builds(
            Proposal, WORDS, st.sampled_from(("raise", "size", "lower", "hold", "floor", "ceiling")), COUNTS, WORDS
        ),
        max_size=3,
    ).map(tuple),
    readings=st.dictionaries(
        WORDS,
        st.builds(
            Reading,
            INSTANTS,
            NUMBERS,
            st.sampled_from(("fresh", "partial", "stale", "frozen", "missing")),
            NUMBERS,
            NUMBERS,
            WORDS,
        ),
        max_size=3,
    ),
    judged=st.lists(
        st.builds(Judged, WORDS, WORDS, st.sampled_from((True, False, None)), NUMBERS, NUMBERS, NUMBERS, WORDS),
        max_size=3,
    ).map(tuple),
    verdicts=st.lists(
        st.builds(Verdict, WORDS, st.sampled_from((True, False, None)), st.booleans(), NUMBERS, NUMBERS, WORDS),
        max_size=3,
    ).map(tuple),
    blind=st.booleans(),
    rules_hash=WORDS,
    versions=st.dictionaries(WORDS, WORDS, max_size=2),
    next_change_at=st.none() | INSTANTS,
)


def in_order(parts: Sequence[str], text: str) -> bool:
    """Whether every part occurs in the text, each behind the one before."""
    at = 0
    for part in parts:
        at = text.find(part, at)
        if at < 0:
            return False
    return True


@settings(max_examples=60, derandomize=True, deadline=None)
@given(decision=DECISIONS)
def test_any_decision_can_be_explained_with_every_step_and_reading(decision: Decision) -> None:
    text = explain(decision, Plan(decision.pool, decision.number))
    assert in_order([f"{r.source}: " for r in decision.reasons], text)
    assert all(f"{name} = " in text for name in decision.readings)
    assert all(p.text in text for p in decision.proposals)
    assert ("Next possible change" in text) == (decision.next_change_at is not None) or "Next possible change" in str(
        decision
    )
