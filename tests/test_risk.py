"""How much risk a pool takes: bounded, quick at first, and moved only by waits that the forecast is to blame for."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from autoscaler import risk
from autoscaler.movement import Bounds
from autoscaler.policies.target import CAPACITY, Target
from autoscaler.ruleset import Objective, Rule, RuleSet, Signal
from autoscaler.types import Decision, Outlook, Quality, Reading, Reason, Risk

DAY = 86400.0
RULES = RuleSet(
    pool="chat",
    bounds=Bounds(1, 100),
    capacity=10.0,
    signals=(
        Signal("load", metric="requests_arrived_total", rate_s=15.0),
        Signal("queue", metric="requests_waiting"),
        Signal("ahead", forecast="load", steered=True),
    ),
    rules=(Rule("now", Target("load", backlog="queue")), Rule("ahead", Target("ahead"))),
    objective=Objective(wait_s=5.0, late_ratio=0.004),
)
OUTLOOK = Outlook(
    0.0, "test", "peak", (600.0,), (0.5, 0.9, 0.99, 0.999), ((1.0,), (1.2,), (1.5,), (2.0,)), level=1.0, spread=0.1
)


def decided(
    at: float,
    waiting: float | None = 0.0,
    demand: float = 100.0,
    ready: int = 12,
    *,
    short: int = 0,
    quality: Quality = "fresh",
) -> Decision:
    """A tick that saw this, `short` replicas below what was recommended."""
    readings = {
        "load": Reading(at, demand, quality),
        "queue": Reading(at, waiting, "fresh" if waiting is not None else "missing"),
        CAPACITY: Reading(at, 10.0, "fresh"),
    }
    reasons = (Reason("current", ready, ""),)
    return Decision("chat", 1, at, ready, ready, ready, 0, reasons, readings=readings, recommended=ready + short)


def steered(waits: list[float], since: float = 0.0, begun: Risk | None = None) -> Risk:
    """After ticks of 15 s at which so much waited."""
    now = since
    found = begun or risk.steer(RULES, None, decided(now))
    for waiting in waits:
        now += 15.0
        found = risk.steer(RULES, found, decided(now, waiting))
    assert found is not None
    return found


@pytest.mark.parametrize(
    ("waits", "direction"),
    [
        pytest.param([0.0] * 100, -1, id="quiet hours make it bolder"),
        pytest.param([10_000.0] * 4, +1, id="work that waits too long makes it more careful"),
        pytest.param([500.0] * 100, -1, id="a queue that is served within five seconds is no violation"),
    ],
)
def test_caution_follows_what_users_waited(waits: list[float], direction: int) -> None:
    begun = risk.steer(RULES, None, decided(0.0))
    assert begun is not None
    assert math.copysign(1, steered(waits, begun=begun).caution - begun.caution) == direction


def test_the_share_that_is_late_settles_at_what_was_promised() -> None:
    state = Risk(since=-30 * DAY, at=0.0, demand=100.0)
    promised = RULES.objective.late_ratio
    ticks = round(1 / promised)
    # One tick in 250 is late: exactly what may be.
    after = steered([10_000.0] + [0.0] * (ticks - 1), begun=state)
    assert after.caution == pytest.approx(state.caution, abs=1e-3)


@pytest.mark.parametrize(
    "decision",
    [
        pytest.param(decided(15.0, waiting=None), id="it is not known what waits"),
        pytest.param(decided(15.0, 10_000.0, quality="missing"), id="the demand is not known"),
        pytest.param(decided(15.0, 10_000.0, short=3), id="a limit kept the pool smaller than was recommended"),
        pytest.param(decided(4000.0, 10_000.0), id="the last tick is an hour ago"),
    ],
)
def test_what_the_forecast_is_not_to_blame_for_moves_nothing(decision: Decision) -> None:
    state = Risk(since=-DAY, at=0.0, demand=100.0)
    after = risk.steer(RULES, state, decision)
    assert after is not None
    assert after.caution == state.caution
    assert after.at == decision.at


def test_a_pool_without_a_steered_forecast_has_no_risk() -> None:
    assert risk.steer(replace(RULES, signals=RULES.signals[:2]), None, decided(0.0)) is None


def test_a_clock_that_went_back_starts_no_steering_from_the_future() -> None:
    after = risk.steer(RULES, Risk(since=500.0, at=1000.0, caution=6.0), decided(100.0))
    assert after == Risk(since=100.0, at=100.0, caution=6.0)


@settings(derandomize=True, max_examples=60, deadline=None)
@given(st.lists(st.sampled_from([0.0, 700.0, 1e6]), max_size=200), st.floats(0.0, 30 * DAY))
def test_caution_and_chance_stay_within_their_bounds(waits: list[float], age_s: float) -> None:
    after = steered(waits, begun=Risk(since=-age_s, at=0.0, demand=100.0))
    assert risk.LEAST <= after.caution <= risk.MOST
    assert 0.0 < risk.chance(after, 0.3, 15.0 * len(waits)) <= risk.MOST_CHANCE


def test_a_new_pool_is_more_careful_and_a_wide_forecast_bolder() -> None:
    new, old = Risk(since=0.0, at=0.0), Risk(since=-10 * DAY, at=0.0)
    assert risk.chance(new, 0.1, 0.0) < risk.chance(old, 0.1, 0.0)
    assert risk.chance(old, 0.3, 0.0) > risk.chance(old, 0.1, 0.0)
    assert risk.chance(None, math.nan, 0.0) == pytest.approx(math.exp(-8.0))


@pytest.mark.parametrize(
    ("share", "growth"),
    [
        pytest.param(0.1, 1.2, id="at a quantile of the outlook it is that quantile"),
        pytest.param(math.sqrt(0.1 * 0.01), math.sqrt(1.2 * 1.5), id="halfway in logs it is halfway in logs"),
        pytest.param(0.0001, 2.0 * 2.0 / 1.5, id="beyond the last the slope goes on"),
        pytest.param(0.8, 1.0, id="never below the lowest"),
    ],
)
def test_growth_is_read_between_quantiles(share: float, growth: float) -> None:
    assert risk.growth_at_chance(OUTLOOK, 0, share) == pytest.approx(growth)


def test_an_outlook_without_a_forecast_has_no_growth() -> None:
    assert math.isnan(risk.growth_at_chance(replace(OUTLOOK, growth=((math.nan,),) * 4), 0, 0.01))
    one = replace(OUTLOOK, growth=((math.nan,), (math.nan,), (math.nan,), (2.0,)))
    assert risk.growth_at_chance(one, 0, 0.5) == pytest.approx(2.0)


@settings(derandomize=True, max_examples=60, deadline=None)
@given(st.floats(1e-6, 0.5), st.floats(1e-6, 0.5))
def test_a_smaller_chance_never_buys_less(a: float, b: float) -> None:
    low, high = sorted((a, b))
    assert risk.growth_at_chance(OUTLOOK, 0, low) >= risk.growth_at_chance(OUTLOOK, 0, high) - 1e-12
