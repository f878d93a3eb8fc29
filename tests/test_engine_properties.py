"""Invariants of decide() that hold in every situation."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from autoscaler.engine import decide
from autoscaler.memory import remember
from autoscaler.movement import Bounds, ScaleIn
from autoscaler.ruleset import RuleSet
from autoscaler.types import Frame, Memory, Plan, Quality, World
from tests.worlds import NOW, fleet, frame, queue_step, rules, settled, world

QUALITIES: list[Quality] = ["fresh", "partial", "stale", "frozen", "missing"]
VALUES = st.one_of(st.floats(0, 400), st.sampled_from([0.0, float("nan"), float("inf"), -1.0]))


@st.composite
def frames(draw: st.DrawFn) -> Frame | None:
    if draw(st.integers(0, 9)) == 0:
        return None
    values = draw(st.lists(VALUES, min_size=1, max_size=30))
    return frame(*values, quality=draw(st.sampled_from(QUALITIES)))


@st.composite
def situations(draw: st.DrawFn) -> tuple[RuleSet, World, Memory]:
    low = draw(st.integers(0, 5))
    r = rules(
        bounds=Bounds(low, draw(st.integers(max(1, low), 30))),
        rules=(*rules().rules, queue_step(draw(st.integers(1, 5)), for_s=draw(st.sampled_from([0.0, 60.0])))),
        scale_in=replace(ScaleIn(), stabilization_s=draw(st.sampled_from([0.0, 60.0])), cool_off_s=0.0),
    )
    there = fleet(draw(st.integers(0, 12)), draw(st.integers(0, 6)))
    want = draw(st.one_of(st.none(), st.integers(0, 30)))
    memory = Memory() if want is None else settled(want)
    return r, world(draw(frames()), draw(frames()), there), memory


@settings(max_examples=300, deadline=None, derandomize=True)
@given(situations())
def test_bounds_always_hold_and_the_count_is_the_last_reasons(situation: tuple[RuleSet, World, Memory]) -> None:
    r, w, m = situation
    decision = decide(r, w, m)
    assert r.bounds.min <= decision.want <= r.bounds.max
    assert decision.reasons[-1].replicas == decision.want


@settings(max_examples=300, deadline=None, derandomize=True)
@given(situations())
def test_equal_inputs_give_equal_decisions(situation: tuple[RuleSet, World, Memory]) -> None:
    assert decide(*situation) == decide(*situation)


@settings(max_examples=300, deadline=None, derandomize=True)
@given(situations(), st.sampled_from(["load", "queue"]), st.sampled_from(QUALITIES[1:]))
def test_data_that_are_less_than_fresh_never_lower_the_count(
    situation: tuple[RuleSet, World, Memory], which: str, quality: Quality
) -> None:
    r, w, m = situation
    known = w.signals.get(which)
    worse = {k: v for k, v in w.signals.items() if k != which}
    if known is not None and quality != "missing":
        worse[which] = replace(known, quality=(quality,))
    decision = decide(r, replace(w, signals=worse), m)
    assert decision.want >= min(decision.current, r.bounds.max)


@settings(max_examples=200, deadline=None, derandomize=True)
@given(situations(), st.integers(1, 12))
def test_a_decision_against_a_fleet_that_obeys_settles(situation: tuple[RuleSet, World, Memory], size: int) -> None:
    r, w, m = situation
    wants = []
    now = NOW
    for _ in range(60):
        now += 15
        steady = {k: replace(v, at=v.at + (now - NOW), last_at=np.array([now])) for k, v in w.signals.items()}
        there = fleet(size, at=now)
        decision = decide(r, replace(w, now=now, fleet=there, signals=steady), m)
        m = remember(r, m, decision, Plan("chat", decision.number))
        size = decision.want
        wants.append(size)
    # Steps keep stepping while their condition holds; what must not happen is going up and down again.
    turns = sum((b - a) * (c - b) < 0 for a, b, c in zip(wants, wants[1:], wants[2:], strict=False))
    assert turns <= 1
