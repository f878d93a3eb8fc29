"""Learning what a replica serves, against a small continuous-batching engine that nobody tuned the model to."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest

from autoscaler.capacity import (
    CurveState,
    Limits,
    Objective,
    Observation,
    Point,
    Replica,
    ReplicaState,
    Workload,
    begin,
    capacity,
    learn,
    prior_of,
)
from autoscaler.capacity.architecture import PRECISIONS
from autoscaler.capacity.gpus import gpu_named
from autoscaler.capacity.layout import Layout
from autoscaler.capacity.models import model_named
from autoscaler.types import Capacity
from tests.batching_engine import Engine

SEVENTY, CHAT = Replica(29.9e-3, 0.206e-3, 1.7e-7, 9.1e-5), Workload(512, 128)
EIGHT, LONGER = Replica(6.97e-3, 0.027e-3, 1.5e-8, 3.2e-5), Workload(512, 256)
DOCUMENTS = Workload(4096, 64)


@pytest.mark.parametrize("share", [0.5, 0.8, 0.9])
@pytest.mark.parametrize(
    ("replica", "workload", "slots", "itl_s", "bound"),
    [
        pytest.param(SEVENTY, CHAT, 64, 0.05, 0.07, id="70B chat within 7 %"),
        pytest.param(EIGHT, LONGER, 128, 0.02, 0.18, id="8B within 18 %"),
        pytest.param(SEVENTY, DOCUMENTS, 64, 0.10, 0.26, id="mostly prefill within 26 %"),
    ],
)
def test_the_model_predicts_the_time_between_tokens(
    replica: Replica, workload: Workload, slots: int, itl_s: float, bound: float, share: float
) -> None:
    rate = share * replica.highest_rate(workload, slots, Objective(itl_s))
    engine = Engine(replica, slots)
    engine.run(rate, workload, 20)
    seen = engine.run(rate, workload, 150)
    assert seen.itl_s == pytest.approx(replica.itl_s(rate, workload), rel=bound)


def test_at_the_utilisation_target_first_tokens_do_not_queue() -> None:
    rate = SEVENTY.highest_rate(CHAT, 64, Objective(0.05))
    engine = Engine(SEVENTY, 64)
    engine.run(0.8 * rate, CHAT, 200)
    assert np.quantile(engine.first_tokens_s, 0.95) < 0.3


def cold(model: str = "llama-3.1-70b", tp: int = 8, workload: Workload = CHAT) -> ReplicaState:
    prior = prior_of(model_named(model), PRECISIONS["bf16"], gpu_named("H100"), Layout(tp), 64)
    return begin(prior, workload, Limits(1e6, 64))


def wandering(engine: Engine, state: ReplicaState, top: float, count: int, workload: Workload = CHAT) -> ReplicaState:
    """State after `count` intervals of 15 s at 10 to 50 % of the rate `top`."""
    for k in range(count):
        after = learn(state, engine.run((0.1 + 0.4 * abs(math.sin(k / 5))) * top, workload, 15))
        assert isinstance(after, ReplicaState)
        state = after
    return state


def test_before_anything_was_measured_the_prior_answers_and_is_wide() -> None:
    found = capacity(cold(), Objective(0.05))
    assert found.version == "prior"
    assert found.unit == "requests/s"
    assert 0 < found.low < 0.75 * found.median


@pytest.mark.parametrize(
    ("replica", "state", "workload", "itl_s"),
    [
        pytest.param(SEVENTY, cold(), CHAT, 0.05, id="70B from the fitted prior"),
        pytest.param(EIGHT, cold("llama-3.1-8b", 1, LONGER), LONGER, 0.02, id="8B from first principles"),
        pytest.param(
            replace(SEVENTY, alpha_s=0.018, beta_s=0.0004), cold(), CHAT, 0.05, id="an engine far from the prior"
        ),
    ],
)
def test_low_load_is_enough_to_learn_what_high_load_serves(
    replica: Replica, state: ReplicaState, workload: Workload, itl_s: float
) -> None:
    """After ten minutes at 10 to 50 % the median is within 10 % of the truth and the low estimate below it."""
    truth = replica.highest_rate(workload, 64, Objective(itl_s))
    before = capacity(state, Objective(itl_s))
    after = capacity(wandering(Engine(replica), state, truth, 40, workload), Objective(itl_s))
    assert after.median == pytest.approx(truth, rel=0.10)
    assert 0.75 * truth < after.low <= truth * 1.02
    assert after.median - after.low < before.median - before.low
    assert after.version == "learned:40"


def test_the_same_observations_teach_the_same() -> None:
    twice = [wandering(Engine(SEVENTY, seed=3), cold(), 4.7, 12) for _ in range(2)]
    assert twice[0] == twice[1]


def test_memory_is_bounded_and_a_steady_load_does_not_erase_another() -> None:
    engine = Engine(SEVENTY)
    state = wandering(engine, cold(), 4.7, 20)
    most = max(s.running for s in state.samples)
    for _ in range(150):
        after = learn(state, engine.run(1.0, CHAT, 15))
        assert isinstance(after, ReplicaState)
        state = after
    assert len(state.samples) == 64
    assert max(s.running for s in state.samples) == most
    assert state.drifts == 0


def test_a_slower_engine_is_noticed_within_two_minutes_and_learned_anew() -> None:
    engine = Engine(SEVENTY)
    state = wandering(engine, cold(), 4.7, 40)
    wide = capacity(state, Objective(0.06))
    slow = replace(SEVENTY, alpha_s=0.0299 * 1.4, beta_s=0.206e-3 * 1.4)
    engine.replica = slow
    early = wandering(engine, state, 3.0, 8)
    assert early.drifts == 1
    assert early.drifted_at is not None
    assert early.drifted_at - state.at <= 120
    assert early.drifting
    late = wandering(engine, early, 3.0, 30)
    assert not late.drifting
    assert late.version.endswith(":drift1")
    assert capacity(late, Objective(0.06)).median == pytest.approx(
        slow.highest_rate(CHAT, 64, Objective(0.06)), rel=0.12
    )
    assert capacity(late, Objective(0.06)).median < wide.low


def test_a_steady_engine_never_drifts() -> None:
    state = cold()
    for seed in range(4):
        state = wandering(Engine(SEVENTY, seed=seed, now=state.at), state, 4.7, 60)
    assert state.drifts == 0


def test_a_lone_outlier_teaches_nothing() -> None:
    state = wandering(Engine(SEVENTY), cold(), 4.7, 20)
    odd = Observation(state.at + 15, 15, 8.0, 4000, 2500, 20, itl_s=0.4)
    after = learn(state, odd)
    assert isinstance(after, ReplicaState)
    assert (after.now, after.drifts, after.rejected) == (state.now, 0, state.rejected + 1)


GOOD = Observation(15.0, 15, 8.0, 4000, 3000, 20, itl_s=0.035)


@pytest.mark.parametrize(
    "broken",
    [
        pytest.param(replace(GOOD, itl_s=math.nan), id="no latency"),
        pytest.param(replace(GOOD, itl_s=0.0), id="a latency of nothing"),
        pytest.param(replace(GOOD, generated_tokens=-5), id="a counter that went backwards"),
        pytest.param(replace(GOOD, interval_s=0), id="no time"),
        pytest.param(replace(GOOD, running=math.inf), id="an infinite batch"),
        pytest.param(replace(GOOD, at=0.0), id="older than the last one"),
        pytest.param(replace(GOOD, kv_tokens=math.nan), id="a cache that cannot be"),
    ],
)
def test_what_cannot_be_is_not_learned_from(broken: Observation) -> None:
    assert learn(cold(), broken) == cold()


def test_an_idle_engine_teaches_what_requests_are_but_not_how_fast_it_is() -> None:
    after = learn(cold(), replace(GOOD, generated_tokens=20, running=0.01))
    assert isinstance(after, ReplicaState)
    assert (after.now, after.samples) == (cold().now, ())
    assert after.mix != cold().mix


def test_wrong_signs_are_clipped_and_never_served() -> None:
    """Samples that fall with load would make beta negative; it becomes 0 and alpha stays above 0."""
    state = cold()
    for k in range(12):
        n = 1.0 + 4 * k
        after = learn(state, Observation(15.0 * (k + 1), 15, n, 0, n * 400, 4, itl_s=0.05 - 0.0004 * n, kv_tokens=n))
        assert isinstance(after, ReplicaState)
        state = after
    assert all(number >= 0 for number in state.now.mean)
    assert state.now.mean[0] > 0
    assert capacity(state, Objective(0.06)).low >= 0


def test_longer_answers_lower_the_rate_and_tokens_per_second_are_its_multiple() -> None:
    state = cold()
    for k in range(30):
        after = learn(state, Observation(15.0 * (k + 1), 15, 12.0, 20 * 512, 20 * 400, 20, itl_s=0.036))
        assert isinstance(after, ReplicaState)
        state = after
    assert state.mix.workload.output_tokens == pytest.approx(380, rel=0.08)
    requests, tokens = capacity(state, Objective(0.05)), capacity(state, Objective(0.05), "tokens/s")
    assert requests.median < capacity(cold(), Objective(0.05)).median
    assert tokens.low == pytest.approx(requests.low * state.mix.workload.output_tokens)


# --- engines that do not generate tokens ----------------------------------------------------------------------------


def curve(limit: float, rates: list[float], seed: int = 5) -> CurveState:
    """A single server of rate `limit`: p95 of M/M/1 is ln 20 / (limit - rate), with 5 % of noise."""
    chance = np.random.default_rng(seed)
    state = CurveState(prior_rate=10.0)
    for k, rate in enumerate(rates):
        p95 = math.log(20) / (limit - rate) * (1 + 0.05 * chance.standard_normal())
        after = learn(state, Point(15.0 * (k + 1), rate, p95))
        assert isinstance(after, CurveState)
        state = after
    return state


def test_the_highest_rate_with_p95_within_its_goal_is_found_on_the_curve() -> None:
    state = curve(20, [2 + 16 * abs(math.sin(k / 7)) for k in range(200)])
    found = capacity(state, Objective(None, latency_s=1.0))
    assert len(state.points) == 64
    assert found.median == pytest.approx(20 - math.log(20), rel=0.08)
    assert found.low <= found.median


def test_beyond_what_was_seen_nothing_is_promised() -> None:
    found = capacity(curve(20, [3.0, 4.0, 5.0] * 5), Objective(None, latency_s=1.0))
    assert found.version == "curve:15"
    assert found.median == pytest.approx(5.0)


def test_without_a_point_half_of_the_prior_is_the_low_estimate() -> None:
    assert capacity(CurveState(10.0), Objective(None, latency_s=1.0)) == Capacity(5.0, 10.0, "requests/s", "prior")


def test_a_weaker_goal_never_serves_less() -> None:
    state = curve(20, [2 + 17 * abs(math.sin(k / 7)) for k in range(100)])
    rates = [capacity(state, Objective(None, latency_s=goal)).low for goal in (0.01, 0.2, 0.3, 0.5, 1, 2, 5, 50)]
    assert rates == sorted(rates)
    assert rates[0] > 0


def test_an_observation_of_the_other_kind_of_engine_is_a_bug() -> None:
    with pytest.raises(TypeError, match="CurveState cannot learn from Observation"):
        learn(CurveState(1.0), GOOD)
