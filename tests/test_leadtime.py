"""Lead times: what is believed first, what launches teach, what censoring and age change, and that all is bounded."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from autoscaler.leadtime import (
    LeadTimes,
    Moment,
    OfferKey,
    Step,
    drift,
    drifted,
    lead_time,
    lead_time_s,
    learn,
    remaining_s,
    stage_medians,
    success_ratio,
)
from autoscaler.survival import Timed, quantile, remaining

A100 = OfferKey("aws", "p4d.24xlarge", "us-east-1a", "on_demand", "cold", "llama-3.1-70b")
DAY = 86400.0


def launched(
    state: LeadTimes, offer: OfferKey, times_s: list[float], start: float = 0.0, end: Step = "routed", name: str = "i"
) -> LeadTimes:
    """One attempt an hour, each requested and then ended after its time."""
    for k, took in enumerate(times_s):
        at = start + 3600.0 * k
        state = learn(state, Moment(f"{name}{k}", offer, "requested", at))
        state = learn(state, Moment(f"{name}{k}", offer, end, at + took))
    return state


# --- Kaplan-Meier ---------------------------------------------------------------------------------------------------


def test_the_published_leukaemia_remissions_come_out() -> None:
    """The 6-MP arm of Freireich et al. 1963: median 23 weeks, S(10) = 0.753."""
    ended = [6, 6, 6, 7, 10, 13, 16, 22, 23]
    censored = [6, 9, 10, 11, 17, 19, 20, 25, 32, 32, 34, 35]
    arm = [Timed(t, True) for t in ended] + [Timed(t, False) for t in censored]
    assert quantile(arm, 0.5) == 23
    assert quantile(arm, 1 - 0.753) == 10
    assert quantile(arm, 1 - 0.752) == 13
    # Beyond the last event nothing is known but that it takes longer than the longest seen.
    assert quantile(arm, 0.9) == 35


def test_weights_count_as_repetitions() -> None:
    weighted = [Timed(10, True, 3.0), Timed(20, False, 2.0), Timed(30, True, 1.0)]
    repeated = [Timed(10, True)] * 3 + [Timed(20, False)] * 2 + [Timed(30, True)]
    for share in (0.1, 0.4, 0.5, 0.6, 0.9):
        assert quantile(weighted, share) == quantile(repeated, share)


TIMES = st.lists(st.builds(Timed, st.floats(0, 1e4), st.booleans(), st.floats(0.01, 1)), min_size=1, max_size=40)


@settings(derandomize=True, max_examples=100, deadline=None)
@given(timed=TIMES, age=st.floats(0, 1e4))
def test_quantiles_rise_lie_among_what_was_seen_and_remain_above_zero(timed: list[Timed], age: float) -> None:
    found = [quantile(timed, share) for share in (0.1, 0.5, 0.9, 0.99)]
    assert found == sorted(found)
    assert min(t.seconds for t in timed) <= found[0]
    assert found[-1] <= max(t.seconds for t in timed)
    assert remaining(timed, age, 0.9) > 0


# --- the prior ------------------------------------------------------------------------------------------------------


def test_before_the_first_launch_published_cold_starts_are_believed() -> None:
    found = lead_time(LeadTimes(), A100, 0.0)
    assert found.version == "prior"
    assert found.p50_s == pytest.approx(360.0)
    assert found.p90_s == pytest.approx(697, rel=0.01)
    # The 25 points of the prior cut its tail a little short.
    assert lead_time_s(LeadTimes(), A100, 0.0, 0.95) == pytest.approx(840, rel=0.05)


def test_a_warm_start_and_a_declared_lead_time_have_priors_of_their_own() -> None:
    assert lead_time(LeadTimes(), replace(A100, start="warm"), 0.0).p50_s == pytest.approx(80)
    assert lead_time(LeadTimes(), A100, 0.0, median_s=100.0).p50_s == pytest.approx(100)


# --- learning -------------------------------------------------------------------------------------------------------


def normal(mean: float, count: int, seed: int = 1) -> list[float]:
    return [float(t) for t in np.random.default_rng(seed).normal(mean, 10, count)]


def test_many_launches_outweigh_the_prior() -> None:
    found = lead_time(launched(LeadTimes(), A100, normal(200, 60)), A100, 60 * 3600.0)
    assert found.p50_s == pytest.approx(200, abs=6)
    assert found.p90_s == pytest.approx(215, abs=10)
    assert found.version.startswith("learned:aws/p4d.24xlarge/llama-3.1-70b/on_demand/us-east-1a:")


def test_a_few_launches_move_the_prior_by_their_number() -> None:
    found = lead_time(launched(LeadTimes(), A100, [200.0] * 5), A100, 5 * 3600.0)
    assert 200 <= found.p50_s < 360
    assert found.p90_s > 400
    assert found.version == "prior:5"


BACK_OFF = [
    pytest.param(replace(A100, zone="us-east-1b"), "aws/p4d.24xlarge/llama-3.1-70b/on_demand", id="another zone"),
    pytest.param(
        replace(A100, zone="us-east-1b", purchase="spot"), "aws/p4d.24xlarge/llama-3.1-70b", id="another option"
    ),
    pytest.param(replace(A100, model="qwen3-8b"), "aws/p4d.24xlarge", id="another model"),
    pytest.param(replace(A100, type="p5.48xlarge"), "aws", id="another type"),
    pytest.param(replace(A100, provider="azure"), "all", id="another provider"),
]


@pytest.mark.parametrize(("offer", "level"), BACK_OFF)
def test_an_offer_without_launches_learns_from_its_nearest_relatives(offer: OfferKey, level: str) -> None:
    state = launched(LeadTimes(), A100, normal(200, 60))
    found = lead_time(state, offer, 60 * 3600.0)
    assert found.version.startswith(f"learned:{level}:")
    assert found.p50_s == pytest.approx(200, abs=6)


def test_cold_starts_say_nothing_about_warm_ones() -> None:
    state = launched(LeadTimes(), A100, normal(200, 60))
    assert lead_time(state, replace(A100, start="warm"), 60 * 3600.0).version == "prior"


def test_old_launches_fade_until_the_prior_is_back() -> None:
    state = launched(LeadTimes(), A100, normal(200, 60))
    assert lead_time(state, A100, 60 * 3600.0).version.startswith("learned")
    assert lead_time(state, A100, 35 * DAY).version.startswith("prior")


def test_slow_starts_that_were_cancelled_or_still_run_are_not_forgotten() -> None:
    """Half of the launches take 300 s and half were given up at 600 s: the median is not 300 s."""
    quick = launched(LeadTimes(), A100, [300.0] * 40)
    given_up = launched(quick, A100, [600.0] * 45, 40 * 3600.0, "cancelled", "x")
    now = 90 * 3600.0
    assert lead_time(quick, A100, now).p90_s == pytest.approx(300, abs=1)
    assert lead_time(given_up, A100, now).p90_s > 600
    running = quick
    for k in range(45):
        running = learn(running, Moment(f"r{k}", A100, "requested", now - 600))
    assert lead_time(running, A100, now).p90_s > 600


def test_a_shortage_is_no_lead_time_and_counts_against_success() -> None:
    state = launched(LeadTimes(), A100, [300.0] * 30)
    short = launched(state, A100, [1.0] * 30, 30 * 3600.0, "shortage", "x")
    now = 60 * 3600.0
    assert lead_time(short, A100, now) == lead_time(state, A100, now)
    assert success_ratio(state, A100, now) > 0.97
    assert success_ratio(short, A100, now) == pytest.approx(0.5, abs=0.06)
    assert success_ratio(short, replace(A100, model="other"), now) == success_ratio(short, A100, now)
    assert success_ratio(short, replace(A100, zone="us-east-1b"), now) == pytest.approx(0.9)


def test_what_we_cancelled_ourselves_is_no_failure_and_what_failed_is() -> None:
    state = launched(LeadTimes(), A100, [300.0] * 30, end="cancelled")
    assert success_ratio(state, A100, 30 * 3600.0) == pytest.approx(0.9)
    failed = launched(LeadTimes(), A100, [900.0] * 30, end="failed")
    assert success_ratio(failed, A100, 30 * 3600.0) < 0.2
    assert lead_time(failed, A100, 30 * 3600.0).p90_s >= 900


def test_what_a_pending_launch_still_needs_depends_on_its_age() -> None:
    times = [float(t) for t in np.random.default_rng(2).lognormal(math.log(300), 0.4, 100)]
    state = launched(LeadTimes(), A100, times)
    now = 100 * 3600.0
    fresh = remaining_s(state, A100, now, 0.0)
    assert fresh == pytest.approx(lead_time(state, A100, now).p90_s)
    halfway = remaining_s(state, A100, now, 200.0)
    late = [t - 200 for t in times if t > 200]
    assert halfway == pytest.approx(float(np.quantile(late, 0.9)), rel=0.1)
    # A log-normal tail is heavy: who is late stays late for longer.
    assert remaining_s(state, A100, now, 500.0) > 0.3 * halfway
    assert remaining_s(state, A100, now, 20_000.0) == math.inf


def test_a_drift_of_a_quarter_in_a_week_is_worth_an_alert() -> None:
    state = launched(LeadTimes(), A100, normal(300, 20))
    assert drift(state, A100, 1 * DAY) is None
    steady = launched(state, A100, normal(305, 20), 20 * DAY, name="b")
    assert not drifted(steady, A100, 21 * DAY)
    slower = launched(state, A100, normal(420, 20), 20 * DAY, name="b")
    assert drift(slower, A100, 21 * DAY) == pytest.approx(0.4, abs=0.05)
    assert drifted(slower, A100, 21 * DAY)


def test_stages_locate_where_the_time_goes() -> None:
    state = LeadTimes()
    steps: list[tuple[Step, float]] = [
        ("requested", 0), ("accepted", 5), ("running", 100), ("registered", 130), ("image_ready", 190),
        ("weights_loaded", 280), ("healthy", 340), ("routed", 342),
    ]  # fmt: skip
    for step, at in steps:
        state = learn(state, Moment("i", A100, step, 1000 + at))
    found = stage_medians(state, A100)
    assert found["image_ready to weights_loaded"] == 90
    assert sum(found.values()) == 342


def test_a_step_told_twice_and_out_of_order_is_one_step() -> None:
    first = learn(learn(LeadTimes(), Moment("i", A100, "routed", 500.0)), Moment("i", A100, "requested", 200.0))
    again = learn(first, Moment("i", A100, "routed", 900.0))
    assert again == first
    assert lead_time(first, A100, 500.0).version == "prior:1"
    assert learn(first, Moment("j", A100, "requested", math.nan)) == first


def test_memory_is_bounded() -> None:
    state = launched(LeadTimes(), A100, [300.0] * 300)
    assert len(state.attempts[A100]) == 128
    for k in range(600):
        state = learn(state, Moment("i", replace(A100, zone=str(k)), "requested", float(k)))
    assert len(state.attempts) == 512
    assert replace(A100, zone="599") in state.attempts
