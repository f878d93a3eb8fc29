"""Stages hold back only what nothing but an unsure forecast asks for, and release the next part when one serves."""

from __future__ import annotations

import pytest

from autoscaler.movement import Bounds
from autoscaler.policies.target import CAPACITY, Target
from autoscaler.ruleset import Rule, RuleSet, Signal
from autoscaler.stages import release, spread_of
from autoscaler.types import Outlook, Proposal, Reading, World

RULES = RuleSet(
    pool="chat",
    bounds=Bounds(1, 100),
    signals=(Signal("load", metric="requests_arrived_total"), Signal("ahead", forecast="load")),
    rules=(
        Rule("now", Target("load", per_replica=10.0)),
        Rule("ahead", Target("ahead", per_replica=10.0), stages=(0.25, 0.5, 1.0)),
    ),
)


def outlook(high: float = 2.0) -> Outlook:
    return Outlook(0.0, "test", "peak", (600.0,), (0.5, 0.95), ((1.0,), (high,)))


def released(
    want: int, now: int, ready: int, forecast: Outlook | None = None, level: float | None = 100.0
) -> tuple[int, str]:
    """What is left of a forecast's wish, beside a rule that wants `now`; 100/s at 10 each are 10 replicas."""
    readings = {"load": Reading(0.0, level, "fresh"), CAPACITY: Reading(0.0, 12.5, "fresh")}
    world = World(0.0, {}, None, outlooks={"ahead": forecast or outlook()})
    asked = (Proposal("now", "size", now, ""), Proposal("ahead", "size", want, "ahead"))
    found = release(RULES, asked, readings, world, ready)
    assert found[0] == asked[0]
    return found[1].replicas, found[1].text


@pytest.mark.parametrize(
    ("ready", "expected"),
    [
        pytest.param(10, 15, id="a quarter first"),
        pytest.param(14, 15, id="not more until that quarter serves"),
        pytest.param(15, 20, id="half when the quarter serves"),
        pytest.param(20, 30, id="all when the half serves"),
        pytest.param(40, 30, id="never more than was asked for"),
    ],
)
def test_the_next_part_comes_when_the_one_before_serves(ready: int, expected: int) -> None:
    assert released(30, 10, ready)[0] == expected


def test_the_text_says_what_is_held_back() -> None:
    assert released(30, 10, 10)[1] == (
        "ahead; the forecast is unsure: 25% of the growth from 10 first, more when 15 serve"
    )


def test_what_present_demand_needs_is_never_held_back() -> None:
    assert released(30, 30, 2)[0] == 30
    assert released(30, 28, 2)[0] == 29
    # No other rule may look at present demand; then its level does.
    alone = (Proposal("ahead", "size", 30, ""),)
    world = World(0.0, {}, None, outlooks={"ahead": outlook()})
    readings = {"load": Reading(0.0, 200.0, "fresh")}
    assert release(RULES, alone, readings, world, 0)[0].replicas == 23


def test_a_sure_forecast_is_not_staged() -> None:
    assert released(30, 10, 10, outlook(1.1))[0] == 30


def test_without_an_outlook_nothing_is_staged() -> None:
    asked = (Proposal("ahead", "size", 30, ""),)
    assert release(RULES, asked, {}, World(0.0, {}, None), 0) == asked


def test_an_outlook_that_tells_no_spread_counts_as_unsure() -> None:
    assert spread_of(Outlook(0.0, "v", "peak", (600.0,), (0.5,), ((1.0,),))) == float("inf")
    assert spread_of(outlook()) == pytest.approx(0.421, abs=1e-3)


def test_a_broken_level_holds_no_growth_back_by_itself() -> None:
    assert released(30, 12, 12, level=None)[0] == 17
    assert released(30, 12, 12, level=float("nan"))[0] == 17
